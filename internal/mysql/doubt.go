package mysql

import (
	"context"
	"sync"
	"time"
)

// doubt is the suspicion, after an operation ran out of time, that the server
// hangs. While it lasts, operations wait for one shared ping instead of each
// finding out for itself, so that a hanging server is refused within the ping's
// time and a crowd does not queue up behind it.
type doubt struct {
	limit   time.Duration // of the ping that ends it
	mu      sync.Mutex
	raised  bool
	pending *proof
}

type proof struct {
	done chan struct{}
	err  error
}

// raise says that the server owes an answer.
func (d *doubt) raise() {
	d.mu.Lock()
	d.raised = true
	d.mu.Unlock()
}

// clear waits until ping has answered when the server is doubted, and gives what
// came of it. Without a doubt it costs a lock.
func (d *doubt) clear(ctx context.Context, ping func(context.Context) error) error {
	d.mu.Lock()
	if !d.raised {
		d.mu.Unlock()
		return nil
	}
	current := d.pending
	if current == nil {
		current = &proof{done: make(chan struct{})}
		d.pending = current
		go d.prove(context.WithoutCancel(ctx), current, ping)
	}
	d.mu.Unlock()
	<-current.done
	return current.err
}

func (d *doubt) prove(ctx context.Context, p *proof, ping func(context.Context) error) {
	ctx, cancel := context.WithTimeout(ctx, d.limit)
	defer cancel()
	p.err = ping(ctx)
	d.mu.Lock()
	d.raised = p.err != nil
	d.pending = nil
	d.mu.Unlock()
	close(p.done)
}
