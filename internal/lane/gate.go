// Package lane decides who may work on a product's units, and when. It knows
// nothing of SQL.
package lane

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/flashsale-api/flashsale/internal/budget"
)

// gateQueue is how many may wait for one key.
const gateQueue = 4096

// ErrOverloaded says that a queue is full or was too slow. Nothing was done.
var ErrOverloaded = errors.New("too many requests wait for this product")

// QueueMeter watches who waits.
type QueueMeter interface {
	// QueueChanged tells by how many the number of waiting requests changed.
	QueueChanged(by int)
	// Overloaded tells of a request that was sent away.
	Overloaded()
}

// Gates let a few at a time through to each key, in order of arrival. An idle key
// costs nothing.
type Gates[K comparable] struct {
	width  int
	meter  QueueMeter
	maxAge time.Duration
	mu     sync.Mutex
	gates  map[K]*gate
}

type gate struct {
	inside  int
	waiting []chan struct{}
}

// NewGates makes gates for any number of keys, each of which lets so many in at a time. One
// waits at most maxAge, and no longer than its request's budget, before it is told to come back.
func NewGates[K comparable](width int, meter QueueMeter, maxAge time.Duration) *Gates[K] {
	return &Gates[K]{width: width, meter: meter, maxAge: maxAge, gates: map[K]*gate{}}
}

// Enter waits for a place at every key, which the caller names in one order common
// to all, and gives the way out. It returns ErrOverloaded when a queue is full or
// too slow, and the context's error when that ends first.
func (g *Gates[K]) Enter(ctx context.Context, keys ...K) (leave func(), err error) {
	patience, cancel := context.WithTimeoutCause(ctx, budget.Left(ctx, g.maxAge), ErrOverloaded)
	defer cancel()
	for i, key := range keys {
		if err := g.enter(patience, key); err != nil {
			g.leave(keys[:i])
			if errors.Is(err, ErrOverloaded) {
				g.meter.Overloaded()
			}
			return nil, err
		}
	}
	return sync.OnceFunc(func() { g.leave(keys) }), nil
}

func (g *Gates[K]) enter(ctx context.Context, key K) error {
	g.mu.Lock()
	at := g.gates[key]
	if at == nil {
		at = &gate{}
		g.gates[key] = at
	}
	if at.inside < g.width {
		at.inside++
		g.mu.Unlock()
		return nil
	}
	if len(at.waiting) >= gateQueue {
		g.mu.Unlock()
		return ErrOverloaded
	}
	turn := make(chan struct{})
	at.waiting = append(at.waiting, turn)
	g.mu.Unlock()
	g.meter.QueueChanged(1)
	defer g.meter.QueueChanged(-1)
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
		return g.giveUp(ctx, key, at, turn)
	}
}

// giveUp leaves the queue, or hands on a turn that came at the same moment.
func (g *Gates[K]) giveUp(ctx context.Context, key K, at *gate, turn chan struct{}) error {
	g.mu.Lock()
	select {
	case <-turn:
		g.mu.Unlock()
		g.leave([]K{key})
	default:
		at.waiting = slices.DeleteFunc(at.waiting, func(other chan struct{}) bool { return other == turn })
		g.mu.Unlock()
	}
	return context.Cause(ctx)
}

func (g *Gates[K]) leave(keys []K) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, key := range keys {
		at := g.gates[key]
		if len(at.waiting) > 0 {
			close(at.waiting[0])
			at.waiting = at.waiting[1:]
			continue
		}
		at.inside--
		if at.inside == 0 {
			delete(g.gates, key)
		}
	}
}
