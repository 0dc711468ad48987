package action_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/action"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// givers are what puts units of a product back on sale or takes them again, each
// prepared on a product of its own and done after.
var givers = map[string]func(s *shop, p sale.Product) (id sale.HoldID, give func() error){
	"release": func(s *shop, p sale.Product) (sale.HoldID, func() error) {
		hold := s.hold("ann", line(p, 1))
		return hold.ID, func() error {
			_, err := s.ReleaseHold.Do(s.ctx(), action.ReleaseHoldInput{HoldID: hold.ID})
			return err
		}
	},
	"failure": func(s *shop, p sale.Product) (sale.HoldID, func() error) {
		order := s.ordered("ann", line(p, 1))
		return order.HoldID(), func() error {
			_, err := s.ProcessPayment.Do(s.ctx(), said(sale.PaymentFailed, order, "failure", "failed"))
			return err
		}
	},
	"late payment": func(s *shop, p sale.Product) (sale.HoldID, func() error) {
		order := s.ordered("ann", line(p, 1))
		s.pass(order.HoldID())
		return order.HoldID(), func() error {
			_, err := s.ProcessPayment.Do(s.ctx(), said(sale.PaymentSucceeded, order, "success", "late"))
			return err
		}
	},
	"cancellation": func(s *shop, p sale.Product) (sale.HoldID, func() error) {
		order := s.ordered("ann", line(p, 1))
		return order.HoldID(), func() error {
			_, err := s.CancelOrder.Do(s.ctx(), action.CancelOrderInput{OrderID: order.ID})
			return err
		}
	},
	"refund": func(s *shop, p sale.Product) (sale.HoldID, func() error) {
		order := s.ordered("ann", line(p, 1))
		s.succeed(order, "own")
		return order.HoldID(), func() error {
			_, err := s.RefundOrder.Do(s.ctx(), action.RefundOrderInput{OrderID: order.ID, Restock: true})
			return err
		}
	},
	"sweep": func(s *shop, p sale.Product) (sale.HoldID, func() error) {
		hold := s.hold("ann", line(p, 1))
		s.pass(hold.ID)
		return hold.ID, func() error {
			_, err := s.ReleaseExpired.Do(s.ctx())
			return err
		}
	},
}

// The product's row comes before the lines: else those who have it and want lines,
// and those who have lines and want it, end each other by deadlock.
func TestWhoWaitsForAProductHasNoLineOfIt(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		for name, prepare := range givers {
			p := s.product(5)
			id, give := prepare(s, p)
			product := s.locked("SELECT 1 FROM products WHERE id = ? FOR UPDATE", p.ID)
			var giving sync.WaitGroup
			giving.Go(func() { assert.NoError(t, give(), name) })
			s.awaitStatement("-- name: LockProduct")
			_, err := product.ExecContext(t.Context(), "SELECT 1 FROM hold_lines WHERE id = ? FOR UPDATE NOWAIT", id)
			assert.NoError(t, err, name)
			require.NoError(t, product.Rollback())
			giving.Wait()
		}
	})
}

// One request that reaches two processes, of which one merges: they wait for each other.
func TestOneOrderAtTwoProcessesNeverDeadlocks(t *testing.T) {
	c := openCounted(t)
	p := c.product(1000)
	c.kit.Coalesce = false
	processes := []*action.Actions{c.Actions, c.branch()}
	for round := range 100 {
		in := action.CreateOrderInput{Key: fmt.Sprint("key ", round), HoldID: c.hold("ann", line(p, 1)).ID}
		crowd(len(processes), func(i int) {
			made, err := processes[i].CreateOrder.Do(c.ctx(), in)
			assert.Equal(t, sale.OrderOf(in.HoldID), made.Value.ID)
			assert.NoError(t, err)
		})
	}
	assert.Zero(t, c.deadlocks())
}

// deadlocks is how many this server has seen.
func (c *counted) deadlocks() int64 {
	c.t.Helper()
	return c.count("SELECT sum_error_raised FROM performance_schema.events_errors_summary_global_by_error WHERE error_number = 1213")
}

// The same requests reach two processes in opposite order, a batch of them at each.
func TestBatchesWithCommonKeysNeverDeadlock(t *testing.T) {
	for name, key := range map[string]func(p sale.Product) string{
		"hold ids": func(p sale.Product) string { return sale.NewHoldID(p.ID).String() },
		"texts":    func(sale.Product) string { return sale.NewEventID().String() },
	} {
		t.Run(name, func(t *testing.T) {
			c := openCounted(t)
			p := c.product(100_000)
			processes := []*action.Actions{c.Actions, c.branch()}
			const rounds, requests = 10, 64
			for range rounds {
				wishes := make([]action.CreateHoldInput, requests)
				for i := range wishes {
					wishes[i] = keyedWish(key(p), "ann", line(p, 1))
				}
				crowd(2*requests, func(i int) {
					wish := wishes[i/2]
					if i%2 == 1 {
						wish = wishes[requests-1-i/2]
					}
					_, err := processes[i%2].CreateHold.Do(c.ctx(), wish)
					assert.NoError(t, err)
				})
			}
			assert.Zero(t, c.deadlocks())
			c.requireUnits(p, 100_000-rounds*requests, rounds*requests, 0, 0)
		})
	}
}
