package action_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/action"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// racers are two processes, and how often a race is run between them.
func (s *shop) racers() (processes []*action.Actions, rounds int) {
	s.t.Helper()
	return []*action.Actions{s.Actions, s.branch()}, 10
}

// tellTo gives an event to one process; safe beside others.
func (s *shop) tellTo(process *action.Actions, event sale.PaymentEvent) action.PaymentResult {
	s.t.Helper()
	result, err := process.ProcessPayment.Do(s.ctx(), event)
	assert.NoError(s.t, err)
	return result
}

func TestOneUnitLeftForTwoLatePaymentsAtOnceIsSoldToOneAndTheOtherIsDueBack(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		processes, rounds := s.racers()
		for i := range rounds {
			p := s.product(2)
			orders := []action.OrderView{s.ordered("ann", line(p, 1)), s.ordered("bob", line(p, 1))}
			for _, order := range orders {
				s.pass(order.HoldID())
			}
			s.succeed(s.ordered("eve", line(p, 1)), fmt.Sprint("eve's ", i))
			met := make([]action.PaymentResult, len(orders))
			crowd(len(orders), func(side int) {
				met[side] = s.tellTo(processes[side],
					said(sale.PaymentSucceeded, orders[side], fmt.Sprint("event ", i, side), fmt.Sprint("own ", i, side)))
			})
			assert.ElementsMatch(t, []action.PaymentResult{
				{Outcome: sale.OutcomeRebooked, OrderStatus: sale.OrderPaid},
				{Outcome: sale.OutcomeRefundDue, OrderStatus: sale.OrderRefundDue},
			}, met)
			s.requireUnits(p, 0, 0, 0, 2)
		}
	})
}

func TestLatePaymentOfTwoProductsOfWhichOneWasSoldOnIsDueBackAndTheOtherIsOnSale(t *testing.T) {
	t.Parallel()
	for name, swept := range map[string]bool{"swept": true, "not swept": false} {
		t.Run(name, func(t *testing.T) {
			s := play(t, "expired")
			if swept {
				assert.Equal(t, int64(3), s.sweep().StockRestored)
			}
			s.succeed(s.ordered("bob", line(s.high, 5)), "bob's")
			assert.Equal(t, action.PaymentResult{Outcome: sale.OutcomeRefundDue, OrderStatus: sale.OrderRefundDue},
				s.succeed(s.order, "own"))
			s.requireUnits(s.low, 5, 0, 0, 0)
			s.requireUnits(s.high, 0, 0, 0, 5)
			s.hold("eve", line(s.low, 5))
		})
	}
}

func TestRefundToldTwiceAtOnceHappensOnce(t *testing.T) {
	t.Parallel()
	for name, ids := range map[string][]string{"one event": {"refund", "refund"}, "two events": {"refund", "other refund"}} {
		t.Run(name, func(t *testing.T) {
			s := setup(t)
			processes, rounds := s.racers()
			for range rounds {
				scene := playIn(s, "paid")
				met := make([]action.PaymentResult, len(ids))
				crowd(len(ids), func(side int) {
					met[side] = s.tellTo(processes[side],
						said(sale.PaymentRefunded, scene.order, scene.id(ids[side]), scene.id("own")))
				})
				assert.ElementsMatch(t, []action.PaymentResult{
					{Outcome: sale.OutcomeRefunded, OrderStatus: sale.OrderRefunded},
					{Outcome: sale.OutcomeDuplicate, OrderStatus: sale.OrderRefunded},
				}, met)
				assert.Equal(t, 1, s.events(scene.order)["order.refunded"])
				scene.requireUnits(scene.high, 3, 0, 0, 2)
			}
		})
	}
}

func TestRefundOfTheExtraPaymentBesideARefundOfTheOrderLeavesEachItsOwn(t *testing.T) {
	s := setup(t)
	processes, rounds := s.racers()
	for range rounds {
		scene := playIn(s, "paid twice") // with "other", and then with "own"
		crowd(2, func(side int) {
			payment := scene.id([]string{"own", "other"}[side])
			result := s.tellTo(processes[side],
				said(sale.PaymentRefunded, scene.order, "refund of "+payment, payment))
			assert.Equal(t, sale.OutcomeRefunded, result.Outcome)
		})
		assert.Equal(t, sale.OrderRefunded, s.status(scene.order))
		assert.Equal(t, map[string]int{
			"order.created": 1, "order.paid": 1, "payment.refund_due": 1, "order.refunded": 1,
		}, s.events(scene.order))
	}
	assert.Zero(t, s.count("SELECT COUNT(*) FROM payments WHERE state <> 'refunded'"))
}

// Whichever is first: the money never stays without the units, nor the units without
// the money.
func TestSuccessAndItsRefundAtOnceEndRefundedOrNeverPaid(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		processes, rounds := s.racers()
		for range rounds {
			scene := playIn(s, "pending")
			met := make([]sale.PaymentOutcome, 2)
			crowd(len(met), func(side int) {
				kind := []sale.PaymentKind{sale.PaymentSucceeded, sale.PaymentRefunded}[side]
				met[side] = s.tellTo(processes[side],
					said(kind, scene.order, scene.id(string(kind)), scene.id("own"))).Outcome
			})
			require.Equal(t, sale.OutcomeRefunded, met[1])
			if met[0] == sale.OutcomePaid {
				assert.Equal(t, sale.OrderRefunded, s.status(scene.order))
				scene.requireUnits(scene.high, 3, 0, 0, 2)
				continue
			}
			require.Equal(t, sale.OutcomeIgnored, met[0])
			assert.Equal(t, sale.OrderPendingPayment, s.status(scene.order))
			scene.requireUnits(scene.high, 3, 0, 2, 0)
		}
	})
}

func TestRefundRequestAndTheProvidersOwnRefundAtOnceEndRefunded(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		processes, rounds := s.racers()
		for range rounds {
			scene := playIn(s, "paid")
			var refused error
			crowd(2, func(side int) {
				if side == 0 {
					_, refused = processes[side].RefundOrder.Do(s.ctx(), action.RefundOrderInput{OrderID: scene.order.ID, Restock: true})
					return
				}
				result := s.tellTo(processes[side],
					said(sale.PaymentRefunded, scene.order, scene.id("refund"), scene.id("own")))
				assert.Equal(t, sale.OutcomeRefunded, result.Outcome)
			})
			told := map[string]int{"order.created": 1, "order.paid": 1, "order.refunded": 1}
			if refused == nil {
				told["order.refund_due"] = 1
				scene.requireUnits(scene.high, 5, 0, 0, 0)
			} else {
				requireCode(t, refused, sale.CodeNotRefundable)
				scene.requireUnits(scene.high, 3, 0, 0, 2)
			}
			assert.Equal(t, told, s.events(scene.order))
			assert.Equal(t, sale.OrderRefunded, s.status(scene.order))
		}
	})
}
