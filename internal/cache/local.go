package cache

import (
	"sync"
	"time"

	"github.com/flashsale-api/flashsale/internal/sale"
)

const (
	shards = 32 // a power of two
	// shardLimit is a shard's part of maxProducts.
	shardLimit = maxProducts / shards
	// evictionSample is how many products of a full shard are looked at to find
	// one to drop.
	evictionSample = 8
)

// local is what this process knows. Each product has a record, which outlives
// its freshness: its version says what is too old to be served again.
type local struct {
	shards [shards]shard
}

type shard struct {
	mu      sync.RWMutex
	records map[sale.ProductID]*record
}

// record is one product. Its fields are under the shard's lock.
type record struct {
	product sale.Product
	known   bool      // product was seen
	until   time.Time // fresh before then; zero: ask again
	flight  *flight   // whom readers join; nil: none they may join
}

// flight is one search for a product. What it found is read after done closed.
type flight struct {
	id    sale.ProductID
	began time.Time
	floor int64 // the newest version seen when it began
	done  chan struct{}

	product sale.Product
	result  string
	err     error
}

func newLocal() *local {
	l := &local{}
	for i := range l.shards {
		l.shards[i].records = map[sale.ProductID]*record{}
	}
	return l
}

// shard goes by the last byte, which is random.
func (l *local) shard(id sale.ProductID) *shard { return &l.shards[id[len(id)-1]%shards] }

func (l *local) get(id sale.ProductID, now time.Time) (sale.Product, bool) {
	s := l.shard(id)
	s.mu.RLock()
	defer s.mu.RUnlock()
	if r := s.records[id]; r != nil && now.Before(r.until) {
		return r.product, true
	}
	return sale.Product{}, false
}

// newest gives what was seen last, fresh or not.
func (l *local) newest(id sale.ProductID) (sale.Product, bool) {
	s := l.shard(id)
	s.mu.RLock()
	defer s.mu.RUnlock()
	if r := s.records[id]; r != nil {
		return r.product, r.known
	}
	return sale.Product{}, false
}

// join gives the flight that readers who come now may wait for. It is a new one,
// which the caller has to fly, when there is none or the last began longer ago
// than an entry may live.
func (l *local) join(id sale.ProductID, now time.Time) (_ *flight, leads bool) {
	s := l.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.record(id)
	if now.Before(r.until) { // a Put or a landing came in between
		landed := &flight{id: id, product: r.product, result: ReadLocal, done: make(chan struct{})}
		close(landed.done)
		return landed, false
	}
	if r.flight != nil && now.Sub(r.flight.began) < localLife {
		return r.flight, false
	}
	r.flight = &flight{id: id, began: now, done: make(chan struct{})}
	if r.known {
		r.flight.floor = r.product.Version
	}
	return r.flight, true
}

// land ends a flight. What it found is kept unless, since it began, a newer
// version was put or another process changed the product: readers who come now
// do not take part in this flight any more.
func (l *local) land(f *flight, result string, product sale.Product, until time.Time, err error) {
	f.product, f.result, f.err = product, result, err
	s := l.shard(f.id)
	s.mu.Lock()
	defer s.mu.Unlock()
	defer close(f.done)
	r := s.records[f.id]
	if r == nil || r.flight != f {
		return
	}
	r.flight = nil
	switch {
	case err == nil:
		r.product, r.known, r.until = product, true, until
	case !r.known:
		delete(s.records, f.id)
	}
}

// put keeps a committed state, fresh until then, unless a newer one is known.
// Nobody joins a flight that began before.
func (l *local) put(product *sale.Product, until time.Time) {
	s := l.shard(product.ID)
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.record(product.ID)
	if r.known && r.product.Version > product.Version {
		return
	}
	*r = record{product: *product, known: true, until: until}
}

// outdated says that another process has committed a newer version.
func (l *local) outdated(id sale.ProductID, version int64) {
	s := l.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.records[id]; r != nil && (!r.known || r.product.Version < version) {
		r.until, r.flight = time.Time{}, nil
	}
}

// changed says that another process wrote the product.
func (l *local) changed(id sale.ProductID) {
	s := l.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.records[id]; r != nil {
		r.until, r.flight = time.Time{}, nil
	}
}

// allChanged says that any product may have changed.
func (l *local) allChanged() {
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		for _, r := range s.records {
			r.until, r.flight = time.Time{}, nil
		}
		s.mu.Unlock()
	}
}

// record gives a product's record, for which it makes room in a full shard. The
// caller holds the lock.
func (s *shard) record(id sale.ProductID) *record {
	r := s.records[id]
	if r == nil {
		if len(s.records) >= shardLimit {
			s.evict()
		}
		r = &record{}
		s.records[id] = r
	}
	return r
}

// evict drops the least fresh of some records that nobody waits for.
func (s *shard) evict() {
	var victim sale.ProductID
	var until time.Time
	seen := 0
	for id, r := range s.records { // in random order
		if r.flight != nil {
			continue
		}
		if seen == 0 || r.until.Before(until) {
			victim, until = id, r.until
		}
		if seen++; seen == evictionSample {
			break
		}
	}
	if seen > 0 {
		delete(s.records, victim)
	}
}
