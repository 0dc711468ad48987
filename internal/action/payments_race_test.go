package action_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/action"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// succeedMeanwhile tells that an order was paid and gives where the answer will be.
func (s *shop) succeedMeanwhile(order action.OrderView, payment string) <-chan action.PaymentResult {
	s.t.Helper()
	answer := make(chan action.PaymentResult, 1)
	go func() {
		defer close(answer)
		result, err := s.ProcessPayment.Do(s.ctx(), said(sale.PaymentSucceeded, order, "success of "+payment, payment))
		if assert.NoError(s.t, err) {
			answer <- result
		}
	}()
	return answer
}

// A policy for late money is none for money in time.
func TestMoneyInTimeWhoseUnitsAreSweptMeanwhileIsRebookedWhateverThePolicy(t *testing.T) {
	s := setup(t, withRefundPolicy)
	low, high := s.twoProducts(5, 5)
	order := s.ordered("ann", line(low, 1), line(high, 2))
	s.exec("UPDATE hold_lines SET due_at = NOW(6)") // the lines say overdue, the order in time
	assert.Equal(t, int64(3), s.sweep().StockRestored)
	assert.Equal(t, action.PaymentResult{Outcome: sale.OutcomeRebooked, OrderStatus: sale.OrderPaid}, s.succeed(order, "own"))
	s.requireUnits(low, 4, 0, 0, 1)
	s.requireUnits(high, 3, 0, 0, 2)
}

// The sweep takes the lines while the payment waits for them.
func TestMoneyInTimeThatWaitsForASweepIsRebookedWhateverThePolicy(t *testing.T) {
	t.Parallel()
	for _, policy := range []sale.LatePayment{sale.LatePaymentRebook, sale.LatePaymentRefund} {
		t.Run(string(policy), func(t *testing.T) {
			s := setup(t, func(kit *action.Kit) { kit.LatePayment = policy })
			p := s.product(5)
			order := s.ordered("ann", line(p, 1))
			s.exec("UPDATE hold_lines SET due_at = NOW(6)")
			holder := s.locked("SELECT 1 FROM orders WHERE id = ? FOR UPDATE", order.ID)
			paid := s.succeedMeanwhile(order, "own")
			s.awaitStatement("-- name: LockOrder")
			s.sweep()
			require.NoError(t, holder.Rollback())
			assert.Equal(t, action.PaymentResult{Outcome: sale.OutcomeRebooked, OrderStatus: sale.OrderPaid}, <-paid)
			s.requireUnits(p, 4, 0, 0, 1)
		})
	}
}

// Receivers go by the numbers: of two events with one number neither would be later.
func TestFailureInTimeWhoseUnitsAreSweptMeanwhileIsToldOfAfterTheExpiry(t *testing.T) {
	s := setup(t)
	order := s.ordered("ann", line(s.product(5), 1))
	s.exec("UPDATE hold_lines SET due_at = NOW(6)") // the lines say overdue, the order in time
	s.sweep()
	assert.Equal(t, sale.OutcomePaymentFailed, s.tell(said(sale.PaymentFailed, order, "failure", "own")).Outcome)
	assert.Equal(t, map[string]int{"order.created": 1, "order.expired": 1, "order.payment_failed": 1}, s.events(order))
	assert.Equal(t, int64(1), s.count(`SELECT COUNT(*) FROM outbox failed JOIN outbox expired USING (order_id)
		WHERE failed.type = 'order.payment_failed' AND expired.type = 'order.expired' AND failed.sequence > expired.sequence`))
}

// Its order's time is over while it waits for the batch before its own.
func TestPaymentThatCameInTimeAndWaitedForItsBatchIsPaid(t *testing.T) {
	s := setupMerging(t)
	p := s.product(5)
	first, second := s.ordered("ann", line(p, 1)), s.ordered("bob", line(p, 1))
	unlock := s.lockTable("payments")
	paid := s.succeedMeanwhile(first, "first")
	s.awaitStatement("-- name: InsertPayment ")
	waited := s.succeedMeanwhile(second, "second")
	s.queue.await(s.t, func() bool { return s.queue.waiting == 1 })
	s.exec("UPDATE orders SET pay_by = NOW(6) WHERE id = ?", second.ID)
	unlock()
	inTime := action.PaymentResult{Outcome: sale.OutcomePaid, OrderStatus: sale.OrderPaid}
	assert.Equal(t, inTime, <-paid)
	assert.Equal(t, inTime, <-waited)
	s.requireUnits(p, 3, 0, 0, 2)
}

