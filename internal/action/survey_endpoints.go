package action

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/mysql"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// EndpointSurvey is an endpoint and what is on its way there. The counts end at 10,000:
// whoever is that far behind needs no more exact number.
type EndpointSurvey struct {
	sale.Endpoint
	Pending int64
	GivenUp int64
	Oldest  time.Duration // how long the oldest pending one that was counted waits, 0 for none
}

// SurveyEndpoints counts what is on its way.
type SurveyEndpoints struct{ *desk }

// Do surveys all endpoints from one snapshot, and tells the meter.
func (a *SurveyEndpoints) Do(ctx context.Context) ([]EndpointSurvey, error) {
	var surveys []EndpointSurvey
	err := a.DB.Survey(ctx, func(ctx context.Context, q store.DBTX) error {
		rows, err := a.q.SurveyEndpoints(ctx, q)
		if err != nil {
			return err
		}
		surveys, err = surveysOf(rows)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("surveying the endpoints: %w", err)
	}
	var pending, disabled int64
	var oldest time.Duration
	for _, survey := range surveys {
		pending += survey.Pending
		oldest = max(oldest, survey.Oldest)
		if survey.DisabledAt != nil {
			disabled++
		}
	}
	a.Meter.EndpointsSurveyed(pending, oldest, disabled)
	return surveys, nil
}

func surveysOf(rows []store.SurveyEndpointsRow) ([]EndpointSurvey, error) {
	surveys := make([]EndpointSurvey, len(rows))
	for i, row := range rows {
		endpoint, err := endpointOf(row.WebhookEndpoint)
		if err != nil {
			return nil, err
		}
		surveys[i] = EndpointSurvey{Endpoint: endpoint, Pending: row.Pending, GivenUp: row.GivenUp}
		if row.Pending > 0 {
			surveys[i].Oldest = max(row.Now.Sub(row.OldestPendingAt), 0)
		}
	}
	return surveys, nil
}

// purgeRound is how many transactions one round spends on one deleted endpoint: the
// survey comes in the same loop, and other processes do the same.
const purgeRound = 20

// PurgeEndpoints forgets deleted endpoints.
type PurgeEndpoints struct{ *desk }

// Do forgets their deliveries, a few in each transaction, and then themselves; one of
// very many deliveries over several rounds. One that cannot be purged does not stop the
// others.
func (a *PurgeEndpoints) Do(ctx context.Context) error {
	var ids []sale.EndpointID
	err := a.DB.Read(ctx, func(ctx context.Context, q store.DBTX) (err error) {
		ids, err = a.q.DeletedEndpoints(ctx, q)
		return err
	})
	if err != nil {
		return fmt.Errorf("looking for deleted endpoints: %w", err)
	}
	var failures []error
	for _, id := range ids {
		if err := a.purge(ctx, id); err != nil {
			failures = append(failures, fmt.Errorf("purging endpoint %s: %w", id, err))
		}
	}
	return errors.Join(failures...)
}

func (a *PurgeEndpoints) purge(ctx context.Context, id sale.EndpointID) error {
	gone := false
	for round := 0; !gone && round < purgeRound && ctx.Err() == nil; round++ {
		err := a.DB.Tx(ctx, nil, func(ctx context.Context, tx *mysql.Tx) error {
			purged, err := a.q.PurgeDeliveries(ctx, tx, store.PurgeDeliveriesParams{EndpointID: id, Limit: purgeBatch})
			if gone = purged < purgeBatch; err != nil || !gone {
				return err
			}
			return a.q.PurgeEndpoint(ctx, tx, id)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
