package contract

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	spec "github.com/flashsale-api/flashsale/api"
	"github.com/flashsale-api/flashsale/gen/client"
	"github.com/flashsale-api/flashsale/internal/app"
	"github.com/flashsale-api/flashsale/internal/payment"
	"github.com/flashsale-api/flashsale/internal/sale"
	"github.com/flashsale-api/flashsale/test/apitest"
)

// publicURL is where nothing is ever sent: these services deliver once, at their start.
const publicURL = "https://example.com/events"

// endpoint makes one.
func endpoint(t *testing.T, api *apitest.API, key *string, request client.CreateWebhookEndpointRequest) *client.CreateWebhookEndpointResponse {
	t.Helper()
	reply, err := api.CreateWebhookEndpointWithResponse(t.Context(), &client.CreateWebhookEndpointParams{IdempotencyKey: key}, request)
	require.NoError(t, err)
	return reply
}

func TestSecretOfAnEndpointIsShownOnceAndNotLogged(t *testing.T) {
	t.Parallel()
	var log safeBuffer
	api := apitest.Start(t, apitest.Settings{
		Record: seen, Log: slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	request := client.CreateWebhookEndpointRequest{URL: publicURL, Types: []client.EventType{client.EventTypeOrderPaid}}
	made := endpoint(t, api, new("once"), request)
	require.NotNil(t, made.JSON201, string(made.Body))
	assert.Equal(t, "/api/webhook-endpoints/"+made.JSON201.ID, made.Headers201.Location)
	require.NotNil(t, made.JSON201.Secret)
	shown := *made.JSON201
	shown.Secret = nil
	again := endpoint(t, api, new("once"), request)
	assert.NotNil(t, again.Headers201.IdempotentReplayed)
	assert.Equal(t, shown, *again.JSON201)
	read, err := api.GetWebhookEndpointWithResponse(t.Context(), shown.ID)
	require.NoError(t, err)
	assert.Equal(t, shown, *read.JSON200)
	list, err := api.ListWebhookEndpointsWithResponse(t.Context(), nil)
	require.NoError(t, err)
	assert.Equal(t, []client.WebhookEndpoint{shown}, list.JSON200.Data)

	params := &client.RotateWebhookSecretParams{IdempotencyKey: new("once")}
	rotated, err := api.RotateWebhookSecretWithResponse(t.Context(), shown.ID, params)
	require.NoError(t, err)
	require.NotNil(t, rotated.JSON200.Secret)
	assert.NotEqual(t, *made.JSON201.Secret, *rotated.JSON200.Secret)
	assert.WithinDuration(t, time.Now().Add(24*time.Hour), *rotated.JSON200.PreviousSecretExpiresAt, time.Minute)
	replay, err := api.RotateWebhookSecretWithResponse(t.Context(), shown.ID, params)
	require.NoError(t, err)
	assert.NotNil(t, replay.Headers200.IdempotentReplayed)
	assert.Nil(t, replay.JSON200.Secret)
	assert.NotContains(t, log.String(), "whsec_")
	assert.Contains(t, log.String(), "webhook.secret_rotated")
}

func TestDeletedEndpointIsGoneForEverybody(t *testing.T) {
	t.Parallel()
	api := start(t)
	request := client.CreateWebhookEndpointRequest{URL: publicURL}
	made := endpoint(t, api, new("key"), request)
	id := made.JSON201.ID
	deleted, err := api.DeleteWebhookEndpointWithResponse(t.Context(), id)
	require.NoError(t, err)
	assert.Equal(t, http.StatusNoContent, deleted.StatusCode())
	assert.Empty(t, deleted.Body)
	deleted, err = api.DeleteWebhookEndpointWithResponse(t.Context(), id)
	refused(t, deleted, err, http.StatusNotFound, client.ProblemCodeEndpointNotFound)
	read, err := api.GetWebhookEndpointWithResponse(t.Context(), id)
	refused(t, read, err, http.StatusNotFound, client.ProblemCodeEndpointNotFound)
	rotated, err := api.RotateWebhookSecretWithResponse(t.Context(), id, nil)
	refused(t, rotated, err, http.StatusNotFound, client.ProblemCodeEndpointNotFound)
	refused(t, endpoint(t, api, new("key"), request), nil, http.StatusNotFound, client.ProblemCodeEndpointNotFound)
}

func TestEndpointsAreAHundredAtMostAndListedInPages(t *testing.T) {
	t.Parallel()
	api := start(t)
	require.NoError(t, apitest.Together(sale.MaxEndpoints, func(int) error {
		_, err := api.CreateWebhookEndpointWithResponse(t.Context(), nil, client.CreateWebhookEndpointRequest{URL: publicURL})
		return err
	}))
	refused(t, endpoint(t, api, nil, client.CreateWebhookEndpointRequest{URL: publicURL}), nil,
		http.StatusConflict, client.ProblemCodeTooManyEndpoints)
	ids := map[string]bool{}
	params := client.ListWebhookEndpointsParams{Limit: new(30)}
	for more := true; more; more = params.Cursor != nil {
		reply, err := api.ListWebhookEndpointsWithResponse(t.Context(), &params)
		require.NoError(t, err)
		for _, one := range reply.JSON200.Data {
			assert.False(t, ids[one.ID])
			ids[one.ID] = true
		}
		params.Cursor = reply.JSON200.NextCursor
	}
	assert.Len(t, ids, sale.MaxEndpoints)
	params.Cursor = new("nonsense")
	reply, err := api.ListWebhookEndpointsWithResponse(t.Context(), &params)
	problem := refused(t, reply, err, http.StatusUnprocessableEntity, client.ProblemCodeInvalidRequest)
	assert.Equal(t, []string{"/query/cursor"}, pointers(problem))
	answer, err := api.Send(t.Context(), http.MethodGet, "/api/webhook-endpoints?limit=%zz", "")
	refused(t, answer, err, http.StatusBadRequest, client.ProblemCodeMalformedRequest)
}

func TestURLThatMayNotBeSentToIsPointedAt(t *testing.T) {
	t.Parallel()
	api := start(t)
	for _, target := range []string{
		"http://example.com/", "https://127.0.0.1/", "https://[::1]/", "https://[::ffff:10.0.0.1]/", "https://169.254.169.254/",
		"https://user@example.com/", "https://example.com/#x", "example.com", "ftp://example.com/",
	} {
		reply := endpoint(t, api, nil, client.CreateWebhookEndpointRequest{URL: target})
		problem := refused(t, reply, nil, http.StatusUnprocessableEntity, client.ProblemCodeInvalidRequest)
		assert.Equal(t, []string{"/url"}, pointers(problem), target)
	}
}

func TestEqualKeyThatStillRunsIsInProgress(t *testing.T) {
	t.Parallel()
	// One at a time waits for the row, as long as an operation may take. Whoever comes
	// behind waits for several others, which is too long.
	api := apitest.Start(t, apitest.Settings{Record: seen, Environ: apitest.AsShipped()})
	var id client.EndpointID
	eventually(t, func() bool {
		made, err := api.CreateWebhookEndpointWithResponse(t.Context(), nil, client.CreateWebhookEndpointRequest{URL: publicURL})
		if err != nil || made.JSON201 == nil {
			return false
		}
		id = made.JSON201.ID
		return true
	})
	tx, err := api.Other.DB.SQL().BeginTx(t.Context(), nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = tx.Rollback() })
	var locked int
	require.NoError(t, tx.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM webhook_endpoints FOR UPDATE").Scan(&locked))
	var overloaded, inProgress atomic.Bool
	require.NoError(t, apitest.Together(8, func(int) error {
		for !overloaded.Load() || !inProgress.Load() {
			params := &client.RotateWebhookSecretParams{IdempotencyKey: new("busy")}
			reply, err := api.RotateWebhookSecretWithResponse(t.Context(), id, params)
			if err != nil {
				return err
			}
			if !assert.NotNil(t, reply.ApplicationProblemJSONDefault) {
				return nil
			}
			switch code := reply.ApplicationProblemJSONDefault.Code; code {
			case client.ProblemCodeUnavailable: // the ping after an operation ran out of time was late
			case client.ProblemCodeOverloaded:
				overloaded.Store(true)
			case client.ProblemCodeIdempotencyInProgress:
				inProgress.Store(true)
			default:
				return fmt.Errorf("answered %s", code)
			}
		}
		return nil
	}))
	assert.True(t, overloaded.Load() && inProgress.Load())
}

func TestWhatHappensToAnOrderReachesAnEndpointSigned(t *testing.T) {
	t.Parallel()
	api := apitest.Start(t, apitest.Settings{Record: seen, Environ: []string{
		app.EnvWebhookInterval + "=10ms", app.EnvWebhookAllowPrivate + "=true",
	}})
	type letter struct {
		header http.Header
		body   []byte
	}
	letters := make(chan letter, 10)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if assert.NoError(t, err) {
			letters <- letter{r.Header, body}
		}
	}))
	t.Cleanup(server.Close)
	made := endpoint(t, api, nil, client.CreateWebhookEndpointRequest{
		URL: server.URL, Types: []client.EventType{client.EventTypeOrderPaid},
	})
	require.NotNil(t, made.JSON201, string(made.Body))
	order := api.Order(t, 1, api.Product(t, 1))
	tell(t, api, api.Standard, apitest.NewEvent(apitest.Succeeded, order))
	select {
	case got := <-letters:
		verifier, err := payment.New(payment.Config{StandardSecrets: []string{*made.JSON201.Secret}})
		require.NoError(t, err)
		_, err = verifier.Verify(got.header, got.body, time.Now())
		require.NoError(t, err)
		assert.Contains(t, string(got.body), `"type":"order.paid"`)
		assert.Contains(t, string(got.body), order.ID)
	case <-time.After(patience):
		require.FailNow(t, "nothing was delivered")
	}
}

