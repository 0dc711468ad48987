// Package live tells crowds how a product's stock changes. While somebody listens
// to a product, one goroutine of the process looks at it ten times a second, and
// what it finds goes to all listeners as the same bytes. Each listener takes the
// latest state when it can: who is slow misses states in between, and holds up
// nobody.
package live

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/flashsale-api/flashsale/internal/sale"
)

const (
	// pollGap is the least time between two looks at a product, so its listeners
	// get at most ten states a second.
	pollGap = 100 * time.Millisecond
	// failureGap is the same after a look that failed: what does not answer is
	// not asked ten times a second for each product.
	failureGap = time.Second
	// maxLag is by how much Read may be behind what another process has told of: as long
	// as an entry of the cache lives, with the time in which it was loaded. What is older
	// for longer is the truth, of a database that was restored for example.
	maxLag = 3 * time.Second
	// maxListeners bounds the listeners of a process: each costs it a connection,
	// two goroutines and some 20 kilobytes.
	maxListeners = 20_000
)

// Why Next gives no event.
var (
	// ErrQuiet says that nothing changed for as long as the listener waits.
	ErrQuiet = errors.New("nothing has changed")
	// ErrEnded says that nothing will come: the product is gone, or the hub closed.
	ErrEnded = errors.New("there is nothing to listen to any more")
)

// errFirst says that nobody listens to the product yet.
var errFirst = errors.New("the first listener brings the first event")

// Meter counts what happens here, for operators.
type Meter interface {
	// ListenersChanged notes that more or fewer listen.
	ListenersChanged(by int)
	// EventTaken counts an event that a listener was given.
	EventTaken()
}

// Config is what a Hub works with. All of it is required.
type Config struct {
	// Read gives a product, ten times a second for each that somebody listens to:
	// it should cost next to nothing.
	Read func(ctx context.Context, id sale.ProductID) (sale.Product, error)
	// Encode gives the bytes of a state, once for all listeners.
	Encode func(sale.Product) ([]byte, error)
	Log    *slog.Logger
	Meter  Meter
}

// Hub is the listeners of one process and what they listen to. It is safe for
// concurrent use.
type Hub struct {
	cfg   Config
	open  context.Context // ends when the hub closes
	close context.CancelFunc
	looks sync.WaitGroup

	mu        sync.Mutex
	topics    map[sale.ProductID]*topic // those with listeners alone
	listeners int
}

// topic is a product that somebody listens to.
type topic struct {
	id        sale.ProductID
	latest    atomic.Pointer[state]
	open      context.Context // ends with the topic
	close     context.CancelFunc
	listeners int // under the hub's lock

	behind time.Time // since when all looks found an older state; zero: the last did not
}

// Event is one state of a product. Its bytes are shared: nobody may write to them.
type Event struct {
	Version int64
	Bytes   []byte
}

// state is the latest event of a topic until changed closes.
type state struct {
	Event
	changed chan struct{}
}

// New makes a Hub without listeners, which costs nothing.
func New(cfg Config) *Hub {
	h := &Hub{cfg: cfg, topics: map[sale.ProductID]*topic{}}
	h.open, h.close = context.WithCancel(context.Background())
	return h
}

// Close ends all listening at once, and waits for what runs in the background.
func (h *Hub) Close() {
	h.mu.Lock()
	h.close()
	h.mu.Unlock()
	h.looks.Wait()
}

// Listen begins to listen to a product; the listener has to Leave. Who is the
// first to listen waits for Read and gets its error, CodeProductNotFound for
// example. CodeOverloaded says that the process has as many listeners as it takes,
// CodeUnavailable that the hub is closed. seen is the version that the listener
// says to know already, 0 for none: no older one is told before it has lasted.
func (h *Hub) Listen(ctx context.Context, id sale.ProductID, seen int64) (*Listener, error) {
	if listener, err := h.enter(id, seen, nil); !errors.Is(err, errFirst) {
		return listener, err
	}
	product, err := h.cfg.Read(ctx, id)
	if err != nil {
		return nil, err
	}
	first, err := h.event(product)
	if err != nil {
		return nil, err
	}
	return h.enter(id, seen, &first)
}

// enter adds a listener. The first one of a product has to bring its first event.
func (h *Hub) enter(id sale.ProductID, seen int64, first *Event) (*Listener, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.open.Err() != nil:
		return nil, sale.Fail(sale.CodeUnavailable, "The server is shutting down.")
	case h.listeners >= maxListeners:
		return nil, sale.Fail(sale.CodeOverloaded, "The server has as many listeners as it takes.")
	}
	t := h.topics[id]
	if t == nil {
		if first == nil {
			return nil, errFirst
		}
		t = h.begin(id, *first)
	}
	t.listeners++
	h.listeners++
	h.cfg.Meter.ListenersChanged(1)
	return &Listener{hub: h, topic: t, seen: seen, trusts: time.Now().Add(maxLag)}, nil
}

// begin lets a topic live until its end. The caller holds the lock.
func (h *Hub) begin(id sale.ProductID, first Event) *topic {
	t := &topic{id: id}
	t.latest.Store(&state{Event: first, changed: make(chan struct{})})
	t.open, t.close = context.WithCancel(h.open)
	h.topics[id] = t
	h.looks.Go(func() { h.watch(t) })
	return t
}

// end ends a topic and all listening to it. The caller holds the lock.
func (h *Hub) end(t *topic) {
	t.close()
	if h.topics[t.id] == t {
		delete(h.topics, t.id)
	}
}

func (h *Hub) leave(t *topic) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t.listeners--
	h.listeners--
	h.cfg.Meter.ListenersChanged(-1)
	if t.listeners == 0 {
		h.end(t)
	}
}

func (h *Hub) event(product sale.Product) (Event, error) {
	bytes, err := h.cfg.Encode(product)
	if err != nil {
		return Event{}, fmt.Errorf("encoding the stock of %s: %w", product.ID, err)
	}
	return Event{Version: product.Version, Bytes: bytes}, nil
}
