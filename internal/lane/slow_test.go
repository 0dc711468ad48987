package lane

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Whoever waits behind a slow batch is told at its own age, not when that ends.
func TestWaiterIsOverloadedAtItsAgeWhileASlowBatchRuns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHall()
		began := time.Now()
		first, second := h.send(t.Context(), 1), h.send(t.Context(), 2)
		time.Sleep(maxAge / 3)
		third := h.send(t.Context(), 3)
		require.ErrorIs(t, <-second, ErrOverloaded)
		assert.Equal(t, maxAge, time.Since(began))
		require.ErrorIs(t, <-third, ErrOverloaded)
		assert.Equal(t, maxAge+maxAge/3, time.Since(began))
		synctest.Wait()
		assert.Equal(t, 2, h.gauge.overloaded)
		assert.Zero(t, h.gauge.queued, "they left their places")
		assert.Equal(t, [][]int{{1}}, h.started, "the slow batch still runs")
		h.release <- nil
		require.NoError(t, <-first, "a job whose batch had started is waited for, however long")
		h.requireIdle(t)
	})
}

func TestPanicTellsItsCauseAndPlaceToItsOwnBatchAndTheNextOneWorks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHall()
		h.work = func(_ context.Context, _ string, batch []*Ticket[int], _ func()) {
			h.begin(batch)
			if err := <-h.release; err != nil {
				stumble(err)
			}
			for _, ticket := range batch {
				ticket.Done(nil)
			}
		}
		first, second, third := h.send(t.Context(), 1), h.send(t.Context(), 2), h.send(t.Context(), 3)
		h.release <- nil
		require.NoError(t, <-first)
		fourth := h.send(t.Context(), 4)
		h.release <- errors.New("stumbled")
		for _, answer := range []<-chan error{second, third} {
			err := <-answer
			require.ErrorIs(t, err, ErrBroken)
			require.ErrorContains(t, err, "stumbled")
			require.ErrorContains(t, err, "lane.stumble(", "where it happened")
		}
		h.release <- nil
		require.NoError(t, <-fourth)
		assert.Equal(t, [][]int{{1}, {2, 3}, {4}}, h.started)
		h.requireIdle(t)
	})
}

func stumble(cause error) { panic(cause) }
