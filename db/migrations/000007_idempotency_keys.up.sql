-- Idempotency keys are kept narrow: a hash of caller, operation, path and key; a
-- fingerprint of what was asked; and the id of what came of it, from which the
-- answer is rebuilt.
CREATE TABLE idempotency_keys (
    id          BINARY(16)  NOT NULL PRIMARY KEY,
    fingerprint BINARY(16)  NOT NULL,
    target      BINARY(16)  NOT NULL,
    created_at  DATETIME(6) NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
