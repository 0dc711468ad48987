package sale_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/flashsale-api/flashsale/internal/sale"
)

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

func ptr[T any](value T) *T { return &value }

func TestHoldStatusGoesByItsFactsAndTheClock(t *testing.T) {
	t.Parallel()
	hold := func(ordered bool, ended sale.ReturnReason) sale.Hold {
		return sale.Hold{ExpiresAt: noon, Ordered: ordered, Ended: ended}
	}
	before, at := noon.Add(-time.Microsecond), noon
	for _, row := range []struct {
		hold sale.Hold
		now  time.Time
		want sale.HoldStatus
	}{
		{hold(false, ""), before, sale.HoldActive},
		{hold(false, ""), at, sale.HoldExpired},
		{hold(false, sale.ReturnExpired), before, sale.HoldExpired},
		{hold(false, sale.ReturnReleased), before, sale.HoldReleased},
		{hold(false, sale.ReturnReleased), at, sale.HoldReleased},
		{hold(true, ""), at, sale.HoldOrdered},
		{hold(true, sale.ReturnExpired), at, sale.HoldOrdered},
		{hold(true, sale.ReturnFailed), before, sale.HoldOrdered},
	} {
		assert.Equal(t, row.want, row.hold.Status(row.now), "%+v at %s", row.hold, row.now)
	}
}

func TestOrderStatusGoesByTheLatestFactAndTheClock(t *testing.T) {
	t.Parallel()
	order := sale.Order{PayBy: noon}
	assert.Equal(t, sale.OrderPendingPayment, order.Status(noon.Add(-time.Microsecond)))
	assert.Equal(t, sale.OrderExpired, order.Status(noon))
	for _, step := range []struct {
		fact **time.Time
		want sale.OrderStatus
	}{
		{&order.FailedAt, sale.OrderPaymentFailed},
		{&order.CancelledAt, sale.OrderCancelled},
		{&order.PaidAt, sale.OrderPaid},
		{&order.RefundDueAt, sale.OrderRefundDue},
		{&order.RefundedAt, sale.OrderRefunded},
	} {
		*step.fact = ptr(noon)
		assert.Equal(t, step.want, order.Status(noon.Add(-time.Hour)))
		assert.Equal(t, step.want, order.Status(noon.Add(time.Hour)))
	}
}

func TestExtensionNeverPassesTheCapAndNeverShortens(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		second := func(name string, low, high int) time.Duration {
			return time.Duration(rapid.IntRange(low, high).Draw(t, name)) * time.Second
		}
		hold := sale.Hold{CreatedAt: noon, TTL: second("ttl", 1, 86400)}
		hold.ExpiresAt = noon.Add(second("lasts", 0, int(sale.MaxExtension*hold.TTL/time.Second)))
		by := second("by", 1, 1_000_000)
		end, limit := hold.Extended(by), noon.Add(sale.MaxExtension*hold.TTL)
		assert.False(t, end.After(limit))
		assert.False(t, end.Before(hold.ExpiresAt))
		assert.True(t, end.Equal(limit) || end.Equal(hold.ExpiresAt.Add(by)))
	})
}

func TestExtensionOfAHoldPastItsCapLeavesItsEnd(t *testing.T) {
	t.Parallel()
	hold := sale.Hold{CreatedAt: noon, TTL: time.Minute, ExpiresAt: noon.Add(time.Hour)}
	assert.Equal(t, hold.ExpiresAt, hold.Extended(time.Second))
}

func TestMergedLinesKeepSumsAndTheOrderOfFirstMention(t *testing.T) {
	t.Parallel()
	products := []sale.ProductID{sale.NewProductID(), sale.NewProductID(), sale.NewProductID()}
	line := func(i int, quantity int64) sale.LineRequest {
		return sale.LineRequest{ProductID: products[i], Quantity: quantity}
	}
	assert.Equal(t, []sale.LineRequest{line(2, 7), line(0, 2), line(1, 3)},
		sale.MergeLines([]sale.LineRequest{line(2, 1), line(0, 2), line(2, 6), line(1, 3)}))
	assert.Empty(t, sale.MergeLines(nil))
	rapid.Check(t, func(t *rapid.T) {
		lines := rapid.SliceOf(rapid.Custom(func(t *rapid.T) sale.LineRequest {
			return line(rapid.IntRange(0, 2).Draw(t, "product"), rapid.Int64Range(1, 1000).Draw(t, "quantity"))
		})).Draw(t, "lines")
		merged := sale.MergeLines(lines)
		sums, seen := map[sale.ProductID]int64{}, map[sale.ProductID]bool{}
		for _, l := range lines {
			sums[l.ProductID] += l.Quantity
		}
		for _, l := range merged {
			assert.False(t, seen[l.ProductID], "one line a product")
			seen[l.ProductID] = true
			assert.Equal(t, sums[l.ProductID], l.Quantity)
		}
		assert.Len(t, merged, len(sums))
	})
}

