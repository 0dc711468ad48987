package action

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/lane"
	"github.com/flashsale-api/flashsale/internal/mysql"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// errUnitsMoved says that units of an order in time went back while its payment
// waited: the payment is taken again, as a late one.
var errUnitsMoved = errors.New("the order's units went back meanwhile")

// errPaymentKnown says that another event made this payment known at the same
// moment: this one is decided again.
var errPaymentKnown = errors.New("the payment became known meanwhile")

// maxDecisions is how often one event is decided, when others come between, before
// its sender is asked to come back.
const maxDecisions = 10

// ProcessPayment does what a payment event says, once.
type ProcessPayment struct {
	*desk
	lanes *lane.Lanes[sale.Provider, *success]
	apart *apart[sale.OrderID]
}

func newProcessPayment(d *desk) *ProcessPayment {
	a := &ProcessPayment{desk: d}
	a.lanes = lane.NewLanes(a.serveBatch, d.Meter.Lane(LanePayments), d.patience(forBatch))
	a.apart = newApart[sale.OrderID](d, GatePayments)
	return a
}

// payment is one event on its way through a transaction.
type payment struct {
	event   sale.PaymentEvent
	order   OrderView
	arrived time.Time // by the database's clock: decides what is in time
	moved   bool      // the units went back meanwhile
	next    sale.Transition
	restocking
}

// Do gives what the event came to. It returns CodeOrderNotFound, with no trace
// left, for an order that is not there: the same event works once it is.
func (a *ProcessPayment) Do(ctx context.Context, event sale.PaymentEvent) (PaymentResult, error) {
	if event.Kind == sale.PaymentOther {
		a.report(ctx, event, sale.OutcomeIgnored)
		return PaymentResult{Outcome: sale.OutcomeIgnored}, nil
	}
	came := time.Now()
	if a.Coalesce && event.Kind == sale.PaymentSucceeded {
		err := a.lanes.Do(ctx, event.Provider, &success{event: event, came: came})
		if !errors.Is(err, errPlainly) {
			return a.paidTogether(ctx, event, a.merged(ctx, err))
		}
	}
	order, clock, err := a.order(ctx, event.OrderID)
	if err != nil {
		return PaymentResult{}, err
	}
	p := &payment{event: event, order: order, arrived: clock.Of(came)}
	outcome, err := a.process(ctx, p)
	if err != nil {
		return PaymentResult{}, err
	}
	a.publish(ctx, p.restocking)
	a.report(ctx, event, outcome)
	result, err := answer(ctx, outcome == sale.OutcomeDuplicate, func(ctx context.Context) (PaymentResult, error) {
		view, err := a.orderView(ctx, event.OrderID)
		return PaymentResult{Outcome: outcome, OrderStatus: view.Status}, err
	})
	return result.Value, err
}

// paidTogether is the end of an event that a batch did.
func (a *ProcessPayment) paidTogether(ctx context.Context, event sale.PaymentEvent, err error) (PaymentResult, error) {
	if err != nil {
		return PaymentResult{}, err
	}
	a.report(ctx, event, sale.OutcomePaid)
	return PaymentResult{Outcome: sale.OutcomePaid, OrderStatus: sale.OrderPaid}, nil
}

// process runs the transaction until nothing came between its look and its effect.
func (a *ProcessPayment) process(ctx context.Context, p *payment) (sale.PaymentOutcome, error) {
	for range maxDecisions {
		outcome, err := a.run(ctx, p)
		switch {
		case errors.Is(err, errUnitsMoved):
			p.moved = true
		case errors.Is(err, errOverdue):
			if err := a.makeRoom(ctx, p); err != nil {
				return "", err
			}
		case errors.Is(err, errCustomersOverdue):
			if err := a.makeRoomWithinLimits(ctx, p); err != nil {
				return "", err
			}
		case !errors.Is(err, errPaymentKnown):
			return outcome, err
		}
	}
	return "", contended()
}

func contended() *sale.Error {
	return &sale.Error{
		Code: sale.CodeOverloaded, RetryAfter: time.Second,
		Detail: "Too much is going on with these products. Nothing was done; try again.",
	}
}

