package action_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/action"
	"github.com/flashsale-api/flashsale/internal/sale"
)

func TestSweepGivesBackExpiredHoldsAndOverdueOrdersOnce(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		low, high := s.twoProducts(10, 10)
		hold, kept := s.hold("ann", line(high, 2), line(low, 1)), s.hold("ann", line(low, 1))
		order, waiting := s.ordered("bob", line(low, 3), line(high, 1)), s.ordered("bob", line(low, 1))
		paid := s.ordered("eve", line(low, 1))
		s.succeed(paid, "pay")
		s.pass(hold.ID)
		s.pass(order.HoldID())
		s.pass(paid.HoldID())

		branch := s.branch()
		var sum action.Released
		sweeps := make([]action.Released, 6)
		crowd(len(sweeps), func(i int) {
			actions := s.Actions
			if i%2 == 0 {
				actions = branch
			}
			released, err := actions.ReleaseExpired.Do(s.ctx())
			assert.NoError(t, err)
			sweeps[i] = released
		})
		for _, released := range sweeps {
			sum.Holds += released.Holds
			sum.Orders += released.Orders
			sum.StockRestored += released.StockRestored
		}
		assert.Equal(t, action.Released{Holds: 2, Orders: 2, StockRestored: 7}, sum)
		s.requireUnits(low, 7, 1, 1, 1)
		s.requireUnits(high, 10, 0, 0, 0)
		assert.Equal(t, sale.OrderExpired, s.status(order))
		assert.Equal(t, sale.OrderPendingPayment, s.status(waiting))
		assert.Equal(t, map[string]int{"order.created": 1, "order.expired": 1}, s.events(order))
		read, err := s.GetHold.Do(s.ctx(), kept.ID)
		require.NoError(t, err)
		assert.Equal(t, sale.HoldActive, read.Status)
	})
}

func TestExpiryShowsBeforeAnySweep(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		p := s.product(2)
		hold, order := s.hold("ann", line(p, 1)), s.ordered("ann", line(p, 1))
		s.pass(hold.ID)
		s.pass(order.HoldID())
		read, err := s.GetHold.Do(s.ctx(), hold.ID)
		require.NoError(t, err)
		assert.Equal(t, sale.HoldExpired, read.Status)
		assert.Equal(t, sale.OrderExpired, s.status(order))
	})
}

func TestUnitsWhoseTimeIsOverAreSoldToTheNextCustomerAtOnce(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		low, high := s.twoProducts(2, 1)
		hold, order := s.hold("ann", line(low, 1), line(high, 1)), s.ordered("bob", line(low, 1))
		s.refused(sale.CodeAllHeld, wish("eve", line(low, 1)))
		s.pass(hold.ID)
		s.pass(order.HoldID())
		taken := s.hold("eve", line(high, 1), line(low, 2))
		assert.Equal(t, sale.HoldActive, taken.Status)
		s.requireUnits(low, 0, 2, 0, 0)
		s.requireUnits(high, 0, 1, 0, 0)
		_, err := s.CreateOrder.Do(s.ctx(), action.CreateOrderInput{HoldID: hold.ID})
		requireCode(t, err, sale.CodeHoldExpired)
		_, err = s.ExtendHold.Do(s.ctx(), action.ExtendHoldInput{HoldID: hold.ID, By: 1})
		requireCode(t, err, sale.CodeHoldNotActive)
		assert.Equal(t, 1, s.events(order)["order.expired"])
	})
}

func TestCrowdAtOverdueUnitsGetsEachOfThemOnce(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		p := s.product(10)
		for i := range 10 {
			s.pass(s.hold(fmt.Sprint(i), line(p, 1)).ID)
		}
		branch, outcomes := s.branch(), newTally(t)
		crowd(30, func(i int) {
			actions := s.Actions
			if i%2 == 0 {
				actions = branch
			}
			_, err := actions.CreateHold.Do(s.ctx(), wish(fmt.Sprint("next ", i), line(p, 1)))
			outcomes.add(err)
		})
		assert.Equal(t, map[sale.Code]int{"": 10, sale.CodeAllHeld: 20}, outcomes.codes)
		s.requireUnits(p, 0, 10, 0, 0)
	})
}

