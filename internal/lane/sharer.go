package lane

import (
	"context"
	"sync"
)

// Sharer runs one costly read at a time, in the order in which their keys were
// first asked for. Who asks for a key before its read has begun shares that read;
// one that has begun may not know what was committed since, so who comes later
// shares the next.
type Sharer[K comparable, V any] struct {
	read    func(context.Context, K) (V, error)
	keys    int
	turn    chan struct{} // who has put something in may read
	mu      sync.Mutex
	waiting map[K]*shared[V]
}

// shared is one read. Value and err are the reader's until done is closed.
type shared[V any] struct {
	askers int // under Sharer.mu
	done   chan struct{}
	value  V
	err    error
}

// NewSharer makes a Sharer of a read that ends by itself in bounded time. At most so
// many keys wait.
func NewSharer[K comparable, V any](keys int, read func(context.Context, K) (V, error)) *Sharer[K, V] {
	return &Sharer[K, V]{read: read, keys: keys, turn: make(chan struct{}, 1), waiting: map[K]*shared[V]{}}
}

// Do gives what a read that begins after the call comes to. It returns
// ErrOverloaded when too many keys wait, and the context's cause when that ends
// first.
func (s *Sharer[K, V]) Do(ctx context.Context, key K) (V, error) {
	one, err := s.join(ctx, key)
	if err != nil {
		var none V
		return none, err
	}
	select {
	case <-one.done:
		return one.value, one.err
	case <-ctx.Done():
		s.leave(one)
		var none V
		return none, context.Cause(ctx)
	}
}

// join finds or makes the read of a key that has not begun.
func (s *Sharer[K, V]) join(ctx context.Context, key K) (*shared[V], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one := s.waiting[key]; one != nil {
		one.askers++
		return one, nil
	}
	if len(s.waiting) >= s.keys {
		return nil, ErrOverloaded
	}
	one := &shared[V]{askers: 1, done: make(chan struct{})}
	s.waiting[key] = one
	// A read that has begun goes on when its askers are gone: ended here, it would
	// still run where it runs, beside the next.
	go s.run(context.WithoutCancel(ctx), key, one)
	return one, nil
}

func (s *Sharer[K, V]) leave(one *shared[V]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one.askers--
}

func (s *Sharer[K, V]) run(ctx context.Context, key K, one *shared[V]) {
	defer close(one.done)
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	if s.begin(key, one) {
		one.value, one.err = s.read(ctx, key)
	}
}

// begin closes the read to others, and says whether anybody still waits for it.
func (s *Sharer[K, V]) begin(key K, one *shared[V]) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.waiting, key)
	return one.askers > 0
}
