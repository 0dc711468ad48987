package action

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/mysql"
	"github.com/flashsale-api/flashsale/internal/sale"
	"github.com/flashsale-api/flashsale/internal/signature"
)

// EndpointView is an endpoint, with its secret in the one answer that shows it.
type EndpointView struct {
	sale.Endpoint
	Secret string // "": it was shown before
}

// EndpointPage is a page of endpoints. Next is the last one's id when there are more.
type EndpointPage struct {
	Endpoints []sale.Endpoint
	Next      *sale.EndpointID
}

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

// GetEndpoint reads an endpoint.
type GetEndpoint struct{ *desk }

// Do returns CodeEndpointNotFound for an unknown id.
func (a *GetEndpoint) Do(ctx context.Context, id sale.EndpointID) (sale.Endpoint, error) {
	return a.endpoint(ctx, id)
}

// ListEndpoints reads endpoints in order of id.
type ListEndpoints struct{ *desk }

// Do gives at most limit endpoints from after one on, the zero id: from the first.
func (a *ListEndpoints) Do(ctx context.Context, limit int, after sale.EndpointID) (EndpointPage, error) {
	var page EndpointPage
	err := a.DB.Read(ctx, func(ctx context.Context, q store.DBTX) error {
		// One more than asked for tells whether there is a next page.
		rows, err := a.q.ListEndpoints(ctx, q, store.ListEndpointsParams{After: after, Limit: int32(limit) + 1}) //nolint:gosec // at most 100
		if err != nil {
			return fmt.Errorf("listing endpoints: %w", err)
		}
		if len(rows) > limit {
			rows = rows[:limit]
			page.Next = &rows[limit-1].ID
		}
		page.Endpoints, err = endpointsOf(rows)
		return err
	})
	return page, err
}

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

// shown is the answer to a replay: what was made, without its secret.
func (d *desk) shown(ctx context.Context, id sale.EndpointID) (Result[EndpointView], error) {
	endpoint, err := d.endpoint(ctx, id)
	return Result[EndpointView]{Value: EndpointView{Endpoint: endpoint}, Replayed: true}, err
}

// endpoint reads an endpoint.
func (d *desk) endpoint(ctx context.Context, id sale.EndpointID) (sale.Endpoint, error) {
	var endpoint sale.Endpoint
	err := d.DB.Read(ctx, func(ctx context.Context, q store.DBTX) error {
		row, err := d.q.GetEndpoint(ctx, q, id)
		if err != nil {
			return notFound(err, sale.CodeEndpointNotFound, id.String())
		}
		endpoint, err = endpointOf(row)
		return err
	})
	return endpoint, err
}

func endpointsOf(rows []store.WebhookEndpoint) ([]sale.Endpoint, error) {
	endpoints := make([]sale.Endpoint, len(rows))
	for i, row := range rows {
		var err error
		if endpoints[i], err = endpointOf(row); err != nil {
			return nil, err
		}
	}
	return endpoints, nil
}

func endpointOf(row store.WebhookEndpoint) (sale.Endpoint, error) {
	types, err := typesOf(row.Types)
	return sale.Endpoint{
		ID: row.ID, URL: row.Url, Types: types, CreatedAt: row.CreatedAt, FailingSince: row.FailingSince,
		DisabledAt: row.DisabledAt, DisabledReason: row.DisabledReason, PreviousUntil: row.PreviousUntil,
	}, err
}

func typesOf(encoded json.RawMessage) ([]sale.EventType, error) {
	var types []sale.EventType
	if err := json.Unmarshal(encoded, &types); err != nil {
		return nil, fmt.Errorf("reading the types of an endpoint: %w", err)
	}
	return types, nil
}

// signingSecrets are those that sign at an instant, the present one first.
func signingSecrets(row store.WebhookEndpoint, now time.Time) []string {
	secrets := []string{row.Secret}
	if row.PreviousUntil != nil && now.Before(*row.PreviousUntil) {
		secrets = append(secrets, row.PreviousSecret)
	}
	return secrets
}

// present reads an endpoint, or says that there is none any more.
func (d *desk) present(
	ctx context.Context, tx *mysql.Tx, id sale.EndpointID,
	read func(context.Context, store.DBTX, sale.EndpointID) (store.WebhookEndpoint, error),
) (store.WebhookEndpoint, bool, error) {
	row, err := read(ctx, tx, id)
	if errors.Is(err, sql.ErrNoRows) {
		return row, false, nil
	}
	return row, err == nil, err
}
