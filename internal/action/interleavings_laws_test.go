package action_test

import (
	"database/sql"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/sale"
)

// history is what the database says of an order at the end.
type history struct {
	order    sale.Order
	total    int64
	status   sale.OrderStatus
	payments map[string]sale.PaymentState
	told     []told
}

// told is one event that went out.
type told struct {
	name    sale.EventType
	payment string // "" where it speaks of none
	reason  sale.RefundReason
}

// each runs a query and gives each row to scan.
func (s *shop) each(query string, scan func(rows *sql.Rows) error) {
	s.t.Helper()
	rows, err := s.db.SQL().QueryContext(s.ctx(), query)
	require.NoError(s.t, err)
	defer func() { require.NoError(s.t, rows.Close()) }()
	for rows.Next() {
		require.NoError(s.t, scan(rows))
	}
	require.NoError(s.t, rows.Err())
}

// histories are those of all orders.
func (s *shop) histories() map[sale.OrderID]*history {
	s.t.Helper()
	all := map[sale.OrderID]*history{}
	s.each(`SELECT id, customer_id, total_amount, pay_by, paid_at, failed_at, cancelled_at, refund_due_at, refunded_at,
		payment_id, NOW(6) FROM orders`, func(rows *sql.Rows) error {
		h := &history{payments: map[string]sale.PaymentState{}}
		o := &h.order
		var now sql.NullTime
		err := rows.Scan(&o.ID, &o.CustomerID, &h.total, &o.PayBy, &o.PaidAt, &o.FailedAt, &o.CancelledAt,
			&o.RefundDueAt, &o.RefundedAt, &o.PaymentID, &now)
		h.status = o.Status(now.Time)
		all[o.ID] = h
		return err
	})
	s.each("SELECT order_id, payment_id, state FROM payments", func(rows *sql.Rows) error {
		var order sale.OrderID
		var payment string
		var state sale.PaymentState
		err := rows.Scan(&order, &payment, &state)
		all[order].payments[payment] = state
		return err
	})
	s.each(`SELECT order_id, type, COALESCE(payload->>'$.payment_id', ''), COALESCE(payload->>'$.reason', '')
		FROM outbox ORDER BY order_id, sequence`, func(rows *sql.Rows) error {
		var order sale.OrderID
		var event told
		err := rows.Scan(&order, &event.name, &event.payment, &event.reason)
		all[order].told = append(all[order].told, event)
		return err
	})
	return all
}

// beyondLimit counts the customers who have more of a product than its limit, as long
// as the limit does not change.
const beyondLimit = `SELECT COUNT(*) FROM (
	SELECT 1 FROM hold_lines l JOIN products p ON p.id = l.product_id LEFT JOIN orders o ON o.id = l.id
	WHERE l.state <> 'returned' AND o.refund_due_at IS NULL AND o.refunded_at IS NULL
	GROUP BY l.product_id, l.customer_id, p.per_customer_limit HAVING SUM(l.quantity) > p.per_customer_limit) AS beyond`

// verify proves of one order that its money was fulfilled or reported, and that what
// the world was told leads to where it is.
func (h *history) verify(t *testing.T, answers map[string][]sale.PaymentOutcome) {
	t.Helper()
	for payment, state := range h.payments {
		h.verifyPayment(t, payment, state, answers[payment])
	}
	assert.Contains(t, h.reachable(), h.status, "%s of %s was told of as %v", h.order.ID, h.order.CustomerID, h.told)
	refunded := h.total == 0 || h.payments[h.order.PaymentID] == sale.PaymentReturned
	assert.True(t, h.status != sale.OrderRefunded || refunded, "%s is refunded, its payment is not", h.order.ID)
	for _, event := range h.told {
		// A failed payment is no money, hence not known.
		known := event.payment == "" || event.name == sale.EventOrderPaymentFailed || h.payments[event.payment] != ""
		assert.True(t, known, "%v is of no known payment", event)
	}
}

// verifyPayment: a payment fulfilled the order, or was reported, or its refund was
// told first, one of them, once; and one of its senders was told so.
func (h *history) verifyPayment(t *testing.T, payment string, state sale.PaymentState, answers []sale.PaymentOutcome) {
	t.Helper()
	about := payment + " of customer " + h.order.CustomerID
	fulfilled, reported, requested := 0, 0, 0
	for _, event := range h.told {
		switch {
		case event.payment != payment:
		case event.name == sale.EventOrderPaid:
			fulfilled++
		case event.reason == sale.RefundRequested:
			requested++
		case event.name == sale.EventOrderRefundDue || event.name == sale.EventPaymentRefundDue:
			reported++
		}
	}
	decided := 0
	for _, outcome := range answers {
		switch outcome {
		case sale.OutcomePaid, sale.OutcomeRebooked, sale.OutcomeRefundDue, sale.OutcomeRefundDueExtra:
			decided++
		default:
		}
	}
	assert.Equal(t, fulfilled+reported, decided, "%s: what its senders were told is what the world was told", about)
	assert.LessOrEqual(t, requested, fulfilled, "%s: a refund is asked for where there was money", about)
	switch state {
	case sale.PaymentOwns:
		assert.Equal(t, []int{1, 0, 0}, []int{fulfilled, reported, requested}, about)
		assert.Equal(t, payment, h.order.PaymentID, "the order stands on it")
		assert.Equal(t, sale.OrderPaid, h.status, about)
	case sale.PaymentRefundDue:
		assert.Equal(t, 1, reported+requested, "%s: money that has to go back is reported once", about)
		assert.Equal(t, 1, fulfilled+reported, about)
	case sale.PaymentReturned:
		// Without either, the refund was told first.
		assert.LessOrEqual(t, fulfilled+reported, 1, about)
		assert.True(t, fulfilled+reported == 1 || payment != h.order.PaymentID, "%s: a void payment owns nothing", about)
	default:
		assert.Fail(t, "no such state", "%s: %s", about, state)
	}
}

// reachable are the statuses that the events told of an order can have led to, by the
// order's own machine.
func (h *history) reachable() []sale.OrderStatus {
	at := []sale.OrderStatus{sale.OrderPendingPayment}
	if h.total == 0 {
		at = []sale.OrderStatus{sale.OrderPaid}
	}
	for _, event := range h.told {
		switch {
		case event.name == sale.EventOrderCreated, h.total == 0 && event.name == sale.EventOrderPaid:
		case event.name == sale.EventPaymentMismatch, event.name == sale.EventPaymentRefundDue:
		default:
			at = after(withTime(at), event.name)
		}
	}
	return withTime(at)
}

// withTime adds what a status becomes by itself.
func withTime(at []sale.OrderStatus) []sale.OrderStatus {
	if slices.Contains(at, sale.OrderPendingPayment) {
		return append(at, sale.OrderExpired)
	}
	return at
}

// after are the statuses to which something leads that is told with this event.
func after(at []sale.OrderStatus, name sale.EventType) []sale.OrderStatus {
	var to []sale.OrderStatus
	for _, status := range at {
		for _, trigger := range sale.Triggers() {
			next := sale.Next(status, trigger)
			if next.Tells == name {
				to = append(to, next.To)
			}
			if next.Else != "" && name == sale.TooLate("").Tells {
				to = append(to, next.Else)
			}
		}
	}
	return to
}
