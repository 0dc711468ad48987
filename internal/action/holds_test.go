package action_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/action"
	"github.com/flashsale-api/flashsale/internal/sale"
)

func TestHoldTakesUnitsAndKeepsItsTerms(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		p := s.product(5)
		hold := s.hold("ann", line(p, 2))
		assert.Equal(t, sale.HoldActive, hold.Status)
		assert.Equal(t, 5*time.Minute, hold.ExpiresAt.Sub(hold.CreatedAt))
		_, err := s.UpdateProduct.Do(s.ctx(), p.ID, action.ProductPatch{Price: &sale.Money{Amount: 1, Currency: "EUR"}, HoldTTL: ptr(time.Second)})
		require.NoError(t, err)
		read, err := s.GetHold.Do(s.ctx(), hold.ID)
		require.NoError(t, err)
		assert.Equal(t, hold, read)
		assert.Equal(t, []sale.Line{{ProductID: p.ID, Quantity: 2, UnitPrice: sale.Money{Amount: 1000, Currency: "USD"}}}, read.Lines)
		s.requireUnits(p, 3, 2, 0, 0)
		assert.Equal(t, int64(2), s.meter.created)
	})
}

func TestHoldOfSeveralProductsIsAllOrNothingAndHasTheShortestTimes(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		low, high := s.twoProducts(5, 1)
		_, err := s.UpdateProduct.Do(s.ctx(), low.ID, action.ProductPatch{HoldTTL: ptr(time.Minute)})
		require.NoError(t, err)
		_, err = s.UpdateProduct.Do(s.ctx(), high.ID, action.ProductPatch{PaymentWindow: ptr(2 * time.Minute)})
		require.NoError(t, err)
		s.refused(sale.CodeInsufficient, wish("ann", line(low, 1), line(high, 2)))
		s.requireUnits(low, 5, 0, 0, 0)

		hold := s.hold("ann", line(high, 1), line(low, 2), line(low, 1))
		assert.Equal(t, []sale.Line{
			{ProductID: high.ID, Quantity: 1, UnitPrice: high.Price}, {ProductID: low.ID, Quantity: 3, UnitPrice: low.Price},
		}, hold.Lines, "merged, in order of first mention")
		assert.Equal(t, [2]time.Duration{time.Minute, 2 * time.Minute}, [2]time.Duration{hold.TTL, hold.PaymentWindow})
		assert.True(t, sale.IsHoldIDFor(hold.ID, low.ID), "its home is its lowest product")
		s.requireUnits(low, 2, 3, 0, 0)
		s.requireUnits(high, 0, 1, 0, 0)
	})
}

func TestHoldOfTwentyProductsIsOneHold(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		lines := make([]sale.LineRequest, sale.MaxLines)
		for i := range lines {
			lines[i] = line(s.product(1), 1)
		}
		hold := s.hold("ann", lines...)
		assert.Len(t, hold.Lines, sale.MaxLines)
		result, err := s.ReleaseHold.Do(s.ctx(), action.ReleaseHoldInput{HoldID: hold.ID})
		require.NoError(t, err)
		assert.Equal(t, sale.HoldReleased, result.Value.Status)
	})
}

func TestUnknownHoldIsNotFound(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		id := sale.NewHoldID(sale.NewProductID())
		_, err := s.GetHold.Do(s.ctx(), id)
		requireCode(t, err, sale.CodeHoldNotFound)
		_, err = s.ReleaseHold.Do(s.ctx(), action.ReleaseHoldInput{HoldID: id})
		requireCode(t, err, sale.CodeHoldNotFound)
		_, err = s.ExtendHold.Do(s.ctx(), action.ExtendHoldInput{HoldID: id, By: time.Second})
		requireCode(t, err, sale.CodeHoldNotFound)
		_, err = s.CreateOrder.Do(s.ctx(), action.CreateOrderInput{HoldID: id})
		requireCode(t, err, sale.CodeHoldNotFound)
		assert.Zero(t, s.count("SELECT COUNT(*) FROM idempotency_keys"))
	})
}

func TestReleaseRestocksExactlyOnce(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		low, high := s.twoProducts(5, 5)
		hold := s.hold("ann", line(high, 2), line(low, 3))
		branch := s.branch()
		crowd(20, func(i int) {
			actions := s.Actions
			if i%2 == 0 {
				actions = branch
			}
			result, err := actions.ReleaseHold.Do(s.ctx(), action.ReleaseHoldInput{HoldID: hold.ID})
			if assert.NoError(t, err) {
				assert.Equal(t, sale.HoldReleased, result.Value.Status)
			}
		})
		s.requireUnits(low, 5, 0, 0, 0)
		s.requireUnits(high, 5, 0, 0, 0)
		assert.Equal(t, int64(5), s.meter.restored)
		assert.Equal(t, int64(2), s.count("SELECT COUNT(*) FROM movements WHERE reason = 'released'"))
	})
}

