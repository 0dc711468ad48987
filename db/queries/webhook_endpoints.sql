-- name: InsertEndpoint :exec
-- The caller has counted the endpoints and holds them.
INSERT INTO webhook_endpoints (id, url, types, secret, created_at) VALUES (?, ?, ?, ?, ?);

-- name: LockEndpoints :many
-- Takes all endpoints, so that nobody adds one while the caller counts: where there
-- are any, the next one to add waits for the first row and then sees what was added.
SELECT id FROM webhook_endpoints WHERE deleted_at IS NULL ORDER BY id FOR UPDATE;

-- name: GetEndpoint :one
-- An endpoint as it is.
SELECT * FROM webhook_endpoints WHERE id = ? AND deleted_at IS NULL;

-- name: LockEndpoint :one
-- GetEndpoint, nobody else's to change until the transaction ends.
SELECT * FROM webhook_endpoints WHERE id = ? AND deleted_at IS NULL FOR UPDATE;

-- name: ListEndpoints :many
-- A page in order of id, from after an endpoint on.
SELECT * FROM webhook_endpoints WHERE id > sqlc.arg(after) AND deleted_at IS NULL ORDER BY id LIMIT ?;

-- name: EnabledEndpoints :many
-- The endpoints that get deliveries. They stay so until the transaction ends, so that
-- none is written for an endpoint that is gone.
SELECT id, types FROM webhook_endpoints
WHERE disabled_at IS NULL AND deleted_at IS NULL
ORDER BY id
FOR SHARE;

-- name: DeleteEndpoint :execrows
-- Takes an endpoint away: from its commit on nothing is sent there and nobody sees it.
UPDATE webhook_endpoints SET deleted_at = sqlc.arg(now), secret = '', previous_secret = '', previous_until = NULL
WHERE id = sqlc.arg(id) AND deleted_at IS NULL;

-- name: RotateSecret :exec
-- Makes a new secret sign, and the one before it too for a while. One that was the
-- previous one until now no longer does. The caller holds the endpoint.
UPDATE webhook_endpoints
SET previous_secret = secret, previous_until = sqlc.arg(previous_until), secret = sqlc.arg(secret)
WHERE id = sqlc.arg(id);

-- name: EndpointWorks :exec
-- An attempt succeeded: whatever failed before is forgotten.
UPDATE webhook_endpoints SET failing_since = NULL WHERE id = ?;

-- name: EndpointFails :exec
-- An attempt failed. The first failure since the last success counts.
UPDATE webhook_endpoints SET failing_since = sqlc.arg(now) WHERE id = sqlc.arg(id) AND failing_since IS NULL;

-- name: DisableEndpoint :exec
-- Ends deliveries to an endpoint until somebody enables it again. The caller holds it and
-- has seen that it is enabled.
UPDATE webhook_endpoints SET disabled_at = sqlc.arg(now), disabled_reason = sqlc.arg(reason) WHERE id = sqlc.arg(id);

-- name: EnableEndpoint :exec
-- Makes an endpoint as one that never failed.
UPDATE webhook_endpoints SET disabled_at = NULL, disabled_reason = '', failing_since = NULL WHERE id = ?;

-- name: EndpointsThatWant :many
-- What the enabled endpoints want, without a lock.
SELECT types FROM webhook_endpoints WHERE disabled_at IS NULL AND deleted_at IS NULL;

-- name: EndpointIDs :many
-- All endpoints that may have deliveries.
SELECT id FROM webhook_endpoints;

-- name: DeletedEndpoints :many
-- Endpoints whose deliveries are still to be purged.
SELECT id FROM webhook_endpoints WHERE deleted_at IS NOT NULL;

-- name: PurgeEndpoint :exec
-- Forgets a deleted endpoint whose deliveries are gone. None can be added: fanning out
-- only knows those that are not deleted.
DELETE FROM webhook_endpoints WHERE id = ? AND deleted_at IS NOT NULL;
