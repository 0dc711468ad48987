-- Stock tellings say up to which version of its stock the world was told of a product.
CREATE TABLE stock_tellings (
    product_id    BINARY(16)      NOT NULL PRIMARY KEY,
    stock_version BIGINT UNSIGNED NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
