package sale

import "time"

// OrderStatus is what a client sees of an order.
type OrderStatus string

// The statuses of an order.
const (
	OrderPendingPayment OrderStatus = "pending_payment"
	OrderPaid           OrderStatus = "paid"
	OrderPaymentFailed  OrderStatus = "payment_failed"
	OrderCancelled      OrderStatus = "cancelled"
	OrderExpired        OrderStatus = "expired" // from PayBy on, swept or not
	OrderRefundDue      OrderStatus = "refund_due"
	OrderRefunded       OrderStatus = "refunded"
)

// OrderStatuses are all statuses.
func OrderStatuses() []OrderStatus {
	return []OrderStatus{
		OrderPendingPayment, OrderPaid, OrderPaymentFailed, OrderCancelled, OrderExpired, OrderRefundDue, OrderRefunded,
	}
}

// RefundReason says why money has to go back to a customer.
type RefundReason string

// The reasons of a refund.
const (
	RefundLate         RefundReason = "late_payment"    // the server does not rebook
	RefundUnitsGone    RefundReason = "units_gone"      // late, and the units are sold
	RefundLimit        RefundReason = "limit_reached"   // late, and the customer's limit is used up
	RefundCancelled    RefundReason = "order_cancelled" // paid after it was cancelled
	RefundExtraPayment RefundReason = "extra_payment"   // the order was paid already
	RefundRequested    RefundReason = "requested"       // somebody asked for it
)

// Order is a hold that its customer means to pay until PayBy. Its lines are its
// hold's lines.
type Order struct {
	ID           OrderID
	CustomerID   string
	Lines        []Line
	Total        Money
	CreatedAt    time.Time
	PayBy        time.Time
	PaidAt       *time.Time
	FailedAt     *time.Time
	CancelledAt  *time.Time
	RefundDueAt  *time.Time
	RefundedAt   *time.Time
	PaymentID    string // the payment that it stands on, "" without one
	Provider     Provider
	RefundReason RefundReason
}

// HoldID is the hold that the order came from.
func (o Order) HoldID() HoldID { return HoldOf(o.ID) }

// Status is the order's status at now, the database's clock. Later facts
// outrank earlier ones: money that went back, money that has to, money that came.
func (o Order) Status(now time.Time) OrderStatus {
	switch {
	case o.RefundedAt != nil:
		return OrderRefunded
	case o.RefundDueAt != nil:
		return OrderRefundDue
	case o.PaidAt != nil:
		return OrderPaid
	case o.CancelledAt != nil:
		return OrderCancelled
	case o.FailedAt != nil:
		return OrderPaymentFailed
	case !now.Before(o.PayBy):
		return OrderExpired
	default:
		return OrderPendingPayment
	}
}