// turn waits for the payment's turn: with the products where it moves stock, else as one that
// no batch does.
func (a *ProcessPayment) turn(ctx context.Context, p *payment) (leave func(), err error) {
	inTime := p.event.Kind == sale.PaymentSucceeded && p.order.Status == sale.OrderPendingPayment && !p.moved
	switch {
	case !inTime:
		return a.enter(ctx, p.products()...)
	case a.Coalesce:
		return a.apart.enter(ctx, p.event.OrderID)
	default:
		return func() {}, nil
	}
}

// run is one transaction.
func (a *ProcessPayment) run(ctx context.Context, p *payment) (sale.PaymentOutcome, error) {
	leave, err := a.turn(ctx, p)
	if err != nil {
		return "", err
	}
	defer leave()
	var outcome sale.PaymentOutcome
	var made time.Time
	err = a.DB.Tx(ctx, a.settle(&p.event, &made), func(ctx context.Context, tx *mysql.Tx) (err error) {
		made, p.restocking = tx.Now, restocking{}
		outcome, err = a.once(ctx, tx, p)
		return err
	})
	if errors.Is(err, errTaken) {
		p.restocking = restocking{} // it was undone
		return sale.OutcomeDuplicate, nil
	}
	return outcome, err
}

// settle tells after a lost commit whether the event that was remembered then is there.
func (a *ProcessPayment) settle(event *sale.PaymentEvent, made *time.Time) mysql.Settle {
	return func(ctx context.Context, conn store.DBTX) (bool, error) {
		n, err := a.q.EventExists(ctx, conn, store.EventExistsParams{
			Provider: event.Provider, EventID: event.ID, ReceivedAt: *made,
		})
		return n > 0, err
	}
}

// products names the order's products in the order in which they are locked.
func (p *payment) products() []sale.ProductID {
	return ascending(p.order.Lines)
}

// once decides under the order's lock, so equal events follow each other, and
// writes the event with its outcome beside the effect.
func (a *ProcessPayment) once(ctx context.Context, tx *mysql.Tx, p *payment) (sale.PaymentOutcome, error) {
	row, err := a.q.LockOrder(ctx, tx, p.event.OrderID)
	if err != nil {
		return "", fmt.Errorf("locking order %s: %w", p.event.OrderID, err)
	}
	p.order.Order = reordered(p.order.Order, row)
	p.order.Status = p.order.Order.Status(p.arrived)
	if err := a.unseen(ctx, tx, p.event); err != nil {
		return "", err
	}
	facts, err := a.facts(ctx, tx, p)
	if err != nil {
		return "", err
	}
	p.next = sale.Decide(p.event, facts)
	outcome, err := a.apply(ctx, tx, p)
	if err != nil {
		return "", err
	}
	return outcome, a.remember(ctx, tx, p.event, outcome)
}

// reordered is an order as its locked row says, with the lines that never change.
func reordered(order sale.Order, row store.Order) sale.Order {
	fresh := orderOf(row, nil)
	fresh.Lines = order.Lines
	return fresh
}

// unseen returns errTaken for an event that was seen. The order's lock makes equal
// events come one by one, so this read sees whoever was first.
func (a *ProcessPayment) unseen(ctx context.Context, tx *mysql.Tx, event sale.PaymentEvent) error {
	_, err := a.q.GetPaymentEvent(ctx, tx, store.GetPaymentEventParams{Provider: event.Provider, EventID: event.ID})
	switch {
	case err == nil:
		return errTaken
	case errors.Is(err, sql.ErrNoRows):
		return nil
	default:
		return fmt.Errorf("looking for event %s: %w", event.ID, err)
	}
}

func (a *ProcessPayment) remember(
	ctx context.Context, tx *mysql.Tx, event sale.PaymentEvent, outcome sale.PaymentOutcome,
) error {
	err := a.q.InsertPaymentEvent(ctx, tx, store.InsertPaymentEventParams{
		Provider: event.Provider, EventID: event.ID, OrderID: event.OrderID, Kind: event.Kind,
		Outcome: outcome, ReceivedAt: tx.Now,
	})
	switch {
	case mysql.IsDuplicate(err):
		return errTaken
	case err != nil:
		return fmt.Errorf("remembering event %s: %w", event.ID, err)
	}
	return nil
}

