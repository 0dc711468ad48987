package action

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/mysql"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// EndpointView is an endpoint, with its secret in the one answer that shows it.
type EndpointView struct {
	sale.Endpoint
	Secret string // "": it was shown before
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
