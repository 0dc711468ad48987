package action

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/mysql"
	"github.com/flashsale-api/flashsale/internal/sale"
)

const (
	// purgeBatch is how many rows one transaction looks at and may delete.
	purgeBatch = 1000
	// purgeDeliveries is how many deliveries may go with a batch of events, so that it
	// fits into an operation's time however many endpoints there are.
	purgeDeliveries = 5000
	// farAhead is more than a maker of ids is ahead of the database by mistake.
	farAhead = 24 * time.Hour
)

// The tables that are purged.
const (
	PurgedKeys   = "idempotency_keys"
	PurgedHolds  = "hold_lines"
	PurgedEvents = "outbox"
)

// Retention is how long things are kept that nothing needs any more. Keys, and holds,
// whose ids may be keys, are kept for as long as a key answers at least.
type Retention struct {
	Keys   time.Duration // from their first use
	Holds  time.Duration // from the end that they had, for those that were never ordered
	Events time.Duration // from their making
}

// PurgeCursor is a place in the walk over the tables; its zero value is the start.
type PurgeCursor struct {
	table int
	after [claimBytes]byte
}

// Purged is what one batch did. Next is where the next begins: at the start again
// when the walk is over. It is set with an error too, past what failed.
type Purged struct {
	Table string
	Rows  int64
	Next  PurgeCursor
}

// Purge deletes what is old and that nothing needs any more: never a line of an order
// or one whose units are off sale, a movement, a payment or the id of its event.
type Purge struct{ *desk }

// chunk is what one step over a table saw.
type chunk struct {
	full    bool // there may be more rows
	last    [claimBytes]byte
	deleted int64
}

// walk is how one table is purged: a step goes from after a key on and deletes what
// is from before an instant.
type walk struct {
	table string
	keep  time.Duration
	step  func(ctx context.Context, tx *mysql.Tx, after [claimBytes]byte, before time.Time) (chunk, error)
}

// Do looks at the next batch in a transaction of its own, which waits for nobody: what
// somebody works on is left to a later walk. So is a batch that fails, and the rest of a
// table that cannot be read. Any number of processes may purge at once.
func (a *Purge) Do(ctx context.Context, keep Retention, from PurgeCursor) (Purged, error) {
	walks := []walk{
		{PurgedKeys, max(keep.Keys, keyLife), a.keys},
		{PurgedHolds, max(keep.Holds, keyLife), a.holds},
		{PurgedHolds, max(keep.Holds, keyLife), a.holdsAhead},
		{PurgedEvents, keep.Events, a.events},
		{PurgedEvents, keep.Events, a.eventsAhead},
	}
	w := walks[from.table]
	var seen chunk
	err := a.DB.Tx(ctx, nil, func(ctx context.Context, tx *mysql.Tx) (err error) {
		seen, err = w.step(ctx, tx, from.after, tx.Now.Add(-w.keep))
		return err
	})
	next := PurgeCursor{table: from.table, after: seen.last}
	if !seen.full {
		next = PurgeCursor{table: (from.table + 1) % len(walks)}
	}
	if err != nil {
		return Purged{Table: w.table, Next: next}, fmt.Errorf("purging %s: %w", w.table, err)
	}
	return Purged{Table: w.table, Rows: seen.deleted, Next: next}, nil
}

// keys goes by the hashes that are the keys' ids: in no order of time, so every one is
// looked at.
func (a *Purge) keys(ctx context.Context, tx *mysql.Tx, after [claimBytes]byte, before time.Time) (chunk, error) {
	rows, err := a.q.IdempotencyKeyAges(ctx, tx, store.IdempotencyKeyAgesParams{After: after[:], Limit: purgeBatch})
	if err != nil || len(rows) == 0 {
		return chunk{}, err
	}
	seen := chunk{full: len(rows) == purgeBatch, last: [claimBytes]byte(rows[len(rows)-1].ID)}
	var old [][]byte
	for _, row := range rows {
		if !row.CreatedAt.After(before) {
			old = append(old, row.ID)
		}
	}
	if len(old) == 0 {
		return seen, nil
	}
	locked, err := a.q.LockOldIdempotencyKeys(ctx, tx, store.LockOldIdempotencyKeysParams{Ids: old, Before: before})
	if err != nil || len(locked) == 0 {
		return seen, err
	}
	seen.deleted, err = a.q.PurgeIdempotencyKeys(ctx, tx, locked)
	return seen, err
}

// holds goes by ids, which begin with their time: up to those that can be old enough.
func (a *Purge) holds(ctx context.Context, tx *mysql.Tx, after [claimBytes]byte, before time.Time) (chunk, error) {
	return a.holdsBetween(ctx, tx, sale.HoldID(after), sale.HoldIDsUntil(before), before)
}

// holdsAhead goes over those ids of callers that begin with a time far ahead, of which
// holds would see nothing before that time has come.
func (a *Purge) holdsAhead(ctx context.Context, tx *mysql.Tx, after [claimBytes]byte, before time.Time) (chunk, error) {
	return a.holdsBetween(ctx, tx, sale.HoldID(ahead(tx.Now, after)), sale.HoldOf(sale.LastOrderID()), before)
}

