package action_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/action"
	"github.com/flashsale-api/flashsale/internal/sale"
)

func withRefundPolicy(kit *action.Kit) { kit.LatePayment = sale.LatePaymentRefund }

// scene is an order of two products in some status, and how it got there.
type scene struct {
	*shop
	low, high sale.Product
	order     action.OrderView
}

// situations bring the order of a scene into a status. Its own payment is named "own".
var situations = map[string]func(s *scene){
	"pending":        func(*scene) {},
	"paid":           func(s *scene) { s.succeed(s.order, s.id("own")) },
	"payment failed": func(s *scene) { s.tell(said(sale.PaymentFailed, s.order, s.id("failure"), s.id("own"))) },
	"expired":        func(s *scene) { s.pass(s.order.HoldID()) },
	"expired and swept": func(s *scene) {
		s.pass(s.order.HoldID())
		s.sweep()
	},
	"expired and gone": unitsGone,
	"cancelled":        func(s *scene) { s.cancel(s.order) },
	"refund due": func(s *scene) {
		unitsGone(s)
		s.succeed(s.order, s.id("own"))
	},
	"refunded": func(s *scene) {
		s.succeed(s.order, s.id("own"))
		s.tell(said(sale.PaymentRefunded, s.order, s.id("refund"), s.id("own")))
	},
	"refunded before": func(s *scene) { s.tell(said(sale.PaymentRefunded, s.order, s.id("refund"), s.id("own"))) },
	"paid twice": func(s *scene) {
		s.succeed(s.order, s.id("other"))
		s.succeed(s.order, s.id("own"))
	},
}

func unitsGone(s *scene) {
	s.pass(s.order.HoldID())
	s.hold("bob", line(s.high, 5))
}

// id names an event or a payment of this scene.
func (s *scene) id(name string) string { return name + " of " + s.order.ID.String() }

func play(t *testing.T, situation string, changes ...func(*action.Kit)) *scene {
	t.Helper()
	return playIn(setup(t, changes...), situation)
}

// playIn brings about a situation beside others in one shop.
func playIn(shop *shop, situation string) *scene {
	s := &scene{shop: shop}
	s.low, s.high = s.twoProducts(5, 5)
	s.order = s.ordered("ann", line(s.high, 2), line(s.low, 1))
	situations[situation](s)
	return s
}

