package action_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/action"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// late is an order that was swept before its money came.
func (s *shop) late(customer string, lines ...sale.LineRequest) action.OrderView {
	s.t.Helper()
	order := s.ordered(customer, lines...)
	s.pass(order.HoldID())
	s.sweep()
	return order
}

// What is overdue is somebody's for a moment, of a customer's whose order of it is just refused
// for example: the money waits for a decision, since it can be given back only once.
func TestLateMoneyIsNotGivenBackForOverdueUnitsThatSomebodyWorksOn(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		stock    int64
		rules    []func(*action.CreateProductInput)
		customer string
	}{
		"units": {stock: 1, customer: "eve"},
		"limit": {stock: 2, customer: "ann", rules: []func(*action.CreateProductInput){limited(1)}},
	} {
		t.Run(name, func(t *testing.T) {
			s := setup(t)
			p := s.product(test.stock, test.rules...)
			order := s.late("ann", line(p, 1))
			other := s.hold(test.customer, line(p, 1))
			s.pass(other.ID)
			holder := s.lockedLines(other.ID)
			event := said(sale.PaymentSucceeded, order, "event", "payment")
			_, err := s.ProcessPayment.Do(s.ctx(), event)
			requireCode(t, err, sale.CodeOverloaded)
			require.NoError(t, holder.Rollback())
			assert.Equal(t, sale.OutcomeRebooked, s.tell(event).Outcome)
		})
	}
}

// One transaction gives back so many lines at most, a payment as many as it needs.
func TestLateMoneyIsNotGivenBackWhereTooMuchIsOverdueForOneTransaction(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		stock, units, overdue int64
		rules                 []func(*action.CreateProductInput)
	}{
		"units": {stock: 1500, units: 1500, overdue: 1500},
		"limit": {stock: 2100, units: 1000, overdue: 1100, rules: []func(*action.CreateProductInput){limited(1050)}},
	} {
		t.Run(name, func(t *testing.T) {
			s := setup(t)
			p := s.product(test.stock, test.rules...)
			order := s.late("ann", line(p, test.units))
			s.fill(p, test.overdue, -60)
			s.exec("UPDATE hold_lines SET customer_id = 'ann' WHERE customer_id LIKE 'filler%'")
			assert.Equal(t, sale.OutcomeRebooked, s.succeed(order, "payment").Outcome)
			assert.Equal(t, s.count("SELECT SUM(delta) FROM movements WHERE reason = 'expired'"), s.meter.restored,
				"what a decision that was undone had given back counts for nothing")
		})
	}
}

// Units that are still the order's own count once.
func TestLateMoneyForUnitsThatWereNotSweptFitsIntoAFullLimit(t *testing.T) {
	s := setup(t)
	p := s.product(5, limited(2))
	order := s.ordered("ann", line(p, 2))
	s.pass(order.HoldID())
	assert.Equal(t, sale.OutcomeRebooked, s.succeed(order, "payment").Outcome)
}

// What a slow database takes after it told of its clock makes no money earlier.
func TestMoneyThatCameAfterItsTimeIsLateHoweverSlowTheDatabaseIs(t *testing.T) {
	t.Parallel()
	for name, coalesce := range map[string]bool{"merged": true, "plain": false} {
		t.Run(name, func(t *testing.T) {
			s := setup(t, func(kit *action.Kit) { kit.LatePayment, kit.Coalesce = sale.LatePaymentRefund, coalesce })
			order := s.ordered("ann", line(s.product(5), 1))
			unlock := s.lockTable("hold_lines")
			s.exec("UPDATE orders SET pay_by = NOW(6) - INTERVAL 50000 MICROSECOND WHERE id = ?", order.ID)
			outcomes := make(chan sale.PaymentOutcome, 1)
			go func() { outcomes <- s.succeed(order, "payment").Outcome }()
			if coalesce {
				s.awaitStatement("-- name: LockOrders ")
			} else {
				s.awaitStatement("-- name: GetLines ")
			}
			time.Sleep(100 * time.Millisecond) // is what the database takes
			unlock()
			assert.Equal(t, sale.OutcomeRefundDue, <-outcomes)
		})
	}
}

// A limit that was lowered meanwhile is passed by the order's own units alone: there is nothing
// to wait for.
func TestLateMoneyForMoreUnitsThanALoweredLimitIsDueBack(t *testing.T) {
	t.Parallel()
	for name, order := range map[string]func(*shop, sale.LineRequest) action.OrderView{
		"swept": func(s *shop, wish sale.LineRequest) action.OrderView { return s.late("ann", wish) },
		"not swept": func(s *shop, wish sale.LineRequest) action.OrderView {
			order := s.ordered("ann", wish)
			s.pass(order.HoldID())
			return order
		},
	} {
		t.Run(name, func(t *testing.T) {
			bothPaths(t, func(t *testing.T, s *shop) {
				t.Helper()
				p := s.product(5, limited(2))
				late, inTime := order(s, line(p, 2)), s.ordered("bob", line(p, 2))
				_, err := s.UpdateProduct.Do(s.ctx(), p.ID, action.ProductPatch{
					PerCustomerLimit: action.Change[int64]{Given: true, Value: ptr(int64(1))},
				})
				require.NoError(t, err)
				assert.Equal(t, sale.OutcomeRefundDue, s.succeed(late, s.prefix+"late").Outcome)
				view, err := s.GetOrder.Do(s.ctx(), late.ID)
				require.NoError(t, err)
				assert.Equal(t, sale.RefundLimit, view.RefundReason)
				assert.Equal(t, sale.OutcomePaid, s.succeed(inTime, s.prefix+"in time").Outcome, "what was ordered within the limit")
				s.requireUnits(p, 3, 0, 0, 2)
			})
		})
	}
}
