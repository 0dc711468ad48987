-- name: RecordMovement :execrows
-- One change of a product's stock, which this transaction has just made. The numbers are
-- those of the row as it was left, so the ledger has no gap and no double.
INSERT INTO movements (product_id, stock_version, delta, available_after, reason, note, created_at)
SELECT products.id, products.stock_version, sqlc.arg(delta), products.available_stock,
       sqlc.arg(reason), sqlc.arg(note), sqlc.arg(created_at)
FROM products
WHERE products.id = sqlc.arg(id);

-- name: ListMovements :many
-- A page of a product's ledger, newest first, from before a version on: one range
-- of the primary key.
SELECT stock_version, delta, available_after, reason, note, created_at
FROM movements
WHERE product_id = ? AND stock_version < sqlc.arg(before)
ORDER BY stock_version DESC
LIMIT ?;

-- name: LastMovement :one
-- The newest version in a product's ledger, 0 without one.
SELECT CAST(COALESCE(MAX(stock_version), 0) AS SIGNED) AS stock_version FROM movements WHERE product_id = ?;
