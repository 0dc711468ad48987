-- Outbox holds what the world is to be told, written in the transaction that made
-- it true. An id is made of what it tells, so nothing is told twice; `sequence` is the
-- event's place in the life of its order or payment. Nothing of a row ever changes: what
-- is still to be given to the endpoints stands in `announcements`.
CREATE TABLE outbox (
    id         BINARY(16)  NOT NULL PRIMARY KEY,
    type       VARCHAR(64) NOT NULL,
    order_id   BINARY(16)  NOT NULL,
    sequence   BIGINT      NOT NULL,
    payload    JSON        NOT NULL,
    created_at DATETIME(6) NOT NULL,
    KEY outbox_time (created_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
