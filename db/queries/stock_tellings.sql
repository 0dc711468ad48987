-- name: UntoldStock :many
-- Products after one in order of their ids whose stock changed since the world was told
-- of it. Takes no lock.
SELECT products.id
FROM products
         LEFT JOIN stock_tellings ON stock_tellings.product_id = products.id
WHERE products.id > sqlc.arg(after)
  AND (stock_tellings.stock_version IS NULL OR stock_tellings.stock_version < products.stock_version)
ORDER BY products.id
LIMIT ?;

-- name: HoldTellings :exec
-- Makes it the caller's alone to tell of these products, until the transaction ends; also
-- of those that were never told. Products are only read.
INSERT INTO stock_tellings (product_id, stock_version)
SELECT products.id, 0 FROM products WHERE products.id IN (sqlc.slice('ids')) ORDER BY products.id
ON DUPLICATE KEY UPDATE stock_version = stock_tellings.stock_version;

-- name: StockToTell :many
-- The stock of those of these products that changed since it was told. The caller holds
-- the tellings.
SELECT products.id, products.available_stock, products.total_stock, products.stock_version
FROM products
         JOIN stock_tellings ON stock_tellings.product_id = products.id
WHERE products.id IN (sqlc.slice('ids')) AND stock_tellings.stock_version < products.stock_version
ORDER BY products.id;

-- name: StockTold :exec
-- Remembers the versions that are told; the tuple is repeated for more. The caller holds
-- the tellings.
REPLACE INTO stock_tellings (product_id, stock_version) VALUES (?, ?);
