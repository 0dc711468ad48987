package action_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/action"
	"github.com/flashsale-api/flashsale/internal/sale"
)

func TestAnEventIsDeliveredOnceWithItsFactsAndItsPlace(t *testing.T) {
	s := setup(t, withSender(t))
	inbox := receive(t, nil)
	endpoint := s.endpoint(inbox.URL)
	order := s.ordered("ann", line(s.product(5), 2))
	s.succeed(order, "pay_1")
	assert.Equal(t, 2, s.deliver(endpoint))
	assert.Zero(t, s.deliver(endpoint), "nothing is left")

	letters := inbox.got()
	slices.SortFunc(letters, func(a, b letter) int { return int(a.sequence() - b.sequence()) })
	require.Len(t, letters, 2)
	for i, name := range []sale.EventType{sale.EventOrderCreated, sale.EventOrderPaid} {
		got := letters[i]
		assert.Equal(t, name, got.Type)
		assert.Equal(t, sale.OrderEventID(name, order.ID).String(), got.ID)
		assert.Equal(t, order.ID.String(), got.Data["order_id"])
		assert.Equal(t, name.Sequence(), got.sequence())
		assert.WithinDuration(t, order.CreatedAt, got.Timestamp, time.Minute)
		assert.True(t, verifies(t, endpoint.Secret, got))
	}
	assert.Equal(t, int64(2), s.deliveries(endpoint, sale.DeliveryDelivered))
	assert.Equal(t, 2, s.meter.attempts[sale.AttemptDelivered])
}

// A process that dies between its attempt and the record of it leaves a claim.
func TestAnEventWhoseRecordWasLostIsSentAgainWithTheSameIDAndBody(t *testing.T) {
	s := setup(t, withSender(t))
	inbox := receive(t, nil)
	endpoint := s.endpoint(inbox.URL)
	s.ordered("ann", line(s.product(5), 1))
	s.fanOut()
	lost := s.claim(endpoint)
	require.Len(t, lost, 1)
	require.True(t, s.kit.Sender.Send(t.Context(), lost[0].Message).Accepted())

	other := s.branch()
	claimed, err := other.ClaimDeliveries.Do(t.Context(), endpoint.ID, 100)
	require.NoError(t, err)
	require.Empty(t, claimed, "the lease still runs")
	s.due()
	assert.Equal(t, 1, s.deliver(endpoint))
	letters := inbox.got()
	require.Len(t, letters, 2)
	assert.Equal(t, letters[0].ID, letters[1].ID)
	assert.Equal(t, letters[0].Body, letters[1].Body)
	assert.Equal(t, int64(1), s.deliveries(endpoint, sale.DeliveryDelivered))
}

func TestARecordThatFailsLeavesTheDeliveryToItsLease(t *testing.T) {
	s := setup(t, withSender(t))
	inbox := receive(t, nil)
	endpoint := s.endpoint(inbox.URL)
	s.ordered("ann", line(s.product(5), 1))
	s.fanOut()
	claimed := s.claim(endpoint)
	s.exec("RENAME TABLE deliveries TO elsewhere")
	require.Error(t, s.attempt(t.Context(), claimed[0]))
	s.exec("RENAME TABLE elsewhere TO deliveries")
	assert.Equal(t, int64(1), s.deliveries(endpoint, sale.DeliveryPending))
	s.due()
	assert.Equal(t, 1, s.deliver(endpoint))
	assert.Len(t, inbox.got(), 2)
}

