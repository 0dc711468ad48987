package action

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/budget"
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
	left, replayed, err := a.run(ctx, c, in)
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

// run adjusts, once what is overdue was given back as far as that is needed. Units that cannot
// be given back, since somebody is just ordering or paying for them, are not waited for.
func (a *AdjustStock) run(ctx context.Context, c claim, in AdjustStockInput) (left sale.Product, replayed bool, err error) {
	ctx = budget.Within(ctx, a.patience(toBegin))
	for release := true; ; {
		_, replayed, err = a.once(ctx, c, in.ProductID, []sale.ProductID{in.ProductID},
			func(ctx context.Context, tx *mysql.Tx) (err error) {
				left, err = a.adjust(ctx, tx, in, release)
				return err
			})
		if !errors.Is(err, errOverdue) {
			return left, replayed, err
		}
		done, err := a.releaseInTurn(ctx, in.ProductID, -in.Delta)
		if err != nil {
			return left, false, err
		}
		release = done.helped(left.StockVersion)
	}
}

// adjust decides and changes under the product's lock: between a statement that changes
// nothing and a look that says why, others would change the stock. With release, errOverdue
// and the product as it is come instead of a refusal that giving back may spare.
func (a *AdjustStock) adjust(ctx context.Context, tx *mysql.Tx, in AdjustStockInput, release bool) (sale.Product, error) {
	row, err := a.q.LockProduct(ctx, tx, in.ProductID)
	switch {
	case err != nil:
		return sale.Product{}, notFound(err, sale.CodeProductNotFound, in.ProductID.String())
	case row.AvailableStock+in.Delta < 0:
		return productOf(row), a.tooFew(ctx, tx, row, -in.Delta, release)
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

// tooFew is why so many units cannot be taken away.
func (a *AdjustStock) tooFew(ctx context.Context, tx *mysql.Tx, row store.Product, wanted int64, release bool) error {
	if release {
		if err := a.overdueLeft(ctx, tx, row.ID); err != nil {
			return err
		}
	}
	return &sale.Error{
		Code:   sale.CodeInsufficient,
		Detail: "More would be taken away than is available.",
		Lines: []sale.Refusal{{
			Code: sale.CodeInsufficient, ProductID: row.ID, Requested: wanted, Available: row.AvailableStock,
		}},
	}
}