func TestReserveGivesBackOneBatchOfManyOverdueLines(t *testing.T) {
	const overdue, batch = 100_000, 1000
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		p := s.product(overdue)
		s.fill(p, overdue, -60)
		s.requireUnits(p, 0, overdue, 0, 0)
		s.hold("ann", line(p, 1))
		s.requireUnits(p, batch-1, overdue-batch+1, 0, 0)
		assert.Equal(t, int64(batch), s.count("SELECT COUNT(*) FROM hold_lines WHERE state = 'returned'"))
		assert.Zero(t, s.count(`SELECT COUNT(*) FROM hold_lines
			WHERE state = 'held' AND due_at < (SELECT MAX(due_at) FROM hold_lines WHERE state = 'returned')`), "the oldest first")
	})
}

func TestReserveGivesBackAsManyBatchesAsItNeeds(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		p := s.product(2500)
		s.fill(p, 2500, -60)
		s.hold("ann", line(p, 1000))
		s.requireUnits(p, 0, 2500, 0, 0)
		s.refused(sale.CodeInsufficient, wish("bob", line(p, 1000), line(p, 1000)))
		s.requireUnits(p, 1500, 1000, 0, 0)
	})
}

// Somebody is just paying, ordering or extending one of the overdue lines.
func TestSweepAndReserveStepOverALineThatSomebodyWorksOn(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		p := s.product(3)
		busy := s.hold("ann", line(p, 1))
		for range 2 {
			s.pass(s.hold("bob", line(p, 1)).ID)
		}
		s.pass(busy.ID)
		holder, err := s.db.SQL().BeginTx(t.Context(), nil)
		require.NoError(t, err)
		_, err = holder.ExecContext(t.Context(), "UPDATE hold_lines SET customer_id = 'eve' WHERE id = ?", busy.ID)
		require.NoError(t, err)
		s.hold("joe", line(p, 2))
		assert.Zero(t, s.sweep())
		require.NoError(t, holder.Rollback())
		assert.Equal(t, int64(1), s.sweep().Holds)
		s.requireUnits(p, 1, 2, 0, 0)
	})
}

func TestSweepOfManyBatchesGivesEverythingBack(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		p := s.product(2500)
		s.fill(p, 2500, -60)
		assert.Equal(t, action.Released{Holds: 2500, StockRestored: 2500}, s.sweep())
		s.requireUnits(p, 2500, 0, 0, 0)
	})
}

// A sale's first crowd went home: its holds are over all at once, and the next crowd is
// there already.
func TestUnitsOfManyHoldsThatExpireAtOnceComeBackInFewChangesWhileOthersBuy(t *testing.T) {
	const overdue, batch, buyers, mostEach = 100_000, 1000, 8, 500
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		p := s.product(overdue)
		s.fill(p, overdue, 0)
		s.exec("UPDATE hold_lines SET due_at = created_at, expires_at = created_at")
		outcomes, sweeps := newTally(t), newTally(t)
		var swept atomic.Bool
		sweepers := []*action.Actions{s.Actions, s.branch()}
		crowd(len(sweepers)+buyers, func(i int) {
			if i < len(sweepers) {
				_, err := sweepers[i].ReleaseExpired.Do(s.ctx())
				sweeps.add(err)
				swept.Store(true)
				return
			}
			for n := 0; n == 0 || n < mostEach && !swept.Load(); n++ {
				_, err := s.CreateHold.Do(s.ctx(), wish(fmt.Sprint("next ", i), line(p, 1)))
				outcomes.add(err)
			}
		})
		assert.Equal(t, map[sale.Code]int{"": len(sweepers)}, sweeps.codes)
		held := int64(outcomes.codes[""])
		assert.Equal(t, map[sale.Code]int{"": int(held)}, outcomes.codes, "there was enough for all")
		s.requireUnits(p, overdue-held, held, 0, 0)
		assert.Equal(t, int64(overdue), s.meter.restored)
		assert.Equal(t, int64(overdue), s.count("SELECT COUNT(*) FROM hold_lines WHERE state = 'returned' AND ended = 'expired'"))
		const expired = "FROM movements WHERE reason = 'expired'"
		assert.LessOrEqual(t, s.count("SELECT COUNT(*) "+expired), int64(overdue/batch+2))
		assert.LessOrEqual(t, s.count("SELECT MAX(delta) "+expired), int64(batch))
	})
}
