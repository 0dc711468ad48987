package action

import (
	"context"

	"github.com/flashsale-api/flashsale/internal/sale"
)

// GetOrder reads an order.
type GetOrder struct{ *desk }

// Do returns CodeOrderNotFound for an unknown id.
func (a *GetOrder) Do(ctx context.Context, id sale.OrderID) (OrderView, error) {
	return a.orderView(ctx, id)
}
