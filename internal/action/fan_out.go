package action

import (
	"context"
	"fmt"
	"slices"

	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/mysql"
	"github.com/flashsale-api/flashsale/internal/sale"
)

const (
	// fanOutEvents is how many events one transaction fans out.
	fanOutEvents = 500
	// fanOutAnnouncements is how many announcements it takes at most: other processes step
	// over what one has taken, and of a crowd's each has up to 50 events.
	fanOutAnnouncements = 50
	// fanOutRows is how many deliveries it writes at most, so that it fits into an
	// operation's time however many endpoints there are.
	fanOutRows = 5000
	// deliveryColumns is how many values one row of InsertDelivery takes.
	deliveryColumns = 4
)

// FanOutEvents gives each endpoint a delivery of each event that it wants.
type FanOutEvents struct{ *desk }

// FannedOut is what one batch did.
type FannedOut struct {
	Events     int64
	Deliveries int64
	More       bool // there may be more that is new
}

// Do fans out a batch of new events, so that the caller can see to what it made before
// the next. Several processes at once are safe: each event is fanned out by one of them,
// and they don't wait for each other. No sale waits for it: it only takes rows that are
// committed. When the answer to its commit is lost, the next batch finds out by what is left.
func (a *FanOutEvents) Do(ctx context.Context) (FannedOut, error) {
	found, err := a.anything(ctx)
	if err != nil || !found {
		return FannedOut{}, err
	}
	var done FannedOut
	err = a.DB.Tx(ctx, nil, func(ctx context.Context, tx *mysql.Tx) (err error) {
		done, err = a.batch(ctx, tx)
		return err
	})
	if err != nil {
		return FannedOut{}, fmt.Errorf("fanning out: %w", err)
	}
	return done, nil
}

// anything looks without a transaction, since mostly nothing is new.
func (a *FanOutEvents) anything(ctx context.Context) (bool, error) {
	var found bool
	err := a.DB.Read(ctx, func(ctx context.Context, q store.DBTX) (err error) {
		found, err = a.q.AnyAnnouncement(ctx, q)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("looking for new events: %w", err)
	}
	return found, nil
}

// batch takes the announcements first: an endpoint that is made or enabled before an event was
// told is then there, however long others hold the endpoints.
func (a *FanOutEvents) batch(ctx context.Context, tx *mysql.Tx) (FannedOut, error) {
	rows, err := a.q.Announcements(ctx, tx, fanOutAnnouncements)
	if err != nil {
		return FannedOut{}, fmt.Errorf("looking for new events: %w", err)
	}
	if len(rows) == 0 {
		return FannedOut{}, nil
	}
	endpoints, err := a.enabled(ctx, tx)
	if err != nil {
		return FannedOut{}, err
	}
	done, events := firstOf(rows, min(fanOutEvents, fanOutRows/max(len(endpoints), 1)))
	deliveries, err := a.fanOut(ctx, tx, events, endpoints)
	if err != nil {
		return FannedOut{}, err
	}
	if err := a.q.DeleteAnnouncements(ctx, tx, done); err != nil {
		return FannedOut{}, fmt.Errorf("ending %d announcements: %w", len(done), err)
	}
	more := len(done) < len(rows) || len(rows) == fanOutAnnouncements
	return FannedOut{Events: int64(len(events)), Deliveries: deliveries, More: more}, nil
}

// firstOf gives the announcements that may be fanned out together, at least one, and their
// events.
func firstOf(rows []store.AnnouncementsRow, limit int) (ids []sale.EventID, events []sale.EventID) {
	for _, row := range rows {
		if len(events) > 0 && len(events)+len(row.Events)/eventIDBytes > limit {
			break
		}
		ids = append(ids, row.ID)
		for id := range slices.Chunk(row.Events, eventIDBytes) {
			events = append(events, sale.EventID(id))
		}
	}
	return ids, events
}

func (a *FanOutEvents) enabled(ctx context.Context, tx *mysql.Tx) ([]sale.Endpoint, error) {
	rows, err := a.q.EnabledEndpoints(ctx, tx)
	if err != nil {
		return nil, fmt.Errorf("reading the endpoints: %w", err)
	}
	endpoints := make([]sale.Endpoint, len(rows))
	for i, row := range rows {
		types, err := typesOf(row.Types)
		if err != nil {
			return nil, err
		}
		endpoints[i] = sale.Endpoint{ID: row.ID, Types: types}
	}
	return endpoints, nil
}

// fanOut writes the deliveries of events, and asks what they are about only when
// somebody may want them.
func (a *FanOutEvents) fanOut(
	ctx context.Context, tx *mysql.Tx, events []sale.EventID, endpoints []sale.Endpoint,
) (int64, error) {
	if len(endpoints) == 0 {
		return 0, nil
	}
	rows, err := a.q.EventTypes(ctx, tx, events)
	if err != nil {
		return 0, fmt.Errorf("reading %d events: %w", len(events), err)
	}
	var wanted []route
	for _, event := range rows {
		for _, endpoint := range endpoints {
			if endpoint.Wants(event.Type) {
				wanted = append(wanted, route{endpoint.ID, event.ID})
			}
		}
	}
	return insertDeliveries(ctx, tx, wanted)
}

// route is an event's way to an endpoint.
type route struct {
	endpoint sale.EndpointID
	event    sale.EventID
}

// insertDeliveries writes deliveries that are due at once, in one statement, and gives how
// many of them were not there.
func insertDeliveries(ctx context.Context, tx *mysql.Tx, routes []route) (int64, error) {
	if len(routes) == 0 {
		return 0, nil
	}
	rows := make([]any, 0, len(routes)*deliveryColumns)
	for _, to := range routes {
		rows = append(rows, to.endpoint, to.event, tx.Now, tx.Now)
	}
	result, err := tx.ExecContext(ctx, mysql.ExpandRows(store.InsertDelivery, len(routes)), rows...)
	if err != nil {
		return 0, fmt.Errorf("writing %d deliveries: %w", len(routes), err)
	}
	return result.RowsAffected()
}
