package sale

import (
	"slices"
	"time"
)

// LineState says where a line's units are. It is the only stored state.
type LineState string

// The states of a line. Units of the first three are off sale.
const (
	LineHeld     LineState = "held"     // in a hold
	LinePending  LineState = "pending"  // in an unpaid order
	LineSold     LineState = "sold"     // paid for
	LineReturned LineState = "returned" // back on sale
)

// ReturnReason says why a line's units went back on sale.
type ReturnReason string

// The reasons of a return.
const (
	ReturnReleased  ReturnReason = "released"  // given back by the customer
	ReturnExpired   ReturnReason = "expired"   // a hold or an order ran out of time
	ReturnFailed    ReturnReason = "failed"    // the payment failed
	ReturnCancelled ReturnReason = "cancelled" // the order was cancelled
	ReturnRefunded  ReturnReason = "refunded"  // the order's money goes back, its units were restocked
)

// Line is the unit of account: so many units of one product, of one hold.
type Line struct {
	ProductID ProductID
	Quantity  int64
	UnitPrice Money
}

// Product is what the units are of.
func (l Line) Product() ProductID { return l.ProductID }

// Total is what lines cost together. All lines of a hold are in one currency.
func Total(lines []Line) Money {
	var total Money
	for _, line := range lines {
		total.Currency = line.UnitPrice.Currency
		total.Amount += line.UnitPrice.Amount * line.Quantity
	}
	return total
}

// LineRequest is a wish for units of a product.
type LineRequest struct {
	ProductID ProductID
	Quantity  int64
}

// Product is what the units are of.
func (l LineRequest) Product() ProductID { return l.ProductID }

// MergeLines adds up the wishes for one product, in order of first mention.
func MergeLines(lines []LineRequest) []LineRequest {
	merged := make([]LineRequest, 0, len(lines))
	for _, line := range lines {
		same := func(m LineRequest) bool { return m.ProductID == line.ProductID }
		if i := slices.IndexFunc(merged, same); i >= 0 {
			merged[i].Quantity += line.Quantity
			continue
		}
		merged = append(merged, line)
	}
	return merged
}

// Home is the lowest product id of a hold, whose bytes its own id ends with.
func Home(lines []LineRequest) ProductID {
	return slices.MinFunc(lines, func(a, b LineRequest) int { return a.ProductID.Compare(b.ProductID) }).ProductID
}

// HoldStatus is what a client sees of a hold.
type HoldStatus string

// The statuses of a hold.
const (
	HoldActive   HoldStatus = "active"
	HoldOrdered  HoldStatus = "ordered"
	HoldReleased HoldStatus = "released"
	HoldExpired  HoldStatus = "expired" // from ExpiresAt on, swept or not
)

// Hold is units taken off sale for one customer until ExpiresAt.
type Hold struct {
	ID            HoldID
	CustomerID    string
	Lines         []Line
	CreatedAt     time.Time
	ExpiresAt     time.Time
	TTL           time.Duration // as it was when the hold was made
	PaymentWindow time.Duration // the same
	Ordered       bool          // an order was made of it
	Ended         ReturnReason  // why its units went back, while it was a hold
}

// Status is the hold's status at now, the database's clock.
func (h Hold) Status(now time.Time) HoldStatus {
	switch {
	case h.Ordered:
		return HoldOrdered
	case h.Ended == ReturnReleased:
		return HoldReleased
	case h.Ended != "" || !now.Before(h.ExpiresAt):
		return HoldExpired
	default:
		return HoldActive
	}
}

// Extended is when the hold expires after an extension by d: at most
// MaxExtension times its time to live after it was made, never earlier than now.
func (h Hold) Extended(d time.Duration) time.Time {
	end, limit := h.ExpiresAt.Add(d), h.CreatedAt.Add(MaxExtension*h.TTL)
	if end.After(limit) {
		end = limit
	}
	if end.Before(h.ExpiresAt) {
		return h.ExpiresAt
	}
	return end
}
