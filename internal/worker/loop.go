// Package worker holds the loops that run beside the API. They only call
// actions; any number of processes may run the same loop.
package worker

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"time"
)

const (
	// maxBackoff bounds the wait after failures, before jitter. One product that cannot be
	// swept makes a sweep fail, and the others are not to wait long for that.
	maxBackoff = 5 * time.Second
	// jitterShare is the part of a wait that chance may add to it, one in so
	// many, so that replicas that started together spread.
	jitterShare = 10
)

// Config is what a loop repeats, and how often.
type Config struct {
	Name     string        // one word; the loop's events are named after it: sweep.failed
	Interval time.Duration // from the end of a run to the next, more than 0
	Do       func(context.Context) error
	Log      *slog.Logger
	// Done counts a run, for operators. A nil error is a success.
	Done func(err error, took time.Duration)
}

// Loop repeats one thing until its context ends.
type Loop struct {
	cfg Config
}

// NewLoop makes a Loop that does nothing before Run.
func NewLoop(cfg Config) *Loop { return &Loop{cfg: cfg} }

// Run does the loop's work at once and then again and again, at its interval and
// up to a tenth more. While the work fails, and a panic is a failure, the wait
// doubles up to 5 s (or the interval, if that is longer); one success ends
// that. It returns nil when ctx has ended and the work that was going on, which
// has the same ctx, returned. An interval that is not positive is an error.
func (l *Loop) Run(ctx context.Context) error {
	if l.cfg.Interval <= 0 {
		return fmt.Errorf("running the loop %s: its interval must be more than 0, not %v", l.cfg.Name, l.cfg.Interval)
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	failures := 0
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		if ctx.Err() != nil {
			return nil
		}
		failures = l.turn(ctx, failures)
		timer.Reset(spread(l.wait(failures)))
	}
}

// turn does the work once and returns how many runs in a row failed by now.
func (l *Loop) turn(ctx context.Context, failures int) int {
	start := time.Now()
	err := safely(func() error { return l.cfg.Do(ctx) })
	if err != nil && ctx.Err() != nil {
		return failures // cut short by the end of the loop: no failure
	}
	l.cfg.Done(err, time.Since(start))
	switch {
	case err != nil:
		failures++
		l.log(ctx, slog.LevelError, ".failed", slog.Any("error", err), slog.Int("failures", failures))
		return failures
	case failures > 0:
		l.log(ctx, slog.LevelInfo, ".recovered", slog.Int("failures", failures))
	}
	return 0
}

// safely turns a panic of the work into an error that has its stack.
func safely(work func() error) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("panic: %v\n%s", cause, debug.Stack())
		}
	}()
	return work()
}

func (l *Loop) log(ctx context.Context, level slog.Level, event string, attrs ...slog.Attr) {
	attrs = append(attrs, slog.String("loop", l.cfg.Name))
	l.cfg.Log.LogAttrs(ctx, level, l.cfg.Name+event, attrs...) //nolint:sloglint // events are named after their loop
}

// wait is how long to rest after so many failures in a row.
func (l *Loop) wait(failures int) time.Duration {
	wait := l.cfg.Interval
	for range failures {
		if wait >= maxBackoff {
			break
		}
		wait = min(2*wait, maxBackoff)
	}
	return wait
}

func spread(wait time.Duration) time.Duration {
	return wait + rand.N(wait/jitterShare+1) //nolint:gosec // it spreads load, it protects nothing
}
