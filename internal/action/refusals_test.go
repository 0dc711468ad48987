package action_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/action"
	"github.com/flashsale-api/flashsale/internal/sale"
)

func withWindow(starts, ends *time.Time) func(*action.CreateProductInput) {
	return func(in *action.CreateProductInput) { in.Rules.SaleStartsAt, in.Rules.SaleEndsAt = starts, ends }
}

func TestMissingProductsAreAllNamed(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		there := s.product(1)
		one, other := sale.NewProductID(), sale.NewProductID()
		refusal := s.refused(sale.CodeProductNotFound, wish("ann",
			sale.LineRequest{ProductID: one, Quantity: 1}, line(there, 9), sale.LineRequest{ProductID: other, Quantity: 1}))
		assert.Equal(t, []sale.Refusal{
			{Code: sale.CodeProductNotFound, ProductID: one}, {Code: sale.CodeProductNotFound, ProductID: other},
		}, refusal.Lines)
		assert.Zero(t, refusal.RetryAfter)
		assert.Equal(t, 1, s.meter.rejected[sale.CodeProductNotFound])
	})
}

func TestMixedCurrencyIsRefused(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		s.refused(sale.CodeMixedCurrency, wish("ann", line(s.product(1), 1), line(s.product(1, priced(1, "EUR")), 1)))
	})
}

func TestTotalPastTheLimitIsInvalid(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		dear, cheap := s.product(1000, priced(sale.MaxAmount, "USD")), s.product(1000, priced(1, "USD"))
		s.refused(sale.CodeInvalidRequest, wish("ann", line(dear, 2)))
		s.refused(sale.CodeInvalidRequest, wish("ann", line(dear, 1), line(cheap, 1)))
		s.hold("ann", line(dear, 1))
	})
}

func TestSaleThatHasNotStartedSaysWhenItDoes(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		starts := at(30 * time.Second)
		p := s.product(1, withWindow(starts, nil))
		refusal := s.refused(sale.CodeSaleNotStarted, wish("ann", line(p, 1)))
		assert.Equal(t, []sale.Refusal{{Code: sale.CodeSaleNotStarted, ProductID: p.ID, SaleStartsAt: starts}}, refusal.Lines)
		assert.Positive(t, refusal.RetryAfter)
		assert.LessOrEqual(t, refusal.RetryAfter, 31*time.Second)
	})
}

func TestSaleThatEndedSaysWhenItDid(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		ends := at(longAgo)
		p := s.product(1, withWindow(nil, ends))
		refusal := s.refused(sale.CodeSaleEnded, wish("ann", line(p, 1)))
		assert.Equal(t, []sale.Refusal{{Code: sale.CodeSaleEnded, ProductID: p.ID, SaleEndsAt: ends}}, refusal.Lines)
		assert.Zero(t, refusal.RetryAfter)
	})
}

func TestInsufficientStockSaysWhatThereIs(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		p := s.product(3)
		s.hold("bob", line(p, 1))
		refusal := s.refused(sale.CodeInsufficient, wish("ann", line(p, 3)))
		assert.Equal(t, []sale.Refusal{{Code: sale.CodeInsufficient, ProductID: p.ID, Requested: 3, Available: 2}}, refusal.Lines)
	})
}

func TestAllHeldSaysWhenTheFirstUnitsMayComeBack(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		p := s.product(3)
		s.order(s.hold("bob", line(p, 1)))
		first := s.hold("eve", line(p, 1))
		s.hold("eve", line(p, 1))
		refusal := s.refused(sale.CodeAllHeld, wish("ann", line(p, 1)))
		assert.Equal(t, []sale.Refusal{{
			Code: sale.CodeAllHeld, ProductID: p.ID, Requested: 1, NextReleaseAt: &first.ExpiresAt,
		}}, refusal.Lines)
		assert.Positive(t, refusal.RetryAfter)
	})
}

func TestPendingUnitsAloneMakeAllHeldToo(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		p := s.product(1)
		order := s.ordered("bob", line(p, 1))
		refusal := s.refused(sale.CodeAllHeld, wish("ann", line(p, 1)))
		assert.Equal(t, &order.PayBy, refusal.Lines[0].NextReleaseAt)
	})
}

