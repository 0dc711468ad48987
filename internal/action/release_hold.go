package action

import (
	"context"
	"log/slog"

	"github.com/flashsale-api/flashsale/internal/mysql"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// ReleaseHold gives a hold's units back before its time.
type ReleaseHold struct{ *desk }

// Do gives back once; a hold that was released or is expired is answered as it is.
// It returns CodeHoldNotFound, CodeHoldNotActive for a hold that was ordered,
// CodeKeyReused or CodeKeyInProgress.
func (a *ReleaseHold) Do(ctx context.Context, in ReleaseHoldInput) (Result[HoldView], error) {
	products, err := a.productsOf(ctx, in.HoldID)
	if err != nil {
		return Result[HoldView]{}, err
	}
	c, err := newClaim("releaseHold", in.HoldID.String(), in.Key, nil)
	if err != nil {
		return Result[HoldView]{}, err
	}
	var left []sale.Product
	var units int64
	_, replayed, err := a.once(ctx, c, in.HoldID, products, func(ctx context.Context, tx *mysql.Tx) (err error) {
		left, units, err = a.release(ctx, tx, in.HoldID, products)
		return err
	})
	if err != nil {
		return Result[HoldView]{}, err
	}
	if !replayed && units > 0 {
		a.Cache.Put(ctx, left...)
		a.Meter.StockRestored(sale.ReturnReleased, int64(len(left)), units)
		a.Log.InfoContext(ctx, "hold.released", slog.String("hold_id", in.HoldID.String()), slog.Int64("stock_restored", units))
	}
	return answer(ctx, replayed, func(ctx context.Context) (HoldView, error) { return a.hold(ctx, in.HoldID) })
}

func (a *ReleaseHold) release(
	ctx context.Context, tx *mysql.Tx, id sale.HoldID, products []sale.ProductID,
) ([]sale.Product, int64, error) {
	if err := a.lock(ctx, tx, products); err != nil {
		return nil, 0, err
	}
	hold, err := a.lockHold(ctx, tx, id)
	if err != nil {
		return nil, 0, err
	}
	switch hold.Status(tx.Now) {
	case sale.HoldReleased, sale.HoldExpired:
		return nil, 0, nil
	case sale.HoldOrdered:
		return nil, 0, sale.Fail(sale.CodeHoldNotActive, "The hold was ordered; it can no longer be released.")
	case sale.HoldActive:
	}
	return a.giveBackLines(ctx, tx, id, hold.Lines, sale.ReturnReleased)
}
