package action_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/action"
	"github.com/flashsale-api/flashsale/internal/sale"
	"github.com/flashsale-api/flashsale/internal/worker"
)

// oldEvents writes events that were fanned out long ago, with a delivery of each to each
// of so many endpoints.
func (s *shop) oldEvents(events, endpoints int64) {
	s.t.Helper()
	const numbers = `WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < ?) `
	s.exec(`INSERT INTO webhook_endpoints (id, url, types, secret, created_at) `+numbers+`
		SELECT LEFT(UNHEX(SHA2(CONCAT('endpoint', i), 256)), 16), 'https://example.com/', '[]', '', NOW(6) FROM n`, endpoints)
	s.exec(`INSERT INTO outbox (id, type, order_id, sequence, payload, created_at) `+numbers+`
		SELECT CONCAT(UNHEX('017000000000'), LEFT(UNHEX(SHA2(i, 256)), 10)), 'order.created', '0123456789012345', 1, '{}',
			NOW(6) - INTERVAL 11 DAY FROM n`, events)
	s.exec(`INSERT INTO deliveries (endpoint_id, event_id, state, delivered_at, next_attempt_at, created_at)
		SELECT webhook_endpoints.id, outbox.id, 'delivered', NOW(6), NOW(6), NOW(6) FROM webhook_endpoints, outbox`)
}

func TestAPurgeDeletesAFewThousandDeliveriesAtOnceHoweverManyEndpointsThereAre(t *testing.T) {
	s := setup(t)
	const events, endpoints, most = 120, 100, 5000
	s.oldEvents(events, endpoints)
	left := int64(events * endpoints)
	var from action.PurgeCursor
	for first := true; first || from != (action.PurgeCursor{}); first = false {
		purged, err := s.Purge.Do(s.ctx(), keeping, from)
		require.NoError(t, err)
		now := s.count("SELECT COUNT(*) FROM deliveries")
		assert.LessOrEqual(t, left-now, int64(most))
		left, from = now, purged.Next
	}
	assert.Zero(t, left)
	assert.Zero(t, s.count("SELECT COUNT(*) FROM outbox"))
}

// An order's id is its hold's, which a caller may make, and its events' ids begin as it does.
func TestPurgeTakesOldEventsWhoseIdsAreOfAFarTime(t *testing.T) {
	s := setup(t)
	s.oldEvents(3, 1)
	s.exec("UPDATE outbox SET id = CONCAT(UNHEX('F00000000000'), SUBSTR(id, 7)), order_id = id")
	s.exec("UPDATE deliveries SET event_id = CONCAT(UNHEX('F00000000000'), SUBSTR(event_id, 7))")
	s.exec("UPDATE outbox SET created_at = NOW(6) ORDER BY id LIMIT 1")
	s.exec("UPDATE deliveries SET state = 'pending', delivered_at = NULL ORDER BY event_id DESC LIMIT 1")
	assert.Equal(t, map[string]int64{action.PurgedEvents: 1}, s.purge(keeping), "one is young, and one on its way")
	assert.Equal(t, int64(2), s.count("SELECT COUNT(*) FROM deliveries JOIN outbox ON outbox.id = event_id"))
}

// firstRun ends a purger after one run.
type firstRun struct {
	end context.CancelFunc
	err error
}

func (r *firstRun) PurgeDone(err error, _ time.Duration) {
	r.err = err
	r.end()
}

func (*firstRun) RowsPurged(string, int64) {}

func TestOneTableThatCannotBePurgedDoesNotStopTheOthers(t *testing.T) {
	s := setup(t)
	s.oldEvents(120, 100)
	s.exec("RENAME TABLE hold_lines TO no_lines")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	run := &firstRun{end: cancel}
	require.NoError(t, worker.NewPurger(s.Purge, keeping, time.Hour, slog.New(slog.DiscardHandler), run).Run(ctx))
	s.exec("RENAME TABLE no_lines TO hold_lines")
	require.ErrorContains(t, run.err, "purging hold_lines")
	assert.Zero(t, s.count("SELECT COUNT(*) FROM outbox"))
}

