package action

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/mysql"
)

// wariness is how long holds look for keys that are being written elsewhere before they
// write their own, once one of them had to wait for such a key: as long as the server keeps the
// locks of a process that hangs, whose customers ask again here.
const wariness = mysql.IdleLimit

// alarm is up for a while after it was raised.
type alarm struct{ until atomic.Pointer[time.Time] }

func (a *alarm) raise() { a.until.Store(new(time.Now().Add(wariness))) }

func (a *alarm) up() bool {
	until := a.until.Load()
	return until != nil && time.Now().Before(*until)
}

// busyKeys are the keys of wishes that another process has written and not committed. Whoever
// inserts one of them waits for that process, and all that is inserted with it. A look that an
// alarm made does not prolong it: it also sees keys that wait for nobody.
func (a *CreateHold) busyKeys(ctx context.Context, wishes []*wish) (map[[claimBytes]byte]bool, error) {
	if !slices.ContainsFunc(wishes, func(w *wish) bool { return w.Key != "" }) {
		return nil, nil
	}
	busy := map[[claimBytes]byte]bool{}
	written := a.eachMark(wishes, func(id [claimBytes]byte) { busy[id] = true })
	if err := a.DB.Peek(ctx, written); err != nil || len(busy) == 0 {
		return nil, err
	}
	// What is committed by now is nobody's to wait for.
	committed := a.eachMark(wishes, func(id [claimBytes]byte) { delete(busy, id) })
	if err := a.DB.Read(ctx, committed); err != nil {
		return nil, err
	}
	if len(busy) > 0 && !a.alarm.up() {
		a.alarm.raise()
	}
	return busy, nil
}

// eachMark calls note with each of these wishes' keys that is there.
func (a *CreateHold) eachMark(wishes []*wish, note func([claimBytes]byte)) func(context.Context, store.DBTX) error {
	return func(ctx context.Context, q store.DBTX) error {
		made, used, err := a.marksThere(ctx, q, wishes)
		for _, id := range made {
			note(id)
		}
		for id := range used {
			note(id)
		}
		return err
	}
}

// keyBusy returns CodeKeyInProgress for a wish whose key is being written elsewhere.
func (a *CreateHold) keyBusy(ctx context.Context, w *wish) error {
	busy, err := a.busyKeys(ctx, []*wish{w})
	if err == nil && busy[w.claim.id] {
		return keyInProgress()
	}
	return err
}

// free ends those whose keys are being written elsewhere, and gives the others: all where
// that cannot be seen.
func (b *batch) free(ctx context.Context, tickets []*ticket) []*ticket {
	busy, err := b.busyKeys(ctx, wishesOf(tickets))
	if err != nil || len(busy) == 0 {
		return tickets
	}
	var free, stuck []*ticket
	for _, ticket := range tickets {
		if busy[ticket.Job.claim.id] {
			stuck = append(stuck, ticket)
		} else {
			free = append(free, ticket)
		}
	}
	b.end(stuck, keyInProgress())
	return free
}
