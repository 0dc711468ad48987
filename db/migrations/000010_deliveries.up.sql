-- Deliveries are events on their way to endpoints, each once by its primary key.
-- `next_attempt_at` is when a pending one is due; a claim moves it past the attempt, so
-- that one whose claimer died is due again. `attempts` counts claims since it was made or
-- sent again, `asked` how often somebody asked for this one event: no attempt from before
-- is an answer to that. `created_at` is when it was put on its way.
CREATE TABLE deliveries (
    endpoint_id      BINARY(16)   NOT NULL,
    event_id         BINARY(16)   NOT NULL,
    state            ENUM ('pending', 'delivered', 'given_up') NOT NULL,
    attempts         INT UNSIGNED NOT NULL DEFAULT 0,
    asked            INT UNSIGNED NOT NULL DEFAULT 0,
    first_attempt_at DATETIME(6)  NULL,
    next_attempt_at  DATETIME(6)  NOT NULL,
    last_answer      VARCHAR(100) NOT NULL DEFAULT '',
    delivered_at     DATETIME(6)  NULL,
    created_at       DATETIME(6)  NOT NULL,
    PRIMARY KEY (endpoint_id, event_id),
    KEY deliveries_due (endpoint_id, state, next_attempt_at, created_at),
    CONSTRAINT deliveries_delivered_at_a_time CHECK ((state = 'delivered') = (delivered_at IS NOT NULL))
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
