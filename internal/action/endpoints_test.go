package action_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/action"
	"github.com/flashsale-api/flashsale/internal/sale"
)

func TestASecretIsShownOnceAndNeverByAReplay(t *testing.T) {
	s := setup(t, withSender(t))
	in := action.CreateEndpointInput{Key: "key", URL: "https://example.com/events", Types: []sale.EventType{sale.EventOrderPaid}}
	first, err := s.CreateEndpoint.Do(t.Context(), in)
	require.NoError(t, err)
	assert.True(t, strings.HasPrefix(first.Value.Secret, "whsec_"))
	again, err := s.CreateEndpoint.Do(t.Context(), in)
	require.NoError(t, err)
	assert.True(t, again.Replayed)
	assert.Empty(t, again.Value.Secret)
	assert.Equal(t, first.Value.Endpoint, again.Value.Endpoint)
	assert.Equal(t, first.Value.Endpoint, s.look(first.Value))

	rotation := action.RotateSecretInput{Key: "key", ID: first.Value.ID}
	rotated, err := s.RotateSecret.Do(t.Context(), rotation)
	require.NoError(t, err)
	assert.NotEmpty(t, rotated.Value.Secret)
	assert.NotEqual(t, first.Value.Secret, rotated.Value.Secret)
	once, err := s.RotateSecret.Do(t.Context(), rotation)
	require.NoError(t, err)
	assert.True(t, once.Replayed)
	assert.Empty(t, once.Value.Secret)
	assert.Equal(t, rotated.Value.Endpoint, once.Value.Endpoint, "a replay rotates nothing")
}

func TestBothSecretsSignForADayAfterARotation(t *testing.T) {
	s := setup(t, withSender(t))
	inbox := receive(t, nil)
	endpoint := s.endpoint(inbox.URL)
	rotated, err := s.RotateSecret.Do(t.Context(), action.RotateSecretInput{ID: endpoint.ID})
	require.NoError(t, err)
	product := s.product(5)
	for _, previous := range []bool{true, false} {
		s.ordered("ann", line(product, 1))
		s.deliver(endpoint)
		letters := inbox.got()
		got := letters[len(letters)-1]
		assert.True(t, verifies(t, rotated.Value.Secret, got))
		assert.Equal(t, previous, verifies(t, endpoint.Secret, got))
		s.exec("UPDATE webhook_endpoints SET previous_until = previous_until - INTERVAL 24 HOUR")
	}
}

func TestThereAreAtMostAHundredEndpointsHoweverManyAreMadeAtOnce(t *testing.T) {
	s := setup(t, withSender(t))
	var some action.EndpointView
	for range sale.MaxEndpoints - 3 {
		some = s.endpoint("https://example.com/")
	}
	outcome := newTally(t)
	other := s.branch()
	crowd(10, func(i int) {
		actions := s.Actions
		if i%2 == 0 {
			actions = other
		}
		_, err := actions.CreateEndpoint.Do(t.Context(), action.CreateEndpointInput{URL: "https://example.com/"})
		outcome.add(err)
	})
	assert.Equal(t, map[sale.Code]int{"": 3, sale.CodeTooManyEndpoints: 7}, outcome.codes)
	require.NoError(t, s.DeleteEndpoint.Do(t.Context(), some.ID))
	s.endpoint("https://example.com/")

	page, err := s.ListEndpoints.Do(t.Context(), 60, sale.EndpointID{})
	require.NoError(t, err)
	require.Len(t, page.Endpoints, 60)
	rest, err := s.ListEndpoints.Do(t.Context(), 60, *page.Next)
	require.NoError(t, err)
	assert.Len(t, rest.Endpoints, 40)
	assert.Nil(t, rest.Next)
}

