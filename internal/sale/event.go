package sale

import (
	"crypto/sha256"
	"strings"
	"time"
)

// EventType names what the service tells the world.
type EventType string

// The types of events of an order. Each happens at most once in an order's life.
const (
	EventOrderCreated       EventType = "order.created"
	EventOrderPaymentFailed EventType = "order.payment_failed"
	EventOrderExpired       EventType = "order.expired"
	EventOrderPaid          EventType = "order.paid"
	EventOrderCancelled     EventType = "order.cancelled"
	EventOrderRefundDue     EventType = "order.refund_due"
	EventOrderRefunded      EventType = "order.refunded"
)

// The types of events of a payment that does not change its order, but that
// somebody must act on. Each is told at most once of a payment.
const (
	EventPaymentMismatch  EventType = "payment.mismatch"   // not the order's money
	EventPaymentRefundDue EventType = "payment.refund_due" // of an order that was paid already
)

// Sequence is the place of an event in the life of what it is about, an order or a
// payment: of two events of one order the later has the greater number, in
// whatever order they are delivered. Numbers may be left out.
func (e EventType) Sequence() int64 {
	switch e {
	case EventOrderCreated, EventPaymentMismatch:
		return 1
	case EventOrderExpired, EventPaymentRefundDue:
		return 2
	case EventOrderPaymentFailed: // a failure in time may be heard of after the sweep
		return 3
	case EventOrderPaid, EventOrderCancelled:
		return 4
	case EventOrderRefundDue:
		return 5
	case EventOrderRefunded:
		return 6
	case EventStockChanged: // its place is the version of the stock
	}
	return 0
}

// OrderEventID is the id of an order's event of a type, the same whenever it is made.
func OrderEventID(name EventType, order OrderID) EventID {
	return eventID(order, string(name))
}

// PaymentEventID is the id of an event about a payment for an order, the same
// whenever it is made.
func PaymentEventID(name EventType, order OrderID, provider Provider, paymentID string) EventID {
	return eventID(order, string(name), string(provider), paymentID)
}

// eventID is a UUIDv7 with the order's time, so that events lie in the database
// beside those of their time, and a hash of what names the event.
func eventID(order OrderID, names ...string) EventID {
	hash := sha256.Sum256([]byte(string(order[:]) + strings.Join(names, "\x00")))
	copy(hash[:timeBytes], order[:timeBytes])
	return EventID(asUUIDv7([idBytes]byte(hash[:idBytes])))
}

// MovementReason says why a product's available stock changed.
type MovementReason string

// The reasons of movements. An adjustment's own words stand beside its reason.
const (
	MovementCreated   MovementReason = "created"
	MovementAdjusted  MovementReason = "adjusted"
	MovementHeld      MovementReason = "held"
	MovementReleased  MovementReason = "released"
	MovementExpired   MovementReason = "expired"
	MovementFailed    MovementReason = "failed"
	MovementCancelled MovementReason = "cancelled"
	MovementRefunded  MovementReason = "refunded"
	MovementRebooked  MovementReason = "rebooked"
	MovementRepaired  MovementReason = "repaired" // the books did not balance
)

// Movement is one row of a product's ledger.
type Movement struct {
	StockVersion   int64 // that it made, counted from 1
	Delta          int64 // units
	AvailableAfter int64
	Reason         MovementReason
	Note           string
	CreatedAt      time.Time
}
