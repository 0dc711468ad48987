package action

import (
	"context"
	"fmt"
	"math"

	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// MovementPage is a page of a product's ledger. Next is the version that the page
// after it comes before, nil on the last page.
type MovementPage struct {
	Movements []sale.Movement
	Next      *int64
}

// ListMovements reads a product's ledger.
type ListMovements struct{ *desk }

// Do gives at most limit movements, newest first, from before a stock version on,
// nil: from the newest. It returns CodeProductNotFound for an unknown id.
func (a *ListMovements) Do(ctx context.Context, id sale.ProductID, limit int, before *int64) (MovementPage, error) {
	var page MovementPage
	from := int64(math.MaxInt64)
	if before != nil {
		from = *before
	}
	err := a.DB.Read(ctx, func(ctx context.Context, q store.DBTX) error {
		// One more than asked for tells whether there is a next page.
		rows, err := a.q.ListMovements(ctx, q, store.ListMovementsParams{
			ProductID: id, Before: from, Limit: int32(limit) + 1, //nolint:gosec // at most 100
		})
		if err != nil {
			return fmt.Errorf("listing the movements of %s: %w", id, err)
		}
		page = movementPageOf(rows, limit)
		if len(rows) > 0 {
			return nil
		}
		if _, err := a.q.GetProduct(ctx, q, id); err != nil {
			return notFound(err, sale.CodeProductNotFound, id.String())
		}
		return nil
	})
	return page, err
}

func movementPageOf(rows []store.ListMovementsRow, limit int) MovementPage {
	var page MovementPage
	if len(rows) > limit {
		rows = rows[:limit]
		page.Next = &rows[limit-1].StockVersion
	}
	for _, row := range rows {
		page.Movements = append(page.Movements, sale.Movement(row))
	}
	return page
}
