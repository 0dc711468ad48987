-- name: Instant :one
-- The instant that a whole transaction goes by, and the connection that it runs
-- on, so that it can be ended from outside.
SELECT NOW(6) AS now, CAST(CONNECTION_ID() AS SIGNED) AS connection_id;