func TestADeletedEndpointGetsNothingMoreAndIsForgotten(t *testing.T) {
	s := setup(t, withSender(t))
	inbox := receive(t, nil)
	endpoint := s.endpoint(inbox.URL)
	product := s.product(5)
	s.ordered("ann", line(product, 1))
	s.fanOut()
	require.NoError(t, second(s.RotateSecret.Do(t.Context(), action.RotateSecretInput{ID: endpoint.ID})))
	require.NoError(t, s.DeleteEndpoint.Do(t.Context(), endpoint.ID))
	assert.Zero(t, s.count("SELECT COUNT(*) FROM webhook_endpoints WHERE secret <> '' OR previous_secret <> ''"))
	s.ordered("bob", line(product, 1))
	due, err := s.DueEndpoints.Do(t.Context())
	require.NoError(t, err)
	assert.Empty(t, due)
	assert.Equal(t, action.FannedOut{Events: 1}, s.fanOut())
	assert.Zero(t, s.deliver(endpoint))
	assert.Empty(t, inbox.got())
	for _, err := range []error{
		s.DeleteEndpoint.Do(t.Context(), endpoint.ID),
		second(s.GetEndpoint.Do(t.Context(), endpoint.ID)),
		second(s.RotateSecret.Do(t.Context(), action.RotateSecretInput{ID: endpoint.ID})),
		second(s.Redeliver.Do(t.Context(), action.RedeliverInput{Endpoint: endpoint.ID})),
	} {
		requireCode(t, err, sale.CodeEndpointNotFound)
	}
	require.NoError(t, s.PurgeEndpoints.Do(t.Context()))
	assert.Zero(t, s.count("SELECT (SELECT COUNT(*) FROM deliveries) + (SELECT COUNT(*) FROM webhook_endpoints)"))
}

func TestAnEndpointGetsTheTypesThatItNamedAndOnlyWhatCameAfterIt(t *testing.T) {
	s := setup(t, withSender(t))
	product := s.product(5)
	order := s.ordered("ann", line(product, 1))
	assert.Equal(t, action.FannedOut{Events: 1}, s.fanOut(), "without endpoints nothing comes of events")
	paid, all := receive(t, nil), receive(t, nil)
	picky, curious := s.endpoint(paid.URL, sale.EventOrderPaid, sale.EventOrderRefunded), s.endpoint(all.URL)
	s.succeed(order, "pay_1")
	s.ordered("bob", line(product, 1))
	assert.Equal(t, action.FannedOut{Events: 2, Deliveries: 3}, s.fanOut())
	s.deliver(picky)
	s.deliver(curious)
	assert.Equal(t, map[sale.EventType]int{sale.EventOrderPaid: 1}, paid.types())
	assert.Equal(t, map[sale.EventType]int{sale.EventOrderPaid: 1, sale.EventOrderCreated: 1}, all.types())
}

func TestAFanOutOfMoreThanABatchLeavesNothing(t *testing.T) {
	s := setup(t, withSender(t))
	s.exec(`INSERT INTO outbox (id, type, order_id, sequence, payload, created_at)
		WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
		SELECT LEFT(UNHEX(SHA2(CONCAT(UUID(), i), 256)), 16), 'stock.changed', '0123456789012345', 1, '{}', NOW(6) FROM n`)
	s.announceAll(1)
	for range 20 {
		s.endpoint("https://example.com/")
	}
	assert.Equal(t, action.FannedOut{Events: 1000, Deliveries: 20_000}, s.fanOut())
	assert.Zero(t, s.count("SELECT COUNT(*) FROM announcements"))
}

func TestARedeliveryOfAWhileSendsWhatWasNotTakenAndRevivesTheEndpoint(t *testing.T) {
	s := setup(t, withSender(t))
	var gone bool
	inbox := receive(t, func(w http.ResponseWriter, _ letter) {
		if gone {
			w.WriteHeader(http.StatusGone)
		}
	})
	endpoint := s.endpoint(inbox.URL, sale.EventOrderCreated)
	product := s.product(10)
	s.ordered("taken", line(product, 1))
	s.deliver(endpoint)
	gone = true
	s.ordered("refused", line(product, 1))
	s.deliver(endpoint)
	s.succeed(s.ordered("missed", line(product, 1)), "pay_1")
	s.ordered("given up", line(product, 1))
	s.deliver(endpoint)
	require.NotNil(t, s.look(endpoint).DisabledAt)
	s.exec("UPDATE deliveries SET state = 'given_up' WHERE state = 'pending'")

	gone = false
	done, err := s.Redeliver.Do(t.Context(), action.RedeliverInput{Endpoint: endpoint.ID, Since: 3600e9})
	require.NoError(t, err)
	assert.Equal(t, action.Redelivered{Events: 3, Enabled: true}, done)
	now := s.look(endpoint)
	assert.Nil(t, now.DisabledAt)
	assert.Nil(t, now.FailingSince, "the next failure is the first")
	assert.Equal(t, 3, s.deliver(endpoint))
	assert.Equal(t, int64(4), s.deliveries(endpoint, sale.DeliveryDelivered))

	done, err = s.Redeliver.Do(t.Context(), action.RedeliverInput{Endpoint: endpoint.ID, Since: 3600e9})
	require.NoError(t, err)
	assert.Equal(t, action.Redelivered{}, done, "all was taken")
}

