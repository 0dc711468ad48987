package live

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/flashsale-api/flashsale/internal/sale"
)

// patience is longer than anything that a test waits for, on the bubble's clock.
const patience = time.Hour

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// counts is a Meter that remembers.
type counts struct {
	mu                sync.Mutex
	listeners, events int
}

func (c *counts) ListenersChanged(by int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.listeners += by
}

func (c *counts) EventTaken() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events++
}

// shop is products that change, a hub, and how often it read and encoded.
type shop struct {
	*Hub
	meter *counts

	mu      sync.Mutex
	version map[sale.ProductID]int64
	broken  error
	reads   int
	encoded int
}

// open makes a hub in a bubble. It is closed at the test's end.
func open(t *testing.T) *shop {
	t.Helper()
	s := &shop{meter: &counts{}, version: map[sale.ProductID]int64{}}
	s.Hub = New(Config{Read: s.read, Encode: s.encode, Log: slog.New(slog.DiscardHandler), Meter: s.meter})
	t.Cleanup(s.Close)
	return s
}

func (s *shop) read(_ context.Context, id sale.ProductID) (sale.Product, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	if s.broken != nil {
		return sale.Product{}, s.broken
	}
	if s.version[id] == 0 {
		return sale.Product{}, sale.Fail(sale.CodeProductNotFound, "")
	}
	return sale.Product{ID: id, Version: s.version[id]}, nil
}

func (s *shop) encode(product sale.Product) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.encoded++
	return strconv.AppendInt(nil, product.Version, 10), nil
}

// product puts one on sale.
func (s *shop) product() sale.ProductID {
	id := sale.NewProductID()
	s.set(id, 1)
	return id
}

func (s *shop) set(id sale.ProductID, version int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version[id] = version
}

func (s *shop) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = err
}

// looks is how often the hub has read.
func (s *shop) looks() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reads
}

func (s *shop) listen(t *testing.T, id sale.ProductID, seen int64) *Listener {
	t.Helper()
	listener, err := s.Listen(t.Context(), id, seen)
	require.NoError(t, err)
	return listener
}

// version takes the next event.
func version(t *testing.T, listener *Listener) int64 {
	t.Helper()
	event, err := listener.Next(t.Context(), patience)
	require.NoError(t, err)
	require.Equal(t, strconv.FormatInt(event.Version, 10), string(event.Bytes))
	return event.Version
}

func TestAListenerGetsTheStateAndThenEachChangeInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		id := s.product()
		listener := s.listen(t, id, 0)
		defer listener.Leave()
		require.Equal(t, int64(1), version(t, listener))
		for next := int64(2); next < 20; next++ {
			s.set(id, next)
			require.Equal(t, next, version(t, listener))
		}
	})
}

func TestABurstOfChangesIsToldOnceALookAndEndsWithTheLastState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		id := s.product()
		listener := s.listen(t, id, 0)
		defer listener.Leave()
		done := make(chan struct{})
		go func() {
			defer close(done)
			for next := int64(1); next <= 1000; next++ { // for 3 s
				s.set(id, next)
				time.Sleep(3 * time.Millisecond)
			}
		}()
		began, before := time.Now(), s.looks()
		events := 0
		for last := int64(0); last < 1000; events++ {
			next := version(t, listener)
			require.Greater(t, next, last)
			last = next
		}
		looks := s.looks() - before
		assert.LessOrEqual(t, events, looks+1, "one for each look, and the state at the start")
		assert.LessOrEqual(t, looks, int(time.Since(began)/pollGap))
		assert.Greater(t, events, 20, "and no fewer than are needed")
		<-done
	})
}

func TestASlowReadIsNotFollowedByAnotherAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ends, starts []time.Time
		id := sale.NewProductID()
		hub := New(Config{
			Read: func(context.Context, sale.ProductID) (sale.Product, error) {
				starts = append(starts, time.Now())
				time.Sleep(pollGap * 3 / 2)
				ends = append(ends, time.Now())
				return sale.Product{ID: id, Version: int64(len(ends))}, nil
			},
			Encode: func(sale.Product) ([]byte, error) { return nil, nil },
			Log:    slog.New(slog.DiscardHandler), Meter: &counts{},
		})
		listener, err := hub.Listen(t.Context(), id, 0)
		require.NoError(t, err)
		for range 10 {
			_, err := listener.Next(t.Context(), patience)
			require.NoError(t, err)
		}
		listener.Leave()
		hub.Close()
		for i := 1; i < len(starts); i++ {
			require.GreaterOrEqual(t, starts[i].Sub(ends[i-1]), pollGap)
		}
	})
}