// The whole table of the contract: what an event that was not seen before does.
func TestPaymentEventDoesWhatTheTableSays(t *testing.T) {
	bothPaths(t, func(t *testing.T, shop *shop) {
		t.Helper()
		dollars := func(amount int64) sale.Money { return sale.Money{Amount: amount, Currency: "USD"} }
		total, less, euros := dollars(3000), dollars(2999), sale.Money{Amount: 3000, Currency: "EUR"}
		for name, row := range map[string]struct {
			situation string
			kind      sale.PaymentKind
			payment   string
			amount    sale.Money
			outcome   sale.PaymentOutcome
			status    sale.OrderStatus
			reason    sale.RefundReason
			told      string // the event that goes out, "" for none
			highUnits [4]int64
		}{
			"success in time":                       {"pending", sale.PaymentSucceeded, "own", total, sale.OutcomePaid, sale.OrderPaid, "", "order.paid", [4]int64{3, 0, 0, 2}},
			"success of less":                       {"pending", sale.PaymentSucceeded, "own", less, sale.OutcomeMismatch, sale.OrderPendingPayment, "", "payment.mismatch", [4]int64{3, 0, 2, 0}},
			"success in another currency":           {"pending", sale.PaymentSucceeded, "own", euros, sale.OutcomeMismatch, sale.OrderPendingPayment, "", "payment.mismatch", [4]int64{3, 0, 2, 0}},
			"failure in time":                       {"pending", sale.PaymentFailed, "own", total, sale.OutcomePaymentFailed, sale.OrderPaymentFailed, "", "order.payment_failed", [4]int64{5, 0, 0, 0}},
			"failure of another amount":             {"pending", sale.PaymentFailed, "own", less, sale.OutcomeMismatch, sale.OrderPendingPayment, "", "payment.mismatch", [4]int64{3, 0, 2, 0}},
			"failure after the success":             {"paid", sale.PaymentFailed, "own", total, sale.OutcomeIgnored, sale.OrderPaid, "", "", [4]int64{3, 0, 0, 2}},
			"failure after the failure":             {"payment failed", sale.PaymentFailed, "own", total, sale.OutcomeIgnored, sale.OrderPaymentFailed, "", "", [4]int64{5, 0, 0, 0}},
			"failure too late":                      {"expired", sale.PaymentFailed, "own", total, sale.OutcomeIgnored, sale.OrderExpired, "", "", [4]int64{3, 0, 2, 0}},
			"success after the failure":             {"payment failed", sale.PaymentSucceeded, "own", total, sale.OutcomeRebooked, sale.OrderPaid, "", "order.paid", [4]int64{3, 0, 0, 2}},
			"success too late, not swept":           {"expired", sale.PaymentSucceeded, "own", total, sale.OutcomeRebooked, sale.OrderPaid, "", "order.paid", [4]int64{3, 0, 0, 2}},
			"success too late, swept":               {"expired and swept", sale.PaymentSucceeded, "own", total, sale.OutcomeRebooked, sale.OrderPaid, "", "order.paid", [4]int64{3, 0, 0, 2}},
			"success too late, units gone":          {"expired and gone", sale.PaymentSucceeded, "own", total, sale.OutcomeRefundDue, sale.OrderRefundDue, sale.RefundUnitsGone, "order.refund_due", [4]int64{0, 5, 0, 0}},
			"success too late of less":              {"expired", sale.PaymentSucceeded, "own", less, sale.OutcomeMismatch, sale.OrderExpired, "", "payment.mismatch", [4]int64{3, 0, 2, 0}},
			"success of a cancelled order":          {"cancelled", sale.PaymentSucceeded, "own", total, sale.OutcomeRefundDue, sale.OrderRefundDue, sale.RefundCancelled, "order.refund_due", [4]int64{5, 0, 0, 0}},
			"success again":                         {"paid", sale.PaymentSucceeded, "own", total, sale.OutcomeDuplicate, sale.OrderPaid, "", "", [4]int64{3, 0, 0, 2}},
			"success again, refund due":             {"refund due", sale.PaymentSucceeded, "own", total, sale.OutcomeDuplicate, sale.OrderRefundDue, sale.RefundUnitsGone, "", [4]int64{0, 5, 0, 0}},
			"success again, refunded":               {"refunded", sale.PaymentSucceeded, "own", total, sale.OutcomeDuplicate, sale.OrderRefunded, "", "", [4]int64{3, 0, 0, 2}},
			"another success":                       {"paid", sale.PaymentSucceeded, "extra", total, sale.OutcomeRefundDueExtra, sale.OrderPaid, "", "payment.refund_due", [4]int64{3, 0, 0, 2}},
			"another success, refund due":           {"refund due", sale.PaymentSucceeded, "extra", total, sale.OutcomeRefundDueExtra, sale.OrderRefundDue, sale.RefundUnitsGone, "payment.refund_due", [4]int64{0, 5, 0, 0}},
			"another success, refunded":             {"refunded", sale.PaymentSucceeded, "extra", total, sale.OutcomeRefundDueExtra, sale.OrderRefunded, "", "payment.refund_due", [4]int64{3, 0, 0, 2}},
			"another success of less":               {"paid", sale.PaymentSucceeded, "extra", less, sale.OutcomeMismatch, sale.OrderPaid, "", "payment.mismatch", [4]int64{3, 0, 0, 2}},
			"refund":                                {"paid", sale.PaymentRefunded, "own", total, sale.OutcomeRefunded, sale.OrderRefunded, "", "order.refunded", [4]int64{3, 0, 0, 2}},
			"refund that was due":                   {"refund due", sale.PaymentRefunded, "own", total, sale.OutcomeRefunded, sale.OrderRefunded, sale.RefundUnitsGone, "order.refunded", [4]int64{0, 5, 0, 0}},
			"refund of a part":                      {"paid", sale.PaymentRefunded, "own", less, sale.OutcomeMismatch, sale.OrderPaid, "", "payment.mismatch", [4]int64{3, 0, 0, 2}},
			"refund of the extra payment":           {"paid twice", sale.PaymentRefunded, "own", total, sale.OutcomeRefunded, sale.OrderPaid, "", "", [4]int64{3, 0, 0, 2}},
			"refund again":                          {"refunded", sale.PaymentRefunded, "own", total, sale.OutcomeDuplicate, sale.OrderRefunded, "", "", [4]int64{3, 0, 0, 2}},
			"refund before its success":             {"pending", sale.PaymentRefunded, "own", total, sale.OutcomeRefunded, sale.OrderPendingPayment, "", "", [4]int64{3, 0, 2, 0}},
			"success after its refund":              {"refunded before", sale.PaymentSucceeded, "own", total, sale.OutcomeIgnored, sale.OrderPendingPayment, "", "", [4]int64{3, 0, 2, 0}},
			"another success after a refund":        {"refunded before", sale.PaymentSucceeded, "other", total, sale.OutcomePaid, sale.OrderPaid, "", "order.paid", [4]int64{3, 0, 0, 2}},
			"refund of an unseen payment when paid": {"paid", sale.PaymentRefunded, "unseen", total, sale.OutcomeRefunded, sale.OrderPaid, "", "", [4]int64{3, 0, 0, 2}},
		} {
			t.Run(name, func(t *testing.T) {
				s := playIn(shop.in(t), row.situation)
				before := s.events(s.order)
				event := said(row.kind, s.order, s.id("the event"), s.id(row.payment))
				event.Amount = row.amount
				assert.Equal(t, action.PaymentResult{Outcome: row.outcome, OrderStatus: row.status}, s.tell(event))
				order, err := s.GetOrder.Do(s.ctx(), s.order.ID)
				require.NoError(t, err)
				assert.Equal(t, row.status, order.Status)
				assert.Equal(t, row.reason, order.RefundReason)
				if row.told != "" {
					before[row.told]++
				}
				told := s.events(s.order)
				if row.situation == "expired" {
					delete(told, "order.expired")
				}
				assert.Equal(t, before, told)
				s.requireUnits(s.high, row.highUnits[0], row.highUnits[1], row.highUnits[2], row.highUnits[3])
				assert.Equal(t, action.PaymentResult{Outcome: sale.OutcomeDuplicate, OrderStatus: row.status}, s.tell(event), "seen")
				assert.Equal(t, told["order.paid"], s.events(s.order)["order.paid"])
			})
		}
	})
}