// One transaction tells of many, all at the same time: a page may end between them.
func TestARedeliveryOfAWhileSendsEachEventOfManyOfOneTime(t *testing.T) {
	s := setup(t, withSender(t))
	endpoint := s.endpoint(receive(t, nil).URL)
	s.exec(`INSERT INTO outbox (id, type, order_id, sequence, payload, created_at)
		WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
		SELECT LEFT(UNHEX(SHA2(i, 256)), 16), 'order.created', LEFT(UNHEX(SHA2(i, 256)), 16), 1, '{}', NOW(6) FROM n`)
	for _, state := range []sale.DeliveryState{sale.DeliveryPending, sale.DeliveryGivenUp} {
		done, err := s.Redeliver.Do(s.ctx(), action.RedeliverInput{Endpoint: endpoint.ID, Since: time.Hour})
		require.NoError(t, err)
		assert.Equal(t, action.Redelivered{Events: 1000}, done)
		assert.Equal(t, int64(1000), s.deliveries(endpoint, sale.DeliveryPending))
		s.exec("UPDATE deliveries SET state = ?", state)
	}
}

// askOne and askWhile ask for one event and for what was not taken of a while.
func askOne(in *action.RedeliverInput, event sale.EventID) { in.Event = &event }

func askWhile(in *action.RedeliverInput, _ sale.EventID) { in.Since = time.Hour }

// asks are both.
var asks = map[string]func(in *action.RedeliverInput, event sale.EventID){"one": askOne, "while": askWhile}

// Somebody may ask for an event before it is given to all who want it.
func TestWhatIsSentAgainBeforeItIsFannedOutIsSentOnce(t *testing.T) {
	for name, ask := range asks {
		t.Run(name, func(t *testing.T) {
			s := setup(t, withSender(t))
			first, second := receive(t, nil), receive(t, nil)
			asking, other := s.endpoint(first.URL), s.endpoint(second.URL)
			order := s.ordered("ann", line(s.product(5), 1))
			in := action.RedeliverInput{Endpoint: asking.ID}
			ask(&in, sale.OrderEventID(sale.EventOrderCreated, order.ID))
			done, err := s.Redeliver.Do(t.Context(), in)
			require.NoError(t, err)
			assert.Equal(t, action.Redelivered{Events: 1}, done)
			assert.Equal(t, 1, s.deliver(asking), "fanned out meanwhile, it is on its way once")
			assert.Zero(t, s.deliver(asking))
			assert.Equal(t, 1, s.deliver(other))
			assert.Equal(t, map[sale.EventType]int{sale.EventOrderCreated: 1}, first.types())
			assert.Equal(t, map[sale.EventType]int{sale.EventOrderCreated: 1}, second.types())
		})
	}
}

// What one transaction tells goes out whole, however much it is.
func TestManyEventsOfOneTransactionAreFannedOutInPartsThatFit(t *testing.T) {
	s := setup(t, withSender(t))
	p := s.product(130)
	s.fill(p, 130, -1)
	s.fillOrders(p)
	require.Equal(t, int64(130), s.sweep().Orders)
	assert.Equal(t, int64(3), s.count("SELECT COUNT(*) FROM announcements"), "of 50, 50 and 30")
	for range 90 {
		s.endpoint("https://example.com/")
	}
	var events []int64
	for more := true; more; {
		done, err := s.FanOutEvents.Do(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 90*done.Events, done.Deliveries)
		events, more = append(events, done.Events), done.More
	}
	assert.ElementsMatch(t, []int64{50, 50, 30}, events)
	assert.Zero(t, s.count("SELECT COUNT(*) FROM announcements"))
}

