package sdk

import "sync/atomic"

const (
	// tryCost is what a further try costs of the budget, to which each request adds one:
	// in the long run, one further try for five requests.
	tryCost = 5
	// maxSaved is the most that a client saves up, and what it begins with: a hundred
	// further tries, for the requests that a short outage meets.
	maxSaved = 100 * tryCost
)

// budget keeps further tries from adding more than a fifth to the load in the long run.
// Without it a service that is overloaded would get four times the load, for as long as
// that lasts.
type budget struct{ saved atomic.Int64 }

func newBudget() *budget {
	b := &budget{}
	b.saved.Store(maxSaved)
	return b
}

// earn adds what a request brings.
func (b *budget) earn() { b.change(1) }

// spend takes what a further try costs; false when there is not as much.
func (b *budget) spend() bool { return b.change(-tryCost) }

// change adds to what is saved, up to the most. It is false for more than there is, which
// stays as it was.
func (b *budget) change(by int64) bool {
	for {
		saved := b.saved.Load()
		if saved+by < 0 {
			return false
		}
		if b.saved.CompareAndSwap(saved, min(saved+by, maxSaved)) {
			return true
		}
	}
}
