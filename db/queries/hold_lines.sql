-- name: InsertHoldLine :exec
-- Writes lines of holds; the tuple is repeated for more lines. The primary key
-- makes a hold id count once.
INSERT INTO hold_lines (id, position, product_id, customer_id, quantity, price_amount, currency, state,
                        due_at, expires_at, ttl_seconds, payment_window_seconds, created_at)
VALUES (?, ?, ?, ?, ?, ?, ?, 'held', ?, ?, ?, ?, ?);

-- name: GetHolds :many
-- Holds' lines, each one's in its own order, as one committed state, whether an order was
-- made of it, and the clock that its status goes by. By primary key: see LockHolds.
SELECT sqlc.embed(hold_lines), NOW(6) AS now,
       EXISTS (SELECT 1 FROM orders WHERE orders.id = hold_lines.id) AS ordered
FROM hold_lines FORCE INDEX (PRIMARY)
WHERE hold_lines.id IN (sqlc.slice('ids'))
ORDER BY hold_lines.id, hold_lines.position;

-- name: HoldsThere :many
-- Which of these holds are there; one of several products more than once. By primary key:
-- see LockHolds. It has no order and asks of one table, since MySQL then plans without a
-- look for each id, which would cost as much again. It wants more than the id because for
-- that alone, and many ids, MySQL reads the table from end to end.
SELECT id, created_at FROM hold_lines FORCE INDEX (PRIMARY) WHERE id IN (sqlc.slice('ids'));

-- name: HoldsBetween :many
-- The holds from one id to another, by primary key, at most so many lines: fewer are all.
SELECT id FROM hold_lines FORCE INDEX (PRIMARY)
WHERE id >= sqlc.arg(first) AND id <= sqlc.arg(last)
LIMIT ?;

-- name: LockHold :many
-- A hold's lines, nobody else's to change until the transaction ends.
SELECT * FROM hold_lines WHERE id = ? ORDER BY position FOR UPDATE;

-- name: HoldExists :one
-- Waits for whoever is writing the hold, then says whether it is there, made at
-- this very instant: another with the same id is not the one that was written.
SELECT COUNT(*) FROM hold_lines WHERE id = ? AND created_at = ? FOR SHARE;

-- name: HoldProducts :many
-- The products of a hold in the order in which they are locked. A line's product
-- never changes, so no lock is needed to know them.
SELECT product_id FROM hold_lines WHERE id = ? ORDER BY product_id;

-- name: CustomersUnits :many
-- How many units of a product count against each customer's limit: in holds and
-- unpaid orders, and in orders that stay paid. Overdue ones count until they are
-- given back, since an order, an extension or a payment that came in time may still
-- keep them: `overdue` says how many of the units these are. Nobody adds to them
-- while the caller holds the product's row. By the customers' index: see LockHolds. The
-- alternative keeps MySQL from joining all orders instead of looking up a few.
SELECT hold_lines.customer_id,
       CAST(SUM(hold_lines.quantity) AS SIGNED) AS units,
       CAST(SUM(IF(hold_lines.state <> 'sold' AND hold_lines.due_at <= NOW(6), hold_lines.quantity, 0)) AS SIGNED) AS overdue
FROM hold_lines FORCE INDEX (hold_lines_customer)
WHERE hold_lines.product_id = sqlc.arg(product_id)
  AND hold_lines.customer_id IN (sqlc.slice('customers'))
  AND hold_lines.ended = ''
  AND (hold_lines.state <> 'sold'
    OR NOT EXISTS (SELECT 1 FROM orders
                   WHERE orders.id = hold_lines.id AND (orders.refund_due_at IS NOT NULL OR orders.refunded_at IS NOT NULL)))
GROUP BY hold_lines.customer_id;

-- name: OverdueLinesOf :many
-- The overdue lines of some customers, those of one hold left out. The caller holds
-- the product's row. Rows that somebody else is working on are left out: they are
-- just being paid, ordered or extended. By the customers' index: see LockHolds.
SELECT id, position, quantity, state
FROM hold_lines FORCE INDEX (hold_lines_customer)
WHERE product_id = sqlc.arg(product_id)
  AND customer_id IN (sqlc.slice('customers'))
  AND ended = ''
  AND state IN ('held', 'pending')
  AND due_at <= sqlc.arg(now)
  AND id <> sqlc.arg(other_than)
LIMIT ?
FOR UPDATE SKIP LOCKED;

-- name: OverdueLines :many
-- The lines of a product in one state whose time is over, oldest first. The caller
-- holds the product's row. Rows that somebody else is working on are left out:
-- they are just being paid, ordered or extended.
SELECT id, position, quantity, state
FROM hold_lines
WHERE product_id = ? AND state = ? AND due_at <= ?
ORDER BY due_at
LIMIT ?
FOR UPDATE SKIP LOCKED;

-- name: ReturnLines :execrows
-- Marks a product's lines in these holds as back on sale, those that are still in one
-- of the states only: the count of changed rows says whether every unit may be put back.
-- Goes by primary key, so that nobody waits for a line that is not even due.
UPDATE hold_lines FORCE INDEX (PRIMARY)
SET state = 'returned', ended = sqlc.arg(ended)
WHERE id IN (sqlc.slice('ids'))
  AND product_id = sqlc.arg(product_id)
  AND state IN (sqlc.slice('states'));