func TestSoldOutIsFinal(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		p, never := s.product(1), s.product(0)
		s.succeed(s.ordered("bob", line(p, 1)), "pay")
		for _, gone := range []sale.Product{p, never} {
			refusal := s.refused(sale.CodeSoldOut, wish("ann", line(gone, 2)))
			assert.Equal(t, []sale.Refusal{{Code: sale.CodeSoldOut, ProductID: gone.ID, Requested: 2}}, refusal.Lines)
			assert.Zero(t, refusal.RetryAfter)
		}
	})
}

func TestLinesOfTheStockClassHaveEachTheirOwnCode(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		few, held, sold, fine := s.product(1), s.product(1), s.product(0), s.product(9)
		hold := s.hold("bob", line(held, 1))
		refusal := s.refused(sale.CodeInsufficient, wish("ann", line(sold, 1), line(held, 1), line(fine, 1), line(few, 2)))
		assert.Equal(t, []sale.Refusal{
			{Code: sale.CodeSoldOut, ProductID: sold.ID, Requested: 1},
			{Code: sale.CodeAllHeld, ProductID: held.ID, Requested: 1, NextReleaseAt: &hold.ExpiresAt},
			{Code: sale.CodeInsufficient, ProductID: few.ID, Requested: 2, Available: 1},
		}, refusal.Lines)
		assert.Zero(t, refusal.RetryAfter, "waiting does not help who asked for too much")
		s.requireUnits(fine, 9, 0, 0, 0)
	})
}

// The answer's own code promises that waiting can help, whatever other lines say.
func TestAllHeldBesideASoldOutLineSaysHowLongToWait(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		held, sold := s.product(1), s.product(0)
		s.hold("bob", line(held, 1))
		refusal := s.refused(sale.CodeAllHeld, wish("ann", line(sold, 1), line(held, 1)))
		assert.Len(t, refusal.Lines, 2)
		assert.Positive(t, refusal.RetryAfter)
	})
}

// Each line adds the offence of an earlier class to all those of the later ones.
func TestFirstClassThatAppliesAnswers(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		soldOut := line(s.product(0), 1)
		limit := line(s.product(9, limited(1)), 2)
		early := line(s.product(9, withWindow(at(farAhead), nil)), 1)
		late := line(s.product(9, withWindow(nil, at(longAgo))), 1)
		euro := line(s.product(9, priced(1, "EUR")), 1)
		missing := sale.LineRequest{ProductID: sale.NewProductID(), Quantity: 1}
		lines := []sale.LineRequest{line(s.product(9), 1)}
		for _, step := range []struct {
			offence sale.LineRequest
			code    sale.Code
			named   int
		}{
			{soldOut, sale.CodeSoldOut, 1},
			{limit, sale.CodeLimitReached, 1},
			{late, sale.CodeSaleEnded, 1},
			{early, sale.CodeSaleNotStarted, 2},
			{euro, sale.CodeMixedCurrency, 0},
			{missing, sale.CodeProductNotFound, 1},
		} {
			lines = append(lines, step.offence)
			refusal := s.refused(step.code, wish("ann", lines...))
			assert.Len(t, refusal.Lines, step.named, step.code)
		}
	})
}

func TestRefusalLeavesNothingBehind(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		low, high := s.twoProducts(5, 0)
		s.refused(sale.CodeSoldOut, keyedWish("k", "ann", line(low, 1), line(high, 1)))
		assert.Zero(t, s.count("SELECT COUNT(*) FROM hold_lines"))
		assert.Equal(t, int64(2), s.count("SELECT COUNT(*) FROM idempotency_keys"), "those of the products")
		s.requireUnits(low, 5, 0, 0, 0)
	})
}

// The cache is behind in each of these: only the atomic statement can know better.

