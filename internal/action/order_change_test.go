package action_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/action"
	"github.com/flashsale-api/flashsale/internal/sale"
)

func TestCancelDoesInEachStatusWhatTheMachineSays(t *testing.T) {
	shop := setup(t)
	for situation, want := range map[string]struct {
		refused   bool
		told      bool
		highUnits [4]int64
	}{
		"pending":           {false, true, [4]int64{5, 0, 0, 0}},
		"expired":           {false, true, [4]int64{5, 0, 0, 0}},
		"expired and swept": {false, true, [4]int64{5, 0, 0, 0}},
		"expired and gone":  {false, true, [4]int64{0, 5, 0, 0}},
		"payment failed":    {false, true, [4]int64{5, 0, 0, 0}},
		"cancelled":         {false, false, [4]int64{5, 0, 0, 0}},
		"paid":              {true, false, [4]int64{3, 0, 0, 2}},
		"refund due":        {true, false, [4]int64{0, 5, 0, 0}},
		"refunded":          {true, false, [4]int64{3, 0, 0, 2}},
	} {
		t.Run(situation, func(t *testing.T) {
			s := playIn(shop.in(t), situation)
			told := s.events(s.order)
			status := s.status(s.order)
			result, err := s.CancelOrder.Do(s.ctx(), action.CancelOrderInput{OrderID: s.order.ID})
			if want.refused {
				requireCode(t, err, sale.CodeNotCancellable)
				assert.Equal(t, status, s.status(s.order))
			} else {
				require.NoError(t, err)
				assert.Equal(t, sale.OrderCancelled, result.Value.Status)
			}
			if want.told {
				told["order.cancelled"]++
			}
			assert.Equal(t, told, s.events(s.order))
			s.requireUnits(s.high, want.highUnits[0], want.highUnits[1], want.highUnits[2], want.highUnits[3])
			assert.Zero(t, s.sweep(), "nothing of it is overdue any more")
		})
	}
}

func TestRefundDoesInEachStatusWhatTheMachineSays(t *testing.T) {
	shop := setup(t)
	for situation, refused := range map[string]bool{
		"pending": true, "expired": true, "payment failed": true, "cancelled": true, "refunded": true,
		"paid": false, "paid twice": false, "refund due": false,
	} {
		t.Run(situation, func(t *testing.T) {
			s := playIn(shop.in(t), situation)
			told := s.events(s.order)
			before := s.books(s.high)
			result, err := s.RefundOrder.Do(s.ctx(), action.RefundOrderInput{OrderID: s.order.ID})
			assert.Equal(t, before, s.books(s.high), "no unit moves without restock")
			if refused {
				requireCode(t, err, sale.CodeNotRefundable)
				assert.Equal(t, told, s.events(s.order))
				return
			}
			require.NoError(t, err)
			assert.Equal(t, sale.OrderRefundDue, result.Value.Status)
			assert.NotEmpty(t, result.Value.RefundReason)
			assert.Equal(t, 1, s.events(s.order)["order.refund_due"], "told once")
		})
	}
}

func TestRefundWithRestockPutsEveryUnitBackOnceAndStaysARefund(t *testing.T) {
	bothPaths(t, func(t *testing.T, shop *shop) {
		t.Helper()
		s := playIn(shop, "paid")
		s.refund(s.order, true)
		s.requireUnits(s.high, 5, 0, 0, 0)
		s.requireUnits(s.low, 5, 0, 0, 0)
		assert.Equal(t, int64(3), s.meter.restored)
		s.refund(s.order, true)
		s.requireUnits(s.high, 5, 0, 0, 0)
		assert.Equal(t, int64(3), s.meter.restored, "asked again")
		s.hold("bob", line(s.high, 5), line(s.low, 5))
		assert.Equal(t, sale.OutcomeRefunded, s.tell(said(sale.PaymentRefunded, s.order, "refund", s.id("own"))).Outcome)
		assert.Equal(t, sale.OrderRefunded, s.status(s.order))
		s.requireUnits(s.high, 0, 5, 0, 0)
		assert.Equal(t, map[string]int{"order.created": 1, "order.paid": 1, "order.refund_due": 1, "order.refunded": 1}, s.events(s.order))
	})
}

