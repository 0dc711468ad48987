package action_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/action"
	"github.com/flashsale-api/flashsale/internal/payment"
	"github.com/flashsale-api/flashsale/internal/sale"
	"github.com/flashsale-api/flashsale/internal/signature"
	"github.com/flashsale-api/flashsale/internal/webhook"
	"github.com/flashsale-api/flashsale/internal/worker"
)

// withSender lets a shop send to endpoints of this machine.
func withSender(t *testing.T) func(*action.Kit) {
	t.Helper()
	sender := webhook.NewSender(webhook.Config{AllowPrivate: true, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(sender.Close)
	return func(kit *action.Kit) { kit.Sender = sender }
}

// letter is what a receiver got.
type letter struct {
	ID        string
	Header    http.Header
	Body      []byte
	Type      sale.EventType `json:"type"`
	Timestamp time.Time      `json:"timestamp"`
	Data      map[string]any `json:"data"`
}

// sequence is the event's place, 0 without one.
func (l letter) sequence() int64 {
	place, _ := l.Data["sequence"].(float64)
	return int64(place)
}

// receiver is an endpoint that keeps what it gets.
type receiver struct {
	URL     string
	mu      sync.Mutex
	letters []letter
}

// receive runs a receiver that answers as said, with 200 for nil.
func receive(t *testing.T, answer func(w http.ResponseWriter, got letter)) *receiver {
	t.Helper()
	r := &receiver{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		body, err := io.ReadAll(request.Body)
		got := letter{ID: request.Header.Get(signature.HeaderID), Header: request.Header, Body: body}
		if assert.NoError(t, err) && assert.NoError(t, json.Unmarshal(body, &got)) {
			r.keep(got)
		}
		if answer != nil {
			answer(w, got)
		}
	}))
	t.Cleanup(server.Close)
	r.URL = server.URL
	return r
}

// status answers always with the same.
func status(code int) func(http.ResponseWriter, letter) {
	return func(w http.ResponseWriter, _ letter) { w.WriteHeader(code) }
}

func (r *receiver) keep(got letter) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.letters = append(r.letters, got)
}

func (r *receiver) got() []letter {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]letter(nil), r.letters...)
}

// types are those of what a receiver got, each with its count.
func (r *receiver) types() map[sale.EventType]int {
	counts := map[sale.EventType]int{}
	for _, got := range r.got() {
		counts[got.Type]++
	}
	return counts
}

// endpoint makes one that wants these types, all for none.
func (s *shop) endpoint(url string, types ...sale.EventType) action.EndpointView {
	s.t.Helper()
	made, err := s.CreateEndpoint.Do(s.ctx(), action.CreateEndpointInput{URL: url, Types: types})
	require.NoError(s.t, err)
	require.NotEmpty(s.t, made.Value.Secret)
	return made.Value
}

// announceAll leaves word of all events that there are, so many at once.
func (s *shop) announceAll(each int) {
	s.t.Helper()
	s.exec(`INSERT INTO announcements (id, events, created_at)
		SELECT MIN(id), GROUP_CONCAT(id ORDER BY id SEPARATOR ''), MIN(created_at)
		FROM (SELECT id, created_at, FLOOR((ROW_NUMBER() OVER (ORDER BY id) - 1) / ?) AS part FROM outbox) AS parts
		GROUP BY part`, each)
}

// fanOut fans out all that is new and gives what its batches did together.
func (s *shop) fanOut() action.FannedOut {
	s.t.Helper()
	var all action.FannedOut
	for more := true; more; {
		done, err := s.FanOutEvents.Do(s.ctx())
		require.NoError(s.t, err)
		all.Events += done.Events
		all.Deliveries += done.Deliveries
		more = done.More
	}
	return all
}

func (s *shop) claim(endpoint action.EndpointView) []action.Delivery {
	s.t.Helper()
	claimed, err := s.ClaimDeliveries.Do(s.ctx(), endpoint.ID, 100)
	require.NoError(s.t, err)
	return claimed
}

// deliver fans out, makes all attempts that are due at an endpoint and gives how many.
func (s *shop) deliver(endpoint action.EndpointView) int {
	s.t.Helper()
	s.fanOut()
	claimed := s.claim(endpoint)
	for _, delivery := range claimed {
		require.NoError(s.t, s.attempt(s.ctx(), delivery))
	}
	return len(claimed)
}

// attempt sends a delivery and records what came of it.
func (s *shop) attempt(ctx context.Context, delivery action.Delivery) error {
	s.t.Helper()
	return s.RecordAttempts.Do(ctx, delivery.EndpointID, []action.Attempt{s.SendDelivery.Do(ctx, delivery)})
}

// due makes all that is pending due now.
func (s *shop) due() {
	s.t.Helper()
	s.exec("UPDATE deliveries SET next_attempt_at = NOW(6) WHERE state = 'pending'")
}

// age makes all deliveries and failures that much older, in hours.
func (s *shop) age(hours int64) {
	s.t.Helper()
	s.exec(`UPDATE deliveries SET first_attempt_at = first_attempt_at - INTERVAL ? HOUR`, hours)
	s.exec(`UPDATE webhook_endpoints SET failing_since = failing_since - INTERVAL ? HOUR`, hours)
}

// deliveries counts an endpoint's deliveries in a state.
func (s *shop) deliveries(endpoint action.EndpointView, state sale.DeliveryState) int64 {
	s.t.Helper()
	return s.count("SELECT COUNT(*) FROM deliveries WHERE endpoint_id = ? AND state = ?", endpoint.ID, state)
}

func (s *shop) look(endpoint action.EndpointView) sale.Endpoint {
	s.t.Helper()
	now, err := s.GetEndpoint.Do(s.ctx(), endpoint.ID)
	require.NoError(s.t, err)
	return now
}

// verifies says whether a letter was signed with a secret.
func verifies(t *testing.T, secret string, got letter) bool {
	t.Helper()
	verifier, err := payment.New(payment.Config{StandardSecrets: []string{secret}})
	require.NoError(t, err)
	_, err = verifier.Verify(got.Header, got.Body, time.Now())
	return err == nil
}

// run delivers in the background, as a server does, until the test's end.
func (s *shop) run(actions *action.Actions) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.t.Context()))
	deliverer := worker.NewDeliverer(worker.Deliveries{
		FanOut: actions.FanOutEvents.Do, Due: actions.DueEndpoints.Do,
		Claim: actions.ClaimDeliveries.Do, Send: actions.SendDelivery.Do, Record: actions.RecordAttempts.Do,
	}, 10*time.Millisecond, slog.New(slog.DiscardHandler), func(error, time.Duration) {})
	ended := make(chan error, 1)
	go func() { ended <- deliverer.Run(ctx) }()
	s.t.Cleanup(func() {
		cancel()
		assert.NoError(s.t, <-ended)
	})
}

// comes waits for something that has to come.
func comes(t *testing.T, what string, there func() bool) {
	t.Helper()
	require.Eventually(t, there, 30*time.Second, 5*time.Millisecond, what)
}
