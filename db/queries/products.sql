-- name: InsertProduct :exec
-- Fails on a taken sku, by its unique key.
INSERT INTO products (id, sku, name, price_amount, currency, total_stock, available_stock,
                      sale_starts_at, sale_ends_at, per_customer_limit, hold_ttl_seconds, payment_window_seconds,
                      stock_version, version, created_at, updated_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, 1, ?, ?);

-- name: GetProduct :one
-- One committed state; within a transaction that changed the row, its own.
SELECT * FROM products WHERE id = ?;

-- name: ListProducts :many
-- A page in order of id, from after a product on.
SELECT * FROM products WHERE id > sqlc.arg(after) ORDER BY id LIMIT ?;

-- name: StockVersions :many
-- ListProducts with no more than tells whether a product's stock has changed.
SELECT id, stock_version FROM products WHERE id > sqlc.arg(after) ORDER BY id LIMIT ?;

-- name: LockProduct :one
-- Takes the mutex of a product's units until the transaction ends.
SELECT * FROM products WHERE id = ? FOR UPDATE;

-- name: LookAtProducts :many
-- Everything that a refusal says of products, from one snapshot and without any
-- lock: their rules and stock, and when the first of the units that are off sale
-- is due (the year 9999 where there are none). A due time in the past means that
-- units can be given back. The order names the whole index: by due_at alone the
-- optimizer reads and sorts all lines of the products.
SELECT sqlc.embed(products), NOW(6) AS now,
       CAST(COALESCE((SELECT h.due_at FROM hold_lines AS h
                      WHERE h.product_id = products.id AND h.state = 'held'
                      ORDER BY h.product_id, h.state, h.due_at LIMIT 1), '9999-12-31') AS DATETIME(6)) AS held_due_at,
       CAST(COALESCE((SELECT p.due_at FROM hold_lines AS p
                      WHERE p.product_id = products.id AND p.state = 'pending'
                      ORDER BY p.product_id, p.state, p.due_at LIMIT 1), '9999-12-31') AS DATETIME(6)) AS pending_due_at
FROM products
WHERE products.id IN (sqlc.slice('ids'));

-- name: ReserveStock :execresult
-- The one statement that takes units off sale. It changes a row only while the
-- stock is enough, the window open by the database's clock and the terms still
-- those that the caller goes by: never oversold, never on stale terms. The terms
-- themselves are compared, and no version of them: what a cache has of another
-- database, a copy for example, has the same versions. The result's last insert id is
-- the version that the row has then.
UPDATE products
SET available_stock = available_stock - sqlc.arg(quantity),
    stock_version   = stock_version + 1,
    version         = LAST_INSERT_ID(version + 1),
    updated_at      = sqlc.arg(now)
WHERE id = sqlc.arg(id)
  AND available_stock >= sqlc.arg(quantity)
  AND price_amount = sqlc.arg(price_amount)
  AND currency = sqlc.arg(currency)
  AND per_customer_limit <=> sqlc.narg(per_customer_limit)
  AND hold_ttl_seconds = sqlc.arg(hold_ttl_seconds)
  AND payment_window_seconds = sqlc.arg(payment_window_seconds)
  AND (sale_starts_at IS NULL OR sale_starts_at <= NOW(6))
  AND (sale_ends_at IS NULL OR sale_ends_at > NOW(6));

-- name: RetakeStock :execrows
-- Takes units for an order that was paid late: as atomic as ReserveStock, but
-- neither the window nor the rules are asked again.
UPDATE products
SET available_stock = available_stock - sqlc.arg(quantity),
    stock_version   = stock_version + 1,
    version         = version + 1,
    updated_at      = sqlc.arg(now)
WHERE id = sqlc.arg(id)
  AND available_stock >= sqlc.arg(quantity);

-- name: RestoreStock :execrows
-- Puts units back on sale. The caller holds the row and counts only lines whose
-- state this very transaction changed; the table's CHECK refuses more than total.
UPDATE products
SET available_stock = available_stock + sqlc.arg(quantity),
    stock_version   = stock_version + 1,
    version         = version + 1,
    updated_at      = sqlc.arg(now)
WHERE id = sqlc.arg(id);

-- name: AdjustStock :execrows
-- Changes total and available together, never below nothing and never past the
-- limit, in one atomic step.
UPDATE products
SET total_stock     = CAST(total_stock AS SIGNED) + sqlc.arg(delta),
    available_stock = CAST(available_stock AS SIGNED) + sqlc.arg(delta),
    stock_version   = stock_version + 1,
    version         = version + 1,
    updated_at      = sqlc.arg(now)
WHERE id = sqlc.arg(id)
  AND CAST(available_stock AS SIGNED) + sqlc.arg(delta) >= 0
  AND CAST(total_stock AS SIGNED) + sqlc.arg(delta) <= sqlc.arg(max_stock);

-- name: RepairStock :execrows
-- Sets what is available to what the lines leave of the total. The caller holds the
-- row and has counted the lines since; the table's CHECK refuses more than total.
UPDATE products
SET available_stock = sqlc.arg(available),
    stock_version   = stock_version + sqlc.arg(versions),
    version         = version + sqlc.arg(versions),
    updated_at      = sqlc.arg(now)
WHERE id = sqlc.arg(id);

-- name: UpdateProduct :exec
-- Sets name and rules of a row that the caller holds.
UPDATE products
SET name                   = sqlc.arg(name),
    price_amount           = sqlc.arg(price_amount),
    currency               = sqlc.arg(currency),
    sale_starts_at         = sqlc.narg(sale_starts_at),
    sale_ends_at           = sqlc.narg(sale_ends_at),
    per_customer_limit     = sqlc.narg(per_customer_limit),
    hold_ttl_seconds       = sqlc.arg(hold_ttl_seconds),
    payment_window_seconds = sqlc.arg(payment_window_seconds),
    version                = version + 1,
    updated_at             = sqlc.arg(now)
WHERE id = sqlc.arg(id);