func TestUnitsThatARefundLeftSoldGoBackOnceWhenRestockIsAskedForLater(t *testing.T) {
	bothPaths(t, func(t *testing.T, shop *shop) {
		t.Helper()
		s := playIn(shop, "paid")
		s.refund(s.order, false)
		s.requireUnits(s.high, 3, 0, 0, 2)
		for range 2 {
			s.refund(s.order, true)
			s.requireUnits(s.high, 5, 0, 0, 0)
			s.requireUnits(s.low, 5, 0, 0, 0)
		}
		assert.Equal(t, int64(3), s.meter.restored)
		assert.Equal(t, sale.OrderRefundDue, s.status(s.order))
		assert.Equal(t, map[string]int{"order.created": 1, "order.paid": 1, "order.refund_due": 1}, s.events(s.order))
	})
}

func TestRefundOfAnOrderOfNothingToPayIsDoneAtOnce(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		p := s.product(3, priced(0, "USD"))
		order := s.ordered("ann", line(p, 2))
		assert.Equal(t, sale.OrderRefunded, s.refund(order, true).Status)
		s.requireUnits(p, 3, 0, 0, 0)
		assert.Equal(t, map[string]int{"order.created": 1, "order.paid": 1, "order.refunded": 1}, s.events(order))
		_, err := s.RefundOrder.Do(s.ctx(), action.RefundOrderInput{OrderID: order.ID})
		requireCode(t, err, sale.CodeNotRefundable)
	})
}

func TestUnitsOfARefundNoLongerCountAgainstTheLimit(t *testing.T) {
	t.Parallel()
	for name, restock := range map[string]bool{"restocked": true, "kept": false} {
		t.Run(name, func(t *testing.T) {
			s := setup(t)
			p := s.product(4, limited(2))
			order := s.ordered("ann", line(p, 2))
			s.succeed(order, "own")
			s.refused(sale.CodeLimitReached, wish("ann", line(p, 1)))
			s.refund(order, restock)
			s.hold("ann", line(p, 2))
		})
	}
}

func TestAKeyMakesACancelAndARefundHappenOnce(t *testing.T) {
	s := setup(t)
	p := s.product(9)
	order, paid := s.ordered("ann", line(p, 2)), s.ordered("bob", line(p, 3))
	s.succeed(paid, "own")
	for i := range 2 {
		result, err := s.CancelOrder.Do(s.ctx(), action.CancelOrderInput{Key: "k", OrderID: order.ID})
		require.NoError(t, err)
		assert.Equal(t, i == 1, result.Replayed)
		result, err = s.RefundOrder.Do(s.ctx(), action.RefundOrderInput{Key: "k", OrderID: paid.ID, Restock: true})
		require.NoError(t, err, "a key belongs to its operation and order")
		assert.Equal(t, i == 1, result.Replayed)
	}
	_, err := s.RefundOrder.Do(s.ctx(), action.RefundOrderInput{Key: "k", OrderID: paid.ID})
	requireCode(t, err, sale.CodeKeyReused)
	s.requireUnits(p, 9, 0, 0, 0)
}

func TestUnknownOrderCanNeitherBeCancelledNorRefunded(t *testing.T) {
	s := setup(t)
	unordered := sale.OrderOf(s.hold("ann", line(s.product(1), 1)).ID)
	_, err := s.CancelOrder.Do(s.ctx(), action.CancelOrderInput{OrderID: unordered})
	requireCode(t, err, sale.CodeOrderNotFound)
	_, err = s.RefundOrder.Do(s.ctx(), action.RefundOrderInput{OrderID: unordered})
	requireCode(t, err, sale.CodeOrderNotFound)
}

// Whoever comes first decides, and the other finds that out: money is never kept for
// a cancelled order, units never given back twice.
func TestCancelAndPaymentAtOnceEndPaidOrDueBack(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		branch := s.branch()
		p := s.product(100)
		for i := range 20 {
			order := s.ordered("ann", line(p, 2))
			var cancelled error
			var outcome sale.PaymentOutcome
			crowd(2, func(who int) {
				if who == 0 {
					_, cancelled = branch.CancelOrder.Do(s.ctx(), action.CancelOrderInput{OrderID: order.ID})
					return
				}
				outcome = s.succeed(order, s.prefix+string(rune('a'+i))).Outcome
			})
			if cancelled == nil {
				assert.Equal(t, sale.OutcomeRefundDue, outcome)
				assert.Equal(t, sale.OrderRefundDue, s.status(order))
				continue
			}
			requireCode(t, cancelled, sale.CodeNotCancellable)
			assert.Equal(t, sale.OutcomePaid, outcome)
			assert.Equal(t, sale.OrderPaid, s.status(order))
		}
	})
}

