package action_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/action"
	"github.com/flashsale-api/flashsale/internal/sale"
)

func TestNeverOversold(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		const stock, customers = 50, 200
		p := s.product(stock)
		processes := []*action.Actions{s.Actions, s.branch(), s.branch()}
		outcomes := newTally(t)
		crowd(customers, func(i int) {
			_, err := processes[i%len(processes)].CreateHold.Do(s.ctx(), wish(fmt.Sprint(i), line(p, 1)))
			outcomes.add(err)
		})
		assert.Equal(t, map[sale.Code]int{"": stock, sale.CodeAllHeld: customers - stock}, outcomes.codes)
		s.requireUnits(p, 0, stock, 0, 0)
		assert.Equal(t, int64(stock), s.count("SELECT COUNT(DISTINCT id) FROM hold_lines"))
	})
}

func TestCrowdOfMixedQuantitiesLeavesNothingThatFits(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		p := s.product(40)
		outcomes := newTally(t)
		crowd(60, func(i int) {
			_, err := s.CreateHold.Do(s.ctx(), wish(fmt.Sprint(i), line(p, int64(1+i%3))))
			outcomes.add(err)
		})
		assert.Empty(t, onlyUnexpected(outcomes, "", sale.CodeInsufficient, sale.CodeAllHeld))
		assert.Zero(t, s.books(p).Available, "customers of one unit take the rest")
	})
}

// The database's own law stands even where the code would break it.
func TestDatabaseItselfRefusesToOversell(t *testing.T) {
	s := setup(t)
	p := s.product(1)
	for _, query := range []string{
		"UPDATE products SET available_stock = available_stock - 2 WHERE id = ?",
		"UPDATE products SET available_stock = available_stock + 1 WHERE id = ?",
	} {
		_, err := s.db.SQL().ExecContext(s.ctx(), query, p.ID)
		require.Error(t, err)
	}
}

// storm is everything at once on two products, by several processes, so that only
// the database orders their work; lines come in both orders.
type storm struct {
	*shop
	low, high sale.Product
	processes []*action.Actions
	outcomes  *tally
}

func TestConservationAndNoDeadlockInAMixedStorm(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		storm := &storm{shop: s, processes: []*action.Actions{s.Actions, s.branch(), s.branch()}, outcomes: newTally(t)}
		storm.low, storm.high = s.twoProducts(30, 30, limited(20))
		crowd(24, func(i int) {
			random := rand.New(rand.NewPCG(uint64(i), 7))
			for round := range 10 {
				storm.customer(random, i, round)
			}
		})
		assert.Empty(t, onlyUnexpected(storm.outcomes, "", sale.CodeInsufficient, sale.CodeAllHeld, sale.CodeSoldOut,
			sale.CodeLimitReached, sale.CodeHoldExpired, sale.CodeHoldNotActive, sale.CodeHoldOrdered))
		assert.Positive(t, storm.outcomes.codes[""])
		for _, p := range []sale.Product{storm.low, storm.high} {
			assert.True(t, s.books(p).Balanced())
		}
	})
}

// customer does one thing after another with one hold; every step may be refused.
func (s *storm) customer(random *rand.Rand, who, round int) {
	actions := s.processes[random.IntN(len(s.processes))]
	lines := []sale.LineRequest{line(s.low, 1+random.Int64N(2)), line(s.high, 1+random.Int64N(2))}
	switch random.IntN(3) {
	case 0:
		lines[0], lines[1] = lines[1], lines[0]
	case 1:
		lines = lines[:1]
	}
	hold, err := actions.CreateHold.Do(s.ctx(), wish(fmt.Sprint("customer ", who%5), lines...))
	s.outcomes.add(err)
	if err != nil {
		_, err = actions.ReleaseExpired.Do(s.ctx())
		s.outcomes.add(err)
		return
	}
	id := hold.Value.ID
	if random.IntN(3) == 0 {
		_, err = actions.ExtendHold.Do(s.ctx(), action.ExtendHoldInput{HoldID: id, By: time.Minute})
		s.outcomes.add(err)
	}
	if random.IntN(4) == 0 {
		s.overdue(id)
	}
	if random.IntN(3) == 0 {
		_, err = actions.ReleaseHold.Do(s.ctx(), action.ReleaseHoldInput{HoldID: id})
		s.outcomes.add(err)
	}
	order, err := actions.CreateOrder.Do(s.ctx(), action.CreateOrderInput{HoldID: id})
	s.outcomes.add(err)
	if err == nil {
		s.settle(actions, random, order.Value, fmt.Sprint(who, " ", round))
	}
}

// settle pays or fails an order, maybe too late, maybe twice, maybe refunded.
func (s *storm) settle(actions *action.Actions, random *rand.Rand, order action.OrderView, name string) {
	if random.IntN(3) == 0 {
		s.overdue(order.HoldID())
	}
	kinds := []sale.PaymentKind{sale.PaymentSucceeded, sale.PaymentFailed, sale.PaymentRefunded, sale.PaymentSucceeded}
	random.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
	for i, kind := range kinds[:1+random.IntN(len(kinds))] {
		_, err := actions.ProcessPayment.Do(s.ctx(), said(kind, order, fmt.Sprint(name, i), fmt.Sprint(name, i%2)))
		s.outcomes.add(err)
	}
}

// overdue lets a hold's or order's time be over, by primary key as everybody else:
// the order first, then its lines.
func (s *storm) overdue(id sale.HoldID) {
	ctx := s.ctx()
	for _, query := range []string{
		"UPDATE orders SET pay_by = NOW(6) WHERE id = ?",
		"UPDATE hold_lines SET due_at = NOW(6), expires_at = NOW(6) WHERE id = ? AND state IN ('held', 'pending')",
	} {
		_, err := s.db.SQL().ExecContext(ctx, query, id)
		assert.NoError(s.t, err)
	}
}
