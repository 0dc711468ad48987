// Package model is the flash sale as one would explain it on paper: what customers,
// clocks and payment providers do, one thing after the other, and what each is
// answered. Nothing is stored that can be derived, so it shares no mistake with the
// service: how much is available is what was put on sale less what is taken.
package model

import "slices"

// Codes and words of the contract that the model answers with.
const (
	Fine = "" // not refused

	InsufficientStock   = "insufficient_stock"
	AllHeld             = "all_held"
	SoldOut             = "sold_out"
	LimitReached        = "limit_reached"
	HoldExpired         = "hold_expired"
	HoldNotActive       = "hold_not_active"
	HoldAlreadyOrdered  = "hold_already_ordered"
	OrderNotCancellable = "order_not_cancellable"
	OrderNotRefundable  = "order_not_refundable"

	Active   = "active"
	Ordered  = "ordered"
	Released = "released"
	Expired  = "expired"

	PendingPayment = "pending_payment"
	Paid           = "paid"
	PaymentFailed  = "payment_failed"
	Cancelled      = "cancelled"
	RefundDue      = "refund_due"
	Refunded       = "refunded"

	Rebooked       = "rebooked"
	RefundDueExtra = "refund_due_extra"
	Duplicate      = "duplicate"
	Ignored        = "ignored"
	Mismatch       = "mismatch"
)

// Product is something on sale.
type Product struct {
	Stock int64 // ever put on sale, net of adjustments
	Limit int64 // for each customer; 0: none
}

// Line is units of a product, by its number in the model.
type Line struct {
	Product  int
	Quantity int64
}

// Hold is units that a customer took, and what became of them.
type Hold struct {
	Customer string
	Lines    []Line
	Overdue  bool // its time, or its order's, is over
	Released bool
	Order    *Order // nil: not ordered
}

// Order is a hold that its customer means to pay.
type Order struct {
	Failed, Cancelled bool
	PaidBy            string // the payment that it stands on, "" without one
	TooLate           string // the payment that came too late for it, "" without one
	Asked             bool   // somebody asked for the refund
	Restocked         bool
	MoneyBack         bool
	extra             []string // payments that came when it was settled
	returned          []string // payments that went back, of any kind
}

// Refusal is what a hold's line is refused with.
type Refusal struct {
	Code      string
	Product   int
	Requested int64
	Available int64
	Limit     int64
	// Current is the customer's units that count. Units whose time is over count until
	// somebody gives them back: then the service may name up to CurrentAtMost.
	Current, CurrentAtMost int64
}

// Model is a shop. The zero value is an empty one.
type Model struct {
	Products []Product
	Holds    []*Hold
}

// Available is how many units of a product can be taken now.
func (m *Model) Available(product int) int64 {
	return m.Products[product].Stock - m.taken(product, func(*Hold) bool { return true })
}

// taken adds up the units of a product that are off sale in holds of a kind.
func (m *Model) taken(product int, kind func(*Hold) bool) int64 {
	var units int64
	for _, hold := range m.Holds {
		if hold.takes() && kind(hold) {
			units += hold.units(product)
		}
	}
	return units
}

func (h *Hold) units(product int) int64 {
	var units int64
	for _, line := range h.Lines {
		if line.Product == product {
			units += line.Quantity
		}
	}
	return units
}

// takes says whether the hold's units are off sale.
func (h *Hold) takes() bool {
	if h.Order == nil {
		return h.Status() == Active
	}
	return h.Order.sold() || h.OrderStatus() == PendingPayment
}

func (o *Order) sold() bool { return o.PaidBy != "" && !o.Restocked }

// waits says that the hold's units may come back by themselves.
func (h *Hold) waits() bool { return h.Order == nil || !h.Order.sold() }

// counts says whether the hold's units count against its customer's limit.
func (h *Hold) counts() bool { return h.takes() && (h.waits() || h.OrderStatus() == Paid) }

// Status is the hold's.
func (h *Hold) Status() string {
	switch {
	case h.Order != nil:
		return Ordered
	case h.Released:
		return Released
	case h.Overdue:
		return Expired
	default:
		return Active
	}
}

// OrderStatus is the status of the hold's order.
func (h *Hold) OrderStatus() string {
	switch o := h.Order; {
	case o.MoneyBack:
		return Refunded
	case o.TooLate != "" || o.Asked:
		return RefundDue
	case o.PaidBy != "":
		return Paid
	case o.Cancelled:
		return Cancelled
	case o.Failed:
		return PaymentFailed
	case h.Overdue:
		return Expired
	default:
		return PendingPayment
	}
}

// Take makes a hold of merged lines, or says why not: all or nothing, and a
// customer's limit is asked before the stock.
func (m *Model) Take(customer string, lines []Line) (hold *Hold, code string, refusals []Refusal) {
	for _, refuse := range []func(string, Line) *Refusal{m.overLimit, m.short} {
		for _, line := range lines {
			if refusal := refuse(customer, line); refusal != nil {
				refusals = append(refusals, *refusal)
			}
		}
		if len(refusals) > 0 {
			return nil, mildest(refusals), refusals
		}
	}
	hold = &Hold{Customer: customer, Lines: lines}
	m.Holds = append(m.Holds, hold)
	return hold, Fine, nil
}

// mildest is the code of a refusal of several lines.
func mildest(refusals []Refusal) string {
	for _, code := range []string{LimitReached, InsufficientStock, AllHeld, SoldOut} {
		if slices.ContainsFunc(refusals, func(r Refusal) bool { return r.Code == code }) {
			return code
		}
	}
	return Fine
}