func TestAFailureIsTriedAgainLaterAndALateRecordOfAnOlderAttemptCountsForNothing(t *testing.T) {
	s := setup(t, withSender(t))
	var code atomic.Int64
	code.Store(http.StatusInternalServerError)
	inbox := receive(t, func(w http.ResponseWriter, _ letter) { w.WriteHeader(int(code.Load())) })
	endpoint := s.endpoint(inbox.URL)
	s.ordered("ann", line(s.product(5), 1))
	s.fanOut()
	first := s.claim(endpoint)
	require.NoError(t, s.attempt(t.Context(), first[0]))
	assert.Empty(t, s.claim(endpoint), "it rests")
	assert.Equal(t, int64(1), s.count(`SELECT COUNT(*) FROM deliveries WHERE last_answer = '500' AND attempts = 1
		AND next_attempt_at BETWEEN NOW(6) AND NOW(6) + INTERVAL 6 SECOND`))
	assert.NotNil(t, s.look(endpoint).FailingSince)

	s.due()
	second := s.claim(endpoint)
	require.Len(t, second, 1)
	assert.Equal(t, int64(2), second[0].Number)
	require.NoError(t, s.attempt(t.Context(), first[0])) // comes late
	assert.Equal(t, int64(1), s.count("SELECT COUNT(*) FROM deliveries WHERE next_attempt_at > NOW(6) + INTERVAL 20 SECOND"),
		"the second attempt's lease still runs")
	code.Store(http.StatusOK)
	require.NoError(t, s.attempt(t.Context(), second[0]))
	assert.Equal(t, int64(1), s.deliveries(endpoint, sale.DeliveryDelivered))
	assert.Nil(t, s.look(endpoint).FailingSince)
}

func TestAnEventIsGivenUpAfterThreeDaysThoughOthersAreTaken(t *testing.T) {
	s := setup(t, withSender(t))
	inbox := receive(t, func(w http.ResponseWriter, got letter) {
		if got.Type == sale.EventOrderPaid {
			w.WriteHeader(http.StatusBadRequest)
		}
	})
	endpoint := s.endpoint(inbox.URL)
	product := s.product(5)
	s.succeed(s.ordered("ann", line(product, 1)), "pay_1")
	assert.Equal(t, 2, s.deliver(endpoint))
	for range 2 { // just before three days are over, and after
		s.age(36)
		s.ordered("bob", line(product, 1))
		s.due()
		require.Equal(t, 2, s.deliver(endpoint))
	}
	assert.Equal(t, int64(1), s.deliveries(endpoint, sale.DeliveryGivenUp))
	assert.Nil(t, s.look(endpoint).DisabledAt)
	assert.Equal(t, 1, s.meter.attempts[sale.AttemptGivenUp])
}

func TestAnEndpointThatIsGoneIsDisabledAtOnceAndWhatIsPendingStays(t *testing.T) {
	s := setup(t, withSender(t))
	endpoint := s.endpoint(receive(t, status(http.StatusGone)).URL)
	product := s.product(5)
	s.ordered("ann", line(product, 1))
	assert.Equal(t, 1, s.deliver(endpoint))
	now := s.look(endpoint)
	require.NotNil(t, now.DisabledAt)
	assert.Equal(t, "The endpoint answered 410 Gone.", now.DisabledReason)

	s.ordered("bob", line(product, 1))
	s.due()
	assert.Zero(t, s.deliver(endpoint), "a disabled endpoint gets nothing")
	assert.Equal(t, int64(1), s.deliveries(endpoint, sale.DeliveryPending), "nor any new delivery")
	due, err := s.DueEndpoints.Do(t.Context())
	require.NoError(t, err)
	assert.Empty(t, due)
}

func TestAnEndpointIsDisabledOnceForTheFirstReason(t *testing.T) {
	s := setup(t, withSender(t))
	endpoint := s.endpoint(receive(t, status(http.StatusGone)).URL)
	p := s.product(5)
	s.ordered("ann", line(p, 1))
	s.ordered("bob", line(p, 1))
	s.fanOut()
	underway := s.claim(endpoint)
	require.NoError(t, s.attempt(t.Context(), underway[0]))
	s.exec("UPDATE webhook_endpoints SET disabled_at = disabled_at - INTERVAL 1 HOUR, disabled_reason = 'the first one'")
	before := s.look(endpoint)
	require.NoError(t, s.attempt(t.Context(), underway[1]))
	assert.Equal(t, before, s.look(endpoint))
}

