package action_test

import (
	"fmt"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/flashsale-api/flashsale/internal/action"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// deed is what a step of an interleaving can do, how often it is drawn among the
// others, and the refusals that it may meet.
type deed struct {
	name  string
	often int
	may   []sale.Code
	do    func(x *interleaving, s step) error
}

// The payments of an order: the customer pays with the first, by mistake with the
// second too; of the third the refund is told first.
const firstPayment, secondPayment, thirdPayment = "first", "second", "third"

var holding = deed{"hold", 2, []sale.Code{
	sale.CodeLimitReached, sale.CodeInsufficient, sale.CodeAllHeld, sale.CodeSoldOut,
}, func(x *interleaving, s step) error {
	made, err := s.actions.CreateHold.Do(x.ctx(), wish(s.customer, s.lines...))
	if err == nil {
		x.holds[s.hold].Store(&made.Value)
	}
	return err
}}

var ordering = deed{"order", 3, []sale.Code{
	sale.CodeHoldExpired, sale.CodeHoldNotActive, sale.CodeHoldOrdered,
}, func(x *interleaving, s step) error {
	_, err := s.actions.CreateOrder.Do(x.ctx(), action.CreateOrderInput{HoldID: s.held.ID})
	return err
}}

// unordered is what whoever speaks of an order meets while the hold is none yet.
var unordered = []sale.Code{sale.CodeOrderNotFound}

var deeds = []deed{
	holding,
	ordering,
	{"extend", 1, []sale.Code{sale.CodeHoldNotActive}, func(x *interleaving, s step) error {
		_, err := s.actions.ExtendHold.Do(x.ctx(), action.ExtendHoldInput{HoldID: s.held.ID, By: time.Minute})
		return err
	}},
	{"release", 1, []sale.Code{sale.CodeHoldNotActive}, func(x *interleaving, s step) error {
		_, err := s.actions.ReleaseHold.Do(x.ctx(), action.ReleaseHoldInput{HoldID: s.held.ID})
		return err
	}},
	{"expire", 3, nil, func(x *interleaving, s step) error { return x.expire(s.held.ID) }},
	{"sweep", 2, nil, func(x *interleaving, s step) error {
		_, err := s.actions.ReleaseExpired.Do(x.ctx())
		return err
	}},
	{"adjust", 2, []sale.Code{sale.CodeInsufficient}, func(x *interleaving, s step) error {
		_, err := s.actions.AdjustStock.Do(x.ctx(), action.AdjustStockInput{
			ProductID: s.lines[0].ProductID, Delta: 2*s.variant - 1, Reason: "counted",
		})
		return err
	}},
	{"cancel", 2, []sale.Code{sale.CodeOrderNotFound, sale.CodeNotCancellable}, func(x *interleaving, s step) error {
		_, err := s.actions.CancelOrder.Do(x.ctx(), action.CancelOrderInput{OrderID: sale.OrderOf(s.held.ID)})
		if err != nil {
			return err
		}
		return x.nothingWaits(s.held.ID)
	}},
	{"refund request", 4, []sale.Code{sale.CodeOrderNotFound, sale.CodeNotRefundable}, func(x *interleaving, s step) error {
		_, err := s.actions.RefundOrder.Do(x.ctx(), action.RefundOrderInput{
			OrderID: sale.OrderOf(s.held.ID), Restock: s.variant == 1,
		})
		return err
	}},
	{"succeed", 5, unordered, func(x *interleaving, s step) error { return x.tell(s, sale.PaymentSucceeded, firstPayment) }},
	{"late succeed", 3, unordered, func(x *interleaving, s step) error {
		if err := x.expire(s.held.ID); err != nil {
			return err
		}
		return x.tell(s, sale.PaymentSucceeded, firstPayment)
	}},
	{"late succeed after a new hold", 3, append(holding.may, unordered...), func(x *interleaving, s step) error {
		if err := x.expire(s.held.ID); err != nil {
			return err
		}
		lines := make([]sale.LineRequest, len(s.held.Lines))
		for i, line := range s.held.Lines {
			lines[i] = sale.LineRequest{ProductID: line.ProductID, Quantity: line.Quantity}
		}
		if _, err := s.actions.CreateHold.Do(x.ctx(), wish(s.held.CustomerID, lines...)); err != nil {
			return err
		}
		return x.tell(s, sale.PaymentSucceeded, firstPayment)
	}},
	{"second succeed", 3, unordered, func(x *interleaving, s step) error { return x.tell(s, sale.PaymentSucceeded, secondPayment) }},
	{"fail", 2, unordered, func(x *interleaving, s step) error { return x.tell(s, sale.PaymentFailed, firstPayment) }},
	{"refund event", 2, unordered, func(x *interleaving, s step) error { return x.tell(s, sale.PaymentRefunded, firstPayment) }},
	{"refund of the second", 2, unordered, func(x *interleaving, s step) error {
		return x.tell(s, sale.PaymentRefunded, secondPayment)
	}},
	{"early refund", 2, unordered, func(x *interleaving, s step) error {
		if err := x.tell(s, sale.PaymentRefunded, thirdPayment); err != nil {
			return err
		}
		return x.tell(s, sale.PaymentSucceeded, thirdPayment)
	}},
}

// anyDeed draws one.
func (x *interleaving) anyDeed() deed {
	sum := 0
	for _, deed := range deeds {
		sum += deed.often
	}
	drawn := x.random.IntN(sum)
	for _, deed := range deeds {
		if drawn -= deed.often; drawn < 0 {
			return deed
		}
	}
	return holding
}

// expire makes a hold's or order's time be over, the order's before that of its lines:
// no sweep finds a line overdue whose order is in time.
func (x *interleaving) expire(id sale.HoldID) error {
	for _, query := range []string{
		"UPDATE orders SET pay_by = pay_by - INTERVAL 1 DAY WHERE id = ?",
		`UPDATE hold_lines SET due_at = due_at - INTERVAL 1 DAY, expires_at = expires_at - INTERVAL 1 DAY
			WHERE id = ? AND (state = 'held' OR state = 'pending' AND EXISTS (
				SELECT 1 FROM orders WHERE orders.id = hold_lines.id AND orders.pay_by <= NOW(6)))`,
	} {
		if _, err := x.db.SQL().ExecContext(x.ctx(), query, id); err != nil {
			return fmt.Errorf("making %s be over: %w", id, err)
		}
	}
	return nil
}

// nothingWaits asserts that no unit of an order waits for its payment any more: what
// ends an order gives them back itself, and leaves none to the sweep.
func (x *interleaving) nothingWaits(id sale.HoldID) error {
	var waiting int64
	err := x.db.SQL().QueryRowContext(x.ctx(), "SELECT COUNT(*) FROM hold_lines WHERE id = ? AND state = 'pending'", id).Scan(&waiting)
	assert.Zero(x.t, waiting, "interleaving %d: lines of %s that still wait", x.number, id)
	return err
}

// mayComeTo are the outcomes of an event that speaks of an order's own money. The
// refund of the third payment is always told first.
func mayComeTo(kind sale.PaymentKind, payment string) []sale.PaymentOutcome {
	switch {
	case kind == sale.PaymentFailed:
		return []sale.PaymentOutcome{sale.OutcomePaymentFailed, sale.OutcomeDuplicate, sale.OutcomeIgnored}
	case kind == sale.PaymentRefunded:
		return []sale.PaymentOutcome{sale.OutcomeRefunded, sale.OutcomeDuplicate}
	case payment == thirdPayment:
		return []sale.PaymentOutcome{sale.OutcomeDuplicate, sale.OutcomeIgnored}
	}
	return []sale.PaymentOutcome{
		sale.OutcomePaid, sale.OutcomeRebooked, sale.OutcomeRefundDue, sale.OutcomeRefundDueExtra,
		sale.OutcomeDuplicate, sale.OutcomeIgnored,
	}
}

// tell says something of one of the order's payments, in one of two events.
func (x *interleaving) tell(s step, kind sale.PaymentKind, payment string) error {
	hold := s.held
	id := payment + " of " + hold.ID.String()
	result, err := s.actions.ProcessPayment.Do(x.ctx(), sale.PaymentEvent{
		Provider: sale.ProviderStandard, ID: fmt.Sprint(kind, " ", s.variant, ", ", id), Kind: kind,
		OrderID: sale.OrderOf(hold.ID), PaymentID: id, Amount: sale.Total(hold.Lines),
	})
	if err != nil {
		return err
	}
	assert.Contains(x.t, mayComeTo(kind, payment), result.Outcome, "interleaving %d: %s", x.number, id)
	x.seen.add(string(result.Outcome))
	if kind == sale.PaymentSucceeded {
		x.answers.add(id, result.Outcome)
	}
	if result.Outcome == sale.OutcomeRefundDue || result.Outcome == sale.OutcomePaymentFailed {
		return x.nothingWaits(hold.ID)
	}
	return nil
}
