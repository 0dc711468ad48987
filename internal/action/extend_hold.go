package action

import (
	"context"
	"fmt"
	"time"

	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/mysql"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// ExtendHold gives a customer more time.
type ExtendHold struct{ *desk }

// Do moves the hold's end, at most to its cap. It returns CodeHoldNotFound,
// CodeHoldNotActive, CodeKeyReused or CodeKeyInProgress.
func (a *ExtendHold) Do(ctx context.Context, in ExtendHoldInput) (Result[HoldView], error) {
	c, err := newClaim("extendHold", in.HoldID.String(), in.Key, in.By)
	if err != nil {
		return Result[HoldView]{}, err
	}
	_, replayed, err := a.once(ctx, c, in.HoldID, nil, func(ctx context.Context, tx *mysql.Tx) error {
		return a.extend(ctx, tx, in.HoldID, in.By)
	})
	if err != nil {
		return Result[HoldView]{}, err
	}
	return answer(ctx, replayed, func(ctx context.Context) (HoldView, error) { return a.hold(ctx, in.HoldID) })
}

func (a *ExtendHold) extend(ctx context.Context, tx *mysql.Tx, id sale.HoldID, by time.Duration) error {
	hold, err := a.lockHold(ctx, tx, id)
	if err != nil {
		return err
	}
	if status := hold.Status(tx.Now); status != sale.HoldActive {
		return sale.Fail(sale.CodeHoldNotActive, "The hold is "+string(status)+"; it can no longer be extended.")
	}
	if _, err := a.q.ExtendLines(ctx, tx, store.ExtendLinesParams{ExpiresAt: hold.Extended(by), ID: id}); err != nil {
		return fmt.Errorf("extending hold %s: %w", id, err)
	}
	return nil
}
