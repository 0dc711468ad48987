package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/flashsale-api/flashsale/internal/action"
)

// purgePause is the rest between two batches, so that a purge takes a small part of
// the database's strength however much there is to look at.
const purgePause = 100 * time.Millisecond

// Purger deletes what is old, one batch a call. *action.Purge is one.
type Purger interface {
	Do(ctx context.Context, keep action.Retention, from action.PurgeCursor) (action.Purged, error)
}

// PurgeMeter counts purges and what they delete, for operators. A nil error is a success.
type PurgeMeter interface {
	PurgeDone(err error, took time.Duration)
	RowsPurged(table string, rows int64)
}

// NewPurger makes the loop that deletes what nothing needs any more. Each of its runs
// walks over all tables, batch by batch, past those that fail. A run that deleted
// something is logged as purge.done.
func NewPurger(
	purger Purger, keep action.Retention, interval time.Duration, log *slog.Logger, meter PurgeMeter,
) *Loop {
	p := &purge{purger: purger, keep: keep, log: log, meter: meter}
	return NewLoop(Config{Name: "purge", Interval: interval, Do: p.run, Log: log, Done: meter.PurgeDone})
}

// purge is what walks over the tables go by.
type purge struct {
	purger Purger
	keep   action.Retention
	log    *slog.Logger
	meter  PurgeMeter
}

// run fails with the first failure in each table.
func (p *purge) run(ctx context.Context) error {
	rows := map[string]int64{}
	defer p.tell(ctx, rows)
	var from action.PurgeCursor
	var failed string
	var failures []error
	for {
		purged, err := p.purger.Do(ctx, p.keep, from)
		switch {
		case err == nil:
			rows[purged.Table] += purged.Rows
			p.meter.RowsPurged(purged.Table, purged.Rows)
		case purged.Table != failed || failures == nil:
			failed, failures = purged.Table, append(failures, fmt.Errorf("purging what is old: %w", err))
		}
		if from = purged.Next; from == (action.PurgeCursor{}) {
			return errors.Join(failures...)
		}
		if err := rest(ctx, purgePause); err != nil {
			return errors.Join(append(failures, err)...)
		}
	}
}

func (p *purge) tell(ctx context.Context, rows map[string]int64) {
	keys, holds, events := rows[action.PurgedKeys], rows[action.PurgedHolds], rows[action.PurgedEvents]
	if keys+holds+events == 0 {
		return
	}
	p.log.InfoContext(ctx, "purge.done",
		slog.Int64("idempotency_keys", keys), slog.Int64("hold_lines", holds), slog.Int64("events", events))
}

// rest waits, unless ctx ends first.
func rest(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