func TestABatchThatCannotBePurgedIsPassedBy(t *testing.T) {
	s := setup(t)
	s.oldEvents(120, 100)
	s.exec("RENAME TABLE deliveries TO no_deliveries")
	batches := map[string]int{}
	var from action.PurgeCursor
	for first := true; first || from != (action.PurgeCursor{}); first = false {
		purged, err := s.Purge.Do(s.ctx(), keeping, from)
		assert.Equal(t, purged.Table == action.PurgedEvents && purged.Next != (action.PurgeCursor{}), err != nil, purged.Table)
		batches[purged.Table]++
		from = purged.Next
	}
	// Holds and events are walked over in two parts, the old ones and those of a time far
	// ahead, of which there are none.
	assert.Equal(t, map[string]int{action.PurgedKeys: 1, action.PurgedHolds: 2, action.PurgedEvents: 4}, batches)
	s.exec("RENAME TABLE no_deliveries TO deliveries")
	assert.Equal(t, map[string]int64{action.PurgedEvents: 120}, s.purge(keeping))
}

// A redelivery and a purge of the same event meet at its row: the later one sees what
// the other did.
func TestAnEventIsPurgedOrSentAgainNeverBoth(t *testing.T) {
	for name, ask := range asks {
		t.Run(name, func(t *testing.T) {
			s := setup(t, withSender(t))
			endpoint := s.endpoint(receive(t, nil).URL)
			s.exec("UPDATE webhook_endpoints SET disabled_at = NOW(6), disabled_reason = 'x'")
			order := s.ordered("ann", line(s.product(1), 1))
			s.fanOut()
			event := sale.OrderEventID(sale.EventOrderCreated, order.ID)
			purge := s.locked("SELECT 1 FROM outbox WHERE id = ? FOR UPDATE", event)
			in := action.RedeliverInput{Endpoint: endpoint.ID}
			ask(&in, event)
			ended := make(chan error, 1)
			go func() {
				_, err := s.Redeliver.Do(s.ctx(), in)
				ended <- err
			}()
			s.awaitWaiting("outbox", 1)
			_, err := purge.ExecContext(t.Context(), "DELETE FROM outbox WHERE id = ?", event)
			require.NoError(t, err)
			require.NoError(t, purge.Commit())
			err = <-ended
			assert.Equal(t, in.Event != nil, err != nil, err)
			assert.Zero(t, s.count("SELECT COUNT(*) FROM deliveries"))
		})
	}
}

func TestAnEventThatSomebodySendsAgainIsNotPurged(t *testing.T) {
	s := setup(t)
	s.oldEvents(2, 1)
	s.exec("UPDATE deliveries SET state = 'pending', delivered_at = NULL LIMIT 1")
	assert.Equal(t, map[string]int64{action.PurgedEvents: 1}, s.purge(keeping))
	again := s.locked("SELECT 1 FROM outbox FORCE INDEX (PRIMARY) FOR SHARE")
	s.exec("UPDATE deliveries SET state = 'delivered', delivered_at = NOW(6)")
	assert.Empty(t, s.purge(keeping))
	require.NoError(t, again.Rollback())
	assert.Equal(t, map[string]int64{action.PurgedEvents: 1}, s.purge(keeping))
}

func TestADeliveryWhoseEventIsGoneIsGivenUp(t *testing.T) {
	s := setup(t, withSender(t))
	endpoint := s.endpoint(receive(t, nil).URL)
	p := s.product(2)
	gone := s.ordered("ann", line(p, 1))
	s.ordered("bob", line(p, 1))
	s.fanOut()
	s.exec("DELETE FROM outbox WHERE order_id = ?", gone.ID)
	assert.Equal(t, 1, s.deliver(endpoint))
	assert.Equal(t, int64(1), s.deliveries(endpoint, sale.DeliveryDelivered))
	assert.Equal(t, int64(1), s.count(`SELECT COUNT(*) FROM deliveries
		WHERE state = 'given_up' AND last_answer = 'the event was purged'`))
	assert.Equal(t, map[sale.AttemptResult]int{sale.AttemptDelivered: 1, sale.AttemptGivenUp: 1}, s.meter.attempts)
}
