package action_test

import (
	"database/sql"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/action"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// locked begins a transaction that works on a row, as another connection, until the
// test rolls it back.
func (s *shop) locked(query string, args ...any) *sql.Tx {
	s.t.Helper()
	holder, err := s.db.SQL().BeginTx(s.ctx(), nil)
	require.NoError(s.t, err)
	_, err = holder.ExecContext(s.ctx(), query, args...)
	require.NoError(s.t, err)
	return holder
}

// lockedLines works on the lines of a hold or order.
func (s *shop) lockedLines(id sale.HoldID) *sql.Tx {
	s.t.Helper()
	return s.locked("SELECT 1 FROM hold_lines WHERE id = ? FOR UPDATE", id)
}

// awaitWaiting waits until so many transactions wait for rows of a table.
func (s *shop) awaitWaiting(table string, n int64) {
	s.t.Helper()
	comes(s.t, "others wait for "+table, func() bool {
		return s.count(`SELECT COUNT(*) FROM performance_schema.data_locks
			WHERE object_schema = DATABASE() AND object_name = ? AND lock_status = 'WAITING'`, table) >= n
	})
}

// revivals are what keeps units whose lines are due already, since it came in time.
// Each is prepared before the lines are due, and done after.
var revivals = map[string]func(s *shop, p sale.Product) (id sale.HoldID, revive func()){
	"order": func(s *shop, p sale.Product) (sale.HoldID, func()) {
		hold := s.hold("ann", line(p, 1))
		return hold.ID, func() { s.order(hold) }
	},
	"extension": func(s *shop, p sale.Product) (sale.HoldID, func()) {
		hold := s.hold("ann", line(p, 1))
		return hold.ID, func() {
			_, err := s.ExtendHold.Do(s.ctx(), action.ExtendHoldInput{HoldID: hold.ID, By: time.Minute})
			require.NoError(s.t, err)
		}
	},
	"payment": func(s *shop, p sale.Product) (sale.HoldID, func()) {
		order := s.ordered("ann", line(p, 1))
		return order.HoldID(), func() { assert.Equal(s.t, sale.OutcomePaid, s.succeed(order, "own").Outcome) }
	},
}

// Somebody who came in time works on the lines at the instant when they are due:
// the lines say overdue, the hold and the order in time.
func TestLimitCannotBePassedAtTheInstantOfExpiry(t *testing.T) {
	t.Parallel()
	for name, prepare := range revivals {
		t.Run(name, func(t *testing.T) {
			bothPaths(t, func(t *testing.T, s *shop) {
				t.Helper()
				p := s.product(10, limited(1))
				id, revive := prepare(s, p)
				s.exec("UPDATE hold_lines SET due_at = NOW(6)")
				holder := s.lockedLines(id)
				for _, in := range []action.CreateHoldInput{wish("ann", line(p, 1)), wish("ann", line(p, 1), line(s.product(1), 1))} {
					refusal := s.refused(sale.CodeLimitReached, in)
					assert.Equal(t, int64(1), refusal.Lines[0].Current)
				}
				require.NoError(t, holder.Rollback())
				revive()
				b := s.books(p)
				assert.Equal(t, int64(1), b.Held+b.Pending+b.Sold)
			})
		})
	}
}

func TestLimitHoldsWhenRevivalAndNextWishMeetAtTheInstantOfExpiry(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		for range 10 {
			p, branch := s.product(10, limited(1)), s.branch()
			hold := s.hold("ann", line(p, 1))
			s.exec("UPDATE hold_lines SET due_at = NOW(6) WHERE id = ?", hold.ID)
			outcomes := newTally(t)
			crowd(2, func(side int) {
				var err error
				if side == 0 {
					_, err = branch.CreateOrder.Do(s.ctx(), action.CreateOrderInput{HoldID: hold.ID})
				} else {
					_, err = s.CreateHold.Do(s.ctx(), wish("ann", line(p, 1)))
				}
				outcomes.add(err)
			})
			assert.Empty(t, onlyUnexpected(outcomes, "", sale.CodeHoldExpired, sale.CodeLimitReached))
			assert.Equal(t, 1, outcomes.codes[""], "one of them: %v", outcomes.codes)
			b := s.books(p)
			assert.Equal(t, int64(1), b.Held+b.Pending, "%+v", b)
		}
	})
}

