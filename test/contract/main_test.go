// Package contract tests the service through its generated client: each
// operation, each refusal, each problem code, and what happens when MySQL or
// Redis fails. Every answer is checked against the OpenAPI document.
package contract

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/gen/client"
	"github.com/flashsale-api/flashsale/test/apitest"
)

const (
	// patience is what a test waits for something that has to come.
	patience  = 30 * time.Second
	pollEvery = 5 * time.Millisecond
)

// seen is what the run's tests saw answered.
var seen = apitest.NewRecord()

// TestMain runs the tests. A run of all of them fails when the contract
// documents a status of an operation, or a code, that none of them has provoked.
func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 && runsAll() {
		missing, err := seen.Missing()
		if err != nil || len(missing) > 0 {
			fmt.Fprintln(os.Stderr, "FAIL: the contract documents what no test provokes:", err, "\n"+strings.Join(missing, "\n"))
			code = 1
		}
	}
	os.Exit(code)
}

// runsAll is false when the caller chose some tests, or none.
func runsAll() bool {
	for _, name := range []string{"test.run", "test.skip", "test.list"} {
		if flag.Lookup(name).Value.String() != "" {
			return false
		}
	}
	return true
}

// start runs a service of the test's own, whose answers count for the guard.
func start(t *testing.T) *apitest.API {
	t.Helper()
	return apitest.Start(t, apitest.Settings{Record: seen})
}

// refused asserts a problem and gives it.
func refused(t *testing.T, reply apitest.Reply, err error, status int, code client.ProblemCode) client.Problem {
	t.Helper()
	require.NoError(t, err)
	problem := reply.GetApplicationProblemJSONDefault()
	require.Equal(t, status, reply.StatusCode(), "%+v", problem)
	require.NotNil(t, problem)
	require.Equal(t, code, problem.Code, "%+v", problem)
	return *problem
}

// eventually waits, at most patience, until something that has to come is there.
func eventually(t *testing.T, there func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for !there() {
		select {
		case <-ctx.Done():
			require.FailNow(t, "what has to come did not")
		case <-ticker.C:
		}
	}
}

// pointers are what a problem calls invalid.
func pointers(problem client.Problem) []string {
	found := make([]string, len(problem.Errors))
	for i, fault := range problem.Errors {
		found[i] = fault.Pointer
	}
	return found
}

// one asserts that a refusal names exactly one line, of its own code, and gives it.
func one(t *testing.T, problem client.Problem, product client.Product) client.RefusedLine {
	t.Helper()
	require.Len(t, problem.Lines, 1)
	assert.Equal(t, problem.Code, problem.Lines[0].Code)
	assert.Equal(t, product.ID, problem.Lines[0].ProductID)
	return problem.Lines[0]
}

// strangers are well-formed ids that nobody has.
const (
	strangeProduct  = "prod_01kjma0fm0ek0tz2p1tewg37hq"
	strangeHold     = "hold_01kjmma2g0f398qskz672th7hq"
	strangeEndpoint = "whe_01kjma0fm0ek0tz2p1tewg37hq"
	strangeOrder    = "ord_01kjmma2g0f398qskz672th7hq"
)

// call is one operation on things that are there.
type call struct {
	operation string
	do        func(ctx context.Context) (apitest.Reply, error)
}

