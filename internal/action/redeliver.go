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
	renewed, err := a.renew(ctx, tx, endpoint, []sale.EventID{event}, func(sale.DeliveryState) bool { return true })
	if err == nil && renewed == 0 {
		err = fmt.Errorf("there is no event %s", event)
	}
	return err
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
	renewed, err := a.renew(ctx, tx, id, wantedOf(endpoint, rows), func(state sale.DeliveryState) bool {
		return state != sale.DeliveryDelivered
	})
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

// renew makes deliveries of these events due: those that are there, where again says so,
// as if none had been tried; those that are missing are added. The caller holds the
// endpoint, so nobody else adds any. Events that are not there are left out.
func (a *Redeliver) renew(
	ctx context.Context, tx *mysql.Tx, endpoint sale.EndpointID, events []sale.EventID,
	again func(sale.DeliveryState) bool,
) (int64, error) {
	if len(events) == 0 {
		return 0, nil
	}
	kept, err := a.q.KeepEvents(ctx, tx, events)
	if err != nil {
		return 0, fmt.Errorf("keeping events: %w", err)
	}
	if len(kept) == 0 {
		return 0, nil
	}
	events = make([]sale.EventID, len(kept))
	for i, event := range kept {
		events[i] = event.ID
	}
	rows, err := a.q.DeliveriesThere(ctx, tx, store.DeliveriesThereParams{EndpointID: endpoint, EventIds: events})
	if err != nil {
		return 0, fmt.Errorf("reading deliveries: %w", err)
	}
	there := make(map[sale.EventID]bool, len(rows))
	var old []sale.EventID
	for _, row := range rows {
		there[row.EventID] = true
		if again(row.State) {
			old = append(old, row.EventID)
		}
	}
	var missing []route
	for _, event := range events {
		if !there[event] {
			missing = append(missing, route{endpoint, event})
		}
	}
	if err := insertDeliveries(ctx, tx, missing); err != nil {
		return 0, err
	}
	if len(old) > 0 {
		if err := a.q.Redeliver(ctx, tx, store.RedeliverParams{Now: tx.Now, EndpointID: endpoint, EventIds: old}); err != nil {
			return 0, fmt.Errorf("making deliveries due: %w", err)
		}
	}
	return int64(len(missing) + len(old)), nil
}
