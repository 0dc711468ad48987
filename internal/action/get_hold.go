package action

import (
	"context"

	"github.com/flashsale-api/flashsale/internal/sale"
)

// GetHold reads a hold.
type GetHold struct{ *desk }

// Do returns CodeHoldNotFound for an unknown id.
func (a *GetHold) Do(ctx context.Context, id sale.HoldID) (HoldView, error) { return a.hold(ctx, id) }