func TestOutcomesAreCounted(t *testing.T) {
	bothPaths(t, func(t *testing.T, shop *shop) {
		t.Helper()
		s := playIn(shop, "paid twice")
		assert.Equal(t, map[sale.PaymentOutcome]int{sale.OutcomePaid: 1, sale.OutcomeRefundDueExtra: 1}, s.meter.outcomes)
	})
}

func TestLatePaymentIsRefundedWhereTheServerDoesNotRebook(t *testing.T) {
	t.Parallel()
	for _, situation := range []string{"payment failed", "expired", "expired and swept"} {
		t.Run(situation, func(t *testing.T) {
			s := play(t, situation, withRefundPolicy)
			assert.Equal(t, action.PaymentResult{Outcome: sale.OutcomeRefundDue, OrderStatus: sale.OrderRefundDue}, s.succeed(s.order, "own"))
			order, err := s.GetOrder.Do(s.ctx(), s.order.ID)
			require.NoError(t, err)
			assert.Equal(t, sale.RefundLate, order.RefundReason)
			s.sweep()
			s.requireUnits(s.high, 5, 0, 0, 0)
			assert.Equal(t, 1, s.events(s.order)["order.refund_due"])
		})
	}
}

func TestPaymentOnTimeIsPaidWhateverTheServerDoesWithLateOnes(t *testing.T) {
	s := play(t, "pending", withRefundPolicy)
	assert.Equal(t, sale.OutcomePaid, s.succeed(s.order, "own").Outcome)
}

