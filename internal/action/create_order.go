package action

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/lane"
	"github.com/flashsale-api/flashsale/internal/mysql"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// CreateOrder makes an order of a hold.
type CreateOrder struct {
	*desk
	lanes *lane.Lanes[ordersLane, *orderWish]
	apart *apart[sale.HoldID]
}

func newCreateOrder(d *desk) *CreateOrder {
	a := &CreateOrder{desk: d}
	a.lanes = lane.NewLanes(a.serveBatch, d.Meter.Lane(LaneOrders), d.patience(forBatch))
	a.apart = newApart[sale.HoldID](d, GateOrders)
	return a
}

// Do makes the order; one of nothing to pay is paid at once. It returns
// CodeHoldNotFound, CodeHoldExpired, CodeHoldNotActive for a released hold,
// CodeHoldOrdered with the order's id, CodeKeyReused or CodeKeyInProgress, and
// CodeInvalidRequest for a key that is another hold's id.
func (a *CreateOrder) Do(ctx context.Context, in CreateOrderInput) (Result[OrderView], error) {
	w, err := newOrderWish(in)
	if err != nil {
		return Result[OrderView]{}, err
	}
	result, err := a.do(ctx, w)
	a.report(ctx, w.hold, result.Replayed, err)
	return result, err
}

func newOrderWish(in CreateOrderInput) (*orderWish, error) {
	w := &orderWish{hold: in.HoldID}
	if id, err := sale.ParseHoldID(in.Key); err == nil {
		w.byID, w.claim.id = true, id
		return w, nil
	}
	c, err := newClaim("createOrder", "", in.Key, in.HoldID.String())
	w.claim = c
	return w, err
}

func (a *CreateOrder) do(ctx context.Context, w *orderWish) (Result[OrderView], error) {
	if w.byID && sale.HoldID(w.claim.id) != w.hold {
		return Result[OrderView]{}, a.strange(ctx, sale.HoldID(w.claim.id))
	}
	end, err := a.flights.begin(ctx, w.claim.id)
	if err != nil {
		return Result[OrderView]{}, err
	}
	defer end()
	return a.serve(ctx, w)
}

// strange refuses a key that is another hold's id: it would meet that hold's own order,
// whose key it may be.
func (a *CreateOrder) strange(ctx context.Context, key sale.HoldID) error {
	switch own, err := a.madeByOwnKey(ctx, key); {
	case err != nil:
		return err
	case own:
		return keyReused()
	}
	return sale.Invalid("/header/Idempotency-Key", "a key in the form of a hold id must be the id of the hold that is ordered")
}

// serve takes the batched path for an active hold's first order, the plain one else.
func (a *CreateOrder) serve(ctx context.Context, w *orderWish) (Result[OrderView], error) {
	if a.Coalesce {
		err := a.merged(ctx, a.lanes.Do(ctx, ordersLane{}, w))
		if !errors.Is(err, errPlainly) {
			return Result[OrderView]{Value: w.view}, err
		}
		leave, err := a.apart.enter(ctx, w.hold)
		if err != nil {
			return Result[OrderView]{}, err
		}
		defer leave()
	}
	replayed, err := a.alone(ctx, w)
	if err != nil {
		return Result[OrderView]{}, err
	}
	return answer(ctx, replayed, func(ctx context.Context) (OrderView, error) {
		return a.orderView(ctx, sale.OrderOf(w.hold))
	})
}

// alone makes the order in a transaction of its own, and says whether an earlier request
// with the same key made it.
func (a *CreateOrder) alone(ctx context.Context, w *orderWish) (replayed bool, err error) {
	var made time.Time
	err = a.DB.Tx(ctx, a.settle(sale.OrderOf(w.hold), &made), func(ctx context.Context, tx *mysql.Tx) error {
		made = tx.Now
		return a.make(ctx, tx, w)
	})
	switch {
	case errors.Is(err, errTaken):
		_, err = w.claim.recall(ctx, a.DB, a.q)
		return true, err
	case w.byID && errors.Is(err, &sale.Error{Code: sale.CodeHoldOrdered}):
		own, readErr := a.madeByOwnKey(ctx, w.hold)
		if own || readErr != nil {
			return own, readErr
		}
	}
	return false, err
}

