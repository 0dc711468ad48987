package contract

import (
	"crypto/rand"
	"net/http"
	"testing"
	"time"

	"github.com/oapi-codegen/nullable"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/gen/client"
	"github.com/flashsale-api/flashsale/test/apitest"
)

func TestCreateProductAnswersWhatWasAskedForAndWhereItIs(t *testing.T) {
	t.Parallel()
	api := start(t)
	starts := time.Now().Add(-time.Hour).UTC().Truncate(time.Microsecond)
	request := apitest.NewProduct(7)
	request.SaleStartsAt, request.SaleEndsAt = &starts, new(starts.Add(24*time.Hour))
	request.PerCustomerLimit, request.HoldTTLSeconds, request.PaymentWindowSeconds = new(int64(2)), new(int64(60)), new(int64(600))
	reply, err := api.CreateProductWithResponse(t.Context(), nil, request)
	require.NoError(t, err)
	require.Equal(t, http.StatusCreated, reply.StatusCode())
	product := reply.JSON201
	assert.Equal(t, "/api/products/"+product.ID, reply.Headers201.Location)
	assert.Equal(t, request.SKU, product.SKU)
	assert.Equal(t, client.Money{Amount: apitest.Price, Currency: "USD"}, product.Price)
	assert.Equal(t, []int64{7, 7, 60, 600, 2}, []int64{
		product.TotalStock, product.AvailableStock, product.HoldTTLSeconds, product.PaymentWindowSeconds, *product.PerCustomerLimit,
	})
	assert.True(t, starts.Equal(*product.SaleStartsAt))

	read, err := api.GetProductWithResponse(t.Context(), product.ID, nil)
	require.NoError(t, err)
	assert.Equal(t, product, read.JSON200)
}

func TestProductWithoutTimesGetsTheDefaults(t *testing.T) {
	t.Parallel()
	product := start(t).Product(t, 1)
	assert.Equal(t, int64(300), product.HoldTTLSeconds)
	assert.Equal(t, int64(900), product.PaymentWindowSeconds)
	assert.Nil(t, product.PerCustomerLimit)
	assert.Nil(t, product.SaleStartsAt)
}

func TestSKUIsTakenOnceAndCaseCounts(t *testing.T) {
	t.Parallel()
	api := start(t)
	first := api.Product(t, 1, func(r *client.CreateProductRequest) { r.SKU = "Sneaker" })
	request := apitest.NewProduct(1)
	request.SKU = first.SKU
	reply, err := api.CreateProductWithResponse(t.Context(), nil, request)
	refused(t, reply, err, http.StatusConflict, client.ProblemCodeSKUTaken)
	api.Product(t, 1, func(r *client.CreateProductRequest) { r.SKU = "SNEAKER" })
}

func TestListGivesEveryProductOnceInPages(t *testing.T) {
	t.Parallel()
	api := start(t)
	made := map[string]bool{}
	for range 5 {
		made[api.Product(t, 1).ID] = true
	}
	listed := map[string]bool{}
	params := &client.ListProductsParams{Limit: new(2)}
	for range 3 {
		reply, err := api.ListProductsWithResponse(t.Context(), params)
		require.NoError(t, err)
		require.NotNil(t, reply.JSON200)
		for _, product := range reply.JSON200.Data {
			assert.False(t, listed[product.ID], "a product is listed twice")
			listed[product.ID] = true
		}
		params.Cursor = reply.JSON200.NextCursor
	}
	assert.Equal(t, made, listed)
	assert.Nil(t, params.Cursor, "the last page has no next one")
}

