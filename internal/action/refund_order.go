package action

import (
	"context"
	"fmt"

	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/mysql"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// RefundOrder makes a paid order's money due back.
type RefundOrder struct{ *desk }

// RefundOrderInput says what is wanted. Restock puts the units back on sale at once;
// without it they stay sold.
type RefundOrderInput struct {
	Key     string
	OrderID sale.OrderID
	Restock bool
}

// Do reports the refund, once, to whoever is to send the money; the provider's event
// then makes the order refunded. An order of nothing to pay is refunded at once. One
// whose refund is due already is not reported again; units that are still sold go back
// with Restock. It returns CodeOrderNotFound,
// CodeNotRefundable, CodeKeyReused or CodeKeyInProgress.
func (a *RefundOrder) Do(ctx context.Context, in RefundOrderInput) (Result[OrderView], error) {
	return a.changeOrder(ctx, orderChange{
		operation: "refundOrder", key: in.Key, asked: in.Restock, id: in.OrderID,
		trigger: refundTrigger,
		apply: func(ctx context.Context, tx *mysql.Tx, order sale.Order, next sale.Transition, r *restocking) error {
			if in.Restock {
				if err := a.restock(ctx, tx, order, r); err != nil {
					return err
				}
			}
			if next.Step == sale.StepRestock {
				return nil
			}
			return a.owe(ctx, tx, order, next, in.Restock)
		},
	})
}

func refundTrigger(order sale.Order) sale.Trigger {
	if order.PaymentID == "" {
		return sale.TriggerRefundNothing
	}
	return sale.TriggerRefund
}

func (a *RefundOrder) restock(ctx context.Context, tx *mysql.Tx, order sale.Order, r *restocking) error {
	if err := a.lock(ctx, tx, ascending(order.Lines)); err != nil {
		return err
	}
	return a.giveBackOrder(ctx, tx, order.ID, sale.ReturnRefunded, r)
}

// owe marks the order, and its payment where there is one.
func (a *RefundOrder) owe(
	ctx context.Context, tx *mysql.Tx, order sale.Order, next sale.Transition, restocked bool,
) error {
	changed, err := a.q.MarkOwed(ctx, tx, store.MarkOwedParams{
		RefundDueAt: &tx.Now, RefundReason: next.Reason, ID: order.ID,
	})
	if err := oneRow(changed, err); err != nil {
		return fmt.Errorf("marking a refund of %s due: %w", order.ID, err)
	}
	told := facts{
		Amount: &order.Total.Amount, Currency: order.Total.Currency, Reason: next.Reason, Restocked: &restocked,
	}
	if next.Step == sale.StepAnnul {
		_, err := a.q.MarkRefunded(ctx, tx, store.MarkRefundedParams{RefundedAt: &tx.Now, ID: order.ID})
		if err != nil {
			return fmt.Errorf("marking %s refunded: %w", order.ID, err)
		}
		return announce(ctx, tx, orderEvent(next.Tells, order.ID, told))
	}
	told.Provider, told.PaymentID = order.Provider, order.PaymentID
	if err := a.setPayment(ctx, tx, order.Provider, order.PaymentID, sale.PaymentRefundDue); err != nil {
		return err
	}
	return announce(ctx, tx, orderEvent(next.Tells, order.ID, told))
}
