package contract

import (
	"net/http"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/gen/client"
	"github.com/flashsale-api/flashsale/internal/action"
	"github.com/flashsale-api/flashsale/internal/sale"
	"github.com/flashsale-api/flashsale/test/apitest"
)

func event(t *testing.T, stream *apitest.Stream) client.StockEvent {
	t.Helper()
	next, err := stream.Event()
	require.NoError(t, err)
	return next
}

// stockOf is a product's event as the API shows the product now.
func stockOf(t *testing.T, api *apitest.API, id client.ProductID) client.StockEvent {
	t.Helper()
	product := read(t, api, id, nil).JSON200
	require.NotNil(t, product)
	return client.StockEvent{
		ProductID: id, AvailableStock: product.AvailableStock, TotalStock: product.TotalStock, Version: product.Version,
	}
}

func TestListenerIsToldTheStockAndThenEachChangeOfIt(t *testing.T) {
	t.Parallel()
	api := start(t)
	product := api.Product(t, 10)
	stream := api.Watch(t, product.ID, nil)
	assert.Equal(t, stockOf(t, api, product.ID), event(t, stream))

	hold := api.Hold(t, 3, product)
	held := event(t, stream)
	assert.Equal(t, stockOf(t, api, product.ID), held)
	assert.Equal(t, int64(7), held.AvailableStock)

	_, err := api.ReleaseHoldWithResponse(t.Context(), hold.ID, nil)
	require.NoError(t, err)
	released := event(t, stream)
	assert.Equal(t, int64(10), released.AvailableStock)
	assert.Greater(t, released.Version, held.Version)

	_, err = api.AdjustStockWithResponse(t.Context(), product.ID, nil, client.AdjustStockRequest{Delta: 5, Reason: "found"})
	require.NoError(t, err)
	assert.Equal(t, stockOf(t, api, product.ID), event(t, stream))

	_, err = api.UpdateProductWithResponse(t.Context(), product.ID, client.UpdateProductRequest{Price: &client.Price{Amount: 1, Currency: "USD"}})
	require.NoError(t, err)
	repriced := event(t, stream)
	assert.Equal(t, int64(15), repriced.AvailableStock)
	assert.Equal(t, stockOf(t, api, product.ID), repriced)
}

func TestCrowdOfHoldsIsToldInFewEventsWhoseLastIsTheTruth(t *testing.T) {
	t.Parallel()
	const crowd = 100
	api := start(t)
	product := api.Product(t, crowd)
	stream := api.Watch(t, product.ID, nil)
	last := event(t, stream)
	require.NoError(t, apitest.Together(crowd, func(i int) error {
		_, err := api.CreateHoldWithResponse(t.Context(), nil, apitest.Wish("customer-"+strconv.Itoa(i), 1, product))
		return err
	}))
	for last.AvailableStock > 0 {
		next := event(t, stream)
		require.Greater(t, next.Version, last.Version)
		require.Less(t, next.AvailableStock, last.AvailableStock)
		last = next
	}
	assert.Equal(t, stockOf(t, api, product.ID), last)
}

func TestListenerWhoComesBackIsToldWhatItMissedAndNothingElse(t *testing.T) {
	t.Parallel()
	api := start(t)
	product := api.Product(t, 10)
	first := api.Watch(t, product.ID, nil)
	known := event(t, first)
	first.Leave()
	id := new(strconv.FormatInt(known.Version, 10))

	same := api.Watch(t, product.ID, id)
	hello, err := same.Block()
	require.NoError(t, err)
	assert.NotEmpty(t, hello.Comments, "it is connected")
	assert.Equal(t, map[string]string{"retry": "1000"}, hello.Fields)
	api.Hold(t, 1, product)
	changed := event(t, same)
	assert.Equal(t, int64(9), changed.AvailableStock, "the first that it is told is the change")

	assert.Equal(t, changed, event(t, api.Watch(t, product.ID, id)), "what it missed")
}

func TestListenerIsToldWhatAnotherProcessChanges(t *testing.T) {
	t.Parallel()
	for name, redis := range map[string]string{"with Redis": "", "without Redis": apitest.NoRedis} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			api := apitest.Start(t, apitest.Settings{Record: seen, RedisURL: redis})
			product := api.Product(t, 10)
			id, err := sale.ParseProductID(product.ID)
			require.NoError(t, err)
			stream := api.Watch(t, product.ID, nil)
			event(t, stream)
			for left := int64(9); left > 5; left-- {
				_, err := api.Other.Actions.CreateHold.Do(t.Context(), action.CreateHoldInput{
					CustomerID: "customer", Lines: []sale.LineRequest{{ProductID: id, Quantity: 1}},
				})
				require.NoError(t, err)
				assert.Equal(t, left, event(t, stream).AvailableStock)
			}
		})
	}
}

func TestNobodyListensToWhatIsNotThere(t *testing.T) {
	t.Parallel()
	api := start(t)
	reply, err := api.WatchStockWithResponse(t.Context(), strangeProduct, nil)
	refused(t, reply, err, http.StatusNotFound, client.ProblemCodeProductNotFound)
	reply, err = api.WatchStockWithResponse(t.Context(), "prod_1", nil)
	problem := refused(t, reply, err, http.StatusUnprocessableEntity, client.ProblemCodeInvalidRequest)
	assert.Equal(t, []string{"/path/product_id"}, pointers(problem))
}
