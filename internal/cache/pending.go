package cache

import (
	"sync"
	"time"

	"github.com/flashsale-api/flashsale/internal/sale"
)

// retryFor is how long a failed write is tried again. Redis' own entries end long
// before; later than that, the fault is not the connection's.
const retryFor = time.Minute

// pending is the writes that failed, the newest version of each product. Its zero
// value is ready.
type pending struct {
	mu     sync.Mutex
	writes map[sale.ProductID]pendingWrite
}

type pendingWrite struct {
	product sale.Product
	since   time.Time
}

// add keeps writes for another try and says how many there was no room for.
func (p *pending) add(writes ...pendingWrite) (dropped int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.writes == nil {
		p.writes = map[sale.ProductID]pendingWrite{}
	}
	for _, write := range writes {
		id := write.product.ID
		kept, found := p.writes[id]
		switch {
		case found && kept.product.Version >= write.product.Version:
		case !found && len(p.writes) >= maxProducts:
			dropped++
		default:
			p.writes[id] = write
		}
	}
	return dropped
}

// take removes up to n writes that are still worth a try.
func (p *pending) take(n int) []pendingWrite {
	p.mu.Lock()
	defer p.mu.Unlock()
	var taken []pendingWrite
	for id, write := range p.writes {
		if len(taken) == n {
			break
		}
		delete(p.writes, id)
		if time.Since(write.since) < retryFor {
			taken = append(taken, write)
		}
	}
	return taken
}
