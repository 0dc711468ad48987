package action_test

import (
	"database/sql"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/action"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// Orders at once, among them whatever is no order: each gets its own answer.
func TestOrdersAtOnceEachGetTheirOwnAnswer(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		const good = 40
		low, high := s.twoProducts(500, 500)
		free := s.product(10, priced(0, "USD"))
		asked := make([]action.CreateOrderInput, 0, good+6)
		for i := range good {
			hold := s.hold("ann", line(high, 1), line(low, 2))
			asked = append(asked, action.CreateOrderInput{Key: fmt.Sprint("key ", i), HoldID: hold.ID})
		}
		expired, released, twice := s.hold("bob", line(low, 1)), s.hold("bob", line(low, 1)), s.hold("bob", line(low, 1))
		s.exec("UPDATE hold_lines SET due_at = NOW(6), expires_at = NOW(6) WHERE id = ?", expired.ID)
		_, err := s.ReleaseHold.Do(s.ctx(), action.ReleaseHoldInput{HoldID: released.ID})
		require.NoError(t, err)
		gratis := s.hold("cid", line(free, 1))
		for _, id := range []sale.HoldID{expired.ID, released.ID, twice.ID, twice.ID, sale.NewHoldID(low.ID), gratis.ID} {
			asked = append(asked, action.CreateOrderInput{HoldID: id})
		}
		codes := newTally(t)
		crowd(len(asked), func(i int) {
			result, err := s.CreateOrder.Do(s.ctx(), asked[i])
			codes.add(err)
			if err == nil {
				assert.Equal(t, sale.OrderOf(asked[i].HoldID), result.Value.ID)
			}
		})
		assert.Equal(t, map[sale.Code]int{
			"": good + 2, sale.CodeHoldExpired: 1, sale.CodeHoldNotActive: 1, sale.CodeHoldOrdered: 1, sale.CodeHoldNotFound: 1,
		}, codes.codes)
		assert.Equal(t, int64(good+2), s.count("SELECT COUNT(*) FROM outbox WHERE type = 'order.created'"))
		for _, in := range asked[:good] {
			again, err := s.CreateOrder.Do(s.ctx(), in)
			require.NoError(t, err)
			require.True(t, again.Replayed)
			read, err := s.GetOrder.Do(s.ctx(), again.Value.ID)
			require.NoError(t, err)
			require.Equal(t, again.Value, read)
		}
	})
}

// Payments at once, among them whatever does not simply pay.
func TestPaymentsAtOnceEachHaveTheirOwnOutcome(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		const good = 40
		low, high := s.twoProducts(500, 500)
		ordered := func() action.OrderView { return s.ordered("ann", line(high, 1), line(low, 2)) }
		var events []sale.PaymentEvent
		for i := range good {
			events = append(events, said(sale.PaymentSucceeded, ordered(), fmt.Sprint("event ", i), fmt.Sprint("payment ", i)))
		}
		cheap := said(sale.PaymentSucceeded, ordered(), "cheap", "cheap")
		cheap.Amount.Amount--
		failed := ordered()
		s.tell(said(sale.PaymentFailed, failed, "failed", "failed"))
		stranger := said(sale.PaymentSucceeded, ordered(), "stranger", "stranger")
		stranger.OrderID = sale.OrderOf(sale.NewHoldID(low.ID))
		twice, early := ordered(), ordered()
		s.tell(said(sale.PaymentRefunded, early, "refund", "early"))
		events = append(events, cheap, stranger, events[0], said(sale.PaymentSucceeded, early, "success", "early"),
			said(sale.PaymentSucceeded, failed, "late", "late"),
			said(sale.PaymentSucceeded, twice, "first", "first"), said(sale.PaymentSucceeded, twice, "second", "second"))
		codes := newTally(t)
		outcomes := newTally(t)
		crowd(len(events), func(i int) {
			result, err := s.ProcessPayment.Do(s.ctx(), events[i])
			codes.add(err)
			if err == nil {
				outcomes.add(sale.Fail(sale.Code(result.Outcome), ""))
			}
		})
		assert.Equal(t, map[sale.Code]int{"": good + 6, sale.CodeOrderNotFound: 1}, codes.codes)
		assert.Equal(t, map[sale.Code]int{
			sale.Code(sale.OutcomePaid): good + 1, sale.Code(sale.OutcomeMismatch): 1, sale.Code(sale.OutcomeDuplicate): 1,
			sale.Code(sale.OutcomeIgnored):  1,
			sale.Code(sale.OutcomeRebooked): 1, sale.Code(sale.OutcomeRefundDueExtra): 1,
		}, outcomes.codes)
		assert.Equal(t, int64(good+2), s.count("SELECT COUNT(*) FROM outbox WHERE type = 'order.paid'"))
		for _, event := range events[:good] {
			order, err := s.GetOrder.Do(s.ctx(), event.OrderID)
			require.NoError(t, err)
			require.Equal(t, sale.OrderPaid, order.Status)
			require.Equal(t, event.PaymentID, order.PaymentID)
			require.Equal(t, event.Provider, order.Provider)
		}
	})
}

