package action

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/mysql"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// DeleteEndpoint ends an endpoint.
type DeleteEndpoint struct{ *desk }

// Do ends it, and what was on its way there. It returns CodeEndpointNotFound, also for
// one that was deleted before.
func (a *DeleteEndpoint) Do(ctx context.Context, id sale.EndpointID) error {
	err := a.DB.Tx(ctx, nil, func(ctx context.Context, tx *mysql.Tx) error {
		deleted, err := a.q.DeleteEndpoint(ctx, tx, store.DeleteEndpointParams{Now: &tx.Now, ID: id})
		switch {
		case err != nil:
			return fmt.Errorf("deleting endpoint %s: %w", id, err)
		case deleted == 0:
			return unknown(sale.CodeEndpointNotFound, id.String())
		}
		return nil
	})
	if err == nil {
		a.Log.InfoContext(ctx, "webhook.endpoint_deleted", slog.String("endpoint_id", id.String()))
	}
	return err
}