func TestOverdueUnitsOfACustomerAreGivenBackInsteadOfARefusal(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		low, high := s.twoProducts(100, 100, limited(3))
		hold, order := s.hold("ann", line(low, 2), line(high, 3)), s.ordered("ann", line(low, 1))
		others := s.hold("bob", line(low, 3))
		for _, id := range []sale.HoldID{hold.ID, order.HoldID(), others.ID} {
			s.pass(id)
		}
		s.hold("ann", line(low, 3))
		s.requireUnits(low, 94, 6, 0, 0) // bob's are overdue still: nobody needed them
		s.refused(sale.CodeLimitReached, wish("ann", line(low, 1)))
		s.hold("ann", line(high, 3))
		s.requireUnits(high, 97, 3, 0, 0)
		assert.Equal(t, 1, s.events(order)["order.expired"])
		assert.Equal(t, int64(3), s.sweep().StockRestored)
	})
}

// Units that nobody can have just now are not waited for: who needs them is refused,
// and who needs less is served.
func TestLockedOverdueLineCostsOnlyThoseWhoNeedItsUnits(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		p := s.product(3)
		hold := s.hold("ann", line(p, 2))
		s.pass(hold.ID)
		holder := s.lockedLines(hold.ID)
		refusal := s.refused(sale.CodeInsufficient, wish("bob", line(p, 3)))
		assert.Equal(t, []sale.Refusal{{
			Code: sale.CodeInsufficient, ProductID: p.ID, Requested: 3, Available: 1,
		}}, refusal.Lines)
		s.hold("cid", line(p, 1))
		s.refused(sale.CodeAllHeld, wish("dan", line(p, 1)))
		require.NoError(t, holder.Rollback())
		s.hold("dan", line(p, 1))
		s.requireUnits(p, 1, 2, 0, 0)
	})
}

// Whoever gives back what a look saw overdue: who asked for it is not refused for what it saw.
func TestOverdueUnitsThatSomebodyElseGivesBackFirstRefuseNobody(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		p, branch := s.product(2, limited(1)), s.branch()
		s.pass(s.hold("ann", line(p, 1)).ID)
		// Of this one's release the other process does not hear: it believes that all are held, and looks.
		other := s.hold("bob", line(p, 1))
		_, err := branch.ReleaseHold.Do(s.ctx(), action.ReleaseHoldInput{HoldID: other.ID})
		require.NoError(t, err)

		holder := s.locked("SELECT 1 FROM products WHERE id = ? FOR UPDATE", p.ID)
		var both sync.WaitGroup
		both.Go(func() {
			_, err := branch.ReleaseExpired.Do(s.ctx())
			assert.NoError(t, err)
		})
		s.awaitWaiting("products", 1)
		both.Go(func() {
			_, err := s.CreateHold.Do(s.ctx(), wish("ann", line(p, 1)))
			assert.NoError(t, err)
		})
		s.awaitWaiting("products", 2)
		require.NoError(t, holder.Rollback())
		both.Wait()
		s.requireUnits(p, 1, 1, 0, 0)
	})
}

// Fewer units came back than a batch waits for: these are held all the same.
func TestOverdueUnitsThatSomebodyElseGivesBackFirstAreHeldByABatch(t *testing.T) {
	s := setupMerging(t)
	p := s.product(1)
	first := keyedWish("first", "ann", line(p, 1))
	made, err := s.CreateHold.Do(s.ctx(), first)
	require.NoError(t, err)
	s.pass(made.Value.ID)

	begun := s.queue.batches()
	s.gate.open.Lock()
	var all sync.WaitGroup
	all.Go(func() {
		_, err := s.CreateHold.Do(s.ctx(), first) // a replay, which needs no lock
		assert.NoError(t, err)
	})
	s.queue.await(t, func() bool { return s.queue.begun > begun })
	outcomes := newTally(t)
	for _, customer := range []string{"bob", "cid"} {
		all.Go(func() {
			_, err := s.CreateHold.Do(s.ctx(), wish(customer, line(p, 1)))
			outcomes.add(err)
		})
	}
	s.queue.await(t, func() bool { return s.queue.waiting == 2 })
	holder := s.locked("SELECT 1 FROM products WHERE id = ? FOR UPDATE", p.ID)
	all.Go(func() { s.sweep() })
	s.awaitWaiting("products", 1)
	s.gate.open.Unlock()
	s.awaitWaiting("products", 2)
	require.NoError(t, holder.Rollback())
	all.Wait()
	assert.Equal(t, map[sale.Code]int{"": 1, sale.CodeAllHeld: 1}, outcomes.codes)
	s.requireUnits(p, 0, 1, 0, 0)
}
