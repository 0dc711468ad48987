package action

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/mysql"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// UpdateProduct changes a product's name and rules.
type UpdateProduct struct{ *desk }

// Do returns the product as it is then, also when nothing changes. It returns
// CodeProductNotFound, or CodeInvalidRequest for a window that ends before it starts.
func (a *UpdateProduct) Do(ctx context.Context, id sale.ProductID, patch ProductPatch) (sale.Product, error) {
	changed, err := a.change(ctx, id, patch)
	if err != nil {
		return sale.Product{}, err
	}
	if changed {
		a.Log.InfoContext(ctx, "product.updated", slog.String("product_id", id.String()))
	}
	result, err := answer(ctx, false, func(ctx context.Context) (sale.Product, error) { return a.published(ctx, id) })
	return result.Value, err
}

// change says whether the patch changed anything.
func (a *UpdateProduct) change(ctx context.Context, id sale.ProductID, patch ProductPatch) (changed bool, err error) {
	leave, err := a.enter(ctx, id)
	if err != nil {
		return false, err
	}
	defer leave()
	err = a.DB.Tx(ctx, nil, func(ctx context.Context, tx *mysql.Tx) (err error) {
		changed, err = a.update(ctx, tx, id, patch)
		return err
	})
	return changed, err
}

func (a *UpdateProduct) update(ctx context.Context, tx *mysql.Tx, id sale.ProductID, patch ProductPatch) (changed bool, err error) {
	row, err := a.q.LockProduct(ctx, tx, id)
	if err != nil {
		return false, notFound(err, sale.CodeProductNotFound, id.String())
	}
	old := productOf(row)
	name, rules := patched(old, patch)
	if err := checkWindow(rules); err != nil {
		return false, err
	}
	if rules.Equal(old.Rules) && name == old.Name {
		return false, nil
	}
	if err := a.q.UpdateProduct(ctx, tx, store.UpdateProductParams{
		Name: name, PriceAmount: rules.Price.Amount, Currency: rules.Price.Currency,
		SaleStartsAt: rules.SaleStartsAt, SaleEndsAt: rules.SaleEndsAt, PerCustomerLimit: rules.PerCustomerLimit,
		HoldTtlSeconds: inSeconds(rules.HoldTTL), PaymentWindowSeconds: inSeconds(rules.PaymentWindow),
		Now: tx.Now, ID: id,
	}); err != nil {
		return false, fmt.Errorf("updating product %s: %w", id, err)
	}
	return true, nil
}

func patched(product sale.Product, patch ProductPatch) (string, sale.Rules) {
	name, rules := product.Name, product.Rules
	set(&name, patch.Name)
	set(&rules.Price, patch.Price)
	set(&rules.HoldTTL, patch.HoldTTL)
	set(&rules.PaymentWindow, patch.PaymentWindow)
	if patch.SaleStartsAt.Given {
		rules.SaleStartsAt = inMicroseconds(patch.SaleStartsAt.Value)
	}
	if patch.SaleEndsAt.Given {
		rules.SaleEndsAt = inMicroseconds(patch.SaleEndsAt.Value)
	}
	if patch.PerCustomerLimit.Given {
		rules.PerCustomerLimit = patch.PerCustomerLimit.Value
	}
	return name, rules
}

func set[T any](member, value *T) {
	if value != nil {
		*member = *value
	}
}
