-- Payments say which money belongs to which order: one order may see several. An
-- id is unique for its sender only.
CREATE TABLE payments (
    provider   ENUM ('standard', 'stripe') NOT NULL,
    payment_id VARBINARY(255)  NOT NULL,
    order_id   BINARY(16)      NOT NULL,
    amount     BIGINT UNSIGNED NOT NULL,
    currency   CHAR(3)         NOT NULL,
    state      ENUM ('owns', 'refund_due', 'refunded') NOT NULL,
    created_at DATETIME(6)     NOT NULL,
    updated_at DATETIME(6)     NOT NULL,
    PRIMARY KEY (provider, payment_id),
    KEY payments_order (order_id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
