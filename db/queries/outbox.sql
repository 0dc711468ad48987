-- name: InsertEvent :exec
-- What the world is to be told, in the transaction that made it true. Fails on what
-- was told before, by the primary key.
INSERT INTO outbox (id, type, order_id, sequence, payload, created_at) VALUES (?, ?, ?, ?, ?, ?);

-- name: InsertAnnouncement :exec
-- Says that some events, whose ids these are one after the other, are still to be given to
-- the endpoints; the tuple is repeated for more. In the transaction that tells them.
INSERT INTO announcements (id, events, created_at) VALUES (?, ?, ?);

-- name: Announcements :many
-- The oldest announcements, nobody else's to fan out until the transaction ends. Those
-- that another process works on are left out.
SELECT id, events FROM announcements ORDER BY id LIMIT ? FOR UPDATE SKIP LOCKED;

-- name: AnyAnnouncement :one
-- Whether there is anything to fan out. Takes no lock.
SELECT EXISTS (SELECT 1 FROM announcements) AS found;

-- name: OldestAnnouncement :one
-- When the first of the events was told that are still to be fanned out, the year 9999
-- when there are none. Takes no lock.
SELECT CAST(COALESCE(MIN(created_at), '9999-12-31') AS DATETIME(6)) AS told_at FROM announcements;

-- name: DeleteAnnouncements :exec
-- Says that each endpoint that wants these events has its deliveries. The caller holds the
-- rows. They are found by a join, one by one: for many rows of a small table MySQL reads all
-- of it, whatever index is named, and waits for everybody who is just selling. The second
-- condition holds for all; it wants the row, and for the id alone MySQL reads the index.
DELETE announcements
FROM announcements AS done FORCE INDEX (PRIMARY)
    STRAIGHT_JOIN announcements FORCE INDEX (PRIMARY) ON announcements.id = done.id
WHERE done.id IN (sqlc.slice('ids')) AND done.events <> '';

-- name: EventTypes :many
-- What some events are about.
SELECT id, type FROM outbox FORCE INDEX (PRIMARY) WHERE id IN (sqlc.slice('ids'));

-- name: GetEvents :many
-- Events as they are told. Nothing of them ever changes.
SELECT * FROM outbox WHERE id IN (sqlc.slice('ids'));

-- name: KeepEvents :many
-- Of these events, those that are there. Nobody purges them until the transaction ends.
-- By primary key, as a purge locks them; with more than the id, since MySQL would read a
-- small table from end to end for that alone.
SELECT id, created_at FROM outbox FORCE INDEX (PRIMARY) WHERE id IN (sqlc.slice('ids')) FOR SHARE;

-- name: EventsSince :many
-- A page of the events from after one on, in the order of their time.
SELECT id, type, created_at FROM outbox
WHERE created_at >= sqlc.arg(since)
  AND (created_at > sqlc.arg(since) OR id > sqlc.arg(after))
ORDER BY created_at, id
LIMIT ?;

-- name: EventAges :many
-- The events between two ids in their order: a walk along the primary key. Ids begin
-- with the time of their making.
SELECT id, created_at
FROM outbox
WHERE id > sqlc.arg(after) AND id < sqlc.arg(below)
ORDER BY id
LIMIT ?;

-- name: LockOldEvents :many
-- Of these events, those that are old and that nobody works on. While the caller holds
-- them, nobody sends them to anyone else.
SELECT id FROM outbox FORCE INDEX (PRIMARY)
WHERE id IN (sqlc.slice('ids')) AND created_at <= sqlc.arg(before)
FOR UPDATE SKIP LOCKED;

-- name: DoneEvents :many
-- Of these events, those that are on their way to no endpoint. That stays so while the
-- caller holds them.
SELECT outbox.id FROM outbox FORCE INDEX (PRIMARY)
WHERE outbox.id IN (sqlc.slice('ids'))
  AND NOT EXISTS (SELECT 1 FROM webhook_endpoints JOIN deliveries ON deliveries.endpoint_id = webhook_endpoints.id
                  WHERE deliveries.event_id = outbox.id AND deliveries.state = 'pending');

-- name: PurgeEvents :execrows
-- Deletes events that the caller has locked, one by one: see DeleteAnnouncements.
DELETE outbox
FROM outbox AS old FORCE INDEX (PRIMARY)
    STRAIGHT_JOIN outbox FORCE INDEX (PRIMARY) ON outbox.id = old.id
WHERE old.id IN (sqlc.slice('ids')) AND old.type <> '';