func TestHomeIsTheLowestProduct(t *testing.T) {
	t.Parallel()
	low, high := sale.ProductID{1}, sale.ProductID{2}
	assert.Equal(t, low, sale.Home([]sale.LineRequest{{ProductID: high}, {ProductID: low}}))
}

func TestTotalIsTheSumOfTheLines(t *testing.T) {
	t.Parallel()
	price := func(amount int64) sale.Money { return sale.Money{Amount: amount, Currency: "JPY"} }
	assert.Equal(t, price(2*5+3*7), sale.Total([]sale.Line{{Quantity: 2, UnitPrice: price(5)}, {Quantity: 3, UnitPrice: price(7)}}))
}

func TestWindowHoldsItsStartButNotItsEnd(t *testing.T) {
	t.Parallel()
	rules := sale.Rules{SaleStartsAt: ptr(noon), SaleEndsAt: ptr(noon.Add(time.Hour))}
	assert.Equal(t, sale.CodeSaleNotStarted, rules.WindowRefusal(noon.Add(-1)))
	assert.Empty(t, rules.WindowRefusal(noon))
	assert.Empty(t, rules.WindowRefusal(noon.Add(time.Hour-1)))
	assert.Equal(t, sale.CodeSaleEnded, rules.WindowRefusal(noon.Add(time.Hour)))
	assert.Empty(t, sale.Rules{}.WindowRefusal(noon))
}

func TestRulesAreEqualOnlyWhenEveryTermIs(t *testing.T) {
	t.Parallel()
	full := func() sale.Rules {
		return sale.Rules{
			Price: sale.Money{Amount: 1, Currency: "USD"}, SaleStartsAt: ptr(noon), SaleEndsAt: ptr(noon.Add(1)),
			PerCustomerLimit: ptr(int64(2)), HoldTTL: 3, PaymentWindow: 4,
		}
	}
	assert.True(t, full().Equal(full()))
	assert.True(t, sale.Rules{}.Equal(sale.Rules{}))
	for name, change := range map[string]func(*sale.Rules){
		"amount":         func(r *sale.Rules) { r.Price.Amount++ },
		"currency":       func(r *sale.Rules) { r.Price.Currency = "EUR" },
		"start":          func(r *sale.Rules) { r.SaleStartsAt = ptr(noon.Add(2)) },
		"no start":       func(r *sale.Rules) { r.SaleStartsAt = nil },
		"end":            func(r *sale.Rules) { r.SaleEndsAt = ptr(noon.Add(2)) },
		"no end":         func(r *sale.Rules) { r.SaleEndsAt = nil },
		"limit":          func(r *sale.Rules) { r.PerCustomerLimit = ptr(int64(3)) },
		"no limit":       func(r *sale.Rules) { r.PerCustomerLimit = nil },
		"ttl":            func(r *sale.Rules) { r.HoldTTL++ },
		"payment window": func(r *sale.Rules) { r.PaymentWindow++ },
	} {
		other := full()
		change(&other)
		assert.False(t, full().Equal(other), name)
		assert.False(t, other.Equal(full()), name)
	}
}

func TestBooksBalanceOnlyWhenEveryUnitIsInOnePlace(t *testing.T) {
	t.Parallel()
	books := sale.Books{Available: 4, Held: 3, Pending: 2, Sold: 1, Total: 10, LedgerAvailable: 4}
	assert.True(t, books.Balanced())
	for name, change := range map[string]func(*sale.Books){
		"available": func(b *sale.Books) { b.Available++ },
		"held":      func(b *sale.Books) { b.Held++ },
		"pending":   func(b *sale.Books) { b.Pending++ },
		"sold":      func(b *sale.Books) { b.Sold++ },
		"total":     func(b *sale.Books) { b.Total++ },
		"ledger":    func(b *sale.Books) { b.LedgerAvailable++ },
		"negative":  func(b *sale.Books) { b.Available, b.LedgerAvailable, b.Held = -1, -1, 8 },
	} {
		wrong := books
		change(&wrong)
		assert.False(t, wrong.Balanced(), name)
	}
}

func TestErrorsAreToldApartByTheirCode(t *testing.T) {
	t.Parallel()
	cause := errors.New("the cause")
	err := error(&sale.Error{Code: sale.CodeSoldOut, Detail: "All units are sold.", Cause: cause})
	require.ErrorIs(t, err, &sale.Error{Code: sale.CodeSoldOut})
	require.NotErrorIs(t, err, &sale.Error{Code: sale.CodeAllHeld})
	require.ErrorIs(t, err, cause)
	assert.Equal(t, "sold_out: All units are sold.: the cause", err.Error())
	assert.Equal(t, []sale.FieldError{{Pointer: "/a", Detail: "is wrong"}}, sale.Invalid("/a", "is wrong").Fields)
}