func TestListRefusesACursorOrLimitThatItDidNotGive(t *testing.T) {
	t.Parallel()
	api := start(t)
	reply, err := api.ListProductsWithResponse(t.Context(), &client.ListProductsParams{Cursor: new("nonsense"), Limit: new(1)})
	problem := refused(t, reply, err, http.StatusUnprocessableEntity, client.ProblemCodeInvalidRequest)
	assert.Equal(t, []string{"/query/cursor"}, pointers(problem))
	reply, err = api.ListProductsWithResponse(t.Context(), &client.ListProductsParams{Limit: new(101)})
	problem = refused(t, reply, err, http.StatusUnprocessableEntity, client.ProblemCodeInvalidRequest)
	assert.Equal(t, []string{"/query/limit"}, pointers(problem))
	answer, err := api.Send(t.Context(), http.MethodGet, "/api/products?limit=%zz", "")
	refused(t, answer, err, http.StatusBadRequest, client.ProblemCodeMalformedRequest)
}

func TestPatchChangesWhatItNamesAndTakesAwayWhatIsNull(t *testing.T) {
	t.Parallel()
	api := start(t)
	product := api.Product(t, 3, func(r *client.CreateProductRequest) {
		r.PerCustomerLimit, r.SaleEndsAt = new(int64(1)), new(time.Now().Add(time.Hour))
	})
	patch := client.UpdateProductRequest{
		Name: new("Renamed"), PerCustomerLimit: nullable.NewNullNullable[int64](), SaleEndsAt: nullable.NewNullNullable[time.Time](),
	}
	reply, err := api.UpdateProductWithResponse(t.Context(), product.ID, patch)
	require.NoError(t, err)
	require.NotNil(t, reply.JSON200, string(reply.Body))
	assert.Equal(t, "Renamed", reply.JSON200.Name)
	assert.Nil(t, reply.JSON200.PerCustomerLimit)
	assert.Nil(t, reply.JSON200.SaleEndsAt)
	assert.Equal(t, product.Price, reply.JSON200.Price)
	assert.Greater(t, reply.JSON200.Version, product.Version)

	again, err := api.Send(t.Context(), http.MethodPatch, "/api/products/"+product.ID, `{"name":"Renamed"}`,
		"Content-Type", "application/merge-patch+json")
	require.NoError(t, err)
	assert.Equal(t, http.StatusOK, again.Status)
	assert.JSONEq(t, string(reply.Body), string(again.Body), "a patch that changes nothing leaves the version")
}

func TestPatchRefusesAWindowThatEndsBeforeItStarts(t *testing.T) {
	t.Parallel()
	api := start(t)
	product := api.Product(t, 1)
	now := time.Now()
	reply, err := api.UpdateProductWithResponse(t.Context(), product.ID, client.UpdateProductRequest{
		SaleStartsAt: nullable.NewNullableWithValue(now), SaleEndsAt: nullable.NewNullableWithValue(now.Add(-time.Second)),
	})
	problem := refused(t, reply, err, http.StatusUnprocessableEntity, client.ProblemCodeInvalidRequest)
	assert.Equal(t, []string{"/sale_ends_at"}, pointers(problem))
}

func TestStockIsAdjustedAsFarAsItIsAvailable(t *testing.T) {
	t.Parallel()
	api := start(t)
	product := api.Product(t, 5)
	api.Hold(t, 2, product)
	adjust := func(delta int64) *client.AdjustStockResponse {
		reply, err := api.AdjustStockWithResponse(t.Context(), product.ID, nil, client.AdjustStockRequest{Delta: delta, Reason: "count"})
		require.NoError(t, err)
		return reply
	}
	problem := refused(t, adjust(-4), nil, http.StatusConflict, client.ProblemCodeInsufficientStock)
	assert.Equal(t, product.ID, *problem.ProductID)
	assert.Equal(t, []int64{4, 3}, []int64{*problem.Requested, *problem.Available})
	assert.Equal(t, int64(0), adjust(-3).JSON200.AvailableStock)
	assert.Equal(t, int64(12), adjust(10).JSON200.TotalStock)
	tooMuch := refused(t, adjust(1_000_000_000), nil, http.StatusUnprocessableEntity, client.ProblemCodeInvalidRequest)
	assert.Equal(t, []string{"/delta"}, pointers(tooMuch))
	nothing := refused(t, adjust(0), nil, http.StatusUnprocessableEntity, client.ProblemCodeInvalidRequest)
	assert.Equal(t, []string{"/delta"}, pointers(nothing))
	api.Books(t)
}

