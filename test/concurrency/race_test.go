// Package concurrency sends crowds through HTTP and then reads from SQL that
// every unit is in exactly one place.
package concurrency

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/gen/client"
	"github.com/flashsale-api/flashsale/test/apitest"
)

// crowd counts the units that a crowd got. Whoever gets none is refused: any
// other answer is an error.
type crowd struct {
	api   *apitest.API
	units atomic.Int64
	holds atomic.Int64
}

// want asks for a hold, with a key or without.
func (c *crowd) want(t *testing.T, key *string, wish client.CreateHoldRequest) error {
	t.Helper()
	reply, err := c.api.CreateHoldWithResponse(t.Context(), &client.CreateHoldParams{IdempotencyKey: key}, wish)
	if err != nil {
		return err
	}
	switch reply.StatusCode() {
	case http.StatusCreated:
		c.holds.Add(1)
		for _, line := range wish.Lines {
			c.units.Add(line.Quantity)
		}
		return nil
	case http.StatusConflict:
		return nil
	default:
		return fmt.Errorf("a hold was answered %d: %s", reply.StatusCode(), reply.Body)
	}
}

// keyOf gives no key, a plain one and one that is a hold's id by turns.
func keyOf(t *testing.T, i int, products ...client.Product) *string {
	t.Helper()
	switch i % 3 {
	case 0:
		return nil
	case 1:
		return new("key-" + rand.Text())
	default:
		return apitest.HoldKey(t, products...)
	}
}

func TestFiveHundredBuyersOfMixedQuantitiesGetTheWholeStockAndNoUnitMore(t *testing.T) {
	t.Parallel()
	const buyers, stock, largest = 500, 100, 5
	c := crowd{api: apitest.Start(t, apitest.Settings{})}
	product := c.api.Product(t, stock)
	require.NoError(t, apitest.Together(buyers, func(i int) error {
		return c.want(t, keyOf(t, i, product), apitest.Wish(fmt.Sprintf("buyer-%d", i), int64(i%largest+1), product))
	}))
	// A hundred of them want a single unit and are refused only when none is left.
	assert.Equal(t, int64(stock), c.units.Load())
	books := c.api.Books(t)[product.ID]
	assert.Equal(t, []int64{stock, 0}, []int64{books.Held, books.Available})
	assert.Zero(t, c.api.Stock(t, product))
}

func TestStockOfTenIsHeldTenTimesInEveryOfThirtyRaces(t *testing.T) {
	t.Parallel()
	const races, buyers, stock = 30, 30, 10
	api := apitest.Start(t, apitest.Settings{})
	for race := range races {
		c := crowd{api: api}
		product := api.Product(t, stock)
		require.NoError(t, apitest.Together(buyers, func(i int) error {
			return c.want(t, keyOf(t, i+race, product), apitest.Wish(fmt.Sprintf("buyer-%d", i), 1, product))
		}))
		require.Equal(t, int64(stock), c.holds.Load(), "race %d", race)
	}
	for _, books := range api.Books(t) {
		assert.Equal(t, int64(stock), books.Held)
	}
}

func TestHoldsOfTwoProductsInOppositeOrderAreAllOrNothing(t *testing.T) {
	t.Parallel()
	const buyers, stock = 120, 40
	c := crowd{api: apitest.Start(t, apitest.Settings{})}
	one, two := c.api.Product(t, stock), c.api.Product(t, stock)
	require.NoError(t, apitest.Together(buyers, func(i int) error {
		lines := []client.Product{one, two}
		if i%2 == 0 {
			lines = []client.Product{two, one}
		}
		return c.want(t, keyOf(t, i, lines...), apitest.Wish(fmt.Sprintf("buyer-%d", i), 1, lines...))
	}))
	assert.Equal(t, int64(stock), c.holds.Load())
	books := c.api.Books(t)
	assert.Equal(t, []int64{stock, stock}, []int64{books[one.ID].Held, books[two.ID].Held})
}

func TestLimitHoldsWhenOneCustomerComesManyTimesAtOnce(t *testing.T) {
	t.Parallel()
	const limit = 3
	c := crowd{api: apitest.Start(t, apitest.Settings{})}
	product := c.api.Product(t, 100, func(r *client.CreateProductRequest) { r.PerCustomerLimit = new(int64(limit)) })
	require.NoError(t, apitest.Together(60, func(i int) error {
		return c.want(t, keyOf(t, i, product), apitest.Wish("greedy", 1, product))
	}))
	assert.Equal(t, int64(limit), c.holds.Load())
	assert.Equal(t, int64(limit), c.api.Books(t)[product.ID].Held)
}