func TestAnEndpointIsDisabledAfterThreeDaysWithoutASuccess(t *testing.T) {
	s := setup(t, withSender(t))
	endpoint := s.endpoint(receive(t, status(http.StatusServiceUnavailable)).URL)
	product := s.product(5)
	s.ordered("ann", line(product, 1))
	s.deliver(endpoint)
	s.age(71)
	s.due()
	s.deliver(endpoint)
	assert.Nil(t, s.look(endpoint).DisabledAt)
	s.age(1)
	s.due()
	s.deliver(endpoint)
	now := s.look(endpoint)
	require.NotNil(t, now.DisabledAt)
	assert.Equal(t, "No attempt succeeded for 3 days. The last one: 503.", now.DisabledReason)
}

func TestOneSuccessMakesAnEndpointAsGoodAsNew(t *testing.T) {
	s := setup(t, withSender(t))
	endpoint := s.endpoint(receive(t, func(w http.ResponseWriter, got letter) {
		if got.Type == sale.EventOrderPaid {
			w.WriteHeader(http.StatusBadGateway)
		}
	}).URL)
	product := s.product(5)
	order := s.ordered("ann", line(product, 1))
	s.deliver(endpoint)
	s.succeed(order, "pay_1")
	s.deliver(endpoint)
	s.exec("UPDATE webhook_endpoints SET failing_since = failing_since - INTERVAL 71 HOUR")
	s.ordered("bob", line(product, 1))
	s.deliver(endpoint)
	assert.Nil(t, s.look(endpoint).FailingSince)
}

func TestASuccessAmongFailuresThatAreRecordedTogetherCounts(t *testing.T) {
	s := setup(t, withSender(t))
	endpoint := s.endpoint(receive(t, func(w http.ResponseWriter, got letter) {
		if got.Type == sale.EventOrderPaid {
			w.WriteHeader(http.StatusBadGateway)
		}
	}).URL)
	s.succeed(s.ordered("ann", line(s.product(5), 1)), "pay_1")
	s.fanOut()
	s.exec("UPDATE webhook_endpoints SET failing_since = NOW(6) - INTERVAL 100 HOUR")
	var attempts []action.Attempt
	for _, delivery := range s.claim(endpoint) {
		attempts = append(attempts, s.SendDelivery.Do(t.Context(), delivery))
	}
	require.NoError(t, s.RecordAttempts.Do(t.Context(), endpoint.ID, attempts))
	now := s.look(endpoint)
	assert.Nil(t, now.DisabledAt)
	require.NotNil(t, now.FailingSince)
	assert.WithinDuration(t, time.Now(), *now.FailingSince, time.Hour)
	assert.Equal(t, map[sale.AttemptResult]int{sale.AttemptDelivered: 1, sale.AttemptFailed: 1}, s.meter.attempts)
}

func TestAnAttemptThatTheEndOfTheProcessCutsOffIsNobodysFailure(t *testing.T) {
	s := setup(t, withSender(t))
	ctx, cancel := context.WithCancel(t.Context())
	leave := make(chan struct{})
	endpoint := s.endpoint(receive(t, func(http.ResponseWriter, letter) {
		cancel()
		<-leave
	}).URL)
	t.Cleanup(func() { close(leave) })
	s.ordered("ann", line(s.product(5), 1))
	s.fanOut()
	require.NoError(t, s.attempt(ctx, s.claim(endpoint)[0]))
	assert.Nil(t, s.look(endpoint).FailingSince)
	assert.Equal(t, int64(1), s.deliveries(endpoint, sale.DeliveryPending))
}

// An attempt whose lease was over may still succeed while the next one fails.
func TestAFailureOfTheNewestAttemptUndoesNoSuccess(t *testing.T) {
	s := setup(t, withSender(t))
	endpoint := s.endpoint(receive(t, nil).URL)
	s.ordered("ann", line(s.product(5), 1))
	s.fanOut()
	slow := s.claim(endpoint)[0]
	s.due()
	newest := action.Attempt{Delivery: s.claim(endpoint)[0], Answer: sale.Answer{Status: http.StatusBadGateway}}
	require.NoError(t, s.attempt(t.Context(), slow))
	require.NoError(t, s.RecordAttempts.Do(t.Context(), endpoint.ID, []action.Attempt{newest}))
	assert.Equal(t, int64(1), s.deliveries(endpoint, sale.DeliveryDelivered))
	assert.Nil(t, s.look(endpoint).FailingSince)
}

