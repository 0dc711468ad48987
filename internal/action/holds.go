package action

import (
	"context"
	"fmt"

	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/mysql"
	"github.com/flashsale-api/flashsale/internal/sale"
)

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