func (m *Model) overLimit(customer string, line Line) *Refusal {
	limit := m.Products[line.Product].Limit
	current := m.counted(customer, line.Product, nil)
	if limit == 0 || current+line.Quantity <= limit {
		return nil
	}
	return &Refusal{
		Code: LimitReached, Product: line.Product, Limit: limit,
		Current: current, CurrentAtMost: current + m.overdue(customer, line.Product),
	}
}

// counted is how many units a customer has of a product, but for one hold.
func (m *Model) counted(customer string, product int, but *Hold) int64 {
	var units int64
	for _, hold := range m.Holds {
		if hold != but && hold.Customer == customer && hold.counts() {
			units += hold.units(product)
		}
	}
	return units
}

// overdue is how many units whose time is over a customer may still have.
func (m *Model) overdue(customer string, product int) int64 {
	var units int64
	for _, hold := range m.Holds {
		if hold.Customer == customer && hold.Overdue && !hold.takes() {
			units += hold.units(product)
		}
	}
	return units
}

func (m *Model) short(_ string, line Line) *Refusal {
	available := m.Available(line.Product)
	if available >= line.Quantity {
		return nil
	}
	refusal := &Refusal{Code: InsufficientStock, Product: line.Product, Requested: line.Quantity, Available: available}
	switch {
	case available > 0:
	case m.taken(line.Product, (*Hold).waits) > 0:
		refusal.Code = AllHeld
	default:
		refusal.Code = SoldOut
	}
	return refusal
}

// Adjust changes a product's stock, unless that would take what is not available.
func (m *Model) Adjust(product int, delta int64) string {
	if m.Available(product)+delta < 0 {
		return InsufficientStock
	}
	m.Products[product].Stock += delta
	return Fine
}

// Release gives a hold back; one that is over stays as it is.
func (m *Model) Release(h *Hold) string {
	switch h.Status() {
	case Ordered:
		return HoldNotActive
	case Active:
		h.Released = true
	}
	return Fine
}

// Extend gives a customer more time, which the model does not measure.
func (m *Model) Extend(h *Hold) string {
	if h.Status() != Active {
		return HoldNotActive
	}
	return Fine
}

// Expire lets the time of a hold or of its order run out.
func (m *Model) Expire(h *Hold) { h.Overdue = true }

// MakeOrder orders a hold. The order's own time begins.
func (m *Model) MakeOrder(h *Hold) string {
	switch h.Status() {
	case Ordered:
		return HoldAlreadyOrdered
	case Released:
		return HoldNotActive
	case Expired:
		return HoldExpired
	}
	h.Order = &Order{}
	return Fine
}

// Cancel ends an order that nobody has paid.
func (m *Model) Cancel(h *Hold) string {
	switch h.OrderStatus() {
	case Paid, RefundDue, Refunded:
		return OrderNotCancellable
	}
	h.Order.Cancelled = true
	return Fine
}

// Refund asks for a paid order's money to go back.
func (m *Model) Refund(h *Hold, restock bool) string {
	switch h.OrderStatus() {
	case Paid:
		h.Order.Asked, h.Order.Restocked = true, restock
	case RefundDue:
		h.Order.Restocked = h.Order.Restocked || restock
	default:
		return OrderNotRefundable
	}
	return Fine
}

// Succeed is a payment's success, of the order's amount or of another.
func (m *Model) Succeed(h *Hold, payment string, matches bool) string {
	o := h.Order
	settled := o.PaidBy != "" || o.TooLate != ""
	switch {
	case slices.Contains(o.returned, payment) && !settled:
		return Ignored
	case o.knows(payment):
		return Duplicate
	case !matches:
		return Mismatch
	case settled:
		o.extra = append(o.extra, payment)
		return RefundDueExtra
	case h.OrderStatus() == PendingPayment:
		o.PaidBy = payment
		return Paid
	case o.Cancelled || !m.fits(h):
		o.TooLate = payment
		return RefundDue
	default:
		o.PaidBy = payment
		return Rebooked
	}
}

func (o *Order) knows(payment string) bool {
	return payment == o.PaidBy || payment == o.TooLate || slices.Contains(o.extra, payment) || slices.Contains(o.returned, payment)
}

// fits says whether all units of a hold that gave its own back can be had again.
func (m *Model) fits(h *Hold) bool {
	for _, line := range h.Lines {
		limit := m.Products[line.Product].Limit
		if limit > 0 && m.counted(h.Customer, line.Product, h)+line.Quantity > limit {
			return false
		}
		if m.Available(line.Product) < line.Quantity {
			return false
		}
	}
	return true
}

// Fail is a payment's failure, of the order's amount or of another.
func (m *Model) Fail(h *Hold, matches bool) string {
	switch {
	case h.OrderStatus() != PendingPayment:
		return Ignored
	case !matches:
		return Mismatch
	}
	h.Order.Failed = true
	return PaymentFailed
}

// Return is money that went back, of the order's amount or of another.
func (m *Model) Return(h *Hold, payment string, matches bool) string {
	o := h.Order
	switch {
	case slices.Contains(o.returned, payment):
		return Duplicate
	case !matches:
		return Mismatch
	case payment == o.PaidBy || payment == o.TooLate:
		o.MoneyBack = true
	}
	o.returned = append(o.returned, payment)
	return Refunded
}