func TestACrowdCostsAsManyReadsAndEncodingsAsOneListener(t *testing.T) {
	cost := func(t *testing.T, listeners int) (reads, encoded int) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			s := open(t)
			id := s.product()
			for range listeners {
				listener := s.listen(t, id, 0)
				defer listener.Leave()
				go func() {
					for {
						event, err := listener.Next(t.Context(), patience)
						if err != nil || event.Version == 10 {
							return
						}
					}
				}()
			}
			for next := int64(2); next <= 10; next++ {
				time.Sleep(time.Second)
				s.set(id, next)
			}
			time.Sleep(time.Second)
			synctest.Wait()
			assert.Equal(t, 10*listeners, s.meter.events, "everybody got each state")
			reads, encoded = s.looks(), s.encoded
		})
		return reads, encoded
	}
	oneReads, oneEncoded := cost(t, 1)
	manyReads, manyEncoded := cost(t, 1000)
	assert.Equal(t, oneReads, manyReads)
	assert.Equal(t, oneEncoded, manyEncoded)
	assert.Equal(t, 10, oneEncoded, "once for each version")
}

func TestAListenerThatTakesNothingHoldsUpNobodyAndThenGetsTheLatest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		id := s.product()
		slow, quick := s.listen(t, id, 0), s.listen(t, id, 0)
		defer slow.Leave()
		defer quick.Leave()
		require.Equal(t, int64(1), version(t, slow))
		for next := int64(1); next <= 50; next++ {
			s.set(id, next)
			require.Equal(t, next, version(t, quick))
		}
		require.Equal(t, int64(50), version(t, slow))
	})
}

func TestWhoKnowsTheStateIsToldOfChangesAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		id := s.product()
		s.set(id, 7)
		current, older := s.listen(t, id, 7), s.listen(t, id, 6)
		assert.Equal(t, int64(7), version(t, older))
		_, err := current.Next(t.Context(), time.Minute)
		require.ErrorIs(t, err, ErrQuiet)
		s.set(id, 8)
		for _, listener := range []*Listener{current, older} {
			assert.Equal(t, int64(8), version(t, listener))
			listener.Leave()
		}
	})
}

func TestWhoKnowsANewerStateIsNotToldOfAnOlderOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		id := s.product()
		s.set(id, 7)
		listener := s.listen(t, id, 9)
		defer listener.Leave()
		for _, behind := range []int64{7, 8, 9} {
			s.set(id, behind)
			_, err := listener.Next(t.Context(), maxLag/4)
			require.ErrorIs(t, err, ErrQuiet)
		}
		s.set(id, 10)
		assert.Equal(t, int64(10), version(t, listener))
	})
}

// As after the database was restored from an older copy.
func TestAnOlderStateIsToldOnceItHasLasted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		id := s.product()
		s.set(id, 7)
		back, there := s.listen(t, id, 1000), s.listen(t, id, 0)
		defer back.Leave()
		defer there.Leave()
		_, err := back.Next(t.Context(), maxLag-time.Nanosecond)
		require.ErrorIs(t, err, ErrQuiet)
		assert.Equal(t, int64(7), version(t, back))
		assert.Equal(t, int64(7), version(t, there))

		s.set(id, 5)
		for _, listener := range []*Listener{back, there} {
			_, err := listener.Next(t.Context(), maxLag/2)
			require.ErrorIs(t, err, ErrQuiet)
		}
		s.set(id, 7) // it was a read that came late
		_, err = back.Next(t.Context(), time.Minute)
		require.ErrorIs(t, err, ErrQuiet)
		s.set(id, 5)
		_, err = back.Next(t.Context(), maxLag)
		require.ErrorIs(t, err, ErrQuiet)
		for _, listener := range []*Listener{back, there} {
			assert.Equal(t, int64(5), version(t, listener))
		}
	})
}

func TestAProductWithoutListenersIsNotLookedAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		id := s.product()
		one, other := s.listen(t, id, 0), s.listen(t, id, 0)
		one.Leave()
		before := s.looks()
		time.Sleep(time.Second)
		assert.Greater(t, s.looks(), before, "somebody still listens")
		other.Leave()
		synctest.Wait()
		before = s.looks()
		time.Sleep(time.Minute)
		assert.Equal(t, before, s.looks())
		assert.Zero(t, s.meter.listeners)
		again := s.listen(t, id, 0)
		defer again.Leave()
		assert.Equal(t, int64(1), version(t, again))
	})
}

func TestAProductThatIsGoneEndsItsListening(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		id, other := s.product(), s.product()
		listener, elsewhere := s.listen(t, id, 0), s.listen(t, other, 0)
		defer elsewhere.Leave()
		require.Equal(t, int64(1), version(t, listener))
		s.set(id, 0)
		_, err := listener.Next(t.Context(), patience)
		require.ErrorIs(t, err, ErrEnded)
		_, err = s.Listen(t.Context(), id, 0)
		require.ErrorIs(t, err, &sale.Error{Code: sale.CodeProductNotFound})
		s.set(id, 1)
		again := s.listen(t, id, 0)
		listener.Leave() // late: it must not end what began after it
		require.Equal(t, int64(1), version(t, again))
		before := s.looks()
		another := s.listen(t, id, 0)
		assert.Equal(t, before, s.looks(), "it joins those who listen")
		s.set(id, 2)
		require.Equal(t, int64(2), version(t, again))
		another.Leave()
		again.Leave()
		require.Equal(t, int64(1), version(t, elsewhere))
	})
}

func TestListenersStayThroughFailuresWhichAreAskedAboutLessOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		id := s.product()
		listener := s.listen(t, id, 1)
		defer listener.Leave()
		s.fail(errors.New("the database is down"))
		time.Sleep(time.Second)
		before := s.looks()
		_, err := listener.Next(t.Context(), time.Minute)
		require.ErrorIs(t, err, ErrQuiet)
		assert.Equal(t, int(time.Minute/failureGap), s.looks()-before)
		late := s.listen(t, id, 0)
		defer late.Leave()
		require.Equal(t, int64(1), version(t, late), "what is known is told")
		s.fail(nil)
		s.set(id, 2)
		require.Equal(t, int64(2), version(t, listener))
	})
}

func TestMoreListenersThanTheLimitAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		id := s.product()
		listeners := make([]*Listener, maxListeners)
		for i := range listeners {
			listeners[i] = s.listen(t, id, 0)
		}
		_, err := s.Listen(t.Context(), id, 0)
		require.ErrorIs(t, err, &sale.Error{Code: sale.CodeOverloaded})
		assert.Equal(t, maxListeners, s.meter.listeners)
		listeners[0].Leave()
		listeners[0] = s.listen(t, id, 0)
		for _, listener := range listeners {
			listener.Leave()
		}
	})
}

func TestClosingEndsAllListeningAndLetsNobodyIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		id := s.product()
		listener := s.listen(t, id, 1)
		ended := make(chan error, 1)
		go func() {
			_, err := listener.Next(t.Context(), patience)
			ended <- err
		}()
		synctest.Wait()
		s.Close()
		require.ErrorIs(t, <-ended, ErrEnded)
		listener.Leave()
		_, err := s.Listen(t.Context(), id, 0)
		require.ErrorIs(t, err, &sale.Error{Code: sale.CodeUnavailable})
		_, err = s.Listen(t.Context(), s.product(), 0)
		require.ErrorIs(t, err, &sale.Error{Code: sale.CodeUnavailable})
	})
}

func TestTheEndIsToldUnlessTheListenerWasReleasedBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		id := s.product()
		told, released := s.listen(t, id, 0), s.listen(t, id, 0)
		ended := false
		release := told.WhenEnded(func() {
			time.Sleep(time.Second)
			ended = true
		})
		released.WhenEnded(func() { t.Error("it was released") })()
		s.Close()
		release()
		assert.True(t, ended, "release waits for what runs")
		told.Leave()
		released.Leave()
	})
}

func TestWaitingEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		listener := s.listen(t, s.product(), 1)
		defer listener.Leave()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := listener.Next(ctx, patience)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}
