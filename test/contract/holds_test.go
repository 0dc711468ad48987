package contract

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/gen/client"
	"github.com/flashsale-api/flashsale/test/apitest"
)

// refusedHold asks for a hold that must not be had.
func refusedHold(t *testing.T, api *apitest.API, wish client.CreateHoldRequest, status int, code client.ProblemCode) client.Problem {
	t.Helper()
	reply, err := api.CreateHoldWithResponse(t.Context(), nil, wish)
	return refused(t, reply, err, status, code)
}

func TestHoldTakesUnitsOfSeveralProductsOffSaleAndMergesLines(t *testing.T) {
	t.Parallel()
	api := start(t)
	short := func(r *client.CreateProductRequest) { r.HoldTTLSeconds = new(int64(60)) }
	one, two := api.Product(t, 9), api.Product(t, 9, short)
	reply, err := api.CreateHoldWithResponse(t.Context(), nil, apitest.Wish("customer-17", 2, one, two, one))
	require.NoError(t, err)
	require.NotNil(t, reply.JSON201, string(reply.Body))
	hold := reply.JSON201
	assert.Equal(t, "/api/holds/"+hold.ID, reply.Headers201.Location)
	assert.Equal(t, client.HoldStatusActive, hold.Status)
	price := client.Money{Amount: apitest.Price, Currency: "USD"}
	assert.Equal(t, []client.Line{
		{ProductID: one.ID, Quantity: 4, UnitPrice: price}, {ProductID: two.ID, Quantity: 2, UnitPrice: price},
	}, hold.Lines)
	assert.Equal(t, client.Money{Amount: 6 * apitest.Price, Currency: "USD"}, hold.Total)
	assert.Equal(t, time.Minute, hold.ExpiresAt.Sub(hold.CreatedAt), "of several products the shortest time counts")
	assert.Equal(t, []int64{5, 7}, []int64{api.Stock(t, one), api.Stock(t, two)})

	read, err := api.GetHoldWithResponse(t.Context(), hold.ID)
	require.NoError(t, err)
	assert.Equal(t, hold, read.JSON200)
	api.Books(t)
}

func TestHoldIsRefusedOutsideOfTheSaleWindow(t *testing.T) {
	t.Parallel()
	api := start(t)
	later := time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)
	before := api.Product(t, 1, func(r *client.CreateProductRequest) { r.SaleStartsAt = &later })
	line := one(t, refusedHold(t, api, apitest.Wish("c", 1, before), http.StatusConflict, client.ProblemCodeSaleNotStarted), before)
	assert.True(t, later.Equal(*line.SaleStartsAt))
	earlier := time.Now().Add(-time.Hour).UTC().Truncate(time.Microsecond)
	after := api.Product(t, 1, func(r *client.CreateProductRequest) { r.SaleEndsAt = &earlier })
	line = one(t, refusedHold(t, api, apitest.Wish("c", 1, after), http.StatusConflict, client.ProblemCodeSaleEnded), after)
	assert.True(t, earlier.Equal(*line.SaleEndsAt))
}

func TestHoldIsRefusedPastTheLimitOfACustomer(t *testing.T) {
	t.Parallel()
	api := start(t)
	product := api.Product(t, 9, func(r *client.CreateProductRequest) { r.PerCustomerLimit = new(int64(2)) })
	reply, err := api.CreateHoldWithResponse(t.Context(), nil, apitest.Wish("buyer", 2, product))
	require.NoError(t, err)
	require.Equal(t, http.StatusCreated, reply.StatusCode())
	line := one(t, refusedHold(t, api, apitest.Wish("buyer", 1, product), http.StatusConflict, client.ProblemCodeLimitReached), product)
	assert.Equal(t, []int64{2, 2}, []int64{*line.Limit, *line.Current})
	api.Hold(t, 2, product)
	reply, err = api.CreateHoldWithResponse(t.Context(), nil, apitest.Wish("BUYER", 1, product))
	require.NoError(t, err)
	assert.Equal(t, http.StatusCreated, reply.StatusCode(), "customers are told apart by case")
}

func TestRefusalSaysWhetherUnitsAreFewHeldOrSold(t *testing.T) {
	t.Parallel()
	api := start(t)
	product := api.Product(t, 2)
	line := one(t, refusedHold(t, api, apitest.Wish("c", 3, product), http.StatusConflict, client.ProblemCodeInsufficientStock), product)
	assert.Equal(t, []int64{3, 2}, []int64{*line.Requested, *line.Available})

	order := api.Order(t, 2, product)
	line = one(t, refusedHold(t, api, apitest.Wish("c", 1, product), http.StatusConflict, client.ProblemCodeAllHeld), product)
	assert.Zero(t, *line.Available)
	assert.True(t, order.PayBy.Equal(*line.NextReleaseAt))

	reply, err := api.Tell(t.Context(), api.Standard, apitest.NewEvent(apitest.Succeeded, order))
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, reply.StatusCode())
	line = one(t, refusedHold(t, api, apitest.Wish("c", 1, product), http.StatusConflict, client.ProblemCodeSoldOut), product)
	assert.Zero(t, *line.Available)
	assert.Nil(t, line.NextReleaseAt)
	api.Books(t)
}

