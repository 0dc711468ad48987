package contract

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/gen/client"
	"github.com/flashsale-api/flashsale/internal/app"
	"github.com/flashsale-api/flashsale/internal/testenv"
	"github.com/flashsale-api/flashsale/test/apitest"
)

func TestNothingFailsWithoutRedis(t *testing.T) {
	t.Parallel()
	redis := testenv.OwnRedis(t)
	api := apitest.Start(t, apitest.Settings{Record: seen, RedisURL: redis.URL()})
	product := api.Product(t, 20)
	buy := func() {
		left := api.Stock(t, product)
		order := api.Order(t, 1, product)
		assert.Equal(t, client.PaymentOutcomePaid, tell(t, api, api.Standard, apitest.NewEvent(apitest.Succeeded, order)))
		assert.Equal(t, left-1, api.Stock(t, product))
	}
	ready := func(with client.ReadinessRedis) func() bool {
		return func() bool {
			reply, err := api.GetReadinessWithResponse(t.Context())
			require.NoError(t, err)
			return reply.JSON200 != nil && reply.JSON200.Redis == with
		}
	}
	buy()
	redis.Pause()
	buy()
	redis.Unpause()
	redis.Stop()
	buy()
	eventually(t, ready(client.ReadinessRedisDown))
	buy()
	redis.Start()
	eventually(t, ready(client.ReadinessRedisUp))
	buy()
	assert.Equal(t, int64(5), api.Books(t)[product.ID].Sold)
}

func TestServiceSaysUnavailableWithoutMySQLAndGoesOnByItself(t *testing.T) {
	t.Parallel()
	server := testenv.OwnMySQL(t)
	api := apitest.Start(t, apitest.Settings{Record: seen, DSN: server.DSN()})
	product := api.Product(t, 20)
	order, paid := api.Order(t, 1, product), api.Order(t, 1, product)
	assert.Equal(t, client.PaymentOutcomePaid, tell(t, api, api.Stripe, apitest.NewEvent(apitest.Succeeded, paid)))

	server.Stop()
	for _, call := range everyCall(t, api, order) {
		reply, err := call.do(t.Context())
		refused(t, reply, err, http.StatusServiceUnavailable, client.ProblemCodeUnavailable)
	}
	ready, err := api.GetReadinessWithResponse(t.Context())
	refused(t, ready, err, http.StatusServiceUnavailable, client.ProblemCodeUnavailable)
	live, err := api.GetLivenessWithResponse(t.Context())
	require.NoError(t, err)
	assert.Equal(t, http.StatusOK, live.StatusCode())

	server.Start()
	assert.Equal(t, client.OrderStatusPendingPayment, orderStatus(t, api, order))
	assert.Equal(t, client.OrderStatusPaid, orderStatus(t, api, paid))
	assert.Equal(t, client.PaymentOutcomePaid, tell(t, api, api.Standard, apitest.NewEvent(apitest.Succeeded, order)))
	assert.Equal(t, int64(18), api.Stock(t, product))
	assert.Equal(t, int64(2), api.Books(t)[product.ID].Sold)
	back, err := api.GetReadinessWithResponse(t.Context())
	require.NoError(t, err)
	assert.Equal(t, http.StatusOK, back.StatusCode())
}

func TestServiceSaysSoWhenMySQLHangsAndGoesOnByItself(t *testing.T) {
	t.Parallel()
	server := testenv.OwnMySQL(t)
	api := apitest.Start(t, apitest.Settings{
		Record: seen, DSN: server.DSN(), Environ: apitest.AsShipped(),
	})
	product := api.Product(t, 20)
	params := &client.CreateHoldParams{IdempotencyKey: new("key-" + rand.Text())}
	hold := func() *client.CreateHoldResponse {
		reply, err := api.CreateHoldWithResponse(t.Context(), params, apitest.Wish("a", 1, product))
		require.NoError(t, err)
		return reply
	}
	server.Pause()
	require.NoError(t, apitest.Together(20, func(int) error {
		reply, err := api.CreateHoldWithResponse(t.Context(), nil, apitest.Wish("b", 1, product))
		if err == nil && reply.StatusCode() != http.StatusServiceUnavailable {
			return fmt.Errorf("answered %d: %s", reply.StatusCode(), reply.Body)
		}
		return err
	}))
	require.Equal(t, http.StatusServiceUnavailable, hold().StatusCode())
	server.Unpause()
	eventually(t, func() bool {
		reply := hold()
		return reply.StatusCode() == http.StatusCreated && reply.Headers201.IdempotentReplayed != nil
	})
	api.Books(t)
}

