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

// answer is what one sweep comes to.
type answer struct {
	released action.Released
	err      error
}

// script answers sweeps in its order and then ends the loop.
type script struct {
	answers []answer
	end     context.CancelFunc
}

func (s *script) Do(context.Context) (action.Released, error) {
	next := s.answers[0]
	if s.answers = s.answers[1:]; len(s.answers) == 0 {
		s.end()
	}
	return next.released, next.err
}

// sweep runs a sweeper through answers and returns what it reported.
func sweep(t *testing.T, answers ...answer) ([]map[string]any, []error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var log bytes.Buffer
	var runs meter
	releaser := &script{answers: answers, end: cancel}
	sweeper := worker.NewSweeper(releaser, time.Second, slog.New(slog.NewJSONHandler(&log, nil)), &runs)
	require.NoError(t, sweeper.Run(ctx))
	return events(t, &log), runs.errs
}

func TestOnlySweepsThatGaveSomethingBackAreLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lines, errs := sweep(t,
			answer{},
			answer{released: action.Released{Holds: 2, Orders: 1, StockRestored: 7}},
			answer{},
		)
		require.Len(t, lines, 1)
		assert.Equal(t, "holds.released", lines[0]["msg"])
		assert.InDelta(t, 7, lines[0]["stock_restored"], 0)
		assert.InDelta(t, 2, lines[0]["holds"], 0)
		assert.InDelta(t, 1, lines[0]["orders"], 0)
		assert.Equal(t, []error{nil, nil, nil}, errs)
	})
}

func TestAFailedSweepIsLoggedWithWhatItGaveBackBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lines, errs := sweep(t,
			answer{released: action.Released{Holds: 1, StockRestored: 1}, err: errDown},
			answer{},
			answer{},
		)
		require.Len(t, lines, 3)
		assert.Equal(t, "holds.released", lines[0]["msg"])
		assert.Equal(t, "sweep.failed", lines[1]["msg"])
		assert.Equal(t, "releasing what expired: "+errDown.Error(), lines[1]["error"])
		assert.Equal(t, "sweep.recovered", lines[2]["msg"])
		require.ErrorIs(t, errs[0], errDown)
	})
}
