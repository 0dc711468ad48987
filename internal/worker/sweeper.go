package worker

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/flashsale-api/flashsale/internal/action"
)

// Releaser gives back what expired: one whole sweep a call. *action.ReleaseExpired is one.
type Releaser interface {
	Do(ctx context.Context) (action.Released, error)
}

// SweepMeter counts sweeps, for operators. A nil error is a success.
type SweepMeter interface {
	SweepDone(err error, took time.Duration)
}

// NewSweeper makes the loop that gives the units of expired holds and orders
// back. A sweep that gave something back is logged as holds.released.
func NewSweeper(releaser Releaser, interval time.Duration, log *slog.Logger, meter SweepMeter) *Loop {
	sweep := func(ctx context.Context) error {
		released, err := releaser.Do(ctx)
		if released != (action.Released{}) { // a sweep that failed may have given some back
			log.InfoContext(ctx, "holds.released",
				slog.Int64("stock_restored", released.StockRestored),
				slog.Int64("holds", released.Holds),
				slog.Int64("orders", released.Orders))
		}
		if err != nil {
			return fmt.Errorf("releasing what expired: %w", err)
		}
		return nil
	}
	return NewLoop(Config{Name: "sweep", Interval: interval, Do: sweep, Log: log, Done: meter.SweepDone})
}
