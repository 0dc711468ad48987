package lane

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/budget"
)

// gauge is a meter that sums up.
type gauge struct {
	mu         sync.Mutex
	queued     int
	overloaded int
	batches    []int
	ended      int
}

func (g *gauge) change(do func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	do()
}

func (g *gauge) BatchStarted(size int, _ time.Duration) {
	g.change(func() { g.batches = append(g.batches, size) })
}
func (g *gauge) BatchEnded(time.Duration) { g.change(func() { g.ended++ }) }
func (g *gauge) QueueChanged(by int)      { g.change(func() { g.queued += by }) }
func (g *gauge) Overloaded()              { g.change(func() { g.overloaded++ }) }

// hall is lanes whose batches stand still until they are let go.
type hall struct {
	*Lanes[string, int]
	gauge   *gauge
	mu      sync.Mutex
	started [][]int
	release chan error // ends one batch with this error
}

// maxAge is how long one waits in these tests, by the bubble's clock.
const maxAge = 1500 * time.Millisecond

func newHall() *hall {
	h := &hall{gauge: &gauge{}, release: make(chan error)}
	h.Lanes = NewLanes(func(_ context.Context, _ string, batch []*Ticket[int], _ func()) {
		h.begin(batch)
		err := <-h.release
		for _, ticket := range batch {
			ticket.Done(err)
		}
	}, h.gauge, maxAge)
	return h
}

func (h *hall) begin(batch []*Ticket[int]) {
	jobs := make([]int, len(batch))
	for i, ticket := range batch {
		jobs[i] = ticket.Job
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.started = append(h.started, jobs)
}

// send queues a job and gives where its answer will be.
func (h *hall) send(ctx context.Context, job int) <-chan error {
	answer := make(chan error, 1)
	go func() { answer <- h.Do(ctx, "hot", job) }()
	synctest.Wait()
	return answer
}

func (h *hall) requireIdle(t *testing.T) {
	t.Helper()
	synctest.Wait()
	assert.Empty(t, h.lanes, "an idle lane vanishes")
	assert.Zero(t, h.gauge.queued)
	assert.Len(t, h.gauge.batches, h.gauge.ended)
}

func TestSingleJobIsServedAtOnceAndWhatWaitsMeanwhileIsMergedInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHall()
		first := h.send(t.Context(), 1)
		assert.Equal(t, [][]int{{1}}, h.started)
		others := []<-chan error{h.send(t.Context(), 2), h.send(t.Context(), 3), h.send(t.Context(), 4)}
		assert.Len(t, h.started, 1, "the next batch starts when the first is done")
		assert.Equal(t, 3, h.gauge.queued)
		h.release <- nil
		require.NoError(t, <-first)
		refused := errors.New("refused")
		h.release <- refused
		for _, answer := range others {
			assert.Equal(t, refused, <-answer)
		}
		assert.Equal(t, [][]int{{1}, {2, 3, 4}}, h.started)
		h.requireIdle(t)
	})
}

func TestBatchIsBoundedAndNobodyIsForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHall()
		answers := []<-chan error{h.send(t.Context(), 0)}
		for i := range maxBatch + 10 {
			answers = append(answers, h.send(t.Context(), i))
		}
		for range 3 {
			h.release <- nil
		}
		for _, answer := range answers {
			require.NoError(t, <-answer)
		}
		assert.Equal(t, []int{1, maxBatch, 10}, h.gauge.batches)
		h.requireIdle(t)
	})
}

func TestFullLaneIsOverloadedAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHall()
		answers := []<-chan error{h.send(t.Context(), 0)}
		for i := range maxQueue {
			answers = append(answers, h.send(t.Context(), i))
		}
		require.ErrorIs(t, <-h.send(t.Context(), 0), ErrOverloaded)
		assert.Equal(t, 1, h.gauge.overloaded)
		for range 1 + maxQueue/maxBatch {
			h.release <- nil
		}
		for _, answer := range answers {
			require.NoError(t, <-answer)
		}
		h.requireIdle(t)
	})
}

func TestJobThatWaitedTooLongIsOverloadedAndNotDone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHall()
		first := h.send(t.Context(), 1)
		slow := h.send(t.Context(), 2)
		time.Sleep(maxAge + time.Millisecond)
		fresh := h.send(t.Context(), 3)
		h.release <- nil
		require.NoError(t, <-first)
		require.ErrorIs(t, <-slow, ErrOverloaded)
		h.release <- nil
		require.NoError(t, <-fresh)
		assert.Equal(t, [][]int{{1}, {3}}, h.started)
		h.requireIdle(t)
	})
}

