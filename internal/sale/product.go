// Package sale is the domain in plain Go: products, holds and orders, what may
// happen to them, and the errors that say why something may not.
package sale

import "time"

// Limits of what one product, hold or text may be. The contract states them,
// the database checks them.
const (
	// MaxStock bounds a product's stock and one adjustment, in units.
	MaxStock = 1_000_000_000
	// MaxAmount bounds a sum of money, in minor units.
	MaxAmount = 1_000_000_000_000
	// MaxLines bounds the lines of one hold.
	MaxLines = 20
	// MaxQuantity bounds the units of one line as it is asked for.
	MaxQuantity = 1000
	// MaxExtension is how many times its time to live a hold can last.
	MaxExtension = 3
)

// Money is a sum in minor units of an ISO 4217 currency.
type Money struct {
	Amount   int64
	Currency string
}

// Rules are the terms on which a product is sold.
type Rules struct {
	Price            Money
	SaleStartsAt     *time.Time // inside the window; nil: from ever
	SaleEndsAt       *time.Time // outside of the window; nil: for ever
	PerCustomerLimit *int64     // units; nil: no limit
	HoldTTL          time.Duration
	PaymentWindow    time.Duration
}

// Product is something sold in a limited number.
type Product struct {
	ID   ProductID
	SKU  string
	Name string
	Rules
	TotalStock     int64 // ever put on sale, net of adjustments
	AvailableStock int64
	StockVersion   int64 // +1 with each change of stock
	Version        int64 // +1 with any change
	CreatedAt      time.Time
	UpdatedAt      time.Time
}

// Reserved is the product once so many of its units were taken off sale.
func (p Product) Reserved(units int64, now time.Time) Product {
	p.AvailableStock -= units
	p.StockVersion++
	p.Version++
	p.UpdatedAt = now
	return p
}

// WindowRefusal says why nothing of the product may be held at now: "" while
// its window is open, CodeSaleNotStarted before it, CodeSaleEnded after.
func (r Rules) WindowRefusal(now time.Time) Code {
	switch {
	case r.SaleStartsAt != nil && now.Before(*r.SaleStartsAt):
		return CodeSaleNotStarted
	case r.SaleEndsAt != nil && !now.Before(*r.SaleEndsAt):
		return CodeSaleEnded
	default:
		return ""
	}
}

// Equal says whether two products are sold on the same terms.
func (r Rules) Equal(other Rules) bool {
	return r.Price == other.Price && r.HoldTTL == other.HoldTTL && r.PaymentWindow == other.PaymentWindow &&
		sameTime(r.SaleStartsAt, other.SaleStartsAt) && sameTime(r.SaleEndsAt, other.SaleEndsAt) &&
		(r.PerCustomerLimit == nil) == (other.PerCustomerLimit == nil) &&
		(r.PerCustomerLimit == nil || *r.PerCustomerLimit == *other.PerCustomerLimit)
}

func sameTime(a, b *time.Time) bool {
	return (a == nil) == (b == nil) && (a == nil || a.Equal(*b))
}
