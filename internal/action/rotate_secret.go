package action

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/mysql"
	"github.com/flashsale-api/flashsale/internal/sale"
	"github.com/flashsale-api/flashsale/internal/signature"
)

// RotateSecretInput names the endpoint that gets a new secret.
type RotateSecretInput struct {
	Key string
	ID  sale.EndpointID
}

// RotateSecret gives an endpoint a new secret.
type RotateSecret struct{ *desk }

// Do makes the secret, which nobody sees again: a replay leaves it out. The one before
// signs beside it for sale.SecretOverlap. It returns CodeEndpointNotFound, CodeKeyReused
// or CodeKeyInProgress.
func (a *RotateSecret) Do(ctx context.Context, in RotateSecretInput) (Result[EndpointView], error) {
	c, err := newClaim("rotateWebhookSecret", in.ID.String(), in.Key, nil)
	if err != nil {
		return Result[EndpointView]{}, err
	}
	view := EndpointView{Secret: signature.NewSecret()}
	made, replayed, err := a.once(ctx, c, in.ID, nil, func(ctx context.Context, tx *mysql.Tx) error {
		view.Endpoint, err = a.rotate(ctx, tx, in.ID, view.Secret)
		return err
	})
	if err != nil {
		return Result[EndpointView]{}, err
	}
	if replayed {
		return a.shown(ctx, made)
	}
	a.Log.InfoContext(ctx, "webhook.secret_rotated", slog.String("endpoint_id", in.ID.String()))
	return Result[EndpointView]{Value: view}, nil
}

func (a *RotateSecret) rotate(ctx context.Context, tx *mysql.Tx, id sale.EndpointID, secret string) (sale.Endpoint, error) {
	row, err := a.q.LockEndpoint(ctx, tx, id)
	if err != nil {
		return sale.Endpoint{}, notFound(err, sale.CodeEndpointNotFound, id.String())
	}
	until := tx.Now.Add(sale.SecretOverlap)
	if err := a.q.RotateSecret(ctx, tx, store.RotateSecretParams{PreviousUntil: &until, Secret: secret, ID: id}); err != nil {
		return sale.Endpoint{}, fmt.Errorf("rotating the secret of %s: %w", id, err)
	}
	row.PreviousUntil = &until
	return endpointOf(row)
}