func TestHoldIsMadeOnTheRulesOfNowNotOnCachedOnes(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		p := s.product(5)
		s.hold("ann", line(p, 1))
		_, err := s.UpdateProduct.Do(s.ctx(), p.ID, action.ProductPatch{
			Price: &sale.Money{Amount: 7, Currency: "EUR"}, HoldTTL: ptr(time.Minute),
		})
		require.NoError(t, err)
		hold := s.hold("ann", line(p, 1))
		assert.Equal(t, sale.Money{Amount: 7, Currency: "EUR"}, hold.Lines[0].UnitPrice)
		assert.Equal(t, time.Minute, hold.TTL)
	}, withFrozenCache)
}

func TestLimitThatTheCacheDoesNotKnowCounts(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		p := s.product(5)
		s.hold("ann", line(p, 1))
		_, err := s.UpdateProduct.Do(s.ctx(), p.ID, action.ProductPatch{PerCustomerLimit: action.Change[int64]{Given: true, Value: ptr(int64(1))}})
		require.NoError(t, err)
		s.refused(sale.CodeLimitReached, wish("ann", line(p, 1)))
	}, withFrozenCache)
}

func TestHoldOfSeveralProductsTakesNothingWhenOneIsGoneUnknownToTheCache(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		low, high := s.twoProducts(5, 1)
		s.hold("ann", line(low, 1), line(high, 1))
		s.refused(sale.CodeAllHeld, wish("bob", line(low, 1), line(high, 1)))
		s.requireUnits(low, 4, 1, 0, 0)
		s.requireUnits(high, 0, 1, 0, 0)
	}, withFrozenCache)
}

func TestWindowIsCheckedByTheDatabasesClockInTheAtomicStatement(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		p := s.product(5)
		s.hold("ann", line(p, 1))
		for column, code := range map[string]sale.Code{"sale_ends_at": sale.CodeSaleEnded, "sale_starts_at": sale.CodeSaleNotStarted} {
			offset := map[sale.Code]int{sale.CodeSaleEnded: -1, sale.CodeSaleNotStarted: 3600}[code]
			// The same terms, so that nothing but the window can refuse.
			s.exec("UPDATE products SET sale_starts_at = NULL, sale_ends_at = NULL")
			s.exec("UPDATE products SET "+column+" = NOW(6) + INTERVAL ? SECOND", offset)
			s.refused(code, wish("ann", line(p, 1)))
		}
		s.exec("UPDATE products SET sale_starts_at = NOW(6) - INTERVAL 1 SECOND, sale_ends_at = NOW(6) + INTERVAL 1 HOUR")
		s.hold("ann", line(p, 1))
	}, withFrozenCache)
}

func TestCurrencyThatTheCacheDoesNotKnowRefusesNobody(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		one, other := s.product(5), s.product(5, priced(1, "EUR"))
		s.refused(sale.CodeMixedCurrency, wish("ann", line(one, 1), line(other, 1)))
		_, err := s.UpdateProduct.Do(s.ctx(), other.ID, action.ProductPatch{Price: &sale.Money{Amount: 2, Currency: "USD"}})
		require.NoError(t, err)
		s.hold("ann", line(one, 1), line(other, 1))
	}, withFrozenCache)
}

func TestStockThatTheCacheDoesNotKnowIsSold(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		p := s.product(0)
		s.refused(sale.CodeSoldOut, wish("ann", line(p, 1)))
		_, err := s.AdjustStock.Do(s.ctx(), action.AdjustStockInput{ProductID: p.ID, Delta: 1, Reason: "found"})
		require.NoError(t, err)
		s.hold("ann", line(p, 1))
	}, withFrozenCache)
}