func TestOneEventIsSentAgainWhateverBecameOfIt(t *testing.T) {
	s := setup(t, withSender(t))
	inbox := receive(t, nil)
	endpoint := s.endpoint(inbox.URL, sale.EventOrderPaid)
	order := s.ordered("ann", line(s.product(5), 1))
	created, paid := sale.OrderEventID(sale.EventOrderCreated, order.ID), sale.OrderEventID(sale.EventOrderPaid, order.ID)
	_, err := s.Redeliver.Do(t.Context(), action.RedeliverInput{Endpoint: endpoint.ID, Event: &paid})
	require.ErrorContains(t, err, paid.String(), "it did not happen yet")
	s.succeed(order, "pay_1")
	s.deliver(endpoint)
	for i, event := range []sale.EventID{paid, created} { // taken, and never wanted
		done, err := s.Redeliver.Do(t.Context(), action.RedeliverInput{Endpoint: endpoint.ID, Event: &event})
		require.NoError(t, err)
		assert.Equal(t, action.Redelivered{Events: 1}, done)
		assert.Equal(t, 1, s.deliver(endpoint))
		assert.Equal(t, event.String(), inbox.got()[i+1].ID)
	}
}

// Whoever asks for one event knows better than an attempt that is under way, and gets it.
func TestAnAttemptFromBeforeOneEventWasAskedForDoesNotAnswerTheRequest(t *testing.T) {
	for _, again := range []string{"before it is claimed again", "while it is sent again"} {
		t.Run(again, func(t *testing.T) {
			s := setup(t, withSender(t))
			inbox := receive(t, nil)
			endpoint := s.endpoint(inbox.URL)
			order := s.ordered("ann", line(s.product(5), 1))
			s.fanOut()
			event := sale.OrderEventID(sale.EventOrderCreated, order.ID)
			underway := s.claim(endpoint)[0]
			_, err := s.Redeliver.Do(t.Context(), action.RedeliverInput{Endpoint: endpoint.ID, Event: &event})
			require.NoError(t, err)
			if again == "while it is sent again" {
				claimed := s.claim(endpoint)
				require.Len(t, claimed, 1)
				assert.Equal(t, int64(1), claimed[0].Number, "as if nothing had been tried")
				assert.True(t, claimed[0].FirstAttemptAt.After(underway.FirstAttemptAt))
			}
			require.NoError(t, s.attempt(t.Context(), underway))
			assert.Equal(t, int64(1), s.deliveries(endpoint, sale.DeliveryPending))
			s.due()
			assert.Equal(t, 1, s.deliver(endpoint))
			assert.Equal(t, int64(1), s.deliveries(endpoint, sale.DeliveryDelivered))
			assert.Len(t, inbox.got(), 2)
		})
	}
}

// What an attempt that was under way then gets rid of needs no other; what it fails at does
// not count against the attempts that were asked for.
func TestAnAttemptFromBeforeARedeliveryOfAWhileCountsOnlyIfItSucceeds(t *testing.T) {
	for name, test := range map[string]struct {
		code int
		want sale.DeliveryState
	}{
		"success": {http.StatusOK, sale.DeliveryDelivered},
		"failure": {http.StatusInternalServerError, sale.DeliveryPending},
	} {
		t.Run(name, func(t *testing.T) {
			s := setup(t, withSender(t))
			endpoint := s.endpoint(receive(t, status(test.code)).URL)
			s.ordered("ann", line(s.product(5), 1))
			s.fanOut()
			underway := s.claim(endpoint)[0]
			underway.FirstAttemptAt = underway.FirstAttemptAt.Add(-sale.DeadAfter) // its last one
			s.age(int64(sale.DeadAfter.Hours()))
			done, err := s.Redeliver.Do(t.Context(), action.RedeliverInput{Endpoint: endpoint.ID, Since: time.Hour})
			require.NoError(t, err)
			assert.Equal(t, action.Redelivered{Events: 1}, done)
			again := s.claim(endpoint)
			require.Len(t, again, 1)
			assert.Equal(t, underway.Number, again[0].Number)
			require.NoError(t, s.attempt(t.Context(), underway))
			assert.Equal(t, int64(1), s.deliveries(endpoint, test.want))
			assert.Equal(t, int64(1), s.count("SELECT COUNT(*) FROM deliveries WHERE next_attempt_at > NOW(6) + INTERVAL 20 SECOND"),
				"the lease of the attempt that was asked for still runs")
		})
	}
}

