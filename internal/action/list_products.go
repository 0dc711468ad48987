package action

import (
	"context"
	"fmt"

	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// ListProducts reads products in order of id, from MySQL.
type ListProducts struct{ *desk }

// Do gives at most limit products from after one on, nil: from the first.
func (a *ListProducts) Do(ctx context.Context, limit int, after *sale.ProductID) (ProductPage, error) {
	var page ProductPage
	var from sale.ProductID
	if after != nil {
		from = *after
	}
	err := a.DB.Read(ctx, func(ctx context.Context, q store.DBTX) error {
		// One more than asked for tells whether there is a next page.
		rows, err := a.q.ListProducts(ctx, q, store.ListProductsParams{After: from, Limit: int32(limit) + 1}) //nolint:gosec // at most 100
		if err != nil {
			return fmt.Errorf("listing products: %w", err)
		}
		page = pageOf(rows, limit)
		return nil
	})
	return page, err
}

func pageOf(rows []store.Product, limit int) ProductPage {
	var page ProductPage
	if len(rows) > limit {
		rows = rows[:limit]
		page.Next = &rows[limit-1].ID
	}
	for _, row := range rows {
		page.Products = append(page.Products, productOf(row))
	}
	return page
}