// settle tells after a lost commit whether the order that was made then is there.
func (a *CreateOrder) settle(id sale.OrderID, made *time.Time) mysql.Settle {
	return func(ctx context.Context, conn store.DBTX) (bool, error) {
		rows, err := a.q.OrderExists(ctx, conn, store.OrderExistsParams{ID: id, CreatedAt: *made})
		return rows > 0, err
	}
}

func (a *CreateOrder) madeByOwnKey(ctx context.Context, hold sale.HoldID) (own bool, err error) {
	err = a.DB.Read(ctx, func(ctx context.Context, q store.DBTX) (err error) {
		own, err = a.q.OrderMadeByOwnKey(ctx, q, sale.OrderOf(hold))
		return err
	})
	if err != nil {
		return false, fmt.Errorf("asking who made the order of %s: %w", hold, err)
	}
	return own, nil
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
// stock changes, and a sweep steps over lines that somebody works on. The key comes after
// the lines, as in a batch, and before what is to be said of the hold: a replay is never
// refused.
func (a *CreateOrder) make(ctx context.Context, tx *mysql.Tx, w *orderWish) error {
	hold, notFound := a.lockHold(ctx, tx, w.hold)
	if notFound != nil && !errors.Is(notFound, &sale.Error{Code: sale.CodeHoldNotFound}) {
		return notFound
	}
	if !w.byID {
		if err := w.claim.write(ctx, a.q, tx, w.hold); err != nil {
			return err
		}
	}
	if notFound != nil {
		return notFound
	}
	if err := unorderable(hold, tx.Now); err != nil {
		return err
	}
	return a.insert(ctx, tx, hold, w.byID)
}

// unorderable says why a hold becomes no order at now; nil for an active one.
func unorderable(hold sale.Hold, now time.Time) error {
	switch hold.Status(now) {
	case sale.HoldOrdered:
		refusal := sale.Fail(sale.CodeHoldOrdered, "The hold was ordered before.")
		refusal.OrderID = sale.OrderOf(hold.ID)
		return refusal
	case sale.HoldReleased:
		return sale.Fail(sale.CodeHoldNotActive, "The hold was released.")
	case sale.HoldExpired:
		return sale.Fail(sale.CodeHoldExpired, "The hold has expired.")
	case sale.HoldActive:
	}
	return nil
}

func (a *CreateOrder) insert(ctx context.Context, tx *mysql.Tx, hold sale.Hold, byID bool) error {
	order := orderedAt(hold, tx.Now).Order
	if err := a.q.InsertOrder(ctx, tx, store.InsertOrderParams{
		ID: order.ID, CustomerID: order.CustomerID, TotalAmount: order.Total.Amount, Currency: order.Total.Currency,
		CreatedAt: order.CreatedAt, PayBy: order.PayBy, LineCount: int64(len(order.Lines)), OwnKey: byID, PaidAt: order.PaidAt,
	}); err != nil {
		return fmt.Errorf("inserting order %s: %w", order.ID, err)
	}
	if _, err := a.q.OrderHolds(ctx, tx, store.OrderHoldsParams{Now: tx.Now, Ids: []sale.HoldID{hold.ID}}); err != nil {
		return fmt.Errorf("ordering the lines of %s: %w", hold.ID, err)
	}
	if order.PaidAt != nil {
		if _, err := a.q.SellLines(ctx, tx, hold.ID); err != nil {
			return fmt.Errorf("selling the lines of %s: %w", hold.ID, err)
		}
	}
	return announce(ctx, tx, madeEvents(order)...)
}
