-- Movements are the ledger: one row for each change of a product's available
-- stock, its version the key, so no change can be written twice.
CREATE TABLE movements (
    product_id      BINARY(16)      NOT NULL,
    stock_version   BIGINT UNSIGNED NOT NULL,
    delta           BIGINT          NOT NULL,
    available_after INT UNSIGNED    NOT NULL,
    reason          ENUM ('created', 'adjusted', 'held', 'released', 'expired', 'failed', 'cancelled', 'refunded', 'rebooked', 'repaired') NOT NULL,
    note            VARCHAR(200)    NOT NULL DEFAULT '',
    created_at      DATETIME(6)     NOT NULL,
    PRIMARY KEY (product_id, stock_version)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
