-- Payment events are the ids that were seen, kept for ever: the primary key makes
-- each of them count once.
CREATE TABLE payment_events (
    provider    ENUM ('standard', 'stripe') NOT NULL,
    event_id    VARBINARY(255) NOT NULL,
    order_id    BINARY(16)     NOT NULL,
    kind        ENUM ('succeeded', 'failed', 'refunded', 'other') NOT NULL,
    outcome     ENUM ('paid', 'payment_failed', 'rebooked', 'refund_due', 'refund_due_extra', 'refunded', 'duplicate', 'ignored', 'mismatch') NOT NULL,
    received_at DATETIME(6)    NOT NULL,
    PRIMARY KEY (provider, event_id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
