package action_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/action"
	"github.com/flashsale-api/flashsale/internal/lane"
	"github.com/flashsale-api/flashsale/internal/mysql"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// gated is a meter that lets a test wait for those who wait at gates.
type gated struct {
	action.Meter
	queue *queue
}

func (g gated) Gate(string) lane.QueueMeter { return g.queue }

// setupGated opens a merging shop whose gates a test watches.
func setupGated(t *testing.T) (*shop, *queue) {
	t.Helper()
	gates := newQueue()
	return setup(t, func(kit *action.Kit) { kit.Coalesce, kit.Meter = true, gated{kit.Meter, gates} }), gates
}

// atWork counts the statements of a kind that this test's database runs.
func (s *shop) atWork(statement string) int64 {
	s.t.Helper()
	return s.count("SELECT COUNT(*) FROM performance_schema.processlist WHERE db = DATABASE() AND info LIKE ?", statement+" %")
}

// A process that hangs with many rows must not get this one's connections, too.
func TestFewOfThoseWhoWaitForLockedRowsHaveAConnection(t *testing.T) {
	const crowd, most = 30, 8
	for name, test := range map[string]struct{ table, statement string }{
		"orders":   {"hold_lines", "-- name: LockHold"},
		"payments": {"orders", "-- name: LockOrder"},
	} {
		t.Run(name, func(t *testing.T) {
			s, gates := setupGated(t)
			p := s.product(crowd)
			asks := make([]func() error, crowd)
			for i := range asks {
				hold := s.hold("ann", line(p, 1))
				asks[i] = func() error {
					_, err := s.CreateOrder.Do(s.ctx(), action.CreateOrderInput{HoldID: hold.ID})
					return err
				}
				if name == "payments" {
					order := s.order(hold)
					asks[i] = func() error {
						_, err := s.ProcessPayment.Do(s.ctx(), said(sale.PaymentSucceeded, order, fmt.Sprint(i), fmt.Sprint(i)))
						return err
					}
				}
			}
			holder := s.locked("SELECT 1 FROM " + test.table + " FOR UPDATE")
			var running sync.WaitGroup
			for _, ask := range asks {
				running.Go(func() { assert.NoError(t, ask()) })
			}
			gates.await(t, func() bool { return gates.waiting == crowd-most })
			assert.LessOrEqual(t, s.atWork(test.statement), int64(most))
			require.NoError(t, holder.Rollback())
			running.Wait()
		})
	}
}

// However many ask for a hold that is stuck, replays of others go on.
func TestThoseWhoWaitForOneHoldTakeOnePlace(t *testing.T) {
	s, gates := setupGated(t)
	p := s.product(10)
	other := action.CreateOrderInput{Key: "other", HoldID: s.hold("bob", line(p, 1)).ID}
	_, err := s.CreateOrder.Do(s.ctx(), other)
	require.NoError(t, err)
	stuck := s.hold("ann", line(p, 1))
	holder := s.lockedLines(stuck.ID)
	const crowd = 12
	codes := newTally(t)
	var running sync.WaitGroup
	for i := range crowd {
		running.Go(func() {
			_, err := s.CreateOrder.Do(s.ctx(), action.CreateOrderInput{Key: fmt.Sprint("key ", i), HoldID: stuck.ID})
			codes.add(err)
		})
	}
	gates.await(t, func() bool { return gates.waiting == crowd-1 })
	again, err := s.CreateOrder.Do(s.ctx(), other)
	require.NoError(t, err)
	assert.True(t, again.Replayed)
	require.NoError(t, holder.Rollback())
	running.Wait()
	assert.Equal(t, map[sale.Code]int{"": 1, sale.CodeHoldOrdered: crowd - 1}, codes.codes)
}

// Full tables and disks are known by the writes that did not fit; what writes nothing is no proof
// of room.
func TestABatchOfRefusalsSaysNothingOfRoomOnTheDisk(t *testing.T) {
	s, _ := setupGated(t)
	p := s.product(1)
	s.exec("CREATE TABLE small (x CHAR(200)) ENGINE = MEMORY MAX_ROWS = 100")
	requireCode(t, s.db.Tx(s.ctx(), nil, func(ctx context.Context, tx *mysql.Tx) error {
		for {
			if _, err := tx.ExecContext(ctx, "INSERT INTO small SELECT * FROM small UNION ALL SELECT REPEAT('x', 200)"); err != nil {
				return err
			}
		}
	}), sale.CodeUnavailable)
	require.Eventually(t, func() bool { // this one looks
		_, err := s.CreateOrder.Do(s.ctx(), action.CreateOrderInput{HoldID: sale.NewHoldID(p.ID)})
		return errors.Is(err, &sale.Error{Code: sale.CodeHoldNotFound})
	}, patience, 10*time.Millisecond)
	entered, goOn, ended := make(chan struct{}), make(chan struct{}), make(chan error)
	go func() { // and then this one
		ended <- s.db.Tx(s.ctx(), nil, func(context.Context, *mysql.Tx) error {
			close(entered)
			<-goOn
			return nil
		})
	}()
	<-entered
	requireCode(t, s.db.Tx(s.ctx(), nil, func(context.Context, *mysql.Tx) error { return nil }), sale.CodeUnavailable)
	close(goOn)
	require.NoError(t, <-ended)
}