func (a *ProcessPayment) facts(ctx context.Context, tx *mysql.Tx, p *payment) (sale.Facts, error) {
	facts := sale.Facts{Status: p.order.Status, Total: p.order.Total, Policy: a.LatePayment}
	if p.moved && facts.Status == sale.OrderPendingPayment {
		// The money came in time: it is taken whatever the policy for late money is.
		facts.Status, facts.Policy = sale.OrderExpired, sale.LatePaymentRebook
	}
	known, err := a.q.GetPayment(ctx, tx, store.GetPaymentParams{Provider: p.event.Provider, PaymentID: p.event.PaymentID})
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return facts, nil
	case err != nil:
		return facts, fmt.Errorf("looking for payment %s: %w", p.event.PaymentID, err)
	case known.OrderID != p.event.OrderID:
		// Money that belongs to another order can neither pay this one nor be given
		// back by it: an amount that nothing matches makes it a mismatch.
		facts.Total = sale.Money{Amount: -1}
		return facts, nil
	}
	facts.Payment = known.State
	facts.Owns = p.order.Provider == p.event.Provider && p.order.PaymentID == p.event.PaymentID
	return facts, nil
}

// apply does what was decided.
func (a *ProcessPayment) apply(ctx context.Context, tx *mysql.Tx, p *payment) (sale.PaymentOutcome, error) {
	var err error
	switch p.next.Step {
	case sale.StepNone, sale.StepExpire, sale.StepCancel, sale.StepOwe, sale.StepRestock, sale.StepAnnul:
	case sale.StepPay:
		err = a.pay(ctx, tx, p)
	case sale.StepRebook:
		return a.rebook(ctx, tx, p)
	case sale.StepFail:
		err = a.fail(ctx, tx, p)
	case sale.StepRefundDue:
		err = a.giveUp(ctx, tx, p)
	case sale.StepExtra:
		err = a.extra(ctx, tx, p)
	case sale.StepRefund:
		err = a.refund(ctx, tx, p)
	case sale.StepRefundExtra:
		err = a.returned(ctx, tx, p.event)
	case sale.StepRemember:
		err = a.insertPayment(ctx, tx, p.event, sale.PaymentReturned)
	case sale.StepReport:
		// Two senders, or two events, may say the same of one payment.
		err = announceOnce(ctx, tx, paymentEvent(p.next.Tells, p.event, ""))
	}
	return p.next.Outcome, err
}

// pay sells the pending units. It does not take the products' rows: no stock
// changes, and so a crowd that pays does not stop the crowd that reserves.
func (a *ProcessPayment) pay(ctx context.Context, tx *mysql.Tx, p *payment) error {
	sold, err := a.q.SellLines(ctx, tx, sale.HoldOf(p.event.OrderID))
	switch {
	case err != nil:
		return fmt.Errorf("selling the units of %s: %w", p.event.OrderID, err)
	case sold != int64(len(p.order.Lines)):
		return errUnitsMoved
	}
	return a.markPaid(ctx, tx, p)
}

func (a *ProcessPayment) markPaid(ctx context.Context, tx *mysql.Tx, p *payment) error {
	event := p.event
	if _, err := a.q.MarkPaid(ctx, tx, store.MarkPaidParams{
		PaidAt: &tx.Now, Provider: event.Provider, PaymentID: event.PaymentID, ID: event.OrderID,
	}); err != nil {
		return fmt.Errorf("marking %s paid: %w", event.OrderID, err)
	}
	if err := a.insertPayment(ctx, tx, event, sale.PaymentOwns); err != nil {
		return err
	}
	return a.tell(ctx, tx, p)
}

// fail gives the units back on sale. A sweep that came first has done that.
func (a *ProcessPayment) fail(ctx context.Context, tx *mysql.Tx, p *payment) error {
	if err := a.lock(ctx, tx, p.products()); err != nil {
		return err
	}
	if err := a.giveBackOrder(ctx, tx, p.event.OrderID, sale.ReturnFailed, &p.restocking); err != nil {
		return err
	}
	if _, err := a.q.MarkFailed(ctx, tx, store.MarkFailedParams{FailedAt: &tx.Now, ID: p.event.OrderID}); err != nil {
		return fmt.Errorf("marking %s failed: %w", p.event.OrderID, err)
	}
	return a.tell(ctx, tx, p)
}

