-- name: InsertIdempotencyKey :exec
-- The primary key makes a key count once.
INSERT INTO idempotency_keys (id, fingerprint, target, created_at) VALUES (?, ?, ?, ?);

-- name: GetIdempotencyKey :one
-- What a key came to.
SELECT fingerprint, target FROM idempotency_keys WHERE id = ?;

-- name: OldIdempotencyKeys :many
-- Which of these records are too old to count. Takes no lock: who met a record by its own
-- insert shares the row with all others who did, and would wait for them, and they for it.
SELECT id FROM idempotency_keys FORCE INDEX (PRIMARY)
WHERE id IN (sqlc.slice('ids')) AND created_at <= sqlc.arg(before);

-- name: DeleteOldIdempotencyKeys :execrows
-- Makes room for keys whose records are too old to count, one by one: see
-- DeleteAnnouncements. The record that goes is asked for its age as well, whether the look
-- for it has locked it or not.
DELETE idempotency_keys
FROM idempotency_keys AS old FORCE INDEX (PRIMARY)
    STRAIGHT_JOIN idempotency_keys FORCE INDEX (PRIMARY) ON idempotency_keys.id = old.id
WHERE old.id IN (sqlc.slice('ids')) AND old.created_at <= sqlc.arg(before) AND idempotency_keys.created_at <= sqlc.arg(before);

-- name: IdempotencyKeyExists :one
-- Waits for whoever is writing the key, then says whether this very record is there, made
-- at this very instant: one that is too old to count is back when the transaction which
-- deleted it did not take place, and may have the same target.
SELECT COUNT(*) FROM idempotency_keys WHERE id = ? AND target = ? AND created_at = ? FOR SHARE;

-- name: IdempotencyKeysThere :many
-- Which of these keys had an effect within the last so many seconds, and which.
SELECT id, fingerprint, target FROM idempotency_keys
WHERE id IN (sqlc.slice('ids'))
  AND created_at > NOW(6) - INTERVAL CAST(sqlc.arg(life_seconds) AS SIGNED) SECOND;

-- name: IdempotencyKeyAges :many
-- The records after a key in order of their ids, whatever their age: a walk along the
-- primary key needs no index that each request would have to keep.
SELECT id, created_at FROM idempotency_keys WHERE id > sqlc.arg(after) ORDER BY id LIMIT ?;

-- name: LockOldIdempotencyKeys :many
-- Of these records, those that are old and that nobody works on.
SELECT id FROM idempotency_keys FORCE INDEX (PRIMARY)
WHERE id IN (sqlc.slice('ids')) AND created_at <= sqlc.arg(before)
FOR UPDATE SKIP LOCKED;

-- name: PurgeIdempotencyKeys :execrows
-- Deletes records that the caller has locked, one by one: see DeleteAnnouncements.
DELETE idempotency_keys
FROM idempotency_keys AS old FORCE INDEX (PRIMARY)
    STRAIGHT_JOIN idempotency_keys FORCE INDEX (PRIMARY) ON idempotency_keys.id = old.id
WHERE old.id IN (sqlc.slice('ids')) AND old.created_at > '1000-01-01';
