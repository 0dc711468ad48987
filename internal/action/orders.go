package action

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/lane"
	"github.com/flashsale-api/flashsale/internal/mysql"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// GetOrder reads an order.
type GetOrder struct{ *desk }

// Do returns CodeOrderNotFound for an unknown id.
func (a *GetOrder) Do(ctx context.Context, id sale.OrderID) (OrderView, error) {
	return a.orderView(ctx, id)
}

// CreateOrder makes an order of a hold.
type CreateOrder struct {
	*desk
	lanes *lane.Lanes[ordersLane, *orderWish]
}

func newCreateOrder(d *desk) *CreateOrder {
	a := &CreateOrder{desk: d}
	a.lanes = lane.NewLanes(a.serveBatch, d.Meter, d.patience(forBatch))
	return a
}

// Do makes the order; one of nothing to pay is paid at once. It returns
// CodeHoldNotFound, CodeHoldExpired, CodeHoldNotActive for a released hold,
// CodeHoldOrdered with the order's id, CodeKeyReused or CodeKeyInProgress.
func (a *CreateOrder) Do(ctx context.Context, in CreateOrderInput) (Result[OrderView], error) {
	c, err := newClaim("createOrder", "", in.Key, in.HoldID.String())
	if err != nil {
		return Result[OrderView]{}, err
	}
	if a.Coalesce {
		view, err := a.together(ctx, in.HoldID, c)
		if !errors.Is(err, errPlainly) {
			a.report(ctx, in.HoldID, false, err)
			return Result[OrderView]{Value: view}, err
		}
	}
	made, replayed, err := a.once(ctx, c, in.HoldID, nil, func(ctx context.Context, tx *mysql.Tx) error {
		return a.make(ctx, tx, in.HoldID)
	})
	a.report(ctx, in.HoldID, replayed, err)
	if err != nil {
		return Result[OrderView]{}, err
	}
	return answer(ctx, replayed, func(ctx context.Context) (OrderView, error) { return a.orderView(ctx, made) })
}

// together makes the order in one transaction with those of others; errPlainly for
// whatever is not an active hold's first order under a key of its own.
func (a *CreateOrder) together(ctx context.Context, hold sale.HoldID, c claim) (OrderView, error) {
	end, err := a.flights.begin(ctx, c.id)
	if err != nil {
		return OrderView{}, err
	}
	defer end()
	w := &orderWish{hold: hold, claim: c}
	if err := overloaded(a.lanes.Do(ctx, ordersLane{}, w)); err != nil {
		return OrderView{}, err
	}
	return w.view, nil
}

func (a *CreateOrder) report(ctx context.Context, hold sale.HoldID, replayed bool, err error) {
	var refusal *sale.Error
	switch {
	case err == nil && !replayed:
		a.Log.LogAttrs(ctx, slog.LevelInfo, "order.created", slog.Any("order_id", sale.OrderOf(hold)))
	case errors.As(err, &refusal):
		a.Log.LogAttrs(ctx, slog.LevelInfo, "order.rejected", slog.Any("hold_id", hold), slog.String("code", string(refusal.Code)))
	}
}

// make writes the order. It takes the hold's lines only, not the product's row: no
// stock changes, and a sweep steps over lines that somebody works on.
func (a *CreateOrder) make(ctx context.Context, tx *mysql.Tx, id sale.HoldID) error {
	hold, err := a.lockHold(ctx, tx, id)
	if err != nil {
		return err
	}
	switch hold.Status(tx.Now) {
	case sale.HoldOrdered:
		refusal := sale.Fail(sale.CodeHoldOrdered, "The hold was ordered before.")
		refusal.OrderID = sale.OrderOf(id)
		return refusal
	case sale.HoldReleased:
		return sale.Fail(sale.CodeHoldNotActive, "The hold was released.")
	case sale.HoldExpired:
		return sale.Fail(sale.CodeHoldExpired, "The hold has expired.")
	case sale.HoldActive:
	}
	return a.insert(ctx, tx, hold)
}

func (a *CreateOrder) insert(ctx context.Context, tx *mysql.Tx, hold sale.Hold) error {
	order := orderedAt(hold, tx.Now).Order
	free := order.Total.Amount == 0
	if free {
		order.PaidAt = &tx.Now
	}
	if err := a.q.InsertOrder(ctx, tx, store.InsertOrderParams{
		ID: order.ID, CustomerID: order.CustomerID, TotalAmount: order.Total.Amount, Currency: order.Total.Currency,
		CreatedAt: order.CreatedAt, PayBy: order.PayBy, PaidAt: order.PaidAt,
	}); err != nil {
		return fmt.Errorf("inserting order %s: %w", order.ID, err)
	}
	if _, err := a.q.OrderHolds(ctx, tx, store.OrderHoldsParams{Now: tx.Now, Ids: []sale.HoldID{hold.ID}}); err != nil {
		return fmt.Errorf("ordering the lines of %s: %w", hold.ID, err)
	}
	if err := announce(ctx, tx, orderEvent(sale.EventOrderCreated, order.ID, createdFacts(order))); err != nil || !free {
		return err
	}
	if _, err := a.q.SellLines(ctx, tx, hold.ID); err != nil {
		return fmt.Errorf("selling the lines of %s: %w", hold.ID, err)
	}
	return announce(ctx, tx, orderEvent(sale.EventOrderPaid, order.ID, nil))
}
