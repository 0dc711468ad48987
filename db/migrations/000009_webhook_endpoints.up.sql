-- Webhook endpoints are where events are sent to. `types` names those that are
-- wanted; an empty list wants all. The previous secret signs beside the present one
-- until its time is over. A deleted row goes when its deliveries are gone.
CREATE TABLE webhook_endpoints (
    id              BINARY(16)      NOT NULL PRIMARY KEY,
    url             VARBINARY(2048) NOT NULL,
    types           JSON            NOT NULL,
    secret          VARBINARY(64)   NOT NULL,
    previous_secret VARBINARY(64)   NOT NULL DEFAULT '',
    previous_until  DATETIME(6)     NULL,
    created_at      DATETIME(6)     NOT NULL,
    failing_since   DATETIME(6)     NULL,
    disabled_at     DATETIME(6)     NULL,
    disabled_reason VARCHAR(200)    NOT NULL DEFAULT '',
    deleted_at      DATETIME(6)     NULL,
    CONSTRAINT webhook_endpoints_disabled_for_a_reason CHECK ((disabled_at IS NULL) = (disabled_reason = '')),
    CONSTRAINT webhook_endpoints_previous_ends CHECK ((previous_until IS NULL) = (previous_secret = ''))
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