func TestEventOfAnUnknownOrderLeavesNoTraceAndWorksOnceTheOrderExists(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		hold := s.hold("ann", line(s.product(1), 1))
		event := sale.PaymentEvent{
			Provider: sale.ProviderStandard, ID: "early", Kind: sale.PaymentSucceeded, OrderID: sale.OrderOf(hold.ID),
			PaymentID: "own", Amount: sale.Money{Amount: 1000, Currency: "USD"},
		}
		_, err := s.ProcessPayment.Do(s.ctx(), event)
		requireCode(t, err, sale.CodeOrderNotFound)
		assert.Zero(t, s.count("SELECT (SELECT COUNT(*) FROM payment_events) + (SELECT COUNT(*) FROM payments)"))
		s.order(hold)
		assert.Equal(t, sale.OutcomePaid, s.tell(event).Outcome)
	})
}

func TestEventOfAnotherKindIsIgnored(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		assert.Equal(t, action.PaymentResult{Outcome: sale.OutcomeIgnored},
			s.tell(sale.PaymentEvent{Provider: sale.ProviderStripe, ID: "x", Kind: sale.PaymentOther}))
	})
}

func TestSameEventFiftyTimesAtOnceHasOneEffect(t *testing.T) {
	t.Parallel()
	for _, situation := range []string{"pending", "expired", "payment failed", "expired and gone"} {
		t.Run(situation, func(t *testing.T) {
			s := play(t, situation)
			branch, event := s.branch(), said(sale.PaymentSucceeded, s.order, "the event", "own")
			met := make([]sale.PaymentOutcome, 50)
			crowd(len(met), func(i int) {
				actions := s.Actions
				if i%2 == 0 {
					actions = branch
				}
				result, err := actions.ProcessPayment.Do(s.ctx(), event)
				assert.NoError(t, err)
				met[i] = result.Outcome
			})
			effects := 0
			for _, outcome := range met {
				if outcome != sale.OutcomeDuplicate {
					effects++
				}
			}
			assert.Equal(t, 1, effects, "%v", met)
			assert.Equal(t, int64(1), s.count("SELECT COUNT(*) FROM payments"))
			assert.Equal(t, int64(1), s.count("SELECT COUNT(*) FROM payment_events WHERE event_id = 'the event'"))
		})
	}
}

func TestFirstOfTwoPaymentsAtOnceOwnsTheOrder(t *testing.T) {
	bothPaths(t, func(t *testing.T, shop *shop) {
		t.Helper()
		s := playIn(shop, "pending")
		met := make([]sale.PaymentOutcome, 6)
		crowd(len(met), func(i int) {
			met[i] = s.succeed(s.order, string(rune('a'+i))).Outcome
		})
		assert.ElementsMatch(t, []sale.PaymentOutcome{
			sale.OutcomePaid, sale.OutcomeRefundDueExtra, sale.OutcomeRefundDueExtra, sale.OutcomeRefundDueExtra,
			sale.OutcomeRefundDueExtra, sale.OutcomeRefundDueExtra,
		}, met)
		assert.Equal(t, 5, s.events(s.order)["payment.refund_due"], "each extra payment is told of")
	})
}

func TestEventAndPaymentIDsBelongToTheirSender(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		p := s.product(5)
		one, other := s.ordered("ann", line(p, 1)), s.ordered("bob", line(p, 1))
		fromStripe := said(sale.PaymentSucceeded, other, "the event", "own")
		fromStripe.Provider = sale.ProviderStripe
		assert.Equal(t, sale.OutcomePaid, s.tell(said(sale.PaymentSucceeded, one, "the event", "own")).Outcome)
		assert.Equal(t, sale.OutcomePaid, s.tell(fromStripe).Outcome)
		upper := said(sale.PaymentRefunded, one, "THE EVENT", "OWN")
		assert.Equal(t, action.PaymentResult{Outcome: sale.OutcomeRefunded, OrderStatus: sale.OrderPaid}, s.tell(upper), "another case is another payment")
	})
}

