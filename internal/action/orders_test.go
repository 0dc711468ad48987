package action_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/action"
	"github.com/flashsale-api/flashsale/internal/sale"
)

func TestOrderTakesTheHoldsLinesAndIsDueAfterThePaymentWindow(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		low, high := s.twoProducts(5, 5, func(in *action.CreateProductInput) { in.Rules.PaymentWindow = 7 * time.Minute })
		hold := s.hold("ann", line(high, 2), line(low, 1))
		order := s.order(hold)
		assert.Equal(t, sale.OrderOf(hold.ID), order.ID)
		assert.Equal(t, hold.ID, order.HoldID())
		assert.Equal(t, sale.OrderPendingPayment, order.Status)
		assert.Equal(t, hold.Lines, order.Lines)
		assert.Equal(t, sale.Money{Amount: 3000, Currency: "USD"}, order.Total)
		assert.Equal(t, 7*time.Minute, order.PayBy.Sub(order.CreatedAt))
		assert.Equal(t, int64(2), s.count("SELECT COUNT(*) FROM hold_lines WHERE due_at = ? AND state = 'pending'", order.PayBy))
		read, err := s.GetOrder.Do(s.ctx(), order.ID)
		require.NoError(t, err)
		assert.Equal(t, order, read)
		assert.Equal(t, map[string]int{"order.created": 1}, s.events(order))
	})
}

func TestUnknownOrderIsNotFound(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		_, err := s.GetOrder.Do(s.ctx(), sale.OrderOf(sale.NewHoldID(sale.NewProductID())))
		requireCode(t, err, sale.CodeOrderNotFound)
	})
}

func TestFreeOrderIsPaidAtOnce(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		p := s.product(2, priced(0, "USD"))
		order := s.ordered("ann", line(p, 2))
		assert.Equal(t, sale.OrderPaid, order.Status)
		s.requireUnits(p, 0, 0, 0, 2)
		assert.Equal(t, map[string]int{"order.created": 1, "order.paid": 1}, s.events(order))
		s.pass(order.HoldID())
		assert.Zero(t, s.sweep())
	})
}

func TestHoldBecomesOneOrder(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		p := s.product(3)
		hold := s.hold("ann", line(p, 2))
		branch, outcomes := s.branch(), newTally(t)
		crowd(20, func(i int) {
			actions := s.Actions
			if i%2 == 0 {
				actions = branch
			}
			_, err := actions.CreateOrder.Do(s.ctx(), action.CreateOrderInput{HoldID: hold.ID})
			outcomes.add(err)
		})
		assert.Equal(t, map[sale.Code]int{"": 1, sale.CodeHoldOrdered: 19}, outcomes.codes)
		_, err := s.CreateOrder.Do(s.ctx(), action.CreateOrderInput{HoldID: hold.ID})
		assert.Equal(t, sale.OrderOf(hold.ID), requireCode(t, err, sale.CodeHoldOrdered).OrderID)
		s.requireUnits(p, 1, 0, 2, 0)
	})
}

func TestReleasedHoldCannotBeOrdered(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		hold := s.hold("ann", line(s.product(1), 1))
		_, err := s.ReleaseHold.Do(s.ctx(), action.ReleaseHoldInput{HoldID: hold.ID})
		require.NoError(t, err)
		_, err = s.CreateOrder.Do(s.ctx(), action.CreateOrderInput{HoldID: hold.ID})
		requireCode(t, err, sale.CodeHoldNotActive)
	})
}

func TestExpiredHoldCannotBeOrderedSweptOrNot(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		hold := s.hold("ann", line(s.product(1), 1))
		s.pass(hold.ID)
		_, err := s.CreateOrder.Do(s.ctx(), action.CreateOrderInput{HoldID: hold.ID})
		requireCode(t, err, sale.CodeHoldExpired)
		s.sweep()
		_, err = s.CreateOrder.Do(s.ctx(), action.CreateOrderInput{HoldID: hold.ID})
		requireCode(t, err, sale.CodeHoldExpired)
		assert.Zero(t, s.count("SELECT COUNT(*) FROM orders"))
	})
}

func TestOrderOrReleaseWinsNeverBoth(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		p := s.product(20)
		branch := s.branch()
		for range 10 {
			hold := s.hold("ann", line(p, 1))
			outcomes := newTally(t)
			crowd(2, func(i int) {
				if i == 0 {
					_, err := s.ReleaseHold.Do(s.ctx(), action.ReleaseHoldInput{HoldID: hold.ID})
					outcomes.add(err)
					return
				}
				_, err := branch.CreateOrder.Do(s.ctx(), action.CreateOrderInput{HoldID: hold.ID})
				outcomes.add(err)
			})
			assert.Equal(t, map[sale.Code]int{"": 1, sale.CodeHoldNotActive: 1}, outcomes.codes)
		}
	})
}
