-- Products carry their stock: the row is the mutex of its units. That stock never
-- goes below nothing or above what was put on sale is the database's own law.
CREATE TABLE products (
    id                     BINARY(16)      NOT NULL PRIMARY KEY,
    sku                    VARBINARY(256)  NOT NULL,
    name                   VARCHAR(200)    NOT NULL,
    price_amount           BIGINT UNSIGNED NOT NULL,
    currency               CHAR(3)         NOT NULL,
    total_stock            INT UNSIGNED    NOT NULL,
    available_stock        INT UNSIGNED    NOT NULL,
    sale_starts_at         DATETIME(6)     NULL,
    sale_ends_at           DATETIME(6)     NULL,
    per_customer_limit     INT UNSIGNED    NULL,
    hold_ttl_seconds       INT UNSIGNED    NOT NULL,
    payment_window_seconds INT UNSIGNED    NOT NULL,
    stock_version          BIGINT UNSIGNED NOT NULL,
    version                BIGINT UNSIGNED NOT NULL,
    created_at             DATETIME(6)     NOT NULL,
    updated_at             DATETIME(6)     NOT NULL,
    UNIQUE KEY products_sku (sku),
    CONSTRAINT products_never_oversold CHECK (available_stock <= total_stock),
    CONSTRAINT products_stock_limit CHECK (total_stock <= 1000000000),
    CONSTRAINT products_price_limit CHECK (price_amount <= 1000000000000),
    CONSTRAINT products_ttl_limit CHECK (hold_ttl_seconds BETWEEN 1 AND 86400),
    CONSTRAINT products_window_limit CHECK (payment_window_seconds BETWEEN 1 AND 604800)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