// Two senders may have given their payments for one order the same name.
func TestRefundOfAPaymentThatAnotherSenderNamedAlikeLeavesTheOrder(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		order := s.ordered("ann", line(s.product(5), 1))
		fromStripe := func(kind sale.PaymentKind) sale.PaymentEvent {
			event := said(kind, order, string(kind), s.prefix+"own")
			event.Provider = sale.ProviderStripe
			return event
		}
		assert.Equal(t, sale.OutcomePaid, s.succeed(order, s.prefix+"own").Outcome)
		assert.Equal(t, sale.OutcomeRefundDueExtra, s.tell(fromStripe(sale.PaymentSucceeded)).Outcome)
		back := s.tell(fromStripe(sale.PaymentRefunded))
		assert.Equal(t, action.PaymentResult{Outcome: sale.OutcomeRefunded, OrderStatus: sale.OrderPaid}, back)
	})
}

func TestEventThatWasSeenForOneOrderDoesNothingToAnother(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		p := s.product(5)
		one, other := s.ordered("ann", line(p, 1)), s.ordered("bob", line(p, 1))
		met := make([]sale.PaymentOutcome, 2)
		crowd(len(met), func(i int) {
			order := []action.OrderView{one, other}[i]
			met[i] = s.tell(said(sale.PaymentSucceeded, order, "the event", string(rune('a'+i)))).Outcome
		})
		assert.ElementsMatch(t, []sale.PaymentOutcome{sale.OutcomePaid, sale.OutcomeDuplicate}, met)
		s.requireUnits(p, 3, 0, 1, 1)
	})
}

func TestPaymentOfOneOrderCannotPayAnother(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		p := s.product(5)
		one, other := s.ordered("ann", line(p, 1)), s.ordered("bob", line(p, 1))
		s.succeed(one, "own")
		for _, kind := range []sale.PaymentKind{sale.PaymentSucceeded, sale.PaymentRefunded} {
			result := s.tell(said(kind, other, "stray "+string(kind), "own"))
			assert.Equal(t, action.PaymentResult{Outcome: sale.OutcomeMismatch, OrderStatus: sale.OrderPendingPayment}, result)
		}
		assert.Equal(t, sale.OrderPaid, s.status(one))
	})
}

func TestRebookTakesAllLinesOrNone(t *testing.T) {
	bothPaths(t, func(t *testing.T, shop *shop) {
		t.Helper()
		s := playIn(shop, "payment failed")
		s.hold("bob", line(s.high, 4))
		assert.Equal(t, sale.OutcomeRefundDue, s.succeed(s.order, "own").Outcome)
		s.requireUnits(s.low, 5, 0, 0, 0)
		s.requireUnits(s.high, 1, 4, 0, 0)
	})
}

func TestRebookThatFailsGivesBackWhatWasStillPending(t *testing.T) {
	s := play(t, "expired and gone") // the line of high was given back, that of low is still pending
	s.requireUnits(s.low, 4, 0, 1, 0)
	assert.Equal(t, sale.OutcomeRefundDue, s.succeed(s.order, "own").Outcome)
	s.requireUnits(s.low, 5, 0, 0, 0)
	assert.Zero(t, s.sweep())
}

func TestRebookGivesBackOverdueLinesOfOthersBeforeItRefuses(t *testing.T) {
	bothPaths(t, func(t *testing.T, shop *shop) {
		t.Helper()
		s := playIn(shop, "payment failed")
		for _, customer := range []string{"bob", "eve"} {
			s.pass(s.ordered(customer, line(s.high, 2), line(s.low, 2)).HoldID())
		}
		s.hold("joe", line(s.high, 1))
		s.requireUnits(s.high, 0, 1, 4, 0)
		assert.Equal(t, sale.OutcomeRebooked, s.succeed(s.order, "own").Outcome)
		s.requireUnits(s.high, 2, 1, 0, 2)
		s.requireUnits(s.low, 0, 0, 4, 1)
	})
}