// tell announces what the event made of its order.
func (a *ProcessPayment) tell(ctx context.Context, tx *mysql.Tx, p *payment) error {
	return announce(ctx, tx, orderEvent(p.next.Tells, p.event.OrderID, money(p.event, p.next.Reason)))
}

func (a *ProcessPayment) refundDue(ctx context.Context, tx *mysql.Tx, p *payment) error {
	if _, err := a.q.MarkRefundDue(ctx, tx, store.MarkRefundDueParams{
		RefundDueAt: &tx.Now, RefundReason: p.next.Reason, Provider: p.event.Provider, PaymentID: p.event.PaymentID,
		ID: p.event.OrderID,
	}); err != nil {
		return fmt.Errorf("marking a refund of %s due: %w", p.event.OrderID, err)
	}
	if err := a.insertPayment(ctx, tx, p.event, sale.PaymentRefundDue); err != nil {
		return err
	}
	return a.tell(ctx, tx, p)
}

func (a *ProcessPayment) extra(ctx context.Context, tx *mysql.Tx, p *payment) error {
	if err := a.insertPayment(ctx, tx, p.event, sale.PaymentRefundDue); err != nil {
		return err
	}
	return announce(ctx, tx, paymentEvent(p.next.Tells, p.event, p.next.Reason))
}

func (a *ProcessPayment) refund(ctx context.Context, tx *mysql.Tx, p *payment) error {
	if _, err := a.q.MarkRefunded(ctx, tx, store.MarkRefundedParams{RefundedAt: &tx.Now, ID: p.event.OrderID}); err != nil {
		return fmt.Errorf("marking %s refunded: %w", p.event.OrderID, err)
	}
	if err := a.returned(ctx, tx, p.event); err != nil {
		return err
	}
	return a.tell(ctx, tx, p)
}

func (a *ProcessPayment) returned(ctx context.Context, tx *mysql.Tx, event sale.PaymentEvent) error {
	return a.setPayment(ctx, tx, event.Provider, event.PaymentID, sale.PaymentReturned)
}

func (a *ProcessPayment) insertPayment(
	ctx context.Context, tx *mysql.Tx, event sale.PaymentEvent, state sale.PaymentState,
) error {
	err := a.q.InsertPayment(ctx, tx, store.InsertPaymentParams{
		Provider: event.Provider, PaymentID: event.PaymentID, OrderID: event.OrderID,
		Amount: event.Amount.Amount, Currency: event.Amount.Currency, State: state,
		CreatedAt: tx.Now, UpdatedAt: tx.Now,
	})
	switch {
	case mysql.IsDuplicate(err):
		return errPaymentKnown
	case err != nil:
		return fmt.Errorf("remembering payment %s: %w", event.PaymentID, err)
	}
	return nil
}

// money is what an event says of a payment to the world.
func money(event sale.PaymentEvent, reason sale.RefundReason) facts {
	return facts{
		Provider: event.Provider, PaymentID: event.PaymentID,
		Amount: &event.Amount.Amount, Currency: event.Amount.Currency, Reason: reason,
	}
}

func (a *ProcessPayment) report(ctx context.Context, event sale.PaymentEvent, outcome sale.PaymentOutcome) {
	a.Meter.PaymentReceived(outcome)
	attrs := []slog.Attr{
		slog.String("event_id", event.ID), slog.String("provider", string(event.Provider)),
		slog.String("kind", string(event.Kind)), slog.Any("order_id", event.OrderID),
		slog.String("payment_id", event.PaymentID), slog.String("outcome", string(outcome)),
		slog.Int64("amount", event.Amount.Amount), slog.String("currency", event.Amount.Currency),
	}
	switch outcome {
	case sale.OutcomeDuplicate:
		a.Log.LogAttrs(ctx, slog.LevelInfo, "webhook.duplicate", attrs...)
	case sale.OutcomeMismatch:
		a.Log.LogAttrs(ctx, slog.LevelError, "webhook.mismatch", attrs...)
	default:
		a.Log.LogAttrs(ctx, slog.LevelInfo, "webhook.processed", attrs...)
	}
}
