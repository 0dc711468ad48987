package worker_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/flashsale-api/flashsale/internal/worker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errDown = errors.New("the database is down")

// meter remembers what a loop reported.
type meter struct {
	errs  []error
	times []time.Duration
}

func (m *meter) SweepDone(err error, took time.Duration) {
	m.errs = append(m.errs, err)
	m.times = append(m.times, took)
}

// events are the log lines of a loop.
func events(tb testing.TB, log *bytes.Buffer) []map[string]any {
	tb.Helper()
	var lines []map[string]any
	for decoder := json.NewDecoder(log); decoder.More(); {
		var line map[string]any
		require.NoError(tb, decoder.Decode(&line))
		lines = append(lines, line)
	}
	return lines
}

// trial is a loop that runs in a synctest bubble, and what became of it.
type trial struct {
	starts []time.Duration // of its runs, since it began
	meter  meter
	log    bytes.Buffer
}

// run lets a loop live for a while, on the bubble's clock. do gets the number of
// its run, from 0.
func (tr *trial) run(t *testing.T, interval, life time.Duration, do func(ctx context.Context, run int) error) {
	t.Helper()
	began := time.Now()
	loop := worker.NewLoop(worker.Config{
		Name:     "sweep",
		Interval: interval,
		Do: func(ctx context.Context) error {
			tr.starts = append(tr.starts, time.Since(began))
			return do(ctx, len(tr.starts)-1)
		},
		Log:  slog.New(slog.NewJSONHandler(&tr.log, nil)),
		Done: tr.meter.SweepDone,
	})
	ctx, cancel := context.WithTimeout(t.Context(), life)
	defer cancel()
	require.NoError(t, loop.Run(ctx))
}

// gaps are the waits between the beginnings of runs.
func (tr *trial) gaps() []time.Duration {
	var gaps []time.Duration
	for i := 1; i < len(tr.starts); i++ {
		gaps = append(gaps, tr.starts[i]-tr.starts[i-1])
	}
	return gaps
}

func requireSpread(t *testing.T, wait, gap time.Duration) {
	t.Helper()
	require.GreaterOrEqual(t, gap, wait)
	require.LessOrEqual(t, gap, wait+wait/10)
}

func TestALoopRunsAtOnceAndThenAtItsInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tr trial
		tr.run(t, time.Second, 100*time.Second, func(context.Context, int) error { return nil })

		assert.Zero(t, tr.starts[0])
		assert.GreaterOrEqual(t, len(tr.starts), 91)
		assert.LessOrEqual(t, len(tr.starts), 100)
		different := map[time.Duration]bool{}
		for _, gap := range tr.gaps() {
			requireSpread(t, time.Second, gap)
			different[gap] = true
		}
		assert.Greater(t, len(different), 1, "replicas must spread")
		assert.Len(t, tr.meter.errs, len(tr.starts))
		assert.Empty(t, tr.log.String())
	})
}

func TestALoopNeverRunsTwiceAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tr trial
		tr.run(t, time.Second, 50*time.Second, func(context.Context, int) error {
			time.Sleep(10 * time.Second) // the bubble's clock: the work takes longer than the interval
			return nil
		})
		for _, gap := range tr.gaps() {
			requireSpread(t, time.Second, gap-10*time.Second)
		}
		for _, took := range tr.meter.times {
			assert.Equal(t, 10*time.Second, took)
		}
	})
}

func TestALoopBacksOffWhileItFailsAndRecoversAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tr trial
		const failing = 8
		tr.run(t, time.Second, 5*time.Minute, func(_ context.Context, run int) error {
			if run < failing {
				return errDown
			}
			return nil
		})
		waits := []time.Duration{2, 4, 5, 5, 5, 5, 5, 5, 1, 1}
		for i, wait := range waits {
			requireSpread(t, wait*time.Second, tr.gaps()[i])
		}
		for run, err := range tr.meter.errs {
			assert.Equal(t, run < failing, errors.Is(err, errDown), run)
		}

		lines := events(t, &tr.log)
		require.Len(t, lines, failing+1)
		for i, line := range lines[:failing] {
			assert.Equal(t, "sweep.failed", line["msg"])
			assert.Equal(t, "ERROR", line["level"])
			assert.Equal(t, errDown.Error(), line["error"])
			assert.InDelta(t, i+1, line["failures"], 0)
		}
		assert.Equal(t, "sweep.recovered", lines[failing]["msg"])
		assert.InDelta(t, failing, lines[failing]["failures"], 0)
	})
}

func TestAFailureNeverShortensALongInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tr trial
		tr.run(t, time.Hour, 6*time.Hour, func(context.Context, int) error { return errDown })
		for _, gap := range tr.gaps() {
			requireSpread(t, time.Hour, gap)
		}
		assert.Len(t, tr.starts, 6)
	})
}

func TestAPanicIsAFailureAndTheLoopGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tr trial
		tr.run(t, time.Second, 10*time.Second, func(_ context.Context, run int) error {
			if run == 0 {
				panic("no such index")
			}
			return nil
		})
		assert.Greater(t, len(tr.starts), 2)
		require.Error(t, tr.meter.errs[0])
		require.NoError(t, tr.meter.errs[1])

		lines := events(t, &tr.log)
		require.Len(t, lines, 2)
		assert.Equal(t, "sweep.failed", lines[0]["msg"])
		assert.Contains(t, lines[0]["error"], "panic: no such index")
		assert.Contains(t, lines[0]["error"], "loop_test.go", "the stack says where")
		assert.Equal(t, "sweep.recovered", lines[1]["msg"])
	})
}

func TestALoopEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tr trial
		began := time.Now()
		tr.run(t, time.Hour, 10*time.Second, func(context.Context, int) error { return nil })
		assert.Equal(t, 10*time.Second, time.Since(began), "the wait ends with the context")
		assert.Len(t, tr.starts, 1)
	})
}

func TestALoopWhoseContextHasEndedDoesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tr trial
		tr.run(t, time.Second, 0, func(context.Context, int) error { return nil })
		assert.Empty(t, tr.starts)
	})
}

func TestTheWorkGoingOnIsToldToEndAndThatIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tr trial
		began := time.Now()
		tr.run(t, time.Second, 10*time.Second, func(ctx context.Context, _ int) error {
			<-ctx.Done()
			time.Sleep(time.Second) // the bubble's clock: tidying up
			return ctx.Err()
		})
		assert.Equal(t, 11*time.Second, time.Since(began), "Run waits for the work")
		assert.Empty(t, tr.meter.errs)
		assert.Empty(t, tr.log.String())
	})
}

func TestAnIntervalMustBePositive(t *testing.T) {
	for _, interval := range []time.Duration{0, -time.Second} {
		err := worker.NewLoop(worker.Config{Name: "sweep", Interval: interval}).Run(t.Context())
		require.ErrorContains(t, err, "interval")
	}
}
