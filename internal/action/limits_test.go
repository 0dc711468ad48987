package action_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/action"
	"github.com/flashsale-api/flashsale/internal/sale"
)

func TestLimitHoldsAgainstACrowdOfOneCustomersRequests(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		p := s.product(100, limited(3))
		branch, outcomes := s.branch(), newTally(t)
		crowd(20, func(i int) {
			actions := s.Actions
			if i%2 == 0 {
				actions = branch
			}
			_, err := actions.CreateHold.Do(s.ctx(), wish("ann", line(p, 1)))
			outcomes.add(err)
		})
		assert.Equal(t, map[sale.Code]int{"": 3, sale.CodeLimitReached: 17}, outcomes.codes)
		s.requireUnits(p, 97, 3, 0, 0)
		refusal := s.refused(sale.CodeLimitReached, wish("ann", line(p, 1)))
		assert.Equal(t, []sale.Refusal{{Code: sale.CodeLimitReached, ProductID: p.ID, Limit: 3, Current: 3}}, refusal.Lines)
		s.hold("Ann", line(p, 3)) // another case is another customer
	})
}

// Each of two processes has written its lines and waits for the product: what it
// counted before would not be the other's.
func TestLimitIsCountedOnceTheProductIsLocked(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		p := s.product(9, limited(3))
		outcomes := newTally(t)
		product := s.locked("SELECT 1 FROM products WHERE id = ? FOR UPDATE", p.ID)
		var holding sync.WaitGroup
		for i, process := range []*action.Actions{s.Actions, s.branch()} {
			quantity := int64(2 + i)
			holding.Go(func() {
				_, err := process.CreateHold.Do(s.ctx(), wish("ann", line(p, quantity)))
				outcomes.add(err)
			})
			s.awaitStatement(fmt.Sprint("available_stock = available_stock - ", quantity))
		}
		require.NoError(t, product.Rollback())
		holding.Wait()
		assert.Equal(t, map[sale.Code]int{"": 1, sale.CodeLimitReached: 1}, outcomes.codes)
	})
}

func TestLimitCountsHoldsOpenOrdersAndPaidOrdersOnly(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		p, other := s.product(100, limited(3)), s.product(100)
		s.hold("ann", line(other, 9))
		paid := s.ordered("ann", line(p, 1))
		s.succeed(paid, "pay")
		s.ordered("ann", line(p, 1))
		hold := s.hold("ann", line(p, 1))
		assert.Equal(t, int64(3), s.refused(sale.CodeLimitReached, wish("ann", line(p, 1))).Lines[0].Current)

		_, err := s.ReleaseHold.Do(s.ctx(), action.ReleaseHoldInput{HoldID: hold.ID})
		require.NoError(t, err)
		failing := s.ordered("ann", line(p, 1)) // what was released counts no more
		s.tell(said(sale.PaymentFailed, failing, "failure", "none"))
		overdue := s.hold("ann", line(p, 1)) // nor what failed
		s.pass(overdue.ID)
		unpaid := s.ordered("ann", line(p, 1)) // nor what is overdue, swept or not
		s.pass(unpaid.HoldID())
		s.hold("ann", line(p, 1))
		s.refused(sale.CodeLimitReached, wish("ann", line(p, 1)))
		s.tell(said(sale.PaymentRefunded, paid, "refund", "pay"))
		s.hold("ann", line(p, 1)) // nor what was refunded
		s.refused(sale.CodeLimitReached, wish("ann", line(p, 1)))
	})
}