func TestOnePaymentForTwoOrdersAtOncePaysOneAndIsAMismatchForTheOther(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		p := s.product(50)
		branch := s.branch()
		for i := range 8 {
			orders := []action.OrderView{s.ordered("ann", line(p, 1)), s.ordered("bob", line(p, 1))}
			met := make([]sale.PaymentOutcome, len(orders))
			crowd(len(orders), func(side int) {
				actions := []*action.Actions{s.Actions, branch}[side]
				result, err := actions.ProcessPayment.Do(s.ctx(),
					said(sale.PaymentSucceeded, orders[side], fmt.Sprint("event ", i, side), fmt.Sprint("payment ", i)))
				assert.NoError(t, err)
				met[side] = result.Outcome
			})
			assert.ElementsMatch(t, []sale.PaymentOutcome{sale.OutcomePaid, sale.OutcomeMismatch}, met)
		}
		s.requireUnits(p, 34, 0, 8, 8)
	})
}

// Another process commits the payment after this one looked for it and before it
// writes it.
func TestPaymentThatBecomesKnownMeanwhileIsDecidedAgain(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		p := s.product(5)
		other, order := s.ordered("ann", line(p, 1)), s.ordered("bob", line(p, 1))
		holder := s.locked(`INSERT INTO payments (provider, payment_id, order_id, amount, currency, state, created_at, updated_at)
		VALUES (?, 'shared', ?, 1000, 'USD', ?, NOW(6), NOW(6))`, sale.ProviderStandard, other.ID, sale.PaymentReturned)
		paid := s.succeedMeanwhile(order, "shared")
		s.awaitStatement("-- name: InsertPayment ")
		require.NoError(t, holder.Commit())
		assert.Equal(t, action.PaymentResult{Outcome: sale.OutcomeMismatch, OrderStatus: sale.OrderPendingPayment}, <-paid)
		s.requireUnits(p, 3, 0, 2, 0)
	})
}

// Another process commits an event of the same name after this one looked for it and before
// it writes it. What this one did was undone, and nobody hears of it.
func TestEventThatBecomesKnownMeanwhileShowsNothingThatWasUndone(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		p := s.product(5)
		other, order := s.ordered("ann", line(p, 1)), s.ordered("bob", line(p, 1))
		holder := s.locked(`INSERT INTO payment_events (provider, event_id, order_id, kind, outcome, received_at)
		VALUES (?, 'shared', ?, ?, ?, NOW(6))`, sale.ProviderStandard, other.ID, sale.PaymentFailed, sale.OutcomeIgnored)
		answered := make(chan action.PaymentResult, 1)
		go func() { answered <- s.tell(said(sale.PaymentFailed, order, "shared", "payment")) }()
		s.awaitStatement("-- name: InsertPaymentEvent ")
		require.NoError(t, holder.Commit())
		assert.Equal(t, action.PaymentResult{Outcome: sale.OutcomeDuplicate, OrderStatus: sale.OrderPendingPayment}, <-answered)
		shown, err := s.GetProduct.Do(s.ctx(), p.ID)
		require.NoError(t, err)
		assert.Equal(t, int64(3), shown.Product.AvailableStock)
		assert.Zero(t, s.meter.restored)
		s.requireUnits(p, 3, 0, 2, 0)
	})
}

// What is to be refunded, or was, has not expired: its units go back with the
// decision, and no sweep tells of them.
func TestOrderWhoseRefundIsDueOrDoneIsNeverToldOfAsExpired(t *testing.T) {
	t.Parallel()
	for name, refunded := range map[string]bool{"due": false, "done": true} {
		t.Run(name, func(t *testing.T) {
			s := play(t, "expired", withRefundPolicy)
			s.requireUnits(s.high, 3, 0, 2, 0)
			assert.Equal(t, sale.OutcomeRefundDue, s.succeed(s.order, "own").Outcome)
			s.requireUnits(s.low, 5, 0, 0, 0)
			s.requireUnits(s.high, 5, 0, 0, 0)
			assert.Equal(t, int64(3), s.meter.restored)
			told := map[string]int{"order.created": 1, "order.refund_due": 1}
			if refunded {
				s.tell(said(sale.PaymentRefunded, s.order, "refund", "own"))
				told["order.refunded"] = 1
			}
			assert.Zero(t, s.sweep())
			assert.Equal(t, told, s.events(s.order))
		})
	}
}