func TestReleaseOfAnExpiredHoldAnswersExpiredAndRestocksNothing(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		p := s.product(5)
		hold := s.hold("ann", line(p, 2))
		s.pass(hold.ID)
		result, err := s.ReleaseHold.Do(s.ctx(), action.ReleaseHoldInput{HoldID: hold.ID})
		require.NoError(t, err)
		assert.Equal(t, sale.HoldExpired, result.Value.Status)
		assert.Equal(t, action.Released{Holds: 1, StockRestored: 2}, s.sweep())
		result, err = s.ReleaseHold.Do(s.ctx(), action.ReleaseHoldInput{HoldID: hold.ID})
		require.NoError(t, err)
		assert.Equal(t, sale.HoldExpired, result.Value.Status)
		s.requireUnits(p, 5, 0, 0, 0)
	})
}

func TestOrderedHoldCannotBeReleasedOrExtended(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		p := s.product(5)
		hold := s.hold("ann", line(p, 2))
		s.order(hold)
		_, err := s.ReleaseHold.Do(s.ctx(), action.ReleaseHoldInput{HoldID: hold.ID})
		requireCode(t, err, sale.CodeHoldNotActive)
		_, err = s.ExtendHold.Do(s.ctx(), action.ExtendHoldInput{HoldID: hold.ID, By: time.Second})
		requireCode(t, err, sale.CodeHoldNotActive)
		read, err := s.GetHold.Do(s.ctx(), hold.ID)
		require.NoError(t, err)
		assert.Equal(t, sale.HoldOrdered, read.Status)
		s.requireUnits(p, 3, 0, 2, 0)
	})
}

func TestExtensionMovesTheEndUpToItsCap(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		p := s.product(5)
		hold := s.hold("ann", line(p, 1), line(s.product(1), 1))
		extend := func(by time.Duration) action.HoldView {
			result, err := s.ExtendHold.Do(s.ctx(), action.ExtendHoldInput{HoldID: hold.ID, By: by})
			require.NoError(t, err)
			return result.Value
		}
		assert.Equal(t, hold.ExpiresAt.Add(time.Second), extend(time.Second).ExpiresAt)
		limit := hold.CreatedAt.Add(sale.MaxExtension * hold.TTL)
		assert.Equal(t, limit, extend(24*time.Hour).ExpiresAt)
		assert.Equal(t, limit, extend(time.Second).ExpiresAt, "at the cap it stays")
		assert.Equal(t, int64(2), s.count("SELECT COUNT(*) FROM hold_lines WHERE due_at = ? AND expires_at = ?", limit, limit))
		s.exec("UPDATE hold_lines SET due_at = due_at - INTERVAL 10 MINUTE, expires_at = expires_at - INTERVAL 10 MINUTE")
		assert.Zero(t, s.sweep(), "what was extended is not overdue")
	})
}

func TestReleasedOrExpiredHoldCannotBeExtended(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		p := s.product(5)
		released, expired := s.hold("ann", line(p, 1)), s.hold("bob", line(p, 1))
		_, err := s.ReleaseHold.Do(s.ctx(), action.ReleaseHoldInput{HoldID: released.ID})
		require.NoError(t, err)
		s.pass(expired.ID)
		for _, id := range []sale.HoldID{released.ID, expired.ID} {
			_, err = s.ExtendHold.Do(s.ctx(), action.ExtendHoldInput{HoldID: id, By: time.Hour})
			requireCode(t, err, sale.CodeHoldNotActive)
		}
		s.requireUnits(p, 4, 1, 0, 0)
	})
}

// A change that made no version, by hand for instance, is not handed on for ever.
func TestWhatAHoldLeavesIsReadNowAndThen(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		p := s.product(100)
		s.hold("ann", line(p, 1))
		s.exec("UPDATE products SET name = 'By hand' WHERE id = ?", p.ID)
		for range 64 {
			s.hold("ann", line(p, 1))
		}
		shown, err := s.GetProduct.Do(s.ctx(), p.ID)
		require.NoError(t, err)
		assert.True(t, shown.Hit)
		assert.Equal(t, "By hand", shown.Product.Name)
	}, withEternalCache)
}

// What a hold leaves is reckoned where its process knows the state before, and read where
// another has written since. What its process shows is what any other reads.
func TestAHoldLeavesInTheCacheWhatItLeftInTheDatabase(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		p, other := s.product(100), s.branch()
		hold := func(actions *action.Actions, units int64) {
			_, err := actions.CreateHold.Do(s.ctx(), wish("ann", line(p, units)))
			require.NoError(t, err)
		}
		for name, step := range map[string]func(){
			"nothing":                func() {},
			"a hold of this process": func() { hold(s.Actions, 2) },
			"a hold of another":      func() { hold(other, 3) },
			"two of another":         func() { hold(other, 3); hold(other, 1) },
			"a name": func() {
				_, err := other.UpdateProduct.Do(s.ctx(), p.ID, action.ProductPatch{Name: ptr("Another name")})
				require.NoError(t, err)
			},
			"stock": func() {
				_, err := other.AdjustStock.Do(s.ctx(), action.AdjustStockInput{ProductID: p.ID, Delta: 5, Reason: "found"})
				require.NoError(t, err)
			},
		} {
			step()
			hold(s.Actions, 1)
			shown, err := s.GetProduct.Do(s.ctx(), p.ID)
			require.NoError(t, err)
			read, err := s.branch().GetProduct.Do(s.ctx(), p.ID)
			require.NoError(t, err)
			assert.True(t, shown.Hit)
			assert.False(t, read.Hit)
			assert.Equal(t, read.Product, shown.Product, name)
		}
	})
}
