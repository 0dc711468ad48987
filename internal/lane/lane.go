package lane

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/flashsale-api/flashsale/internal/budget"
)

const (
	// maxBatch bounds one batch: with usual ids its statements stay below the 256 KiB at
	// which the driver starts to reallocate, and more rows would gain little.
	maxBatch = 512
	// maxFlying bounds the batches of one lane that are under way: one that has the
	// common row, and one that is ready to follow.
	maxFlying = 2
	// maxQueue bounds what waits in one lane, and with it the memory of a crowd and
	// the time that the last of them waits at full speed.
	maxQueue = 1024
)

// ErrBroken says that a batch ended without saying what became of this job.
var ErrBroken = errors.New("the batch broke off")

// Meter watches the lanes.
type Meter interface {
	QueueMeter
	// BatchStarted tells a batch's size and how long its oldest member had waited.
	BatchStarted(size int, waited time.Duration)
	// BatchEnded tells how long a batch took.
	BatchEnded(took time.Duration)
}

// Work does the jobs of one batch and ends each with Ticket.Done. It calls next as
// soon as the following batch may start beside it; without that, it starts when
// Work returns. The context carries no deadline and no caller's cancellation.
type Work[K comparable, J any] func(ctx context.Context, key K, batch []*Ticket[J], next func())

// Lanes merge what waits for one key into batches. A batch is whatever is queued
// when its time has come, and never waits for more, so an idle lane serves a single
// request at once; idle lanes vanish.
type Lanes[K comparable, J any] struct {
	work   Work[K, J]
	meter  Meter
	maxAge time.Duration
	mu     sync.Mutex
	lanes  map[K]*queue[J]
}

type queue[J any] struct {
	waiting []*Ticket[J]
	flying  int  // batches under way
	led     bool // the youngest of them has not called next
}

// Ticket is one job on its way.
type Ticket[J any] struct {
	Job   J
	ctx   context.Context //nolint:containedctx // says whether its owner still waits
	since time.Time
	done  chan error
}

// Done ends the job. Only the first call counts.
func (t *Ticket[J]) Done(err error) {
	select {
	case t.done <- err:
	default:
	}
}

// endGroup is how many jobs are ended before their owners may run.
const endGroup = 8

// End ends many jobs alike. It lets others run in between: the owners of a whole
// batch, woken at once, would stand before the next batch's leader in the queue for a
// processor, at each of its round trips to the database.
func End[J any](tickets []*Ticket[J], err error) {
	for i, ticket := range tickets {
		ticket.Done(err)
		if i%endGroup == endGroup-1 {
			runtime.Gosched()
		}
	}
}

// NewLanes makes lanes whose batches work does. A job waits at most maxAge for its
// batch to start, and no longer than its request's budget.
func NewLanes[K comparable, J any](work Work[K, J], meter Meter, maxAge time.Duration) *Lanes[K, J] {
	return &Lanes[K, J]{work: work, meter: meter, maxAge: maxAge, lanes: map[K]*queue[J]{}}
}

// Do queues a job and waits for its end. It returns what the job was ended with, or,
// with nothing done, ErrOverloaded when the queue is full or was too slow and the
// context's error when that ended first. Once its batch has started a job's end is
// waited for, as long as the work takes: it is as good as done.
func (l *Lanes[K, J]) Do(ctx context.Context, key K, job J) error {
	ticket := &Ticket[J]{Job: job, ctx: ctx, since: time.Now(), done: make(chan error, 1)}
	if budget.Spent(ctx) || !l.join(key, ticket) {
		l.meter.Overloaded()
		return ErrOverloaded
	}
	timer := time.NewTimer(budget.Left(ctx, l.maxAge))
	defer timer.Stop()
	select {
	case err := <-ticket.done:
		return err
	case <-ctx.Done():
		// The place is free for one who still waits.
		if l.withdraw(key, ticket) {
			return ctx.Err()
		}
	case <-timer.C:
		if l.withdraw(key, ticket) {
			l.meter.Overloaded()
			return ErrOverloaded
		}
	}
	return <-ticket.done
}

// withdraw takes a ticket out of its queue, if it is still there.
func (l *Lanes[K, J]) withdraw(key K, ticket *Ticket[J]) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := l.lanes[key]
	if q == nil {
		return false
	}
	at := slices.Index(q.waiting, ticket)
	if at < 0 {
		return false
	}
	q.waiting = slices.Delete(q.waiting, at, at+1)
	l.meter.QueueChanged(-1)
	return true
}

func (l *Lanes[K, J]) join(key K, ticket *Ticket[J]) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := l.lanes[key]
	if q == nil {
		q = &queue[J]{}
		l.lanes[key] = q
	}
	if len(q.waiting) >= maxQueue {
		return false
	}
	q.waiting = append(q.waiting, ticket)
	l.meter.QueueChanged(1)
	l.start(key, q)
	return true
}

// start begins the next batch when there is one and its time has come. The caller
// holds the mutex.
func (l *Lanes[K, J]) start(key K, q *queue[J]) {
	if q.led || q.flying >= maxFlying {
		return
	}
	var batch []*Ticket[J]
	for len(batch) == 0 {
		if len(q.waiting) == 0 {
			if q.flying == 0 {
				delete(l.lanes, key)
			}
			return
		}
		batch = l.take(q)
	}
	q.led = true
	q.flying++
	go l.fly(key, q, batch)
}

// fly does one batch and lets the following ones start.
func (l *Lanes[K, J]) fly(key K, q *queue[J], batch []*Ticket[J]) {
	handed := false
	next := func() {
		if handed {
			return
		}
		handed = true
		l.mu.Lock()
		defer l.mu.Unlock()
		q.led = false
		l.start(key, q)
	}
	began := time.Now()
	l.meter.BatchStarted(len(batch), began.Sub(batch[0].since))
	l.run(key, batch, next)
	l.meter.BatchEnded(time.Since(began))
	next()
	l.mu.Lock()
	defer l.mu.Unlock()
	q.flying--
	l.start(key, q)
}

// run does one batch, under no member's context: it is everybody's. Should the work
// panic, then its jobs fail, and no others.
func (l *Lanes[K, J]) run(key K, batch []*Ticket[J], next func()) {
	defer func() {
		err := ErrBroken
		if cause := recover(); cause != nil {
			err = fmt.Errorf("%w: %v\n%s", ErrBroken, cause, debug.Stack())
		}
		for _, ticket := range batch {
			ticket.Done(err)
		}
	}()
	l.work(context.Background(), key, batch, next)
}

// take gives the next batch, and ends the jobs of those who left.
func (l *Lanes[K, J]) take(q *queue[J]) []*Ticket[J] {
	taken := q.waiting
	q.waiting = nil
	if len(taken) > maxBatch {
		q.waiting = slices.Clone(taken[maxBatch:])
		taken = taken[:maxBatch]
	}
	l.meter.QueueChanged(-len(taken))
	return slices.DeleteFunc(taken, func(t *Ticket[J]) bool {
		left := t.ctx.Err()
		if left != nil {
			t.Done(left)
		}
		return left != nil
	})
}
