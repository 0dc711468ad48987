-- name: AuditProducts :many
-- The books of all products from one statement, hence one snapshot: where every
-- unit is, and what the ledger says.
SELECT products.id, products.sku, products.stock_version, products.available_stock, products.total_stock,
       CAST(COALESCE(units.held, 0) AS SIGNED)      AS held,
       CAST(COALESCE(units.pending, 0) AS SIGNED)   AS pending,
       CAST(COALESCE(units.sold, 0) AS SIGNED)      AS sold,
       CAST(COALESCE(ledger.available, 0) AS SIGNED) AS ledger_available
FROM products
         LEFT JOIN (SELECT product_id,
                           SUM(IF(state = 'held', quantity, 0))    AS held,
                           SUM(IF(state = 'pending', quantity, 0)) AS pending,
                           SUM(IF(state = 'sold', quantity, 0))    AS sold
                    FROM hold_lines GROUP BY product_id) AS units ON units.product_id = products.id
         LEFT JOIN (SELECT product_id, SUM(delta) AS available
                    FROM movements GROUP BY product_id) AS ledger ON ledger.product_id = products.id
ORDER BY products.id;

-- name: AuditProduct :one
-- The books of one product from one statement, hence one snapshot. The lines come
-- from ranges of an index that has the quantity, so no row of theirs is read; the
-- movements from one range of their primary key.
SELECT products.id, products.sku, products.stock_version, products.available_stock, products.total_stock,
       CAST((SELECT COALESCE(SUM(l.quantity), 0) FROM hold_lines AS l
             WHERE l.product_id = products.id AND l.state = 'held') AS SIGNED) AS held,
       CAST((SELECT COALESCE(SUM(l.quantity), 0) FROM hold_lines AS l
             WHERE l.product_id = products.id AND l.state = 'pending') AS SIGNED) AS pending,
       CAST((SELECT COALESCE(SUM(l.quantity), 0) FROM hold_lines AS l
             WHERE l.product_id = products.id AND l.state = 'sold') AS SIGNED) AS sold,
       CAST((SELECT COALESCE(SUM(m.delta), 0) FROM movements AS m
             WHERE m.product_id = products.id) AS SIGNED) AS ledger_available
FROM products
WHERE products.id = ?;
