-- Lines are the unit of account: so many units of one product, of one hold. The
-- rows of one hold share its id. `state` alone says where the units are; `due_at`
-- is when they go back unless something happens: the hold's end, later the order's.
-- The customers' index has `ended`, which is empty for as long as units are off sale, and
-- not the state: each change of that would cost two entries more.
-- No foreign key to products: a child insert's shared lock on the hot parent row,
-- upgraded by the stock update, deadlocks.
CREATE TABLE hold_lines (
    id                     BINARY(16)       NOT NULL,
    position               TINYINT UNSIGNED NOT NULL,
    product_id             BINARY(16)       NOT NULL,
    customer_id            VARBINARY(512)   NOT NULL,
    quantity               INT UNSIGNED     NOT NULL,
    price_amount           BIGINT UNSIGNED  NOT NULL,
    currency               CHAR(3)          NOT NULL,
    state                  ENUM ('held', 'pending', 'sold', 'returned') NOT NULL,
    ended                  ENUM ('', 'released', 'expired', 'failed', 'cancelled', 'refunded') NOT NULL DEFAULT '',
    due_at                 DATETIME(6)      NOT NULL,
    expires_at             DATETIME(6)      NOT NULL,
    ttl_seconds            INT UNSIGNED     NOT NULL,
    payment_window_seconds INT UNSIGNED     NOT NULL,
    created_at             DATETIME(6)      NOT NULL,
    PRIMARY KEY (id, position),
    KEY hold_lines_due (product_id, state, due_at, quantity),
    KEY hold_lines_customer (product_id, customer_id, ended),
    CONSTRAINT hold_lines_something CHECK (quantity > 0),
    CONSTRAINT hold_lines_returned_for_a_reason CHECK ((state = 'returned') = (ended <> ''))
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
