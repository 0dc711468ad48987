-- name: InsertDelivery :exec
-- Deliveries that are due at once; the tuple is repeated for more. The primary key
-- makes an event go to an endpoint once: one that is there already stays as it is, and is
-- not counted.
INSERT INTO deliveries (endpoint_id, event_id, state, next_attempt_at, created_at) VALUES (?, ?, 'pending', ?, ?)
ON DUPLICATE KEY UPDATE event_id = deliveries.event_id;

-- name: DueEndpoints :many
-- Enabled endpoints that something is due for: one look into the index for each. The
-- order names the index: else the optimizer may read all that is pending.
SELECT webhook_endpoints.id FROM webhook_endpoints
WHERE webhook_endpoints.disabled_at IS NULL
  AND webhook_endpoints.deleted_at IS NULL
  AND (SELECT d.next_attempt_at FROM deliveries AS d
       WHERE d.endpoint_id = webhook_endpoints.id AND d.state = 'pending'
       ORDER BY d.endpoint_id, d.state, d.next_attempt_at LIMIT 1) <= NOW(6);

-- name: DueDeliveries :many
-- Deliveries of one endpoint that are due, longest due first. Those that another
-- process is claiming are left out, so that nobody waits and each is claimed once.
SELECT event_id, attempts, asked, first_attempt_at FROM deliveries
WHERE endpoint_id = ? AND state = 'pending' AND next_attempt_at <= ?
ORDER BY next_attempt_at
LIMIT ?
FOR UPDATE SKIP LOCKED;

-- name: ClaimDeliveries :exec
-- Makes deliveries that the caller holds due again at the end of a lease, unless what
-- comes of the attempt is recorded before.
UPDATE deliveries
SET attempts         = attempts + 1,
    first_attempt_at = COALESCE(first_attempt_at, sqlc.arg(now)),
    next_attempt_at  = sqlc.arg(lease_end)
WHERE endpoint_id = sqlc.arg(endpoint_id)
  AND event_id IN (sqlc.slice('event_ids'));

-- name: GiveUpDeliveries :exec
-- Ends deliveries that the caller holds, for a reason of this side.
UPDATE deliveries
SET state = 'given_up', last_answer = sqlc.arg(reason)
WHERE endpoint_id = sqlc.arg(endpoint_id) AND event_id IN (sqlc.slice('event_ids'));

-- name: RecordSuccess :exec
-- An endpoint took events, whoever claimed them last. Counts only while nobody asked for
-- the event since the claim, and the first time.
UPDATE deliveries
SET state = 'delivered', delivered_at = sqlc.arg(now), last_answer = sqlc.arg(answer)
WHERE endpoint_id = sqlc.arg(endpoint_id) AND event_id IN (sqlc.slice('event_ids'))
  AND asked = sqlc.arg(asked) AND state <> 'delivered';

-- name: RecordFailure :execrows
-- An attempt failed. Counts only while no later claim was made: what that one comes to
-- is the newer truth. Nor does it count against what is sent again since, whose claims are
-- numbered from 1 again: the time of the first one tells them apart.
UPDATE deliveries
SET state = sqlc.arg(state), next_attempt_at = sqlc.arg(next_attempt_at), last_answer = sqlc.arg(answer)
WHERE endpoint_id = sqlc.arg(endpoint_id) AND event_id = sqlc.arg(event_id)
  AND state = 'pending' AND attempts = sqlc.arg(attempts) AND first_attempt_at = sqlc.arg(first_attempt_at);

-- name: RedeliverEvent :exec
-- Makes a delivery as new, due at once, whatever became of it or is becoming of it. One that
-- was over is on its way from now on; MySQL assigns from left to right.
UPDATE deliveries
SET created_at = IF(state = 'pending', created_at, sqlc.arg(now)), state = 'pending', attempts = 0, asked = asked + 1,
    first_attempt_at = NULL, delivered_at = NULL, next_attempt_at = sqlc.arg(now)
WHERE endpoint_id = sqlc.arg(endpoint_id) AND event_id = sqlc.arg(event_id);

-- name: RedeliverUntaken :execrows
-- Makes deliveries as new, due at once, but for what the endpoint took, up to this instant.
-- What it takes from an attempt that is under way counts. See RedeliverEvent.
UPDATE deliveries
SET created_at = IF(state = 'pending', created_at, sqlc.arg(now)), state = 'pending', attempts = 0,
    first_attempt_at = NULL, next_attempt_at = sqlc.arg(now)
WHERE endpoint_id = sqlc.arg(endpoint_id) AND event_id IN (sqlc.slice('event_ids')) AND state <> 'delivered';

-- name: SurveyEndpoints :many
-- Each endpoint with what is on its way there, from one snapshot. Reads the pending and
-- given up entries of an index, so many of each at most, the longest due first.
SELECT sqlc.embed(webhook_endpoints), NOW(6) AS now,
       CAST((SELECT COUNT(*) FROM (SELECT 1 FROM deliveries AS p
                                   WHERE p.endpoint_id = webhook_endpoints.id AND p.state = 'pending'
                                   LIMIT 10000) AS some_pending) AS SIGNED) AS pending,
       CAST((SELECT COUNT(*) FROM (SELECT 1 FROM deliveries AS g
                                   WHERE g.endpoint_id = webhook_endpoints.id AND g.state = 'given_up'
                                   LIMIT 10000) AS some_given_up) AS SIGNED) AS given_up,
       CAST(COALESCE((SELECT MIN(longest_due.created_at)
                      FROM (SELECT o.created_at FROM deliveries AS o
                            WHERE o.endpoint_id = webhook_endpoints.id AND o.state = 'pending'
                            ORDER BY o.endpoint_id, o.state, o.next_attempt_at
                            LIMIT 10000) AS longest_due), '9999-12-31') AS DATETIME(6)) AS oldest_pending_at
FROM webhook_endpoints
WHERE webhook_endpoints.deleted_at IS NULL
ORDER BY webhook_endpoints.id;

-- name: PurgeDeliveriesOf :exec
-- Forgets an endpoint's deliveries of events that are purged.
DELETE FROM deliveries WHERE endpoint_id = sqlc.arg(endpoint_id) AND event_id IN (sqlc.slice('event_ids'));

-- name: PurgeDeliveries :execrows
-- Forgets some deliveries of a deleted endpoint.
DELETE FROM deliveries WHERE endpoint_id = ? LIMIT ?;