// A failure that is recorded when the endpoint has taken the event says nothing of it any more,
// nor is the event given up.
func TestAFailureThatIsNoLongerTheNewestTruthIsNotHeldAgainstTheEndpoint(t *testing.T) {
	s := setup(t, withSender(t))
	endpoint := s.endpoint(receive(t, nil).URL)
	s.ordered("ann", line(s.product(5), 1))
	s.fanOut()
	late := action.Attempt{Delivery: s.claim(endpoint)[0], Answer: sale.Answer{Status: http.StatusGone}}
	late.FirstAttemptAt = late.FirstAttemptAt.Add(-sale.DeadAfter)
	s.due()
	require.Equal(t, 1, s.deliver(endpoint))
	require.NoError(t, s.RecordAttempts.Do(t.Context(), endpoint.ID, []action.Attempt{late}))
	now := s.look(endpoint)
	assert.Nil(t, now.FailingSince)
	assert.Nil(t, now.DisabledAt)
	assert.Equal(t, map[sale.AttemptResult]int{sale.AttemptDelivered: 1, sale.AttemptFailed: 1}, s.meter.attempts)
}

// While one endpoint hangs for good, and one delivery of another does, everything else
// is delivered, and holds are made while all of that is going on.
func TestWhatHangsHoldsUpNobodyElse(t *testing.T) {
	s := setup(t, withSender(t))
	leave := make(chan struct{})
	var hangs atomic.Int64
	dead := s.endpoint(receive(t, func(http.ResponseWriter, letter) { <-leave }).URL)
	inbox := receive(t, func(_ http.ResponseWriter, got letter) {
		if got.Type == sale.EventOrderCreated && hangs.Add(1) == 1 {
			<-leave
		}
	})
	s.endpoint(inbox.URL)
	t.Cleanup(func() { close(leave) })
	s.run(s.Actions)
	product := s.product(100)
	for i := range int64(20) {
		s.succeed(s.ordered("ann", line(product, 1)), "pay_"+string(rune('a'+i)))
	}
	comes(t, "all but the one that hangs", func() bool {
		return s.count("SELECT COUNT(*) FROM deliveries WHERE state = 'delivered'") == 39
	})
	assert.Zero(t, s.deliveries(dead, sale.DeliveryDelivered))
	assert.Zero(t, s.count(`SELECT COUNT(*) FROM performance_schema.data_locks
		WHERE OBJECT_SCHEMA = DATABASE() AND OBJECT_NAME IN ('outbox', 'products', 'orders') AND LOCK_TYPE = 'RECORD'`),
		"nothing is locked while something is sent")
	s.requireUnits(product, 80, 0, 0, 20)
}

func TestSeveralProcessesFanOutAndClaimEachDeliveryOnce(t *testing.T) {
	s := setup(t, withSender(t))
	inboxes := []*receiver{receive(t, nil), receive(t, nil)}
	for _, inbox := range inboxes {
		s.endpoint(inbox.URL)
	}
	product := s.product(1000)
	for range 3 {
		s.run(s.branch())
	}
	crowd(60, func(int) {
		made, err := s.CreateHold.Do(t.Context(), wish("ann", line(product, 1)))
		if assert.NoError(t, err) {
			_, err = s.CreateOrder.Do(t.Context(), action.CreateOrderInput{HoldID: made.Value.ID})
			assert.NoError(t, err)
		}
	})
	comes(t, "all deliveries", func() bool {
		return s.count("SELECT COUNT(*) FROM deliveries WHERE state = 'delivered'") == 120
	})
	for _, inbox := range inboxes {
		assert.Equal(t, map[sale.EventType]int{sale.EventOrderCreated: 60}, inbox.types())
	}
	assert.Equal(t, int64(120), s.count("SELECT SUM(attempts) FROM deliveries"))
	assert.Zero(t, s.count("SELECT COUNT(*) FROM announcements"))
}

