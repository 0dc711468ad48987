-- Announcements are events that are still to be given to the endpoints: the ids, 16 bytes
-- each, of up to 50 that one transaction told. A row goes when each endpoint that wants its
-- events has its deliveries: of a crowd's orders, one row for many instead of a mark on
-- each. Times are not in the order of commits, so a row that is there is what counts.
CREATE TABLE announcements (
    id         BINARY(16)     NOT NULL PRIMARY KEY,
    events     VARBINARY(800) NOT NULL,
    created_at DATETIME(6)    NOT NULL,
    KEY announcements_time (created_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