// Attempts from before do not disable an endpoint that somebody has just enabled.
func TestAnEndpointThatIsEnabledIsNotDisabledByAttemptsFromBefore(t *testing.T) {
	s := setup(t, withSender(t))
	var gone atomic.Bool
	gone.Store(true)
	endpoint := s.endpoint(receive(t, func(w http.ResponseWriter, _ letter) {
		if gone.Load() {
			w.WriteHeader(http.StatusGone)
		}
	}).URL)
	p := s.product(5)
	s.ordered("ann", line(p, 1))
	s.ordered("bob", line(p, 1))
	s.fanOut()
	underway := s.claim(endpoint)
	require.NoError(t, s.attempt(t.Context(), underway[0]))
	require.NotNil(t, s.look(endpoint).DisabledAt)
	late := s.SendDelivery.Do(t.Context(), underway[1])
	gone.Store(false)
	done, err := s.Redeliver.Do(t.Context(), action.RedeliverInput{Endpoint: endpoint.ID, Since: time.Hour})
	require.NoError(t, err)
	assert.Equal(t, action.Redelivered{Events: 2, Enabled: true}, done)
	require.NoError(t, s.RecordAttempts.Do(t.Context(), endpoint.ID, []action.Attempt{late}))
	assert.Nil(t, s.look(endpoint).DisabledAt)
	assert.Equal(t, 2, s.deliver(endpoint))
	assert.Equal(t, int64(2), s.deliveries(endpoint, sale.DeliveryDelivered))
}

// A record that comes between a redelivery's look and its writing is seen by the writing.
func TestARedeliveryOfAWhileLeavesWhatIsTakenMeanwhile(t *testing.T) {
	s := setup(t, withSender(t))
	endpoint := s.endpoint(receive(t, nil).URL)
	s.ordered("ann", line(s.product(5), 1))
	s.fanOut()
	record := s.locked("UPDATE deliveries SET state = 'delivered', delivered_at = NOW(6)")
	done := make(chan action.Redelivered, 1)
	go func() {
		redelivered, err := s.Redeliver.Do(s.ctx(), action.RedeliverInput{Endpoint: endpoint.ID, Since: time.Hour})
		assert.NoError(t, err)
		done <- redelivered
	}()
	s.awaitWaiting("deliveries", 1)
	require.NoError(t, record.Commit())
	assert.Equal(t, action.Redelivered{}, <-done)
	assert.Equal(t, int64(1), s.deliveries(endpoint, sale.DeliveryDelivered))
}

// When an event was delivered is when the endpoint took it first, however often it does.
func TestALaterSuccessChangesNothingOfTheFirst(t *testing.T) {
	s := setup(t, withSender(t))
	codes := make(chan int, 2)
	endpoint := s.endpoint(receive(t, func(w http.ResponseWriter, _ letter) { w.WriteHeader(<-codes) }).URL)
	s.ordered("ann", line(s.product(5), 1))
	s.fanOut()
	lost := s.claim(endpoint)
	s.due()
	second := s.claim(endpoint)
	codes <- http.StatusOK
	codes <- http.StatusAccepted
	require.NoError(t, s.attempt(t.Context(), second[0]))
	s.exec("UPDATE deliveries SET delivered_at = delivered_at - INTERVAL 1 HOUR")
	require.NoError(t, s.attempt(t.Context(), lost[0]))
	assert.Equal(t, int64(1), s.count(`SELECT COUNT(*) FROM deliveries
		WHERE last_answer = '200' AND delivered_at < NOW(6) - INTERVAL 30 MINUTE`))
}

// Both take the endpoint first: while the one has it, the other holds no delivery.
func TestARecordOfAttemptsAndARedeliveryDoNotWaitForEachOther(t *testing.T) {
	s := setup(t, withSender(t))
	endpoint := s.endpoint(receive(t, func(w http.ResponseWriter, got letter) {
		if got.Type == sale.EventOrderPaid {
			w.WriteHeader(http.StatusBadGateway)
		}
	}).URL)
	s.succeed(s.ordered("ann", line(s.product(5), 1)), "pay_1")
	s.fanOut()
	var attempts []action.Attempt
	for _, delivery := range s.claim(endpoint) {
		attempts = append(attempts, s.SendDelivery.Do(t.Context(), delivery))
	}
	redelivery := s.locked("SELECT 1 FROM webhook_endpoints WHERE id = ? FOR UPDATE", endpoint.ID)
	ended := make(chan error, 1)
	go func() { ended <- s.RecordAttempts.Do(s.ctx(), endpoint.ID, attempts) }()
	s.awaitWaiting("webhook_endpoints", 1)
	_, err := redelivery.ExecContext(t.Context(), "SELECT 1 FROM deliveries FORCE INDEX (PRIMARY) WHERE endpoint_id = ? FOR UPDATE NOWAIT", endpoint.ID)
	require.NoError(t, err)
	require.NoError(t, redelivery.Commit())
	require.NoError(t, <-ended)
}

