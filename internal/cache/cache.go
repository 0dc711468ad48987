// Package cache keeps products in front of MySQL: decoded ones in the process,
// and what the processes share in Redis, which tells each of them when another
// has written. Redis can stop, stall or forget everything at any time: reads then
// come from MySQL, one at a time for each product, and nothing waits for it
// longer than 50 ms.
package cache

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/flashsale-api/flashsale/internal/sale"
)

const (
	// localLife is how long a process serves a product without asking again. It
	// bounds how stale a read can be while Redis cannot tell of changes.
	localLife = time.Second
	// redisLife is the same for an entry in Redis, so that a crash between a
	// commit and its write to Redis heals.
	redisLife = 2 * time.Second
	// defaultLimit bounds what a request waits for Redis.
	defaultLimit = 50 * time.Millisecond
	// loadLimit bounds a load, whoever still waits for it.
	loadLimit = 3 * time.Second
	// fillLimit is how old a load may be to go to Redis. It is shorter than
	// redisLife, so that a write of a newer version since then is still there and
	// wins.
	fillLimit = redisLife / 2
	// maxProducts bounds the products that a process keeps, and the failed writes
	// that wait for another try.
	maxProducts = 10_000
)

// Results of reads, as the Meter hears of them.
const (
	ReadLocal = "local" // from this process
	ReadRedis = "redis"
	ReadLoad  = "load" // from MySQL, for one reader or many
)

// Operations that fail, as the Meter hears of them.
const (
	OpConnect = "connect"
	OpGet     = "get"
	OpPut     = "put"
	OpQueue   = "queue" // too many failed writes wait for another try
)

// States of a cache.
const (
	StateOK          = "ok"
	StateUnreachable = "unreachable"
	StateOff         = "off" // no Redis is configured
)

// Meter counts what the cache does, for operators.
type Meter interface {
	CacheRead(result string)
	CacheFailed(op string)
	RedisUp(up bool)
}

// Config says where Redis is and whom to tell. Log and Meter are required.
type Config struct {
	RedisURL string // redis:// or rediss://, "" for a cache in this process alone
	Prefix   string // of every key
	// Limit is how long a request waits for Redis; 0: 50 ms.
	Limit time.Duration
	Log   *slog.Logger
	Meter Meter
}

// Cache is the product cache of one process. It is safe for concurrent use. The
// products that it gives out share memory: their pointers must not be written to.
type Cache struct {
	local   *local
	remote  *remote // nil without Redis
	meter   Meter
	flights sync.WaitGroup
}

// Load reads a product from the database.
type Load = func(context.Context) (sale.Product, error)

// Open starts a cache. Redis need not run yet: it is reached in the background,
// for as long as it takes, until Close. The error is for a URL that cannot be read.
func Open(ctx context.Context, cfg Config) (*Cache, error) {
	c := &Cache{local: newLocal(), meter: cfg.Meter}
	if cfg.RedisURL == "" {
		return c, nil
	}
	remote, err := openRemote(context.WithoutCancel(ctx), cfg, c.local)
	if err != nil {
		return nil, err
	}
	c.remote = remote
	return c, nil
}

// Close ends what runs in the background. It comes after the last Get and Put.
func (c *Cache) Close() {
	c.flights.Wait()
	if c.remote != nil {
		c.remote.close()
	}
}

// State says how Redis is: StateOK, StateUnreachable or StateOff.
func (c *Cache) State() string {
	switch {
	case c.remote == nil:
		return StateOff
	case c.remote.up():
		return StateOK
	default:
		return StateUnreachable
	}
}

// Get answers from the cache, or from load, which it runs once for all who wait
// for the same product. The bool says whether the cache had it. The error is
// load's, or ctx's when that ends first. After a Put, no Get of this process gives
// an older version. A load goes on without the caller that began it, at most 3 s.
func (c *Cache) Get(ctx context.Context, id sale.ProductID, load Load) (sale.Product, bool, error) {
	now := time.Now()
	if product, ok := c.local.get(id, now); ok {
		c.meter.CacheRead(ReadLocal)
		return product, true, nil
	}
	flight, leads := c.local.join(id, now)
	if leads {
		c.flights.Go(func() { c.fly(context.WithoutCancel(ctx), flight, load) })
	}
	select {
	case <-flight.done:
	case <-ctx.Done():
		return sale.Product{}, false, fmt.Errorf("waiting for a product: %w", ctx.Err())
	}
	if flight.err != nil {
		return sale.Product{}, false, flight.err
	}
	c.meter.CacheRead(flight.result)
	return flight.product, flight.result != ReadLoad, nil
}

// Newest gives the newest state of a product that this process has seen, which may be old.
// It asks nobody.
func (c *Cache) Newest(id sale.ProductID) (sale.Product, bool) { return c.local.newest(id) }

// Put makes committed states visible to this process at once and to the others
// as soon as Redis tells them. An older version never replaces a newer one. It
// waits at most 50 ms for Redis for every 100 products; what fails is tried again
// in the background.
func (c *Cache) Put(ctx context.Context, products ...sale.Product) {
	until := time.Now().Add(localLife)
	for i := range products {
		c.local.put(&products[i], until)
	}
	if c.remote != nil {
		c.remote.put(context.WithoutCancel(ctx), products)
	}
}

// fly finds a product for all who wait for it: in Redis, else by load, which
// then goes to Redis.
func (c *Cache) fly(ctx context.Context, flight *flight, load Load) {
	if c.fetch(ctx, flight) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, loadLimit)
	defer cancel()
	product, err := guarded(ctx, load)
	c.local.land(flight, ReadLoad, product, flight.began.Add(localLife), err)
	if err == nil && c.remote != nil && time.Since(flight.began) < fillLimit {
		c.remote.fill(ctx, product)
	}
}

// fetch lands the flight with what Redis has, unless that is older than what
// this process has seen.
func (c *Cache) fetch(ctx context.Context, flight *flight) bool {
	if c.remote == nil {
		return false
	}
	product, life, found := c.remote.get(ctx, flight.id)
	if !found || product.Version < flight.floor {
		return false
	}
	c.local.land(flight, ReadRedis, product, flight.began.Add(min(life, localLife)), nil)
	return true
}

// guarded turns a panic of load into an error: it runs outside of any request,
// where nobody would catch it.
func guarded(ctx context.Context, load Load) (product sale.Product, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("loading a product panicked: %v\n%s", cause, debug.Stack())
		}
	}()
	return load(ctx)
}
