-- name: InsertOrder :exec
-- Fails on a hold that was ordered already, by the primary key.
INSERT INTO orders (id, customer_id, total_amount, currency, created_at, pay_by, line_count, own_key, paid_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: OrderExists :one
-- Waits for whoever is writing the order, then says whether it is there, made at this
-- very instant: another of the same hold is not the one that was written.
SELECT COUNT(*) FROM orders WHERE id = ? AND created_at = ? FOR SHARE;

-- name: OrderMadeByOwnKey :one
-- Whether a request made the order whose key was the hold's id.
SELECT EXISTS (SELECT 1 FROM orders WHERE id = ? AND own_key = TRUE) AS made;

-- name: GetOrder :one
-- One committed state and the clock that its status goes by.
SELECT sqlc.embed(orders), NOW(6) AS now FROM orders WHERE id = ?;

-- name: LockOrder :one
-- The order, nobody else's to change until the transaction ends.
SELECT * FROM orders WHERE id = ? FOR UPDATE;

-- name: OrderIsThere :one
-- Whether a hold was ordered. The caller holds the hold's lines, which an order
-- takes before it is written, so the answer stays true.
SELECT EXISTS (SELECT 1 FROM orders WHERE id = ?) AS there;

-- name: GetLines :many
-- What an order consists of; none of it ever changes but the state.
SELECT * FROM hold_lines WHERE id = ? ORDER BY position;

-- name: MarkPaid :execrows
-- The order stands on this payment from now on.
UPDATE orders SET paid_at = ?, provider = ?, payment_id = ? WHERE id = ? AND paid_at IS NULL;

-- name: MarkFailed :execrows
-- The payment failed. Only an order that waits for one can fail.
UPDATE orders SET failed_at = ? WHERE id = ? AND paid_at IS NULL AND failed_at IS NULL AND cancelled_at IS NULL;

-- name: MarkRefundDue :execrows
-- The order's money has to go back; reported once, since only the first changes it.
UPDATE orders
SET refund_due_at = ?, refund_reason = ?, provider = ?, payment_id = ?
WHERE id = ? AND refund_due_at IS NULL AND refunded_at IS NULL;

-- name: MarkRefunded :execrows
-- The order's money went back.
UPDATE orders SET refunded_at = ? WHERE id = ? AND refunded_at IS NULL;

-- name: LockOrders :many
-- LockOrder for many orders and their lines, in the order of their ids, a row for each line.
-- Orders and lines that somebody else is working on are left out, and it goes by primary
-- keys: see LockHolds.
SELECT sqlc.embed(orders), hold_lines.state
FROM orders FORCE INDEX (PRIMARY)
    STRAIGHT_JOIN hold_lines FORCE INDEX (PRIMARY) ON hold_lines.id = orders.id
WHERE orders.id IN (sqlc.slice('ids'))
ORDER BY orders.id, hold_lines.position
FOR UPDATE SKIP LOCKED;

-- name: OrdersThere :many
-- OrderIsThere for many holds. More than the id, and by primary key: see HoldsThere.
SELECT id, created_at FROM orders FORCE INDEX (PRIMARY) WHERE id IN (sqlc.slice('ids'));

-- name: MarkAllPaid :execrows
-- MarkPaid for many orders, each by the payment that this transaction has just
-- written for it. The order and the indexes are named for the reason that LockHolds has.
UPDATE orders FORCE INDEX (PRIMARY)
    STRAIGHT_JOIN payments FORCE INDEX (payments_order) ON payments.order_id = orders.id
SET orders.paid_at = sqlc.arg(paid_at), orders.provider = payments.provider, orders.payment_id = payments.payment_id
WHERE orders.id IN (sqlc.slice('ids')) AND orders.paid_at IS NULL
  AND payments.provider = sqlc.arg(provider) AND payments.state = 'owns';

-- name: MarkCancelled :execrows
-- Nobody paid, and nobody is to pay any more.
UPDATE orders SET cancelled_at = ? WHERE id = ? AND paid_at IS NULL AND refund_due_at IS NULL AND cancelled_at IS NULL;

-- name: MarkOwed :execrows
-- A paid order's money has to go back, since somebody asked for it.
UPDATE orders
SET refund_due_at = ?, refund_reason = ?
WHERE id = ? AND paid_at IS NOT NULL AND refund_due_at IS NULL AND refunded_at IS NULL;

-- name: ListOrders :many
-- A page in descending order of id, newest hold first, from before an order on, and
-- the clock that statuses go by.
SELECT sqlc.embed(orders), NOW(6) AS now FROM orders WHERE id < sqlc.arg(before) ORDER BY id DESC LIMIT ?;

-- name: ListCustomersOrders :many
-- ListOrders for one customer; the index has the ids in order.
SELECT sqlc.embed(orders), NOW(6) AS now
FROM orders
WHERE customer_id = sqlc.arg(customer_id) AND id < sqlc.arg(before)
ORDER BY id DESC LIMIT ?;
