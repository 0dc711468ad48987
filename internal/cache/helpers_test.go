package cache

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/flashsale-api/flashsale/internal/sale"
)

const (
	// patience bounds what tests wait for; nothing takes that long.
	patience = 30 * time.Second
	pollGap  = 5 * time.Millisecond
	// unhurried is how long a test waits for a Redis that is well.
	unhurried = 5 * time.Second
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// counts is a Meter that remembers.
type counts struct {
	mu     sync.Mutex
	reads  map[string]int
	failed map[string]int
}

func newCounts() *counts { return &counts{reads: map[string]int{}, failed: map[string]int{}} }

func (c *counts) CacheRead(result string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reads[result]++
}

func (c *counts) CacheFailed(op string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failed[op]++
}

func (c *counts) RedisUp(bool) {}

// of is how many reads came to a result.
func (c *counts) of(result string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reads[result]
}

func (c *counts) failures(ops ...string) (sum int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, op := range ops {
		sum += c.failed[op]
	}
	return sum
}

// open opens a cache as one process would. It is closed at the test's end.
func open(tb testing.TB, url, prefix string) (*Cache, *counts) {
	tb.Helper()
	return openWithin(tb, unhurried, url, prefix)
}

// openWithin is open with a limit for Redis, 0: as shipped.
func openWithin(tb testing.TB, limit time.Duration, url, prefix string) (*Cache, *counts) {
	tb.Helper()
	meter := newCounts()
	c, err := Open(tb.Context(), Config{RedisURL: url, Prefix: prefix, Limit: limit, Log: slog.New(slog.DiscardHandler), Meter: meter})
	require.NoError(tb, err)
	tb.Cleanup(c.Close)
	return c, meter
}

// connected is open, and waits until Redis is reached.
func connected(tb testing.TB, url, prefix string) (*Cache, *counts) {
	tb.Helper()
	c, meter := open(tb, url, prefix)
	awaitState(tb, c, StateOK)
	return c, meter
}

func awaitState(tb testing.TB, c *Cache, state string) {
	tb.Helper()
	require.Eventually(tb, func() bool { return c.State() == state }, patience, pollGap)
}

// truth stands for the database: the newest committed product, and how often it
// was read.
type truth struct {
	mu      sync.Mutex
	product sale.Product
	loads   atomic.Int64
}

func newTruth() *truth { return &truth{product: example(sale.NewProductID(), 1)} }

func (s *truth) load(context.Context) (sale.Product, error) {
	s.loads.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.product, nil
}

// commit takes a unit and gives the new state.
func (s *truth) commit() sale.Product {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.product.AvailableStock--
	s.product.StockVersion++
	s.product.Version++
	return s.product
}

func (s *truth) id() sale.ProductID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.product.ID
}

func example(id sale.ProductID, version int64) sale.Product {
	now := time.Now().UTC().Truncate(time.Microsecond)
	return sale.Product{
		ID:   id,
		SKU:  "GPU-1",
		Name: "A very fast card",
		Rules: sale.Rules{
			Price:         sale.Money{Amount: 59900, Currency: "EUR"},
			HoldTTL:       2 * time.Minute,
			PaymentWindow: 10 * time.Minute,
		},
		TotalStock:     1_000_000,
		AvailableStock: 1_000_000 - version,
		StockVersion:   version,
		Version:        version,
		CreatedAt:      now,
		UpdatedAt:      now,
	}
}

var errNotLoaded = errors.New("not loaded")

func noLoad(context.Context) (sale.Product, error) { return sale.Product{}, errNotLoaded }

// version is that of the product as c gives it now.
func version(tb testing.TB, c *Cache, truth *truth) int64 {
	tb.Helper()
	product, _, err := c.Get(tb.Context(), truth.id(), truth.load)
	require.NoError(tb, err)
	return product.Version
}

// freshAt says whether c would have served the product at that time without
// asking: with a time before its last write, only word from Redis makes it false.
func freshAt(c *Cache, id sale.ProductID, now time.Time) bool {
	_, fresh := c.local.get(id, now)
	return fresh
}
