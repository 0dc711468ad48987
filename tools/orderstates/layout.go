package main

import "github.com/flashsale-api/flashsale/internal/sale"

// lineHeight is how far apart a label's lines are, in the picture's units.
const lineHeight = 16

// box is where a status stands and how it looks.
type box struct {
	Class      string
	X, Y, W, H int
}

// CenterX is where the status's name stands.
func (b box) CenterX() int { return b.X + b.W/2 }

// Baseline is where the status's name stands.
func (b box) Baseline() int { return b.Y + b.H/2 + 5 }

// Radius makes the box's corners round.
func (b box) Radius() int { return min(b.H/2, 22) }

// boxes are the places of all statuses. The wide ones leave room for arrows that
// come straight up or down.
func boxes() map[sale.OrderStatus]box {
	return map[sale.OrderStatus]box{
		sale.OrderPendingPayment: {"off", 24, 260, 160, 110},
		sale.OrderPaid:           {"done", 330, 76, 340, 88},
		sale.OrderPaymentFailed:  {"back", 330, 288, 140, 48},
		sale.OrderExpired:        {"back", 530, 288, 140, 48},
		sale.OrderCancelled:      {"back", 330, 440, 340, 60},
		sale.OrderRefundDue:      {"due", 900, 240, 156, 94},
		sale.OrderRefunded:       {"back", 900, 84, 156, 40},
	}
}

// route is an arrow's way and the place of its label's last line.
type route struct {
	path   string
	x, y   int
	center bool // x is the label's middle, else its left end
}

// routes are the ways of all arrows, between the boxes.
func routes() map[edge]route {
	const (
		pending   = sale.OrderPendingPayment
		paid      = sale.OrderPaid
		failed    = sale.OrderPaymentFailed
		cancelled = sale.OrderCancelled
		expired   = sale.OrderExpired
		due       = sale.OrderRefundDue
		refunded  = sale.OrderRefunded
	)
	return map[edge]route{
		{to: pending}:                  {"M44 96 V258", 54, 190, false},
		{to: paid}:                     {"M44 96 H328", 190, 89, true},
		{from: pending, to: paid}:      {"M144 260 V144 H328", 236, 137, true},
		{from: pending, to: failed}:    {"M184 312 H328", 256, 305, true},
		{from: pending, to: cancelled}: {"M104 370 V470 H328", 216, 463, true},
		{from: pending, to: expired}:   {"M184 356 H500 V320 H528", 256, 349, true},
		{from: paid, to: refunded}:     {"M670 104 H898", 784, 97, true},
		{from: paid, to: due}:          {"M670 150 H914 V238", 784, 143, true},
		{from: failed, to: paid}:       {"M380 288 V166", 390, 212, false},
		{from: failed, to: cancelled}:  {"M400 336 V438", 410, 406, false},
		{from: expired, to: paid}:      {"M570 288 V166", 580, 212, false},
		{from: expired, to: cancelled}: {"M600 336 V438", 610, 406, false},
		{from: cancelled, to: due}:     {"M670 470 H978 V336", 784, 463, true},
		{from: due, to: refunded}:      {"M936 240 V126", 946, 190, false},
		{failed, due, true}:            {"M470 304 H500 V256 H898", 784, 249, true},
		{expired, due, true}:           {"M670 312 H898", 784, 305, true},
	}
}