// members are what each type of event tells beside its sequence, in every form that the
// contract names.
var members = map[client.EventType][]string{
	client.EventTypeOrderCreated:       {"amount currency customer_id order_id pay_by"},
	client.EventTypeOrderPaid:          {"amount currency order_id payment_id provider", "order_id"},
	client.EventTypeOrderPaymentFailed: {"amount currency order_id payment_id provider"},
	client.EventTypeOrderExpired:       {"order_id"},
	client.EventTypeOrderCancelled:     {"order_id"},
	client.EventTypeOrderRefundDue: {
		"amount currency order_id payment_id provider reason", "amount currency order_id payment_id provider reason restocked",
	},
	client.EventTypeOrderRefunded: {
		"amount currency order_id payment_id provider", "amount currency order_id reason restocked",
	},
	client.EventTypePaymentRefundDue: {"amount currency order_id payment_id provider reason"},
	client.EventTypePaymentMismatch:  {"amount currency order_id payment_id provider"},
	client.EventTypeStockChanged:     {"available_stock product_id total_stock"},
}

func TestEveryEventTellsWhatTheContractSays(t *testing.T) {
	t.Parallel()
	api := apitest.Start(t, apitest.Settings{Record: seen, Environ: []string{
		app.EnvWebhookInterval + "=10ms", app.EnvWebhookAllowPrivate + "=true",
	}})
	doc, err := openapi3.NewLoader().LoadFromData(spec.Spec)
	require.NoError(t, err)
	schema := doc.Components.Schemas["WebhookEvent"].Value

	var mu sync.Mutex
	got := map[client.EventType][]string{}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if !assert.NoError(t, err) {
			return
		}
		var event client.WebhookEvent
		known := json.NewDecoder(bytes.NewReader(body))
		known.DisallowUnknownFields()
		assert.NoError(t, known.Decode(&event), "%s", body)
		var whole map[string]any
		assert.NoError(t, json.Unmarshal(body, &whole))
		assert.NoError(t, schema.VisitJSON(whole), "%s", body)
		data, _ := whole["data"].(map[string]any)
		delete(data, "sequence")
		form := strings.Join(slices.Sorted(maps.Keys(data)), " ")
		mu.Lock()
		defer mu.Unlock()
		if !slices.Contains(got[event.Type], form) {
			got[event.Type] = append(got[event.Type], form)
			slices.Sort(got[event.Type])
		}
	}))
	t.Cleanup(server.Close)
	require.NotNil(t, endpoint(t, api, nil, client.CreateWebhookEndpointRequest{URL: server.URL}).JSON201)
	haveEveryEvent(t, api)
	defer func() {
		mu.Lock()
		defer mu.Unlock()
		assert.Equal(t, members, got)
	}()
	eventually(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return assert.ObjectsAreEqual(members, got)
	})
}

