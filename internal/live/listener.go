package live

import (
	"context"
	"fmt"
	"time"
)

// Listener is one that listens to a product. It belongs to one goroutine.
type Listener struct {
	hub    *Hub
	topic  *topic
	seen   int64     // the version it was last given, by another process maybe; 0: none
	trusts time.Time // from then on a state may be older than seen
}

// Next waits, at most patience, until the product has a newer version than the
// listener was last given, or an older one that has lasted, and gives the latest.
// Else the error is ErrQuiet, ErrEnded or ctx's.
func (l *Listener) Next(ctx context.Context, patience time.Duration) (Event, error) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		latest := l.topic.latest.Load()
		if latest.Version > l.seen || latest.Version < l.seen && !time.Now().Before(l.trusts) {
			l.seen = latest.Version
			l.hub.cfg.Meter.EventTaken()
			return latest.Event, nil
		}
		var trusted <-chan time.Time
		if latest.Version < l.seen {
			trusted = time.After(time.Until(l.trusts))
		}
		select {
		case <-latest.changed:
		case <-trusted:
		case <-timer.C:
			return Event{}, ErrQuiet
		case <-l.topic.open.Done():
			return Event{}, ErrEnded
		case <-ctx.Done():
			return Event{}, fmt.Errorf("listening to a product: %w", ctx.Err())
		}
	}
}

// WhenEnded runs f once there is nothing to listen to any more, in a goroutine of
// its own. release keeps it from starting, or waits until it is done.
func (l *Listener) WhenEnded(f func()) (release func()) {
	done := make(chan struct{})
	stop := context.AfterFunc(l.topic.open, func() {
		defer close(done)
		f()
	})
	return func() {
		if !stop() {
			<-done
		}
	}
}

// Leave ends the listening. With the last listener of a product, the looks at it
// end too.
func (l *Listener) Leave() { l.hub.leave(l.topic) }