// Wishes for several products share a look with whoever else looks, whatever the products are.
func TestBasketsThatShareALookAreEachAnsweredForThemselves(t *testing.T) {
	c := openCounted(t, withEternalCache)
	plenty, few, gone := c.product(100), c.product(3), c.product(0)
	one, early := c.product(100, limited(1)), c.product(100, withWindow(at(farAhead), nil))
	c.hold("ann", line(one, 1))
	c.hold("bob", line(one, 1))
	basket := []sale.LineRequest{line(plenty, 1), line(few, 1)}
	made := []action.CreateHoldInput{
		keyedWish("one", "ann", basket...),
		keyedWish("two", "ann", basket...),
		keyedWish(sale.NewHoldID(sale.Home(basket)).String(), "bob", basket...),
	}
	var replays []action.Result[action.HoldView]
	for i, in := range made {
		result, err := c.CreateHold.Do(c.ctx(), in)
		require.NoError(t, err)
		c.succeed(c.order(result.Value), fmt.Sprint("payment ", i))
		result.Value.Status, result.Value.Ordered, result.Replayed = sale.HoldOrdered, true, true
		replays = append(replays, result)
	}
	tests := []struct {
		wish   action.CreateHoldInput
		replay action.Result[action.HoldView]
		code   sale.Code
		lines  []sale.Refusal
	}{
		{wish: made[0], replay: replays[0]},
		{wish: keyedWish("two", "ann", line(plenty, 2), line(few, 1)), code: sale.CodeKeyReused},
		{wish: made[2], replay: replays[2]},
		{wish: wish("ann", line(plenty, 1), line(gone, 3)), code: sale.CodeSoldOut, lines: []sale.Refusal{
			{Code: sale.CodeSoldOut, ProductID: gone.ID, Requested: 3},
		}},
		{wish: wish("cid", line(one, 1), line(gone, 1)), code: sale.CodeSoldOut, lines: []sale.Refusal{
			{Code: sale.CodeSoldOut, ProductID: gone.ID, Requested: 1},
		}},
		{wish: wish("ann", line(one, 1), line(gone, 1)), code: sale.CodeLimitReached, lines: []sale.Refusal{
			{Code: sale.CodeLimitReached, ProductID: one.ID, Limit: 1, Current: 1},
		}},
		{wish: wish("bob", line(one, 1), line(gone, 1)), code: sale.CodeLimitReached, lines: []sale.Refusal{
			{Code: sale.CodeLimitReached, ProductID: one.ID, Limit: 1, Current: 1},
		}},
		{wish: wish("ann", line(gone, 1), line(early, 1)), code: sale.CodeSaleNotStarted, lines: []sale.Refusal{
			{Code: sale.CodeSaleNotStarted, ProductID: early.ID, SaleStartsAt: early.SaleStartsAt},
		}},
		{wish: wish("eve", line(gone, 2), line(few, 1)), code: sale.CodeSoldOut, lines: []sale.Refusal{
			{Code: sale.CodeSoldOut, ProductID: gone.ID, Requested: 2},
			{Code: sale.CodeSoldOut, ProductID: few.ID, Requested: 1},
		}},
	}
	begun := c.queue.batches()
	c.rushOn("products", len(tests), func(i int) error {
		test := tests[i]
		result, err := c.CreateHold.Do(context.WithoutCancel(c.ctx()), test.wish)
		assert.Equal(t, test.replay, result)
		if test.code != "" {
			assert.Equal(t, test.lines, requireCode(t, err, test.code).Lines)
		}
		return err
	})
	assert.Equal(t, 2, c.queue.batches()-begun, "looks")
}

// A shared look counts for a few products that have a limit: the others' wishes look alone.
func TestBasketsOfManyProductsWithALimitAreEachCounted(t *testing.T) {
	c := openCounted(t, withEternalCache)
	gone := c.product(0)
	limits := make([]sale.Product, 20)
	for i := range limits {
		limits[i] = c.product(100, limited(1))
		c.hold("ann", line(limits[i], 1))
	}
	outcomes := c.rushOn("products", len(limits), func(i int) error {
		_, err := c.CreateHold.Do(context.WithoutCancel(c.ctx()), wish("ann", line(gone, 1), line(limits[i], 1)))
		assert.Equal(t, []sale.Refusal{
			{Code: sale.CodeLimitReached, ProductID: limits[i].ID, Limit: 1, Current: 1},
		}, requireCode(t, err, sale.CodeLimitReached).Lines)
		return err
	})
	assert.Equal(t, map[sale.Code]int{sale.CodeLimitReached: len(limits)}, outcomes)
}