func TestRefundAskedForManyTimesAtOnceRestocksOnce(t *testing.T) {
	s := setup(t)
	branch, p := s.branch(), s.product(5)
	order := s.ordered("ann", line(p, 2))
	s.succeed(order, "own")
	crowd(20, func(i int) {
		actions := s.Actions
		if i%2 == 0 {
			actions = branch
		}
		_, err := actions.RefundOrder.Do(s.ctx(), action.RefundOrderInput{OrderID: order.ID, Restock: true})
		assert.NoError(t, err)
	})
	s.requireUnits(p, 5, 0, 0, 0)
	assert.Equal(t, 1, s.events(order)["order.refund_due"])
}

// The provider may be told, send the money and say so before the request's own answer
// comes back.
func TestRefundEventBeforeTheRefundRequestsOwnAnswerIsTheEnd(t *testing.T) {
	s := play(t, "paid")
	assert.Equal(t, sale.OutcomeRefunded, s.tell(said(sale.PaymentRefunded, s.order, "refund", s.id("own"))).Outcome)
	_, err := s.RefundOrder.Do(s.ctx(), action.RefundOrderInput{OrderID: s.order.ID, Restock: true})
	requireCode(t, err, sale.CodeNotRefundable)
	assert.Equal(t, sale.OutcomeDuplicate, s.tell(said(sale.PaymentRefunded, s.order, "refund again", s.id("own"))).Outcome)
	assert.Equal(t, sale.OrderRefunded, s.status(s.order))
	s.requireUnits(s.high, 3, 0, 0, 2)
	assert.Equal(t, 1, s.events(s.order)["order.refunded"])
}

func TestMismatchesOfOnePaymentAreReportedOnce(t *testing.T) {
	s := play(t, "pending")
	for _, id := range []string{"one", "two"} {
		event := said(sale.PaymentSucceeded, s.order, id, "own")
		event.Amount.Amount--
		assert.Equal(t, sale.OutcomeMismatch, s.tell(event).Outcome)
	}
	assert.Equal(t, 1, s.events(s.order)["payment.mismatch"])
	other := said(sale.PaymentSucceeded, s.order, "three", "other")
	other.Amount.Currency = "EUR"
	s.tell(other)
	assert.Equal(t, 2, s.events(s.order)["payment.mismatch"], "another payment, another report")
}

// The server undoes the transaction that did less, and it runs again.
func TestCancellationThatLostADeadlockCountsItsUnitsOnce(t *testing.T) {
	s := setup(t)
	p := s.product(5)
	order := s.ordered("ann", line(p, 2))
	s.exec("CREATE TABLE deeds (n INT)")
	holder := s.locked("INSERT INTO deeds WITH RECURSIVE n AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM n WHERE n < 500) SELECT n FROM n")
	_, err := holder.ExecContext(s.ctx(), `INSERT INTO outbox (id, type, order_id, sequence, payload, created_at)
		VALUES (?, ?, ?, 9, '{}', NOW(6))`, sale.OrderEventID(sale.EventOrderCancelled, order.ID), sale.EventOrderCancelled, order.ID)
	require.NoError(t, err)
	cancelled := make(chan error, 1)
	go func() {
		_, err := s.CancelOrder.Do(s.ctx(), action.CancelOrderInput{OrderID: order.ID})
		cancelled <- err
	}()
	s.awaitStatement("-- name: InsertEvent ")
	_, err = holder.ExecContext(s.ctx(), "SELECT 1 FROM orders WHERE id = ? FOR UPDATE", order.ID)
	require.NoError(t, err)
	require.NoError(t, holder.Rollback())
	require.NoError(t, <-cancelled)
	s.requireUnits(p, 5, 0, 0, 0)
	assert.Equal(t, int64(2), s.meter.restored)
}
