-- Orders say what happened to a hold that was ordered, and when. The id is the
-- hold's, so the primary key keeps a hold from becoming two orders. The status is
-- derived from these facts and the clock. `line_count` tells how many lines have to change
-- with the order; `own_key` that the key of the request which made it was its hold's id,
-- so that this row is the key's record too.
CREATE TABLE orders (
    id            BINARY(16)       NOT NULL PRIMARY KEY,
    customer_id   VARBINARY(512)   NOT NULL,
    total_amount  BIGINT UNSIGNED  NOT NULL,
    currency      CHAR(3)          NOT NULL,
    created_at    DATETIME(6)      NOT NULL,
    pay_by        DATETIME(6)      NOT NULL,
    line_count    TINYINT UNSIGNED NOT NULL,
    own_key       BOOLEAN          NOT NULL DEFAULT FALSE,
    paid_at       DATETIME(6)      NULL,
    failed_at     DATETIME(6)      NULL,
    cancelled_at  DATETIME(6)      NULL,
    refund_due_at DATETIME(6)      NULL,
    refunded_at   DATETIME(6)      NULL,
    refund_reason ENUM ('', 'late_payment', 'units_gone', 'limit_reached', 'order_cancelled', 'requested') NOT NULL DEFAULT '',
    provider      ENUM ('', 'standard', 'stripe') NOT NULL DEFAULT '',
    payment_id    VARBINARY(255)   NOT NULL DEFAULT '',
    KEY orders_customer (customer_id),
    CONSTRAINT orders_payment_has_a_sender CHECK ((provider = '') = (payment_id = ''))
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
