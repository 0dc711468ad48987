package worker_test

import (
	"bytes"
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/action"
	"github.com/flashsale-api/flashsale/internal/worker"
)

// purgeMeter remembers what a purger reported.
type purgeMeter struct {
	errs []error
	rows map[string]int64
}

func (m *purgeMeter) PurgeDone(err error, _ time.Duration) { m.errs = append(m.errs, err) }
func (m *purgeMeter) RowsPurged(table string, rows int64)  { m.rows[table] += rows }

// batches answers purges in its order and then ends the loop.
type batches struct {
	answers []action.Purged
	errs    []error
	keep    []action.Retention
	at      []time.Time
	end     context.CancelFunc
}

func (b *batches) Do(_ context.Context, keep action.Retention, _ action.PurgeCursor) (action.Purged, error) {
	nth := len(b.at)
	b.at, b.keep = append(b.at, time.Now()), append(b.keep, keep)
	if len(b.at) == len(b.answers) {
		b.end()
	}
	return b.answers[nth], b.errs[nth]
}

func TestAPurgeRestsBetweenBatchesAndTellsWhatItDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		// The zero cursor is the start: each of these answers ends its run.
		script := &batches{
			answers: []action.Purged{
				{Table: action.PurgedKeys, Rows: 7}, {Table: action.PurgedHolds}, {}, {Table: action.PurgedEvents, Rows: 2},
			},
			errs: []error{nil, nil, errDown, nil},
			end:  cancel,
		}
		keep := action.Retention{Keys: time.Hour, Holds: 2 * time.Hour, Events: 3 * time.Hour}
		var log bytes.Buffer
		meter := purgeMeter{rows: map[string]int64{}}
		purger := worker.NewPurger(script, keep, time.Minute, slog.New(slog.NewJSONHandler(&log, nil)), &meter)
		require.NoError(t, purger.Run(ctx))

		assert.Equal(t, []action.Retention{keep, keep, keep, keep}, script.keep)
		assert.Equal(t, map[string]int64{action.PurgedKeys: 7, action.PurgedHolds: 0, action.PurgedEvents: 2}, meter.rows)
		require.Len(t, meter.errs, 4)
		require.ErrorIs(t, meter.errs[2], errDown)
		lines := events(t, &log)
		require.Len(t, lines, 4, "a run that deleted nothing is not told of")
		assert.Equal(t, []any{"purge.done", "purge.failed", "purge.done", "purge.recovered"},
			[]any{lines[0]["msg"], lines[1]["msg"], lines[2]["msg"], lines[3]["msg"]})
		assert.InDelta(t, 7, lines[0]["idempotency_keys"], 0)
		assert.InDelta(t, 2, lines[2]["events"], 0)
	})
}
