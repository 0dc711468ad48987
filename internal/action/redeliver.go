package action

import (
	"context"
	"fmt"
	"time"

	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/mysql"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// RedeliverInput says what is to be sent to an endpoint again: one event, or what it
// did not take of a while.
type RedeliverInput struct {
	Endpoint sale.EndpointID
	Event    *sale.EventID
	Since    time.Duration // before now; without Event
}

// Redelivered is what a redelivery came to.
type Redelivered struct {
	Events  int64 // that are due now
	Enabled bool  // the endpoint was disabled
}

// Redeliver sends events again.
type Redeliver struct{ *desk }

// Do makes deliveries due at once, as if none had been tried, and enables the endpoint.
// One event is sent whatever became of it. Of a while, those are that the endpoint
// wants and did not take: pending, given up, or told while it was disabled. It returns
// CodeEndpointNotFound, and an error for an event that is not there.
func (a *Redeliver) Do(ctx context.Context, in RedeliverInput) (Redelivered, error) {
	var done Redelivered
	var since time.Time
	err := a.DB.Tx(ctx, nil, func(ctx context.Context, tx *mysql.Tx) (err error) {
		done, since = Redelivered{}, tx.Now.Add(-in.Since)
		if done.Enabled, err = a.enable(ctx, tx, in.Endpoint); err != nil || in.Event == nil {
			return err
		}
		done.Events = 1
		return a.one(ctx, tx, in.Endpoint, *in.Event)
	})
	if err != nil || in.Event != nil {
		return done, err
	}
	done.Events, err = a.all(ctx, in.Endpoint, since)
	return done, err
}

func (a *Redeliver) enable(ctx context.Context, tx *mysql.Tx, id sale.EndpointID) (bool, error) {
	row, err := a.q.LockEndpoint(ctx, tx, id)
	if err != nil {
		return false, notFound(err, sale.CodeEndpointNotFound, id.String())
	}
	if err := a.q.EnableEndpoint(ctx, tx, id); err != nil {
		return false, fmt.Errorf("enabling %s: %w", id, err)
	}
	return row.DisabledAt != nil, nil
}

func (a *Redeliver) one(ctx context.Context, tx *mysql.Tx, endpoint sale.EndpointID, event sale.EventID) error {
	there, err := a.keep(ctx, tx, []sale.EventID{event})
	if err != nil {
		return err
	}
	if len(there) == 0 {
		return fmt.Errorf("there is no event %s", event)
	}
	if missing, err := insertDeliveries(ctx, tx, routesTo(endpoint, there)); err != nil || missing > 0 {
		return err
	}
	err = a.q.RedeliverEvent(ctx, tx, store.RedeliverEventParams{Now: tx.Now, EndpointID: endpoint, EventID: event})
	if err != nil {
		return fmt.Errorf("making a delivery due: %w", err)
	}
	return nil
}

// all goes through the events since an instant, a page in each transaction.
func (a *Redeliver) all(ctx context.Context, id sale.EndpointID, since time.Time) (int64, error) {
	var events int64
	next := &store.EventsSinceParams{Since: since, Limit: fanOutEvents}
	for next != nil {
		page := *next
		var renewed int64
		err := a.DB.Tx(ctx, nil, func(ctx context.Context, tx *mysql.Tx) (err error) {
			renewed, next, err = a.page(ctx, tx, id, page)
			return err
		})
		if err != nil {
			return events, err
		}
		events += renewed
	}
	return events, nil
}

// page makes the deliveries of a page of events due, and gives the next page if there
// may be one.
func (a *Redeliver) page(
	ctx context.Context, tx *mysql.Tx, id sale.EndpointID, page store.EventsSinceParams,
) (int64, *store.EventsSinceParams, error) {
	row, err := a.q.LockEndpoint(ctx, tx, id)
	if err != nil {
		return 0, nil, notFound(err, sale.CodeEndpointNotFound, id.String())
	}
	endpoint, err := endpointOf(row)
	if err != nil {
		return 0, nil, err
	}
	rows, err := a.q.EventsSince(ctx, tx, page)
	if err != nil {
		return 0, nil, fmt.Errorf("reading events: %w", err)
	}
	var next *store.EventsSinceParams
	if len(rows) == int(page.Limit) {
		last := rows[len(rows)-1]
		next = &store.EventsSinceParams{Since: last.CreatedAt, After: last.ID, Limit: page.Limit}
	}
	renewed, err := a.untaken(ctx, tx, id, wantedOf(endpoint, rows))
	return renewed, next, err
}

func wantedOf(endpoint sale.Endpoint, rows []store.EventsSinceRow) []sale.EventID {
	var ids []sale.EventID
	for _, row := range rows {
		if endpoint.Wants(row.Type) {
			ids = append(ids, row.ID)
		}
	}
	return ids
}

// untaken makes deliveries of these events due, but for what the endpoint took. Both
// statements see for themselves what is there: attempts are recorded meanwhile.
func (a *Redeliver) untaken(
	ctx context.Context, tx *mysql.Tx, endpoint sale.EndpointID, events []sale.EventID,
) (int64, error) {
	there, err := a.keep(ctx, tx, events)
	if err != nil || len(there) == 0 {
		return 0, err
	}
	missing, err := insertDeliveries(ctx, tx, routesTo(endpoint, there))
	if err != nil {
		return 0, err
	}
	renewed, err := a.q.RedeliverUntaken(ctx, tx, store.RedeliverUntakenParams{
		Now: tx.Now, EndpointID: endpoint, EventIds: there,
	})
	if err != nil {
		return 0, fmt.Errorf("making deliveries due: %w", err)
	}
	return missing + renewed, nil
}

// keep gives those of these events that are there. They stay until the transaction ends.
func (a *Redeliver) keep(ctx context.Context, tx *mysql.Tx, events []sale.EventID) ([]sale.EventID, error) {
	if len(events) == 0 {
		return nil, nil
	}
	kept, err := a.q.KeepEvents(ctx, tx, events)
	if err != nil {
		return nil, fmt.Errorf("keeping events: %w", err)
	}
	there := make([]sale.EventID, len(kept))
	for i, event := range kept {
		there[i] = event.ID
	}
	return there, nil
}

func routesTo(endpoint sale.EndpointID, events []sale.EventID) []route {
	routes := make([]route, len(events))
	for i, event := range events {
		routes[i] = route{endpoint, event}
	}
	return routes
}
