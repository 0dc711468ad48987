package lane

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/flashsale-api/flashsale/internal/budget"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// gateWidth is how many the gates of these tests let in at a time.
const gateWidth = 2

// filled are gates whose key "hot" has no free place, and the ways out.
func filled(t *testing.T) (*Gates[string], []func()) {
	t.Helper()
	gates := NewGates[string](gateWidth, &gauge{}, maxAge)
	ways := make([]func(), gateWidth)
	for i := range ways {
		leave, err := gates.Enter(t.Context(), "hot")
		require.NoError(t, err)
		ways[i] = leave
	}
	return gates, ways
}

func leaveAll(ways []func()) {
	for _, leave := range ways {
		leave()
	}
}

func TestGateLetsSoManyInAndTheOthersInOrderOfArrival(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		gates, ways := filled(t)
		var mu sync.Mutex
		var arrived []int
		turns := make([]chan struct{}, 5)
		for i := range turns {
			turns[i] = make(chan struct{})
			go func() {
				leave, err := gates.Enter(t.Context(), "hot")
				assert.NoError(t, err)
				mu.Lock()
				arrived = append(arrived, i)
				mu.Unlock()
				<-turns[i]
				leave()
			}()
			synctest.Wait()
		}
		assert.Empty(t, arrived)
		ways[0]()
		synctest.Wait()
		assert.Equal(t, []int{0}, arrived, "one went out, one comes in")
		ways[1]()
		synctest.Wait()
		for i := range turns {
			close(turns[i])
			synctest.Wait()
		}
		assert.Equal(t, []int{0, 1, 2, 3, 4}, arrived)
		assert.Empty(t, gates.gates, "an idle gate vanishes")
	})
}

func TestOtherKeysDoNotWait(t *testing.T) {
	t.Parallel()
	gates, ways := filled(t)
	leave, err := gates.Enter(t.Context(), "cold")
	require.NoError(t, err)
	leave()
	leaveAll(ways)
	assert.Empty(t, gates.gates)
}

func TestLeavingTwiceFreesOnePlace(t *testing.T) {
	t.Parallel()
	gates, ways := filled(t)
	ways[0]()
	ways[0]()
	assert.Equal(t, gateWidth-1, gates.gates["hot"].inside)
	ways[1]()
	assert.Empty(t, gates.gates)
}

func TestFullQueueIsOverloadedAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		gates, ways := filled(t)
		for range gateQueue {
			go func() {
				leave, err := gates.Enter(t.Context(), "hot")
				assert.NoError(t, err)
				leave()
			}()
		}
		synctest.Wait()
		began := time.Now()
		_, err := gates.Enter(t.Context(), "hot")
		require.ErrorIs(t, err, ErrOverloaded)
		assert.Zero(t, time.Since(began))
		leaveAll(ways)
		synctest.Wait()
		assert.Empty(t, gates.gates)
	})
}

func TestWaiterIsOverloadedAfterItsPatience(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		gates, ways := filled(t)
		began := time.Now()
		_, err := gates.Enter(t.Context(), "cold", "hot")
		require.ErrorIs(t, err, ErrOverloaded)
		assert.Equal(t, maxAge, time.Since(began))
		assert.NotContains(t, gates.gates, "cold", "the place that it had is free again")
		leaveAll(ways)
		assert.Empty(t, gates.gates)
	})
}

func TestAMeterSeesWhoWaitsAtAGateAndWhoIsSentAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		gates, ways := filled(t)
		meter := gates.meter.(*gauge) //nolint:errcheck,forcetypeassert // of filled
		requireMeter := func(waiting, sentAway int) {
			t.Helper()
			meter.change(func() { assert.Equal(t, []int{waiting, sentAway}, []int{meter.queued, meter.overloaded}) })
		}
		went, left := make(chan func(), 1), make(chan error, 2)
		go func() {
			leave, err := gates.Enter(t.Context(), "hot")
			assert.NoError(t, err)
			went <- leave
		}()
		synctest.Wait()
		impatient, cancel := context.WithCancel(t.Context())
		for _, ctx := range []context.Context{budget.Within(t.Context(), maxAge/3), impatient} {
			go func() {
				_, err := gates.Enter(ctx, "cold", "hot")
				left <- err
			}()
		}
		synctest.Wait()
		requireMeter(3, 0)
		require.ErrorIs(t, <-left, ErrOverloaded)
		cancel()
		require.ErrorIs(t, <-left, context.Canceled)
		requireMeter(1, 1) // who goes away is not sent away
		leaveAll(ways)
		(<-went)()
		requireMeter(0, 1)
	})
}

func TestWaiterIsOverloadedWhenItsBudgetIsSpent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		gates, ways := filled(t)
		began := time.Now()
		_, err := gates.Enter(budget.Within(t.Context(), maxAge/3), "hot")
		require.ErrorIs(t, err, ErrOverloaded)
		assert.Equal(t, maxAge/3, time.Since(began))
		leaveAll(ways)
		assert.Empty(t, gates.gates)
	})
}

func TestWaiterWhoGoesAwayGetsItsContextsErrorAndLeavesNoTrace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		gates, ways := filled(t)
		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error, 1)
		go func() {
			_, err := gates.Enter(ctx, "hot")
			result <- err
		}()
		synctest.Wait()
		cancel()
		err := <-result
		require.ErrorIs(t, err, context.Canceled)
		require.NotErrorIs(t, err, ErrOverloaded)
		leaveAll(ways)
		assert.Empty(t, gates.gates)
	})
}

// Waiters go away at the very moment of their turn: no place is lost, none is given twice.
func TestPlacesSurviveACrowdThatComesAndGoes(t *testing.T) {
	t.Parallel()
	gates := NewGates[int](gateWidth, &gauge{}, maxAge)
	var inside [2]atomic.Int64
	var crowd sync.WaitGroup
	for i := range 200 {
		crowd.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 1))
			for range 50 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(random.IntN(300))*time.Microsecond)
				if leave, err := gates.Enter(ctx, 0, 1); err == nil {
					for key := range inside {
						assert.LessOrEqual(t, inside[key].Add(1), int64(gateWidth))
					}
					for key := range inside {
						inside[key].Add(-1)
					}
					leave()
				}
				cancel()
			}
		})
	}
	crowd.Wait()
	assert.Empty(t, gates.gates)
}
