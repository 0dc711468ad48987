package action

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/mysql"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// deliveryTurns is how many transactions deliveries have at once in a process. However
// many endpoints there are and however fast they are, the pool is for customers.
const deliveryTurns = 4

// eventGone is the answer of a delivery whose event is there no more.
const eventGone = "the event was purged"

// turns are shared by all deliveries of a process.
type turns chan struct{}

func newTurns() turns { return make(turns, deliveryTurns) }

// take waits for a turn.
func (t turns) take(ctx context.Context) (end func(), err error) {
	select {
	case t <- struct{}{}:
		return func() { <-t }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for a turn to deliver: %w", ctx.Err())
	}
}

// Delivery is a claimed attempt: nobody else makes it before the claim's lease is over.
type Delivery struct {
	EndpointID     sale.EndpointID
	Type           sale.EventType
	Number         int64 // of the attempt, from 1
	Asked          int64 // how often somebody had asked for the event
	FirstAttemptAt time.Time
	Message        sale.Message
}

// DueEndpoints finds the endpoints that something is to be sent to.
type DueEndpoints struct{ *desk }

// Do names them.
func (a *DueEndpoints) Do(ctx context.Context) ([]sale.EndpointID, error) {
	var ids []sale.EndpointID
	err := a.DB.Read(ctx, func(ctx context.Context, q store.DBTX) (err error) {
		ids, err = a.q.DueEndpoints(ctx, q)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("looking for endpoints with due deliveries: %w", err)
	}
	return ids, nil
}

// ClaimDeliveries takes deliveries of one endpoint to send.
type ClaimDeliveries struct {
	*desk
	turns turns
}

// Do claims at most limit due deliveries, none where the endpoint is disabled or gone.
// One whose event is gone is given up.
// Several processes at once are safe: each is claimed by one of them. A claim that is
// not recorded within sale.AttemptLease is due again.
func (a *ClaimDeliveries) Do(ctx context.Context, endpoint sale.EndpointID, limit int) ([]Delivery, error) {
	end, err := a.turns.take(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	var claimed []Delivery
	var gone []sale.EventID
	err = a.DB.Tx(ctx, nil, func(ctx context.Context, tx *mysql.Tx) (err error) {
		claimed, gone, err = a.claim(ctx, tx, endpoint, limit)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("claiming deliveries to %s: %w", endpoint, err)
	}
	for _, event := range gone {
		a.Meter.DeliveryAttempted(sale.AttemptGivenUp)
		a.Log.ErrorContext(ctx, "webhook.given_up", slog.String("endpoint_id", endpoint.String()),
			slog.String("event_id", event.String()), slog.String("answer", eventGone))
	}
	return claimed, nil
}

// claim gives the deliveries that can be made and the events that are gone.
func (a *ClaimDeliveries) claim(
	ctx context.Context, tx *mysql.Tx, endpoint sale.EndpointID, limit int,
) ([]Delivery, []sale.EventID, error) {
	row, found, err := a.present(ctx, tx, endpoint, a.q.GetEndpoint)
	if err != nil || !found || row.DisabledAt != nil {
		return nil, nil, err
	}
	due, err := a.q.DueDeliveries(ctx, tx, store.DueDeliveriesParams{
		EndpointID: endpoint, NextAttemptAt: tx.Now, Limit: int32(limit), //nolint:gosec // a few
	})
	if err != nil || len(due) == 0 {
		return nil, nil, err
	}
	ids := make([]sale.EventID, len(due))
	for i, delivery := range due {
		ids[i] = delivery.EventID
	}
	if err := a.q.ClaimDeliveries(ctx, tx, store.ClaimDeliveriesParams{
		Now: &tx.Now, LeaseEnd: tx.Now.Add(sale.AttemptLease), EndpointID: endpoint, EventIds: ids,
	}); err != nil {
		return nil, nil, err
	}
	events, err := a.q.GetEvents(ctx, tx, ids)
	if err != nil {
		return nil, nil, err
	}
	gone, err := a.giveUpGone(ctx, tx, endpoint, ids, events)
	if err != nil {
		return nil, nil, err
	}
	deliveries, err := deliveriesOf(row, due, events, tx.Now)
	return deliveries, gone, err
}

// giveUpGone ends the claimed deliveries that have no event, and gives their events.
func (a *ClaimDeliveries) giveUpGone(
	ctx context.Context, tx *mysql.Tx, endpoint sale.EndpointID, claimed []sale.EventID, there []store.Outbox,
) ([]sale.EventID, error) {
	gone := slices.DeleteFunc(claimed, func(id sale.EventID) bool {
		return slices.ContainsFunc(there, func(event store.Outbox) bool { return event.ID == id })
	})
	if len(gone) == 0 {
		return nil, nil
	}
	if err := a.q.GiveUpDeliveries(ctx, tx, store.GiveUpDeliveriesParams{
		Reason: eventGone, EndpointID: endpoint, EventIds: gone,
	}); err != nil {
		return nil, fmt.Errorf("giving up deliveries without an event: %w", err)
	}
	return gone, nil
}

func deliveriesOf(
	endpoint store.WebhookEndpoint, due []store.DueDeliveriesRow, events []store.Outbox, now time.Time,
) ([]Delivery, error) {
	byID := make(map[sale.EventID]store.DueDeliveriesRow, len(due))
	for _, row := range due {
		byID[row.EventID] = row
	}
	deliveries := make([]Delivery, len(events))
	for i, event := range events {
		body, err := bodyOf(event)
		if err != nil {
			return nil, err
		}
		row, first := byID[event.ID], now
		if row.FirstAttemptAt != nil {
			first = *row.FirstAttemptAt
		}
		deliveries[i] = Delivery{
			EndpointID: endpoint.ID, Type: event.Type, Number: row.Attempts + 1, Asked: row.Asked, FirstAttemptAt: first,
			Message: sale.Message{EventID: event.ID, URL: endpoint.Url, Secrets: signingSecrets(endpoint, now), Body: body},
		}
	}
	return deliveries, nil
}

// bodyOf is an event as it is sent: the same bytes at each attempt.
func bodyOf(event store.Outbox) ([]byte, error) {
	data := map[string]json.RawMessage{}
	if err := json.Unmarshal(event.Payload, &data); err != nil {
		return nil, fmt.Errorf("reading event %s: %w", event.ID, err)
	}
	data["sequence"] = json.RawMessage(strconv.FormatInt(event.Sequence, 10))
	body, err := json.Marshal(struct {
		Type      sale.EventType             `json:"type"`
		Timestamp time.Time                  `json:"timestamp"`
		Data      map[string]json.RawMessage `json:"data"`
	}{event.Type, event.CreatedAt.UTC(), data})
	if err != nil {
		return nil, fmt.Errorf("encoding event %s: %w", event.ID, err)
	}
	return body, nil
}