// everyCall calls each operation that needs MySQL, on a scene that exists. The
// product that it reads is one that no cache has.
func everyCall(t *testing.T, api *apitest.API, order client.Order) []call {
	t.Helper()
	product, hold := order.Lines[0].ProductID, order.HoldID
	key := func() *string { return new("key-" + t.Name() + order.ID) }
	type ctx = context.Context
	return []call{
		{"createProduct", func(ctx ctx) (apitest.Reply, error) {
			return api.CreateProductWithResponse(ctx, &client.CreateProductParams{IdempotencyKey: key()}, apitest.NewProduct(1))
		}},
		{"listProducts", func(ctx ctx) (apitest.Reply, error) { return api.ListProductsWithResponse(ctx, nil) }},
		{"getProduct", func(ctx ctx) (apitest.Reply, error) {
			return api.GetProductWithResponse(ctx, strangeProduct, nil)
		}},
		{"watchStock", func(ctx ctx) (apitest.Reply, error) {
			return api.WatchStockWithResponse(ctx, strangeProduct, nil)
		}},
		{"updateProduct", func(ctx ctx) (apitest.Reply, error) {
			return api.UpdateProductWithResponse(ctx, product, client.UpdateProductRequest{Name: new("Another name")})
		}},
		{"adjustStock", func(ctx ctx) (apitest.Reply, error) {
			return api.AdjustStockWithResponse(ctx, product, nil, client.AdjustStockRequest{Delta: 1, Reason: "found"})
		}},
		{"listStockMovements", func(ctx ctx) (apitest.Reply, error) {
			return api.ListStockMovementsWithResponse(ctx, product, nil)
		}},
		{"auditProduct", func(ctx ctx) (apitest.Reply, error) { return api.AuditProductWithResponse(ctx, product) }},
		{"createHold", func(ctx ctx) (apitest.Reply, error) {
			return api.CreateHoldWithResponse(ctx, nil, apitest.Wish("customer", 1, client.Product{ID: product}))
		}},
		{"getHold", func(ctx ctx) (apitest.Reply, error) { return api.GetHoldWithResponse(ctx, hold) }},
		{"releaseHold", func(ctx ctx) (apitest.Reply, error) { return api.ReleaseHoldWithResponse(ctx, hold, nil) }},
		{"extendHold", func(ctx ctx) (apitest.Reply, error) {
			return api.ExtendHoldWithResponse(ctx, hold, nil, client.ExtendHoldRequest{Seconds: 1})
		}},
		{"createOrder", func(ctx ctx) (apitest.Reply, error) {
			return api.CreateOrderWithResponse(ctx, nil, client.CreateOrderRequest{HoldID: hold})
		}},
		{"listOrders", func(ctx ctx) (apitest.Reply, error) { return api.ListOrdersWithResponse(ctx, nil) }},
		{"cancelOrder", func(ctx ctx) (apitest.Reply, error) { return api.CancelOrderWithResponse(ctx, order.ID, nil) }},
		{"refundOrder", func(ctx ctx) (apitest.Reply, error) {
			return api.RefundOrderWithResponse(ctx, order.ID, nil, client.RefundOrderRequest{Restock: true})
		}},
		{"getOrder", func(ctx ctx) (apitest.Reply, error) { return api.GetOrderWithResponse(ctx, order.ID) }},
		{"createWebhookEndpoint", func(ctx ctx) (apitest.Reply, error) {
			return api.CreateWebhookEndpointWithResponse(ctx, nil, client.CreateWebhookEndpointRequest{URL: publicURL})
		}},
		{"listWebhookEndpoints", func(ctx ctx) (apitest.Reply, error) { return api.ListWebhookEndpointsWithResponse(ctx, nil) }},
		{"getWebhookEndpoint", func(ctx ctx) (apitest.Reply, error) {
			return api.GetWebhookEndpointWithResponse(ctx, strangeEndpoint)
		}},
		{"deleteWebhookEndpoint", func(ctx ctx) (apitest.Reply, error) {
			return api.DeleteWebhookEndpointWithResponse(ctx, strangeEndpoint)
		}},
		{"rotateWebhookSecret", func(ctx ctx) (apitest.Reply, error) {
			return api.RotateWebhookSecretWithResponse(ctx, strangeEndpoint, nil)
		}},
		{"receivePaymentWebhook", func(ctx ctx) (apitest.Reply, error) {
			return api.Tell(ctx, api.Standard, apitest.NewEvent(apitest.Succeeded, order))
		}},
	}
}