func TestASurveyCountsWhatIsOnItsWay(t *testing.T) {
	s := setup(t, withSender(t))
	idle, busy := s.endpoint("https://example.com/"), s.endpoint(receive(t, status(http.StatusTeapot)).URL)
	s.exec("UPDATE webhook_endpoints SET disabled_at = NOW(6), disabled_reason = 'x' WHERE id = ?", idle.ID)
	s.succeed(s.ordered("ann", line(s.product(5), 1)), "pay_1")
	s.deliver(busy)
	s.exec("UPDATE deliveries SET state = 'given_up' LIMIT 1")
	s.exec("UPDATE deliveries SET created_at = created_at - INTERVAL 1 HOUR")
	surveys, err := s.SurveyEndpoints.Do(t.Context())
	require.NoError(t, err)
	require.Len(t, surveys, 2)
	for _, survey := range surveys {
		if survey.ID == idle.ID {
			assert.Equal(t, action.EndpointSurvey{Endpoint: s.look(idle)}, survey)
			continue
		}
		assert.Equal(t, []int64{1, 1}, []int64{survey.Pending, survey.GivenUp})
		assert.GreaterOrEqual(t, survey.Oldest.Minutes(), 60.0)
		assert.NotNil(t, survey.FailingSince)
	}
}

// What was taken or given up before does not wait since then.
func TestWhatIsSentAgainIsOnItsWayFromThenOn(t *testing.T) {
	for name, test := range map[string]struct {
		became string
		ask    func(in *action.RedeliverInput, event sale.EventID)
		waits  bool
	}{
		"one that was taken":     {"state = 'delivered', delivered_at = NOW(6)", askOne, false},
		"one that was given up":  {"state = 'given_up'", askOne, false},
		"one on its way":         {"state = 'pending'", askOne, true},
		"all that were given up": {"state = 'given_up'", askWhile, false},
		"all on their way":       {"state = 'pending'", askWhile, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := setup(t, withSender(t))
			endpoint := s.endpoint("https://example.com/")
			order := s.ordered("ann", line(s.product(5), 1))
			s.fanOut()
			s.exec("UPDATE deliveries SET created_at = created_at - INTERVAL 1 HOUR, " + test.became)
			in := action.RedeliverInput{Endpoint: endpoint.ID}
			test.ask(&in, sale.OrderEventID(sale.EventOrderCreated, order.ID))
			done, err := s.Redeliver.Do(t.Context(), in)
			require.NoError(t, err)
			assert.Equal(t, action.Redelivered{Events: 1}, done)
			surveys, err := s.SurveyEndpoints.Do(t.Context())
			require.NoError(t, err)
			require.Equal(t, int64(1), surveys[0].Pending)
			assert.Equal(t, test.waits, surveys[0].Oldest > 30*time.Minute, surveys[0].Oldest)
		})
	}
}

func TestASurveyCountsUpToABound(t *testing.T) {
	s := setup(t, withSender(t))
	endpoint := s.endpoint("https://example.com/")
	const bound = 10_000
	for _, state := range []sale.DeliveryState{sale.DeliveryPending, sale.DeliveryGivenUp} {
		s.exec(`INSERT INTO deliveries (endpoint_id, event_id, state, next_attempt_at, created_at)
			WITH RECURSIVE d AS (SELECT 0 AS d UNION ALL SELECT d + 1 FROM d WHERE d < 119)
			SELECT ?, LEFT(UNHEX(SHA2(CONCAT(?, a.d, ' ', b.d), 256)), 16), ?, NOW(6), NOW(6) FROM d AS a, d AS b`, endpoint.ID, state, state)
	}
	surveys, err := s.SurveyEndpoints.Do(t.Context())
	require.NoError(t, err)
	require.Len(t, surveys, 1)
	assert.Equal(t, []int64{bound, bound}, []int64{surveys[0].Pending, surveys[0].GivenUp})
}

// second is the error of two results.
func second[T any](_ T, err error) error { return err }
