package worker_test

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/action"
	"github.com/flashsale-api/flashsale/internal/sale"
	"github.com/flashsale-api/flashsale/internal/worker"
)

// mail is deliveries in memory: each is claimed once.
type mail struct {
	mu        sync.Mutex
	waiting   map[sale.EndpointID]int
	delivered map[sale.EndpointID]int
	sending   int
	most      int // that were sent at once
	took      func(id sale.EndpointID, attempt int) time.Duration
	fail      error
	busy      sale.EndpointID // gets one with each batch that is fanned out, and more is always new
	panics    int64           // the number of the attempt that panics, 0 for none
}

func (m *mail) fanOut(ctx context.Context) (action.FannedOut, error) {
	if m.busy == (sale.EndpointID{}) {
		return action.FannedOut{}, m.fail
	}
	timer := time.NewTimer(100 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	m.post(m.busy, 1)
	return action.FannedOut{More: true}, nil
}

func (m *mail) due(context.Context) ([]sale.EndpointID, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var ids []sale.EndpointID
	for id, count := range m.waiting {
		if count > 0 {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

func (m *mail) claim(_ context.Context, id sale.EndpointID, limit int) ([]action.Delivery, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	claimed := make([]action.Delivery, min(limit, m.waiting[id]))
	for i := range claimed {
		claimed[i] = action.Delivery{EndpointID: id, Number: int64(m.waiting[id])}
		m.waiting[id]--
	}
	return claimed, nil
}

func (m *mail) send(ctx context.Context, delivery action.Delivery) action.Attempt {
	m.count(&m.sending, 1)
	defer m.count(&m.sending, -1)
	timer := time.NewTimer(m.took(delivery.EndpointID, int(delivery.Number)))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return action.Attempt{Delivery: delivery, CutOff: true}
	}
	if delivery.Number == m.panics {
		panic("the last one")
	}
	return action.Attempt{Delivery: delivery}
}

func (m *mail) record(_ context.Context, id sale.EndpointID, attempts []action.Attempt) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, attempt := range attempts {
		if !attempt.CutOff {
			m.delivered[id]++
		}
	}
	return nil
}

func (m *mail) count(what *int, by int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	*what += by
	m.most = max(m.most, m.sending)
}

// post puts more on its way.
func (m *mail) post(id sale.EndpointID, count int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.waiting[id] += count
}

// live runs a deliverer for a while of the bubble's clock and gives its log.
func (m *mail) live(t *testing.T, life time.Duration) []map[string]any {
	t.Helper()
	var log bytes.Buffer
	m.delivered = map[sale.EndpointID]int{}
	deliverer := worker.NewDeliverer(worker.Deliveries{FanOut: m.fanOut, Due: m.due, Claim: m.claim, Send: m.send, Record: m.record},
		time.Second, slog.New(slog.NewJSONHandler(&log, nil)), func(error, time.Duration) {})
	ctx, cancel := context.WithTimeout(t.Context(), life)
	defer cancel()
	require.NoError(t, deliverer.Run(ctx))
	return events(t, &log)
}

func TestEachEndpointIsServedByItselfAFewAttemptsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow, quick := sale.NewEndpointID(), sale.NewEndpointID()
		m := &mail{panics: 1, waiting: map[sale.EndpointID]int{slow: 1000, quick: 1000}, took: func(id sale.EndpointID, _ int) time.Duration {
			if id == slow {
				return time.Hour
			}
			return 10 * time.Millisecond
		}}
		log := m.live(t, 3*time.Second)
		assert.Equal(t, map[sale.EndpointID]int{quick: 999}, m.delivered, "1,000 at 16 at once need 0.6 s")
		assert.Equal(t, 984, m.waiting[slow], "no more than can be sent is claimed")
		assert.Equal(t, 32, m.most)
		require.Len(t, log, 1, "one attempt panicked, and nobody else")
		assert.Equal(t, "delivery.failed", log[0]["msg"])
	})
}

func TestOneAttemptThatHangsDoesNotHoldUpTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		id := sale.NewEndpointID()
		m := &mail{waiting: map[sale.EndpointID]int{id: 101}, took: func(_ sale.EndpointID, attempt int) time.Duration {
			if attempt == 101 {
				return time.Hour
			}
			return time.Millisecond
		}}
		m.live(t, 500*time.Millisecond)
		assert.Equal(t, 100, m.delivered[id])
	})
}

func TestWhatIsNewWhileAnAttemptHangsIsSentAtTheInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		id := sale.NewEndpointID()
		m := &mail{waiting: map[sale.EndpointID]int{id: 4}, took: func(_ sale.EndpointID, attempt int) time.Duration {
			if attempt == 4 {
				return time.Hour
			}
			return 0
		}}
		time.AfterFunc(10*time.Second, func() { m.post(id, 3) })
		m.live(t, 12*time.Second)
		assert.Equal(t, 6, m.delivered[id], "three at once, three later, one hangs")
	})
}

func TestWhatCannotBeFannedOutDoesNotStopWhatWasBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		id := sale.NewEndpointID()
		m := &mail{
			waiting: map[sale.EndpointID]int{id: 5}, fail: errDown,
			took: func(sale.EndpointID, int) time.Duration { return time.Millisecond },
		}
		m.live(t, time.Second)
		assert.Equal(t, 5, m.delivered[id])
	})
}

func TestWhatIsDueIsSentWhileMoreIsFannedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		id := sale.NewEndpointID()
		m := &mail{
			waiting: map[sale.EndpointID]int{}, busy: id,
			took: func(sale.EndpointID, int) time.Duration { return time.Millisecond },
		}
		m.live(t, 3050*time.Millisecond)
		assert.Equal(t, 30, m.delivered[id])
	})
}