func TestRefusedHoldTakesNothingOfItsOtherLines(t *testing.T) {
	t.Parallel()
	api := start(t)
	full, empty := api.Product(t, 5), api.Product(t, 0)
	problem := refusedHold(t, api, apitest.Wish("c", 1, full, empty), http.StatusConflict, client.ProblemCodeSoldOut)
	one(t, problem, empty)
	assert.Equal(t, int64(5), api.Stock(t, full))
	euro := api.Product(t, 5, func(r *client.CreateProductRequest) { r.Price.Currency = "EUR" })
	refusedHold(t, api, apitest.Wish("c", 1, full, euro), http.StatusUnprocessableEntity, client.ProblemCodeMixedCurrency)
	assert.Equal(t, []int64{5, 5}, []int64{api.Stock(t, full), api.Stock(t, euro)})
	api.Books(t)
}

func TestReleaseGivesBackOnce(t *testing.T) {
	t.Parallel()
	api := start(t)
	product := api.Product(t, 5)
	hold := api.Hold(t, 3, product)
	for range 3 {
		reply, err := api.ReleaseHoldWithResponse(t.Context(), hold.ID, nil)
		require.NoError(t, err)
		require.NotNil(t, reply.JSON200, string(reply.Body))
		assert.Equal(t, client.HoldStatusReleased, reply.JSON200.Status)
		assert.Equal(t, int64(5), api.Stock(t, product))
	}
	order := api.Order(t, 1, product)
	reply, err := api.ReleaseHoldWithResponse(t.Context(), order.HoldID, nil)
	refused(t, reply, err, http.StatusConflict, client.ProblemCodeHoldNotActive)
	api.Books(t)
}

func TestExtendMovesTheEndAtMostToThreeTimesTheTimeToLive(t *testing.T) {
	t.Parallel()
	api := start(t)
	product := api.Product(t, 5, func(r *client.CreateProductRequest) { r.HoldTTLSeconds = new(int64(100)) })
	hold := api.Hold(t, 1, product)
	for _, step := range []struct{ by, lasts time.Duration }{
		{50 * time.Second, 150 * time.Second}, {time.Hour, 300 * time.Second}, {time.Second, 300 * time.Second},
	} {
		reply, err := api.ExtendHoldWithResponse(t.Context(), hold.ID, nil, client.ExtendHoldRequest{Seconds: int64(step.by / time.Second)})
		require.NoError(t, err)
		require.NotNil(t, reply.JSON200, string(reply.Body))
		assert.Equal(t, step.lasts, reply.JSON200.ExpiresAt.Sub(hold.CreatedAt))
	}
	api.Expire(t, hold.ID)
	reply, err := api.ExtendHoldWithResponse(t.Context(), hold.ID, nil, client.ExtendHoldRequest{Seconds: 1})
	refused(t, reply, err, http.StatusConflict, client.ProblemCodeHoldNotActive)
}

func TestOverdueHoldIsExpiredBeforeAnySweepAndItsUnitsAreForTheNext(t *testing.T) {
	t.Parallel()
	api := start(t)
	product := api.Product(t, 1)
	hold := api.Hold(t, 1, product)
	api.Expire(t, hold.ID)
	read, err := api.GetHoldWithResponse(t.Context(), hold.ID)
	require.NoError(t, err)
	assert.Equal(t, client.HoldStatusExpired, read.JSON200.Status)
	order, err := api.CreateOrderWithResponse(t.Context(), nil, client.CreateOrderRequest{HoldID: hold.ID})
	refused(t, order, err, http.StatusConflict, client.ProblemCodeHoldExpired)
	api.Hold(t, 1, product)
	released, err := api.ReleaseHoldWithResponse(t.Context(), hold.ID, nil)
	require.NoError(t, err)
	assert.Equal(t, client.HoldStatusExpired, released.JSON200.Status)
	api.Books(t)
}

func TestSweepOfAnotherProcessShowsInReads(t *testing.T) {
	t.Parallel()
	api := start(t)
	product := api.Product(t, 3)
	api.Expire(t, api.Hold(t, 2, product).ID)
	released, err := api.Other.Actions.ReleaseExpired.Do(t.Context())
	require.NoError(t, err)
	assert.Equal(t, int64(2), released.StockRestored)
	api.RequireStock(t.Context(), t, product, 3)
	api.Books(t)
}