func TestFaultOfTheServerIsAnsweredWithoutItsInsides(t *testing.T) {
	t.Parallel()
	api := start(t)
	order := api.Order(t, 1, api.Product(t, 20))
	_, err := api.Other.DB.SQL().ExecContext(t.Context(),
		"DROP TABLE products, hold_lines, orders, payments, payment_events, movements, idempotency_keys, outbox, "+
			"announcements, webhook_endpoints, deliveries, stock_tellings")
	require.NoError(t, err)
	for _, call := range everyCall(t, api, order) {
		reply, err := call.do(t.Context())
		problem := refused(t, reply, err, http.StatusInternalServerError, client.ProblemCodeInternalError)
		for _, word := range []string{"table", "hold_lines", "1146", "mysql"} {
			assert.NotContains(t, strings.ToLower(problem.Title+*problem.Detail), word, call.operation)
		}
	}
}

func TestLostAnswerToACommitIsFoundOut(t *testing.T) {
	t.Parallel()
	proxy := testenv.NewCommitProxy(t, testenv.Database(t))
	api := apitest.Start(t, apitest.Settings{Record: seen, DSN: proxy.DSN()})
	product := api.Product(t, 10)
	for i, key := range []*string{new("plain"), apitest.HoldKey(t, product), nil} {
		proxy.CutNextCommitAnswer()
		reply, err := api.CreateHoldWithResponse(t.Context(), &client.CreateHoldParams{IdempotencyKey: key}, apitest.Wish("a", 1, product))
		require.NoError(t, err)
		require.NotNil(t, reply.JSON201, string(reply.Body))
		require.Equal(t, int64(2*i+1), proxy.Cuts())

		proxy.CutNextCommit()
		lost, err := api.CreateHoldWithResponse(t.Context(), nil, apitest.Wish("a", 1, product))
		refused(t, lost, err, http.StatusServiceUnavailable, client.ProblemCodeUnavailable)
		assert.Equal(t, int64(i+1), api.Books(t)[product.ID].Held)
	}
}

func TestOutcomeThatNobodyCanTellIsUnknownAndTheSameKeyTellsItLater(t *testing.T) {
	t.Parallel()
	dsn := testenv.Database(t)
	account := newAccount(t, dsn)
	proxy := testenv.NewCommitProxy(t, account.dsn)
	api := apitest.Start(t, apitest.Settings{
		Record: seen, DSN: proxy.DSN(), Environ: []string{app.EnvMySQLConnections + "=1"},
	})
	product := api.Product(t, 10)
	params := &client.CreateHoldParams{IdempotencyKey: new("key-" + rand.Text())}
	account.lock(t)
	proxy.CutNextCommitAnswer()
	reply, err := api.CreateHoldWithResponse(t.Context(), params, apitest.Wish("a", 1, product))
	refused(t, reply, err, http.StatusServiceUnavailable, client.ProblemCodeOutcomeUnknown)

	account.unlock(t)
	reply, err = api.CreateHoldWithResponse(t.Context(), params, apitest.Wish("a", 1, product))
	require.NoError(t, err)
	require.NotNil(t, reply.JSON201, string(reply.Body))
	assert.NotNil(t, reply.Headers201.IdempotentReplayed, "it had been done")
	assert.Equal(t, int64(1), api.Books(t)[product.ID].Held)
}
