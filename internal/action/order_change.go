package action

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/mysql"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// orderChange is what somebody asks to be done with an order.
type orderChange struct {
	operation string
	key       string
	asked     any // what the key stands for, beside the order
	id        sale.OrderID
	trigger   func(order sale.Order) sale.Trigger
	// apply does what the machine says. The order's row is locked; products are not.
	apply func(ctx context.Context, tx *mysql.Tx, order sale.Order, next sale.Transition, r *restocking) error
}

// changeOrder does it once, as the order's machine says: a refusal is an error, an
// order that is as wanted already is answered as it is. It returns CodeOrderNotFound,
// the machine's refusals, CodeKeyReused or CodeKeyInProgress.
func (d *desk) changeOrder(ctx context.Context, c orderChange) (Result[OrderView], error) {
	view, _, err := d.order(ctx, c.id)
	if err != nil {
		return Result[OrderView]{}, err
	}
	key, err := newClaim(c.operation, c.id.String(), c.key, c.asked)
	if err != nil {
		return Result[OrderView]{}, err
	}
	var next sale.Transition
	var r restocking
	_, replayed, err := d.once(ctx, key, c.id, ascending(view.Lines), func(ctx context.Context, tx *mysql.Tx) (err error) {
		r = restocking{}
		next, err = d.transition(ctx, tx, c, view.Lines, &r)
		return err
	})
	if err != nil {
		return Result[OrderView]{}, err
	}
	if !replayed && (next.Tells != "" || r.units() > 0) {
		d.publish(ctx, r)
		d.Log.InfoContext(ctx, "order.changed", slog.String("order_id", c.id.String()),
			slog.String("event", string(next.Tells)), slog.Int64("stock_restored", r.units()))
	}
	return answer(ctx, replayed, func(ctx context.Context) (OrderView, error) { return d.orderView(ctx, c.id) })
}

// transition decides under the order's lock.
func (d *desk) transition(
	ctx context.Context, tx *mysql.Tx, c orderChange, lines []sale.Line, r *restocking,
) (sale.Transition, error) {
	row, err := d.q.LockOrder(ctx, tx, c.id)
	if err != nil {
		return sale.Transition{}, fmt.Errorf("locking order %s: %w", c.id, err)
	}
	order := orderOf(row, nil)
	order.Lines = lines
	status := order.Status(tx.Now)
	next := sale.Next(status, c.trigger(order))
	switch {
	case next.Refusal != "":
		return next, sale.Fail(next.Refusal, "The order is "+string(status)+".")
	case next.Step == sale.StepNone:
		return next, nil
	}
	return next, c.apply(ctx, tx, order, next, r)
}

// setPayment changes what is known of a payment.
func (d *desk) setPayment(
	ctx context.Context, tx *mysql.Tx, provider sale.Provider, id string, state sale.PaymentState,
) error {
	if _, err := d.q.SetPaymentState(ctx, tx, store.SetPaymentStateParams{
		State: state, UpdatedAt: tx.Now, Provider: provider, PaymentID: id,
	}); err != nil {
		return fmt.Errorf("marking payment %s %s: %w", id, state, err)
	}
	return nil
}
