package action

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/mysql"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// GetHold reads a hold.
type GetHold struct{ *desk }

// Do returns CodeHoldNotFound for an unknown id.
func (a *GetHold) Do(ctx context.Context, id sale.HoldID) (HoldView, error) { return a.hold(ctx, id) }

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

// productsOf names a hold's products in the order in which they are locked.
func (d *desk) productsOf(ctx context.Context, id sale.HoldID) ([]sale.ProductID, error) {
	var products []sale.ProductID
	err := d.DB.Read(ctx, func(ctx context.Context, q store.DBTX) (err error) {
		products, err = d.q.HoldProducts(ctx, q, id)
		if err == nil && len(products) == 0 {
			return unknown(sale.CodeHoldNotFound, id.String())
		}
		return err
	})
	return products, err
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

// lock takes products' rows in ascending order.
func (d *desk) lock(ctx context.Context, tx *mysql.Tx, products []sale.ProductID) error {
	for _, id := range products {
		if _, err := d.q.LockProduct(ctx, tx, id); err != nil {
			return fmt.Errorf("locking %s: %w", id, err)
		}
	}
	return nil
}

// lockHold takes a hold's lines and says what the hold is. Ordered is told by its
// lines: they are held, or have come back, only while there is no order.
func (d *desk) lockHold(ctx context.Context, tx *mysql.Tx, id sale.HoldID) (sale.Hold, error) {
	rows, err := d.q.LockHold(ctx, tx, id)
	if err != nil {
		return sale.Hold{}, fmt.Errorf("locking hold %s: %w", id, err)
	}
	if len(rows) == 0 {
		return sale.Hold{}, unknown(sale.CodeHoldNotFound, id.String())
	}
	ordered, err := d.q.OrderIsThere(ctx, tx, sale.OrderOf(id))
	if err != nil {
		return sale.Hold{}, fmt.Errorf("looking for the order of hold %s: %w", id, err)
	}
	return holdOf(rows, ordered), nil
}

// giveBackLines gives back all lines of a hold or order whose products the caller
// holds, and says what is left of each product and how many units came back.
func (d *desk) giveBackLines(
	ctx context.Context, tx *mysql.Tx, id sale.HoldID, lines []sale.Line, reason sale.ReturnReason,
) ([]sale.Product, int64, error) {
	left := make([]sale.Product, 0, len(lines))
	var units int64
	for _, line := range lines {
		product, err := d.giveBack(ctx, tx, line.ProductID, []sale.HoldID{id}, line.Quantity, reason)
		if err != nil {
			return nil, 0, err
		}
		left = append(left, product)
		units += line.Quantity
	}
	return left, units, nil
}

// ExtendHold gives a customer more time.
type ExtendHold struct{ *desk }

// Do moves the hold's end, at most to its cap. It returns CodeHoldNotFound,
// CodeHoldNotActive, CodeKeyReused or CodeKeyInProgress.
func (a *ExtendHold) Do(ctx context.Context, in ExtendHoldInput) (Result[HoldView], error) {
	c, err := newClaim("extendHold", in.HoldID.String(), in.Key, in.By)
	if err != nil {
		return Result[HoldView]{}, err
	}
	_, replayed, err := a.once(ctx, c, in.HoldID, nil, func(ctx context.Context, tx *mysql.Tx) error {
		return a.extend(ctx, tx, in.HoldID, in.By)
	})
	if err != nil {
		return Result[HoldView]{}, err
	}
	return answer(ctx, replayed, func(ctx context.Context) (HoldView, error) { return a.hold(ctx, in.HoldID) })
}

func (a *ExtendHold) extend(ctx context.Context, tx *mysql.Tx, id sale.HoldID, by time.Duration) error {
	hold, err := a.lockHold(ctx, tx, id)
	if err != nil {
		return err
	}
	if status := hold.Status(tx.Now); status != sale.HoldActive {
		return sale.Fail(sale.CodeHoldNotActive, "The hold is "+string(status)+"; it can no longer be extended.")
	}
	if _, err := a.q.ExtendLines(ctx, tx, store.ExtendLinesParams{ExpiresAt: hold.Extended(by), ID: id}); err != nil {
		return fmt.Errorf("extending hold %s: %w", id, err)
	}
	return nil
}