func TestWhatNobodyHasIsNotFoundAndWhatIsNoIDIsInvalid(t *testing.T) {
	t.Parallel()
	api := start(t)
	json := []string{"Content-Type", "application/json"}
	for _, ask := range []struct {
		method, path, strange, body string
		code                        client.ProblemCode
	}{
		{http.MethodGet, "/api/products/%s", strangeProduct, "", client.ProblemCodeProductNotFound},
		{http.MethodPatch, "/api/products/%s", strangeProduct, `{"name":"x"}`, client.ProblemCodeProductNotFound},
		{http.MethodPost, "/api/products/%s/stock-adjustments", strangeProduct, `{"delta":1,"reason":"x"}`, client.ProblemCodeProductNotFound},
		{http.MethodGet, "/api/products/%s/stock-movements", strangeProduct, "", client.ProblemCodeProductNotFound},
		{http.MethodGet, "/api/products/%s/audit", strangeProduct, "", client.ProblemCodeProductNotFound},
		{http.MethodGet, "/api/holds/%s", strangeHold, "", client.ProblemCodeHoldNotFound},
		{http.MethodPost, "/api/holds/%s/release", strangeHold, "", client.ProblemCodeHoldNotFound},
		{http.MethodPost, "/api/holds/%s/extend", strangeHold, `{"seconds":1}`, client.ProblemCodeHoldNotFound},
		{http.MethodPost, "/api/orders", "", `{"hold_id":"` + strangeHold + `"}`, client.ProblemCodeHoldNotFound},
		{http.MethodGet, "/api/orders/%s", strangeOrder, "", client.ProblemCodeOrderNotFound},
		{http.MethodGet, "/api/webhook-endpoints/%s", strangeEndpoint, "", client.ProblemCodeEndpointNotFound},
		{http.MethodDelete, "/api/webhook-endpoints/%s", strangeEndpoint, "", client.ProblemCodeEndpointNotFound},
		{http.MethodPost, "/api/webhook-endpoints/%s/rotate-secret", strangeEndpoint, "", client.ProblemCodeEndpointNotFound},
		{http.MethodPost, "/api/orders/%s/cancel", strangeOrder, "", client.ProblemCodeOrderNotFound},
		{http.MethodPost, "/api/orders/%s/refund", strangeOrder, `{"restock":false}`, client.ProblemCodeOrderNotFound},
	} {
		answer, err := api.Send(t.Context(), ask.method, fill(ask.path, ask.strange), ask.body, json...)
		refused(t, answer, err, http.StatusNotFound, ask.code)
		if ask.strange == "" {
			continue
		}
		for _, id := range []string{"x", "prod_", "evt_01kjma0fm0ek0tz2p1tewg37hq", ask.strange + "0", "%00", "%F0%9F%98%80"} {
			answer, err := api.Send(t.Context(), ask.method, fill(ask.path, id), ask.body, json...)
			problem := refused(t, answer, err, http.StatusUnprocessableEntity, client.ProblemCodeInvalidRequest)
			assert.Len(t, pointers(problem), 1)
			assert.Contains(t, pointers(problem)[0], "/path/")
		}
	}
	reply, err := api.CreateHoldWithResponse(t.Context(), nil, apitest.Wish("customer-"+rand.Text(), 1, client.Product{ID: strangeProduct}))
	problem := refused(t, reply, err, http.StatusNotFound, client.ProblemCodeProductNotFound)
	assert.Equal(t, strangeProduct, one(t, problem, client.Product{ID: strangeProduct}).ProductID)
}