// ahead is from where a walk over ids of a far time goes on that has come as far as after.
func ahead(now time.Time, after [claimBytes]byte) [claimBytes]byte {
	from := [claimBytes]byte(sale.HoldIDsUntil(now.Add(farAhead)))
	if bytes.Compare(after[:], from[:]) > 0 {
		return after
	}
	return from
}

func (a *Purge) holdsBetween(ctx context.Context, tx *mysql.Tx, after, below sale.HoldID, before time.Time) (chunk, error) {
	rows, err := a.q.HoldAges(ctx, tx, store.HoldAgesParams{After: after, Below: below, Limit: purgeBatch})
	if err != nil || len(rows) == 0 {
		return chunk{}, err
	}
	seen := chunk{full: len(rows) == purgeBatch, last: rows[len(rows)-1].ID}
	var old []sale.HoldID
	for _, row := range rows {
		if row.State == sale.LineReturned && !row.ExpiresAt.After(before) {
			old = append(old, row.ID)
		}
	}
	ended, err := a.endedHolds(ctx, tx, old, before)
	if err != nil || len(ended) == 0 {
		return seen, err
	}
	seen.deleted, err = a.q.PurgeHolds(ctx, tx, ended)
	return seen, err
}

// endedHolds locks the lines of holds that are over, all of a hold's or none count,
// and only then asks which of them never became an order.
func (a *Purge) endedHolds(
	ctx context.Context, tx *mysql.Tx, ids []sale.HoldID, before time.Time,
) ([]sale.HoldID, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	lines, err := a.q.LockReturnedLines(ctx, tx, ids)
	if err != nil || len(lines) == 0 {
		return nil, err
	}
	locked := map[sale.HoldID]int64{}
	for _, id := range lines {
		locked[id]++
	}
	holds, err := a.q.EndedHolds(ctx, tx, store.EndedHoldsParams{Ids: ids, Before: before})
	if err != nil {
		return nil, err
	}
	var ended []sale.HoldID
	for _, hold := range holds {
		if locked[hold.ID] == hold.LineCount {
			ended = append(ended, hold.ID)
		}
	}
	return ended, nil
}

// events goes by ids, which begin with the time of what they tell of: up to those that can
// be old enough.
func (a *Purge) events(ctx context.Context, tx *mysql.Tx, after [claimBytes]byte, before time.Time) (chunk, error) {
	return a.eventsBetween(ctx, tx, sale.EventID(after), sale.EventIDsUntil(before), before)
}

// eventsAhead goes over those of orders of which holdsAhead goes over the holds.
func (a *Purge) eventsAhead(ctx context.Context, tx *mysql.Tx, after [claimBytes]byte, before time.Time) (chunk, error) {
	return a.eventsBetween(ctx, tx, sale.EventID(ahead(tx.Now, after)), sale.EventID(sale.LastOrderID()), before)
}

// eventsBetween deletes with an event what became of it at each endpoint.
func (a *Purge) eventsBetween(ctx context.Context, tx *mysql.Tx, after, below sale.EventID, before time.Time) (chunk, error) {
	endpoints, err := a.q.EndpointIDs(ctx, tx)
	if err != nil {
		return chunk{}, err
	}
	limit := min(purgeBatch, max(purgeDeliveries/max(len(endpoints), 1), 1))
	rows, err := a.q.EventAges(ctx, tx, store.EventAgesParams{
		After: after, Below: below, Limit: int32(limit),
	})
	if err != nil || len(rows) == 0 {
		return chunk{}, err
	}
	seen := chunk{full: len(rows) == limit, last: rows[len(rows)-1].ID}
	ids := make([]sale.EventID, len(rows))
	for i, row := range rows {
		ids[i] = row.ID
	}
	done, err := a.doneEvents(ctx, tx, ids, before)
	if err != nil || len(done) == 0 {
		return seen, err
	}
	for _, id := range endpoints {
		if err := a.q.PurgeDeliveriesOf(ctx, tx, store.PurgeDeliveriesOfParams{EndpointID: id, EventIds: done}); err != nil {
			return seen, err
		}
	}
	seen.deleted, err = a.q.PurgeEvents(ctx, tx, done)
	return seen, err
}

// doneEvents locks the old ones of these events and only then asks which of them nobody
// waits for. Those from the first on that is not fanned out are left.
func (a *Purge) doneEvents(ctx context.Context, tx *mysql.Tx, ids []sale.EventID, before time.Time) ([]sale.EventID, error) {
	toldAt, err := a.q.OldestAnnouncement(ctx, tx)
	if err != nil {
		return nil, err
	}
	if !toldAt.After(before) {
		before = toldAt.Add(-time.Microsecond)
	}
	old, err := a.q.LockOldEvents(ctx, tx, store.LockOldEventsParams{Ids: ids, Before: before})
	if err != nil || len(old) == 0 {
		return nil, err
	}
	return a.q.DoneEvents(ctx, tx, old)
}
