package action

import (
	"context"

	"github.com/flashsale-api/flashsale/internal/budget"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// GetProduct reads a product, from the cache where that has it.
type GetProduct struct{ *desk }

// Do returns CodeProductNotFound for an unknown id.
func (a *GetProduct) Do(ctx context.Context, id sale.ProductID) (ProductRead, error) {
	product, hit, err := a.known(ctx, id)
	return ProductRead{Product: product, Hit: hit}, err
}

// known is a product as the cache knows it.
func (d *desk) known(ctx context.Context, id sale.ProductID) (sale.Product, bool, error) {
	return d.Cache.Get(ctx, id, func(ctx context.Context) (sale.Product, error) {
		// Whoever asks while it is read shares it: the first one's budget is not theirs.
		return d.product(budget.Lifted(ctx), id)
	})
}
