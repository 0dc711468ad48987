package model

import "slices"

// Where the model says that a payment's money is.
const (
	Owns     = "owns"       // the order stands on it
	OwedBack = "refund_due" // it has to go back
	WentBack = "refunded"
)

// Payments is every payment that the order knows, and where its money is.
func (o *Order) Payments() map[string]string {
	payments := map[string]string{}
	for _, payment := range append(slices.Clone(o.extra), o.TooLate) {
		payments[payment] = OwedBack
	}
	payments[o.PaidBy] = Owns
	for _, payment := range o.returned {
		payments[payment] = WentBack
	}
	delete(payments, "")
	return payments
}