// stuck runs a request that waits for a row in a statement, and others that do not: first
// beside it, then at once with it. The others end while it waits.
func (s *shop) stuck(lock func() *sql.Tx, statement string, n int, request func(), others func(round, i int)) {
	s.t.Helper()
	for round := range 2 {
		holder := lock()
		var waiting, running sync.WaitGroup
		waiting.Go(request)
		if round == 0 {
			s.awaitStatement(statement)
		}
		for i := range n {
			running.Go(func() { others(round, i) })
		}
		running.Wait()
		if round == 1 {
			s.awaitStatement(statement)
		}
		require.NoError(s.t, holder.Rollback())
		waiting.Wait()
	}
}

// A process that hangs with a hold's lines keeps up that hold's order, and no others.
func TestOrderThatWaitsForItsLinesKeepsUpNoOthers(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		p := s.product(100)
		const n = 8
		var late action.HoldView
		var holds [2][n]sale.HoldID
		for round := range holds {
			for i := range holds[round] {
				holds[round][i] = s.hold("ann", line(p, 1)).ID
			}
		}
		s.stuck(func() *sql.Tx {
			late = s.hold("bob", line(p, 1))
			return s.lockedLines(late.ID)
		}, "-- name: LockHold ", n, func() {
			_, err := s.CreateOrder.Do(s.ctx(), action.CreateOrderInput{HoldID: late.ID})
			assert.NoError(t, err)
		}, func(round, i int) {
			_, err := s.CreateOrder.Do(s.ctx(), action.CreateOrderInput{HoldID: holds[round][i]})
			assert.NoError(t, err)
		})
		s.requireUnits(p, 100-2*n-2, 0, 2*n+2, 0)
	})
}

func TestPaymentThatWaitsForItsRowsKeepsUpNoOthers(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		const n = 8
		pay := func(order action.OrderView) {
			name := order.ID.String()
			result, err := s.ProcessPayment.Do(s.ctx(), said(sale.PaymentSucceeded, order, name, name))
			assert.Equal(t, sale.OutcomePaid, result.Outcome)
			assert.NoError(t, err)
		}
		for statement, query := range map[string]string{
			"-- name: LockOrder ": "SELECT 1 FROM orders WHERE id = ? FOR UPDATE",
			"-- name: SellLines ": "SELECT 1 FROM hold_lines WHERE id = ? FOR UPDATE",
		} {
			p := s.product(100)
			var late action.OrderView
			var orders [2][n]action.OrderView
			for round := range orders {
				for i := range orders[round] {
					orders[round][i] = s.ordered("ann", line(p, 1))
				}
			}
			s.stuck(func() *sql.Tx {
				late = s.ordered("bob", line(p, 1))
				return s.locked(query, late.ID)
			}, statement, n, func() { pay(late) }, func(round, i int) { pay(orders[round][i]) })
			s.requireUnits(p, 100-2*n-2, 0, 0, 2*n+2)
		}
	})
}

// A batch that finds some of a hold's lines locked makes no order of the others.
func TestOrderOfAHoldWithALockedLineIsWhole(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		low, high := s.twoProducts(10, 10)
		for position := range 2 {
			hold := s.hold("ann", line(low, 1), line(high, 1))
			holder := s.locked("SELECT 1 FROM hold_lines WHERE id = ? AND position = ? FOR UPDATE", hold.ID, position)
			var running sync.WaitGroup
			running.Go(func() {
				made, err := s.CreateOrder.Do(s.ctx(), action.CreateOrderInput{HoldID: hold.ID})
				assert.Len(t, made.Value.Lines, 2)
				assert.NoError(t, err)
			})
			s.awaitStatement("-- name: LockHold ")
			require.NoError(t, holder.Rollback())
			running.Wait()
		}
		s.requireUnits(low, 8, 0, 2, 0)
		s.requireUnits(high, 8, 0, 2, 0)
	})
}
