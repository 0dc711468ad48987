package chaos

import (
	"container/heap"
	"context"
	"fmt"
	"sync"
	"time"
)

// retrySchedule is how long a sender of Standard Webhooks waits after each attempt that
// was not answered with a success, before it gives the event up.
func retrySchedule() []time.Duration {
	return []time.Duration{
		5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour,
		10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
	}
}

// errand is something to be done at an instant of a clock that does not wait: whatever
// is next is done as soon as somebody is free for it. It is done again, later, by the
// schedule of retries until it says that it is over.
type errand struct {
	due     time.Duration
	attempt int
	do      func(ctx context.Context) (over bool, err error)
}

// diary is errands in the order in which they are due.
type diary []*errand

func (d diary) Len() int           { return len(d) }
func (d diary) Less(i, j int) bool { return d[i].due < d[j].due }
func (d diary) Swap(i, j int)      { d[i], d[j] = d[j], d[i] }
func (d *diary) Push(x any)        { *d = append(*d, x.(*errand)) } //nolint:errcheck // only heap calls it
func (d *diary) Pop() any {
	last := len(*d) - 1
	x := (*d)[last]
	*d = (*d)[:last]
	return x
}

// run does all errands, so many at once, until the last is over or one fails, and gives
// how often anything was done.
func (d *diary) run(ctx context.Context, atOnce int) (attempts int, err error) {
	heap.Init(d)
	r := &runner{diary: d}
	r.changed = sync.NewCond(&r.mu)
	var running sync.WaitGroup
	for range atOnce {
		running.Go(func() { r.work(ctx) })
	}
	running.Wait()
	return r.attempts, r.err
}

type runner struct {
	mu       sync.Mutex
	changed  *sync.Cond
	diary    *diary
	inHand   int
	attempts int
	err      error
}

func (r *runner) work(ctx context.Context) {
	for {
		e := r.next()
		if e == nil {
			return
		}
		over, err := e.do(ctx)
		r.put(e, over, err)
	}
}

// next waits for an errand; nil when there is nothing left to do.
func (r *runner) next() *errand {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.err == nil && r.diary.Len() == 0 && r.inHand > 0 {
		r.changed.Wait()
	}
	if r.err != nil || r.diary.Len() == 0 {
		return nil
	}
	r.inHand++
	r.attempts++
	return heap.Pop(r.diary).(*errand) //nolint:errcheck // what Push was given
}

// put writes down when an errand is due again, if it is.
func (r *runner) put(e *errand, over bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.changed.Broadcast()
	r.inHand--
	schedule := retrySchedule()
	switch {
	case err != nil:
		r.err = err
	case over:
	case e.attempt == len(schedule):
		r.err = fmt.Errorf("given up after %d attempts", e.attempt+1)
	default:
		e.due += schedule[e.attempt]
		e.attempt++
		heap.Push(r.diary, e)
	}
}
