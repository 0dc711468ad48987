-- name: InsertMovement :exec
-- One change of a product's stock. The version is that of the row as this
-- transaction left it, so the ledger has no gap and no double.
INSERT INTO movements (product_id, stock_version, delta, available_after, reason, note, created_at)
VALUES (?, ?, ?, ?, ?, ?, ?);

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