// A job waits for its batch to start no longer than its request may begin things; for
// the end of one that has started it waits.
func TestJobThatDidNotStartWithinItsBudgetIsOverloadedAndNotDone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHall()
		began := time.Now()
		started := h.send(budget.Within(t.Context(), maxAge/3), 1)
		late := h.send(budget.Within(t.Context(), maxAge/3), 2)
		require.ErrorIs(t, <-late, ErrOverloaded)
		assert.Equal(t, maxAge/3, time.Since(began))
		h.release <- nil
		require.NoError(t, <-started)
		assert.Equal(t, [][]int{{1}}, h.started)
		h.requireIdle(t)
	})
}

func TestJobWhoseBudgetIsSpentDoesNotStartAnIdleLane(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHall()
		require.ErrorIs(t, <-h.send(budget.Within(t.Context(), 0), 1), ErrOverloaded)
		assert.Empty(t, h.started)
		h.requireIdle(t)
	})
}

func TestJobWhoseOwnerLeftIsNotDone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHall()
		first := h.send(t.Context(), 1)
		ctx, cancel := context.WithCancel(t.Context())
		gone := h.send(ctx, 2)
		cancel()
		require.ErrorIs(t, <-gone, context.Canceled)
		h.release <- nil
		require.NoError(t, <-first)
		h.requireIdle(t)
		assert.Equal(t, [][]int{{1}}, h.started)
	})
}

func TestThoseWhoLeftTakeNoPlaceInTheQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHall()
		first := h.send(t.Context(), 0)
		ctx, cancel := context.WithCancel(t.Context())
		for range maxQueue {
			h.send(ctx, 1)
		}
		cancel()
		synctest.Wait()
		var crowd []<-chan error
		for range maxBatch {
			crowd = append(crowd, h.send(t.Context(), 2))
		}
		h.release <- nil
		require.NoError(t, <-first)
		h.release <- nil
		for _, answer := range crowd {
			require.NoError(t, <-answer)
		}
		h.requireIdle(t)
		assert.Equal(t, []int{1, maxBatch}, h.gauge.batches)
	})
}

func TestNextBatchStartsBesideTheFirstWhenThatSaysSo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHall()
		committing := make(chan struct{})
		h.work = func(_ context.Context, _ string, batch []*Ticket[int], next func()) {
			h.begin(batch)
			next()
			next() // a transaction that runs again says so again
			<-committing
			for _, ticket := range batch {
				ticket.Done(nil)
			}
		}
		first, second, third := h.send(t.Context(), 1), h.send(t.Context(), 2), h.send(t.Context(), 3)
		assert.Equal(t, [][]int{{1}, {2}}, h.started, "one commits, one is ready, the rest waits")
		close(committing)
		for _, answer := range []<-chan error{first, second, third} {
			require.NoError(t, <-answer)
		}
		h.requireIdle(t)
	})
}

func TestWorkThatPanicsOrForgetsBreaksItsOwnBatchOnly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHall()
		h.work = func(_ context.Context, _ string, batch []*Ticket[int], _ func()) {
			switch batch[0].Job {
			case 1:
				panic("broken")
			case 2:
			default:
				batch[0].Done(nil)
			}
		}
		require.ErrorIs(t, <-h.send(t.Context(), 1), ErrBroken)
		require.ErrorIs(t, <-h.send(t.Context(), 2), ErrBroken)
		require.NoError(t, <-h.send(t.Context(), 3))
		h.requireIdle(t)
	})
}

// Whoever left might still read: a half-closed connection does. What is under way is
// neither given up nor told to have come to nothing.
func TestOneWhoLeavesABatchUnderWayHearsWhatItCameTo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHall()
		var workCtx context.Context
		h.work = func(ctx context.Context, _ string, batch []*Ticket[int], _ func()) {
			workCtx = ctx
			batch[0].Done(<-h.release)
		}
		ctx, cancel := context.WithCancel(t.Context())
		gone := h.send(ctx, 1)
		cancel()
		synctest.Wait()
		assert.Empty(t, gone, "its batch is under way")
		require.NoError(t, workCtx.Err())
		h.release <- nil
		require.NoError(t, <-gone)
		h.requireIdle(t)
	})
}

func TestOneWhoHasLeftBeginsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHall()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, <-h.send(ctx, 1), context.Canceled)
		assert.Empty(t, h.started)
		h.requireIdle(t)
	})
}

func TestLanesServeEveryJobOfACrowdOnce(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	served := map[int]int{}
	lanes := NewLanes(func(_ context.Context, _ int, batch []*Ticket[int], next func()) {
		next()
		mu.Lock()
		defer mu.Unlock()
		for _, ticket := range batch {
			served[ticket.Job]++
			ticket.Done(nil)
		}
	}, &gauge{}, time.Minute)
	var crowd sync.WaitGroup
	for i := range 2000 {
		crowd.Go(func() { assert.NoError(t, lanes.Do(t.Context(), i%3, i)) })
	}
	crowd.Wait()
	assert.Len(t, served, 2000)
	for job, times := range served {
		assert.Equal(t, 1, times, job)
	}
}
