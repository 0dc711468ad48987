package action

import (
	"context"
	"fmt"

	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/mysql"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// CancelOrder ends an order that nobody has paid.
type CancelOrder struct{ *desk }

// CancelOrderInput names the order to end.
type CancelOrderInput struct {
	Key     string
	OrderID sale.OrderID
}

// Do gives units that still wait for the payment back on sale. Money that comes
// later is due back. An order that was cancelled before is answered as it is. It
// returns CodeOrderNotFound, CodeNotCancellable, CodeKeyReused or CodeKeyInProgress.
func (a *CancelOrder) Do(ctx context.Context, in CancelOrderInput) (Result[OrderView], error) {
	return a.changeOrder(ctx, orderChange{
		operation: "cancelOrder", key: in.Key, id: in.OrderID,
		trigger: func(sale.Order) sale.Trigger { return sale.TriggerCancel },
		apply:   a.cancel,
	})
}

func (a *CancelOrder) cancel(
	ctx context.Context, tx *mysql.Tx, order sale.Order, next sale.Transition, r *restocking,
) error {
	if err := a.lock(ctx, tx, ascending(order.Lines)); err != nil {
		return err
	}
	if err := a.giveBackOrder(ctx, tx, order.ID, sale.ReturnCancelled, r); err != nil {
		return err
	}
	changed, err := a.q.MarkCancelled(ctx, tx, store.MarkCancelledParams{CancelledAt: &tx.Now, ID: order.ID})
	if err := oneRow(changed, err); err != nil {
		return fmt.Errorf("marking %s cancelled: %w", order.ID, err)
	}
	return announce(ctx, tx, orderEvent(next.Tells, order.ID, facts{}))
}