// What another process fans out or claims is left to it, and the rest does not wait for it.
func TestWhatAnotherProcessWorksOnIsLeftOut(t *testing.T) {
	s := setup(t, withSender(t))
	endpoint := s.endpoint(receive(t, nil).URL)
	p := s.product(5)
	var orders []action.OrderView
	for _, customer := range []string{"ann", "bob"} {
		orders = append(orders, s.ordered(customer, line(p, 1)))
	}
	busy := sale.OrderEventID(sale.EventOrderCreated, orders[0].ID)
	for _, work := range []struct {
		lock string
		do   func() int
	}{
		{"SELECT 1 FROM announcements WHERE events = ? FOR UPDATE", func() int { return int(s.fanOut().Events) }},
		{"SELECT 1 FROM deliveries WHERE event_id = ? FOR UPDATE", func() int { return len(s.claim(endpoint)) }},
	} {
		other := s.locked(work.lock, busy)
		assert.Equal(t, 1, work.do(), work.lock)
		require.NoError(t, other.Rollback())
		assert.Equal(t, 1, work.do(), work.lock)
	}
}

// An endpoint that works again before something is told gets it, whoever holds another one.
func TestAnEndpointThatIsEnabledWhileAFanOutWaitsGetsWhatIsToldAfter(t *testing.T) {
	s := setup(t, withSender(t))
	disabled, busy := s.endpoint(receive(t, nil).URL), s.endpoint(receive(t, nil).URL)
	if disabled.ID.Compare(busy.ID) > 0 {
		disabled, busy = busy, disabled // the fan-out comes to it first
	}
	s.exec("UPDATE webhook_endpoints SET disabled_at = NOW(6), disabled_reason = 'x' WHERE id = ?", disabled.ID)
	p := s.product(5)
	s.ordered("bob", line(p, 1)) // so that there is something to fan out
	holder := s.locked("SELECT 1 FROM webhook_endpoints WHERE id = ? FOR UPDATE", busy.ID)
	ended := make(chan error, 1)
	go func() {
		_, err := s.FanOutEvents.Do(s.ctx())
		ended <- err
	}()
	s.awaitWaiting("webhook_endpoints", 1)
	_, err := s.Redeliver.Do(s.ctx(), action.RedeliverInput{Endpoint: disabled.ID, Since: time.Hour})
	require.NoError(t, err)
	order := s.ordered("ann", line(p, 1))
	require.NoError(t, holder.Rollback())
	require.NoError(t, <-ended)
	s.fanOut()
	assert.Equal(t, int64(1), s.count("SELECT COUNT(*) FROM deliveries WHERE event_id = ? AND endpoint_id = ?",
		sale.OrderEventID(sale.EventOrderCreated, order.ID), disabled.ID))
}

// What a fan-out writes for an endpoint that is gone meanwhile would stay for good.
func TestNothingIsFannedOutToAnEndpointThatIsGoneMeanwhile(t *testing.T) {
	s := setup(t, withSender(t))
	busy, gone := s.endpoint(receive(t, nil).URL), s.endpoint(receive(t, nil).URL)
	if busy.ID.Compare(gone.ID) > 0 {
		busy, gone = gone, busy // the fan-out comes to it first
	}
	order := s.ordered("ann", line(s.product(5), 1))
	holder := s.locked(`INSERT INTO deliveries (endpoint_id, event_id, state, next_attempt_at, created_at)
		VALUES (?, ?, 'pending', NOW(6), NOW(6))`, busy.ID, sale.OrderEventID(sale.EventOrderCreated, order.ID))
	fannedOut, forgotten := make(chan error, 1), make(chan error, 1)
	go func() { fannedOut <- second(s.FanOutEvents.Do(s.ctx())) }()
	s.awaitWaiting("deliveries", 1)
	go func() {
		err := s.DeleteEndpoint.Do(s.ctx(), gone.ID)
		forgotten <- errors.Join(err, s.PurgeEndpoints.Do(s.ctx()))
	}()
	comes(t, "the deletion waits for the fan-out or is over", func() bool {
		return len(forgotten) == 1 || s.count(`SELECT COUNT(*) FROM performance_schema.data_locks
			WHERE object_schema = DATABASE() AND object_name = 'webhook_endpoints' AND lock_status = 'WAITING'`) > 0
	})
	require.NoError(t, holder.Rollback())
	require.NoError(t, <-fannedOut)
	require.NoError(t, <-forgotten)
	assert.Equal(t, int64(1), s.count("SELECT COUNT(*) FROM webhook_endpoints"))
	assert.Zero(t, s.count("SELECT COUNT(*) FROM deliveries WHERE endpoint_id = ?", gone.ID))
}