func TestRebookChecksTheCustomersLimitAgain(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		p := s.product(9, limited(2))
		late := s.ordered("ann", line(p, 2))
		s.pass(late.HoldID())
		s.hold("ann", line(p, 1))
		assert.Equal(t, action.PaymentResult{Outcome: sale.OutcomeRefundDue, OrderStatus: sale.OrderRefundDue}, s.succeed(late, "own"))
		order, err := s.GetOrder.Do(s.ctx(), late.ID)
		require.NoError(t, err)
		assert.Equal(t, sale.RefundLimit, order.RefundReason)
		s.requireUnits(p, 8, 1, 0, 0)
	})
}

func TestRebookWithinTheLimitIgnoresTheWindow(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		p := s.product(9, limited(2))
		late := s.ordered("ann", line(p, 2))
		s.pass(late.HoldID())
		s.sweep()
		_, err := s.UpdateProduct.Do(s.ctx(), p.ID, action.ProductPatch{SaleEndsAt: action.Change[time.Time]{Given: true, Value: at(longAgo)}})
		require.NoError(t, err)
		assert.Equal(t, sale.OutcomeRebooked, s.succeed(late, "own").Outcome)
		s.requireUnits(p, 7, 0, 0, 2)
	})
}

func TestLimitCannotBePassedByPayingLateAllAtOnce(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		p := s.product(9, limited(1))
		orders := make([]action.OrderView, 4)
		for i := range orders {
			orders[i] = s.ordered("ann", line(p, 1))
			s.pass(orders[i].HoldID())
		}
		crowd(len(orders), func(i int) { s.succeed(orders[i], string(rune('a'+i))) })
		s.requireUnits(p, 8, 0, 0, 1)
	})
}

func TestPaymentAndSweepNeverBothHaveTheUnits(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		p := s.product(20)
		branch := s.branch()
		for i := range 10 {
			order := s.ordered("ann", line(p, 1))
			s.pass(order.HoldID())
			crowd(2, func(side int) {
				if side == 0 {
					_, err := branch.ReleaseExpired.Do(s.ctx())
					assert.NoError(t, err)
					return
				}
				assert.Equal(t, sale.OutcomeRebooked, s.succeed(order, string(rune('a'+i))).Outcome)
			})
		}
		s.requireUnits(p, 10, 0, 0, 10)
	})
}

// The sweep has the line when the payment, which came in time, wants it.
func TestPaymentInTimeWhoseUnitsAreSweptMeanwhileIsRebooked(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		p := s.product(1)
		order := s.ordered("ann", line(p, 1))
		s.exec("UPDATE hold_lines SET due_at = NOW(6)") // the lines say overdue, the order in time
		s.sweep()
		assert.Equal(t, action.PaymentResult{Outcome: sale.OutcomeRebooked, OrderStatus: sale.OrderPaid}, s.succeed(order, "own"))
		s.requireUnits(p, 0, 0, 0, 1)
	})
}

func TestFailureRestocksExactlyOnceBesideASweep(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		low, high := s.twoProducts(5, 5)
		order := s.ordered("ann", line(low, 2), line(high, 2))
		s.exec("UPDATE hold_lines SET due_at = NOW(6)")
		branch := s.branch()
		crowd(4, func(i int) {
			if i%2 == 0 {
				_, err := branch.ReleaseExpired.Do(s.ctx())
				assert.NoError(t, err)
				return
			}
			_, err := s.ProcessPayment.Do(s.ctx(), said(sale.PaymentFailed, order, "failure", "own"))
			assert.NoError(t, err)
		})
		s.requireUnits(low, 5, 0, 0, 0)
		s.requireUnits(high, 5, 0, 0, 0)
		assert.Equal(t, sale.OrderPaymentFailed, s.status(order))
	})
}
