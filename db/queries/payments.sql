-- name: InsertPaymentEvent :exec
-- The primary key makes an event count once, whoever comes first.
INSERT INTO payment_events (provider, event_id, order_id, kind, outcome, received_at)
VALUES (?, ?, ?, ?, ?, ?);

-- name: GetPaymentEvent :one
-- An event that was seen.
SELECT order_id, outcome FROM payment_events WHERE provider = ? AND event_id = ?;

-- name: EventExists :one
-- Waits for whoever is writing the event, then says whether it is there, received at this
-- very instant: the same one that came again is not the one that was written.
SELECT COUNT(*) FROM payment_events WHERE provider = ? AND event_id = ? AND received_at = ? FOR SHARE;

-- name: GetPayment :one
-- What is known of a payment. The caller holds its order's row.
SELECT * FROM payments WHERE provider = ? AND payment_id = ?;

-- name: InsertPayment :exec
-- Remembers money, once for each payment.
INSERT INTO payments (provider, payment_id, order_id, amount, currency, state, created_at, updated_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?);

-- name: SetPaymentState :execrows
-- Money went back.
UPDATE payments SET state = ?, updated_at = ? WHERE provider = ? AND payment_id = ?;

-- name: EventsThere :many
-- Which of these events of a sender were seen.
SELECT event_id FROM payment_events WHERE provider = sqlc.arg(provider) AND event_id IN (sqlc.slice('event_ids'));

-- name: PaymentsThere :many
-- Which of these payments of a sender are known.
SELECT payment_id FROM payments WHERE provider = sqlc.arg(provider) AND payment_id IN (sqlc.slice('payment_ids'));
