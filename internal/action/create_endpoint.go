package action

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"

	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/mysql"
	"github.com/flashsale-api/flashsale/internal/sale"
	"github.com/flashsale-api/flashsale/internal/signature"
)

// CreateEndpointInput says where events are to be sent.
type CreateEndpointInput struct {
	Key   string
	URL   string
	Types []sale.EventType // none: all
}

// CreateEndpoint makes an endpoint.
type CreateEndpoint struct{ *desk }

// Do makes the endpoint and its secret, which nobody sees again: a replay leaves it
// out. It returns CodeInvalidRequest for a URL that may not be sent to,
// CodeTooManyEndpoints, CodeKeyReused or CodeKeyInProgress; CodeEndpointNotFound for a
// replay of one that was deleted.
func (a *CreateEndpoint) Do(ctx context.Context, in CreateEndpointInput) (Result[EndpointView], error) {
	if err := a.Sender.CheckURL(in.URL); err != nil {
		return Result[EndpointView]{}, sale.Invalid("/url", err.Error())
	}
	c, err := newClaim("createWebhookEndpoint", "", in.Key, []any{in.URL, in.Types})
	if err != nil {
		return Result[EndpointView]{}, err
	}
	view := EndpointView{
		Endpoint: sale.Endpoint{ID: sale.NewEndpointID(), URL: in.URL, Types: in.Types},
		Secret:   signature.NewSecret(),
	}
	made, replayed, err := a.once(ctx, c, view.ID, nil, func(ctx context.Context, tx *mysql.Tx) error {
		view.CreatedAt = tx.Now
		return a.insert(ctx, tx, view)
	})
	if err != nil {
		return Result[EndpointView]{}, err
	}
	if replayed {
		return a.shown(ctx, made)
	}
	a.Log.InfoContext(ctx, "webhook.endpoint_created", slog.String("endpoint_id", view.ID.String()))
	return Result[EndpointView]{Value: view}, nil
}

func (a *CreateEndpoint) insert(ctx context.Context, tx *mysql.Tx, view EndpointView) error {
	there, err := a.q.LockEndpoints(ctx, tx)
	if err != nil {
		return fmt.Errorf("counting the endpoints: %w", err)
	}
	if len(there) >= sale.MaxEndpoints {
		return sale.Fail(sale.CodeTooManyEndpoints, fmt.Sprintf("There are %d endpoints already. Delete one first.", len(there)))
	}
	types, err := json.Marshal(slices.Concat([]sale.EventType{}, view.Types))
	if err != nil {
		return fmt.Errorf("encoding the types of an endpoint: %w", err)
	}
	if err := a.q.InsertEndpoint(ctx, tx, store.InsertEndpointParams{
		ID: view.ID, Url: view.URL, Types: types, Secret: view.Secret, CreatedAt: tx.Now,
	}); err != nil {
		return fmt.Errorf("inserting an endpoint: %w", err)
	}
	return nil
}