// haveEveryEvent makes happen whatever is told of, in each of its forms.
func haveEveryEvent(t *testing.T, api *apitest.API) {
	t.Helper()
	product := api.Product(t, 100)
	refund := func(order client.Order) {
		reply, err := api.RefundOrderWithResponse(t.Context(), order.ID, nil, client.RefundOrderRequest{Restock: true})
		require.NoError(t, err)
		require.NotNil(t, reply.JSON200, string(reply.Body))
	}
	paid := api.Order(t, 1, product)
	success := apitest.NewEvent(apitest.Succeeded, paid)
	tell(t, api, api.Standard, success)
	tell(t, api, api.Standard, apitest.NewEvent(apitest.Succeeded, paid))
	refund(paid)
	back := apitest.NewEvent(apitest.Refunded, paid)
	back.PaymentID = success.PaymentID
	tell(t, api, api.Standard, back)

	cancelled := api.Order(t, 1, product)
	_, err := api.CancelOrderWithResponse(t.Context(), cancelled.ID, nil)
	require.NoError(t, err)
	tell(t, api, api.Stripe, apitest.NewEvent(apitest.Succeeded, cancelled))
	failed := api.Order(t, 1, product)
	tell(t, api, api.Stripe, apitest.NewEvent(apitest.Failed, failed))
	wrong := apitest.NewEvent(apitest.Succeeded, failed)
	wrong.Amount--
	tell(t, api, api.Standard, wrong)

	refund(api.Order(t, 1, api.Product(t, 1, func(r *client.CreateProductRequest) { r.Price.Amount = 0 })))
	api.Expire(t, api.Order(t, 1, product).HoldID)
	_, err = api.Other.Actions.ReleaseExpired.Do(t.Context())
	require.NoError(t, err)
}

// safeBuffer is a log that may be read while it is written.
type safeBuffer struct {
	mu  sync.Mutex
	log bytes.Buffer
}

func (b *safeBuffer) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.log.Write(line)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.log.String()
}
