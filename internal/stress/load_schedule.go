package stress

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// schedule says when each request is to be sent, whatever came of those before.
type schedule struct {
	rate     int64 // requests a second
	duration time.Duration
}

// count is how many requests there are.
func (s schedule) count() int64 { return s.rate * int64(s.duration) / int64(time.Second) }

// due is when request n is to be sent, from the beginning. At MaxRate for
// MaxDuration the product is far from what an int64 holds.
func (s schedule) due(n int64) time.Duration { return time.Duration(n * int64(time.Second) / s.rate) }

// pace calls send for each request when it is due, and for all that are overdue
// at once. send must not block. It ends early with ctx.
func (s schedule) pace(ctx context.Context, began time.Time, send func(n int64)) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for n := range s.count() {
		if wait := time.Until(began.Add(s.due(n))); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
			}
		}
		if ctx.Err() != nil {
			return
		}
		send(n)
	}
}

// crew does work in goroutines of its own, at most limit at once. They stay, so
// that a request does not pay for a new one.
type crew struct {
	work    func(n int64)
	limit   int64
	jobs    chan int64 // has room for limit
	busy    atomic.Int64
	members int64 // touched by the sender alone
	wait    sync.WaitGroup
}

func newCrew(limit int64, work func(n int64)) *crew {
	return &crew{work: work, limit: limit, jobs: make(chan int64, limit)}
}

// send hands n over and does not block. It says false when limit are at work.
func (c *crew) send(n int64) bool {
	if c.busy.Load() >= c.limit {
		return false
	}
	if c.busy.Add(1) > c.members {
		c.members++
		c.wait.Go(c.serve)
	}
	c.jobs <- n
	return true
}

func (c *crew) serve() {
	for n := range c.jobs {
		c.work(n)
		c.busy.Add(-1)
	}
}

// finish waits for all that was sent.
func (c *crew) finish() {
	close(c.jobs)
	c.wait.Wait()
}
