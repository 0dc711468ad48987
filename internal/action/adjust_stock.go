package action

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/mysql"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// AdjustStock adds units to a product or takes unsold ones away.
type AdjustStock struct{ *desk }

// Do gives the product as this adjustment left it. It returns CodeProductNotFound,
// CodeInsufficient when it would take away more than is available, CodeInvalidRequest
// past the limit of stock, CodeKeyReused or CodeKeyInProgress.
func (a *AdjustStock) Do(ctx context.Context, in AdjustStockInput) (Result[sale.Product], error) {
	c, err := newClaim("adjustStock", in.ProductID.String(), in.Key, []any{in.Delta, in.Reason})
	if err != nil {
		return Result[sale.Product]{}, err
	}
	products := []sale.ProductID{in.ProductID}
	var left sale.Product
	_, replayed, err := a.once(ctx, c, in.ProductID, products, func(ctx context.Context, tx *mysql.Tx) (err error) {
		left, err = a.adjust(ctx, tx, in)
		return err
	})
	switch {
	case err != nil:
		return Result[sale.Product]{}, err
	case replayed:
		return answer(ctx, true, func(ctx context.Context) (sale.Product, error) { return a.published(ctx, in.ProductID) })
	}
	a.Cache.Put(ctx, left)
	a.Log.InfoContext(ctx, "stock.adjusted", slog.String("product_id", in.ProductID.String()),
		slog.Int64("delta", in.Delta), slog.String("reason", in.Reason))
	return Result[sale.Product]{Value: left}, nil
}

// adjust decides and changes under the product's lock: between a statement that changes
// nothing and a look that says why, others would change the stock.
func (a *AdjustStock) adjust(ctx context.Context, tx *mysql.Tx, in AdjustStockInput) (sale.Product, error) {
	row, err := a.q.LockProduct(ctx, tx, in.ProductID)
	switch {
	case err != nil:
		return sale.Product{}, notFound(err, sale.CodeProductNotFound, in.ProductID.String())
	case row.AvailableStock+in.Delta < 0:
		return sale.Product{}, &sale.Error{
			Code:   sale.CodeInsufficient,
			Detail: "More would be taken away than is available.",
			Lines: []sale.Refusal{{
				Code: sale.CodeInsufficient, ProductID: row.ID, Requested: -in.Delta, Available: row.AvailableStock,
			}},
		}
	case row.TotalStock+in.Delta > sale.MaxStock:
		return sale.Product{}, sale.Invalid("/delta", fmt.Sprintf("would make the stock more than %d", sale.MaxStock))
	}
	changed, err := a.q.AdjustStock(ctx, tx, store.AdjustStockParams{
		Delta: in.Delta, Now: tx.Now, ID: in.ProductID, MaxStock: sale.MaxStock,
	})
	if err := oneRow(changed, err); err != nil {
		return sale.Product{}, fmt.Errorf("adjusting the stock of %s: %w", in.ProductID, err)
	}
	return a.movedWith(ctx, tx, in.ProductID, in.Delta, sale.MovementAdjusted, in.Reason)
}