func TestOneBatchIsFannedOutAtATime(t *testing.T) {
	s := setup(t, withSender(t))
	s.endpoint(receive(t, nil).URL)
	s.exec(`INSERT INTO outbox (id, type, order_id, sequence, payload, created_at)
		WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 501)
		SELECT LEFT(UNHEX(SHA2(i, 256)), 16), 'order.created', LEFT(UNHEX(SHA2(i, 256)), 16), 1, '{}', NOW(6) FROM n`)
	s.announceAll(50)
	for _, want := range []action.FannedOut{{Events: 500, Deliveries: 500, More: true}, {Events: 1, Deliveries: 1}, {}} {
		done, err := s.FanOutEvents.Do(t.Context())
		require.NoError(t, err)
		assert.Equal(t, want, done)
	}
}

// However much is on its way or was delivered, a look finds what is due by the index.
func TestLooksForDeliveriesReadAFewRowsAmongMany(t *testing.T) {
	s := setup(t, withSender(t))
	endpoint := s.endpoint(receive(t, nil).URL)
	for _, state := range []string{"'pending', 0, NULL", "'delivered', 1, NOW(6)"} {
		s.exec(`INSERT INTO deliveries (endpoint_id, event_id, state, attempts, delivered_at, next_attempt_at, created_at)
			WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
			SELECT ?, LEFT(UNHEX(SHA2(CONCAT(UUID(), i), 256)), 16), `+state+`, NOW(6) + INTERVAL 1 DAY, NOW(6) FROM n`, endpoint.ID)
	}
	s.exec(`INSERT INTO outbox (id, type, order_id, sequence, payload, created_at)
		WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
		SELECT LEFT(UNHEX(SHA2(CONCAT(UUID(), i), 256)), 16), 'stock.changed', '0123456789012345', 1, '{}', NOW(6) FROM n`)
	s.announceAll(1)
	s.exec("ANALYZE TABLE deliveries, outbox, announcements, webhook_endpoints")
	q := store.New()
	for name, look := range map[string]func(ctx context.Context, db store.DBTX) error{
		"due endpoints": func(ctx context.Context, db store.DBTX) error {
			_, err := q.DueEndpoints(ctx, db)
			return err
		},
		"due deliveries": func(ctx context.Context, db store.DBTX) error {
			_, err := q.DueDeliveries(ctx, db, store.DueDeliveriesParams{EndpointID: endpoint.ID, NextAttemptAt: time.Now().UTC(), Limit: 8})
			return err
		},
		"announcements": func(ctx context.Context, db store.DBTX) error {
			_, err := q.Announcements(ctx, db, 10)
			return err
		},
		"any announcement": func(ctx context.Context, db store.DBTX) error {
			_, err := q.AnyAnnouncement(ctx, db)
			return err
		},
		"oldest announcement": func(ctx context.Context, db store.DBTX) error {
			_, err := q.OldestAnnouncement(ctx, db)
			return err
		},
		"types of events": func(ctx context.Context, db store.DBTX) error {
			_, err := q.EventTypes(ctx, db, []sale.EventID{sale.NewEventID(), sale.NewEventID()})
			return err
		},
	} {
		conn, err := s.db.SQL().Conn(t.Context())
		require.NoError(t, err)
		before := handlerReads(t, conn)
		require.NoError(t, look(t.Context(), conn), name)
		assert.Less(t, handlerReads(t, conn)-before, int64(30), name)
		require.NoError(t, conn.Close())
	}
}