func TestEverybodyInACrowdGetsTheirOwnAnswer(t *testing.T) {
	t.Parallel()
	const kinds, each = 5, 20
	api := apitest.Start(t, apitest.Settings{})
	product := api.Product(t, 1000, func(r *client.CreateProductRequest) {
		r.PerCustomerLimit, r.Price.Amount = new(int64(2)), 1_000_000_000_000
	})
	hold := func(key *string, customer string, quantity int64) (*client.CreateHoldResponse, error) {
		return api.CreateHoldWithResponse(t.Context(), &client.CreateHoldParams{IdempotencyKey: key}, apitest.Wish(customer, quantity, product))
	}
	used := []*string{keyOf(t, 1, product), keyOf(t, 2, product)}
	for _, key := range used {
		reply, err := hold(key, "early", 1)
		require.NoError(t, answered(reply, err, http.StatusCreated, ""))
	}
	require.NoError(t, apitest.Together(kinds*each, func(i int) error {
		customer := fmt.Sprintf("customer-%d", i)
		switch i % kinds {
		case 0:
			reply, err := hold(keyOf(t, i/kinds, product), customer, 1)
			return answered(reply, err, http.StatusCreated, "")
		case 1: // its key had its effect
			reply, err := hold(used[i/kinds%len(used)], "early", 1)
			return answered(reply, err, http.StatusCreated, "")
		case 2: // its key was somebody else's
			reply, err := hold(used[i/kinds%len(used)], customer, 1)
			return answered(reply, err, http.StatusUnprocessableEntity, client.ProblemCodeIdempotencyKeyReused)
		case 3: // its customer has enough
			reply, err := hold(keyOf(t, i/kinds, product), "early", 1)
			return answered(reply, err, http.StatusConflict, client.ProblemCodeLimitReached)
		default: // its total is out of bounds
			reply, err := hold(keyOf(t, i/kinds, product), customer, 2)
			return answered(reply, err, http.StatusUnprocessableEntity, client.ProblemCodeInvalidRequest)
		}
	}))
	assert.Equal(t, int64(each+2), api.Books(t)[product.ID].Held)
}

// answered is an error unless the answer is that one; code is "" of a success.
func answered(reply *client.CreateHoldResponse, err error, status int, code client.ProblemCode) error {
	if err != nil {
		return err
	}
	problem := reply.ApplicationProblemJSONDefault
	if reply.StatusCode() != status || problem != nil && problem.Code != code {
		return fmt.Errorf("want %d %s, got %d: %s", status, code, reply.StatusCode(), reply.Body)
	}
	return nil
}

func TestHoldThatIsOrderedAndReleasedAtOnceIsEither(t *testing.T) {
	t.Parallel()
	const holds = 20
	api := apitest.Start(t, apitest.Settings{})
	product := api.Product(t, holds)
	var ordered, released atomic.Int64
	for range holds {
		hold := api.Hold(t, 1, product)
		require.NoError(t, apitest.Together(4, func(i int) error {
			if i%2 == 0 {
				reply, err := api.CreateOrderWithResponse(t.Context(), nil, client.CreateOrderRequest{HoldID: hold.ID})
				return tally(reply, err, &ordered, http.StatusCreated)
			}
			reply, err := api.ReleaseHoldWithResponse(t.Context(), hold.ID, nil)
			return tally(reply, err, &released, http.StatusOK)
		}))
	}
	books := api.Books(t)[product.ID]
	assert.Equal(t, ordered.Load(), books.Pending)
	assert.Equal(t, holds-ordered.Load(), books.Available)
	assert.Equal(t, 2*books.Available, released.Load(), "who releases again is told that it is released")
}

// tally counts successes; a 409 is no error.
func tally(reply apitest.Reply, err error, count *atomic.Int64, success int) error {
	switch {
	case err != nil:
		return err
	case reply.StatusCode() == success:
		count.Add(1)
		return nil
	case reply.StatusCode() == http.StatusConflict:
		return nil
	default:
		return fmt.Errorf("answered %d: %+v", reply.StatusCode(), reply.GetApplicationProblemJSONDefault())
	}
}