-- name: ExtendLines :execrows
-- Moves the end of a hold whose lines the caller holds.
UPDATE hold_lines
SET due_at = sqlc.arg(expires_at), expires_at = sqlc.arg(expires_at)
WHERE id = sqlc.arg(id) AND state = 'held';

-- name: SellLines :execrows
-- Makes an unpaid order's units sold. Fewer rows than the order has lines: the
-- units went back meanwhile.
UPDATE hold_lines SET state = 'sold' WHERE id = ? AND state = 'pending';

-- name: ResellLine :execrows
-- Makes a late order's line sold. The caller holds it, and has taken its units
-- again where they had gone back.
UPDATE hold_lines
SET state = 'sold', ended = ''
WHERE id = ? AND position = ? AND state IN ('pending', 'returned');

-- name: OverdueProducts :many
-- Products that have lines whose time is over. Two looks into the index for each
-- product, at its first due time in either state, whatever the optimizer believes of a
-- table that fills quickly: a LIMIT keeps it from reading all lines at once instead.
SELECT products.id
FROM products
WHERE (SELECT h.due_at FROM hold_lines AS h
       WHERE h.product_id = products.id AND h.state = 'held'
       ORDER BY h.product_id, h.state, h.due_at LIMIT 1) <= NOW(6)
   OR (SELECT p.due_at FROM hold_lines AS p
       WHERE p.product_id = products.id AND p.state = 'pending'
       ORDER BY p.product_id, p.state, p.due_at LIMIT 1) <= NOW(6)
ORDER BY products.id;

-- name: LockHolds :many
-- LockHold for many holds, in the order of their ids. Lines that somebody else is working on
-- are left out, since one that hangs must not keep up the others; each line says how many
-- its hold has, so that a hold of which some were left out is seen. By primary key, as all
-- that is for many holds: of 200 ids and more MySQL believes its statistics, and by those of
-- a table that has just filled it reads, and locks, all of it.
SELECT sqlc.embed(hold_lines), (SELECT COUNT(*) FROM hold_lines AS own WHERE own.id = hold_lines.id) AS line_count
FROM hold_lines FORCE INDEX (PRIMARY)
WHERE hold_lines.id IN (sqlc.slice('ids'))
ORDER BY hold_lines.id, hold_lines.position
FOR UPDATE OF hold_lines SKIP LOCKED;

-- name: OrderHolds :execrows
-- Makes holds' lines those of unpaid orders, each due when its own payment window
-- ends. By primary key: see LockHolds.
UPDATE hold_lines FORCE INDEX (PRIMARY)
SET state = 'pending', due_at = sqlc.arg(now) + INTERVAL payment_window_seconds SECOND
WHERE id IN (sqlc.slice('ids')) AND state = 'held';

-- name: SellHolds :execrows
-- SellLines for many orders. By primary key: see LockHolds.
UPDATE hold_lines FORCE INDEX (PRIMARY) SET state = 'sold' WHERE id IN (sqlc.slice('ids')) AND state = 'pending';

-- name: LinesOfHolds :many
-- GetLines for many orders, each one's in its own order. By primary key: see LockHolds.
SELECT * FROM hold_lines FORCE INDEX (PRIMARY) WHERE id IN (sqlc.slice('ids')) ORDER BY id, position;

-- name: HoldAges :many
-- The holds between two ids in their order, whatever their state, by their first
-- lines: a walk along the primary key. Ids begin with the time of their making.
SELECT id, state, expires_at
FROM hold_lines
WHERE id > sqlc.arg(after) AND id < sqlc.arg(below) AND position = 0
ORDER BY id
LIMIT ?;

-- name: LockReturnedLines :many
-- The lines of these holds whose units went back and that nobody works on. While they
-- are locked no order is made of them, and none is paid late.
SELECT id FROM hold_lines FORCE INDEX (PRIMARY)
WHERE id IN (sqlc.slice('ids')) AND state = 'returned'
FOR UPDATE SKIP LOCKED;

-- name: EndedHolds :many
-- Of these holds, those that were to end long ago and never became an order, and how
-- many lines they have. As many as the caller has locked: all went back. By primary key:
-- see LockHolds; HAVING keeps MySQL from joining all orders.
SELECT hold_lines.id, COUNT(*) AS line_count
FROM hold_lines FORCE INDEX (PRIMARY)
WHERE hold_lines.id IN (sqlc.slice('ids'))
GROUP BY hold_lines.id
HAVING MAX(hold_lines.expires_at) <= sqlc.arg(before)
   AND NOT EXISTS (SELECT 1 FROM orders WHERE orders.id = hold_lines.id);

-- name: PurgeHolds :execrows
-- Deletes holds whose lines the caller has locked. By primary key, so that nobody
-- waits for a neighbour. Lines that were returned count in no sum.
DELETE hold_lines FROM hold_lines FORCE INDEX (PRIMARY)
WHERE id IN (sqlc.slice('ids')) AND state = 'returned';
