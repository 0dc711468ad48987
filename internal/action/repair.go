package action

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/mysql"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// RepairBooks balances the books of a product that somebody changed by hand.
type RepairBooks struct{ *desk }

// Do counts the product's lines anew under the lock of its row, without which no
// line comes to or leaves those that are off sale, and sets what is available and the ledger
// by that count. It gives the books as they were then; those that balance, or that
// cannot be repaired, stay as they are. It returns CodeProductNotFound.
func (a *RepairBooks) Do(ctx context.Context, id sale.ProductID) (sale.Repair, error) {
	leave, err := a.enter(ctx, id)
	if err != nil {
		return sale.Repair{}, err
	}
	defer leave()
	var repair sale.Repair
	// Whether a lost commit took place shows when it is tried again.
	err = a.DB.Tx(ctx, nil, func(ctx context.Context, tx *mysql.Tx) (err error) {
		repair, err = a.repair(ctx, tx, id)
		return err
	})
	if err != nil || repair.Balanced() || !repair.Possible() {
		return repair, err
	}
	a.Log.InfoContext(ctx, "stock.repaired", slog.String("product_id", id.String()),
		slog.Int64("available_before", repair.Available), slog.Int64("available", repair.NewAvailable),
		slog.Int64("ledger_before", repair.LedgerAvailable), slog.Int64("delta", repair.LedgerDelta))
	result, err := answer(ctx, false, func(ctx context.Context) (sale.Repair, error) {
		_, err := a.published(ctx, id)
		return repair, err
	})
	return result.Value, err
}

func (a *RepairBooks) repair(ctx context.Context, tx *mysql.Tx, id sale.ProductID) (sale.Repair, error) {
	if _, err := a.q.LockProduct(ctx, tx, id); err != nil {
		return sale.Repair{}, notFound(err, sale.CodeProductNotFound, id.String())
	}
	books, err := a.books(ctx, tx, id)
	if err != nil {
		return sale.Repair{}, err
	}
	repair := books.Repair()
	if books.Balanced() || !repair.Possible() {
		return repair, nil
	}
	return repair, a.settle(ctx, tx, repair)
}

// settle sets what is available and writes the movement that explains it. Its version is
// past that of any movement, also of one that was written by hand.
func (a *RepairBooks) settle(ctx context.Context, tx *mysql.Tx, repair sale.Repair) error {
	last, err := a.q.LastMovement(ctx, tx, repair.ProductID)
	if err != nil {
		return fmt.Errorf("looking for the last movement of %s: %w", repair.ProductID, err)
	}
	version := max(last, repair.StockVersion) + 1
	if _, err := a.q.RepairStock(ctx, tx, store.RepairStockParams{
		Available: repair.NewAvailable, Versions: version - repair.StockVersion, Now: tx.Now, ID: repair.ProductID,
	}); err != nil {
		return fmt.Errorf("repairing the stock of %s: %w", repair.ProductID, err)
	}
	return a.recordMovement(ctx, tx, repair.ProductID, repair.LedgerDelta, sale.MovementRepaired,
		fmt.Sprintf("available was %d, the ledger's sum %d", repair.Available, repair.LedgerAvailable))
}
