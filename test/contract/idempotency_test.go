package contract

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/gen/client"
	"github.com/flashsale-api/flashsale/internal/sale"
	"github.com/flashsale-api/flashsale/test/apitest"
)

// keyed is a request that can be sent again and again.
type keyed struct {
	path string
	body string
	// other is a body that asks for something else.
	other string
}

func (k keyed) send(ctx context.Context, api *apitest.API, key, body string) (*apitest.Answer, error) {
	return api.Send(ctx, http.MethodPost, k.path, body, "Content-Type", "application/json", "Idempotency-Key", key)
}

func TestEveryPostWithAKeyHasItsEffectOnceAndAnswersTheSame(t *testing.T) {
	t.Parallel()
	api := start(t)
	product := api.Product(t, 100)
	extended, released, ordered := api.Hold(t, 1, product), api.Hold(t, 1, product), api.Hold(t, 1, product)
	cancelled, refunded := api.Order(t, 1, product), api.Order(t, 1, product)
	tell(t, api, api.Standard, apitest.NewEvent(apitest.Succeeded, refunded))
	line := `"lines":[{"product_id":"` + product.ID + `","quantity":1}]}`
	for name, post := range map[string]keyed{
		"createProduct": {
			"/api/products", `{"sku":"once","name":"Once","price":{"amount":1,"currency":"USD"},"stock":1}`,
			`{"sku":"twice","name":"Once","price":{"amount":1,"currency":"USD"},"stock":1}`,
		},
		"adjustStock": {"/api/products/" + product.ID + "/stock-adjustments", `{"delta":5,"reason":"found"}`, `{"delta":6,"reason":"found"}`},
		"createHold":  {"/api/holds", `{"customer_id":"a",` + line, `{"customer_id":"A",` + line},
		"extendHold":  {"/api/holds/" + extended.ID + "/extend", `{"seconds":10}`, `{"seconds":11}`},
		"createOrder": {"/api/orders", `{"hold_id":"` + ordered.ID + `"}`, `{"hold_id":"` + extended.ID + `"}`},
		"cancelOrder": {"/api/orders/" + cancelled.ID + "/cancel", "", ""},
		"refundOrder": {"/api/orders/" + refunded.ID + "/refund", `{"restock":true}`, `{"restock":false}`},
		"releaseHold": {"/api/holds/" + released.ID + "/release", "", ""},
	} {
		key := "key-of-" + name
		first, err := post.send(t.Context(), api, key, post.body)
		require.NoError(t, err)
		require.Less(t, first.Status, http.StatusMultipleChoices, "%s: %s", name, first.Body)
		assert.Empty(t, first.Header.Get("Idempotent-Replayed"))
		again, err := post.send(t.Context(), api, key, post.body)
		require.NoError(t, err)
		assert.Equal(t, "true", again.Header.Get("Idempotent-Replayed"), name)
		assert.Equal(t, first.Status, again.Status, name)
		assert.JSONEq(t, string(first.Body), string(again.Body), name)
		assert.Equal(t, first.Header.Get("Location"), again.Header.Get("Location"))
		if post.other != "" {
			answer, err := post.send(t.Context(), api, key, post.other)
			refused(t, answer, err, http.StatusUnprocessableEntity, client.ProblemCodeIdempotencyKeyReused)
		}
	}
	books := api.Books(t)[product.ID]
	assert.Equal(t, []int64{105, 2, 1}, []int64{books.Total, books.Held, books.Pending})
}

func TestKeyThatIsAHoldIDBecomesTheHoldsID(t *testing.T) {
	t.Parallel()
	api := start(t)
	product, other := api.Product(t, 10), api.Product(t, 10)
	key := apitest.HoldKey(t, product, other)
	params := &client.CreateHoldParams{IdempotencyKey: key}
	for i := range 3 {
		reply, err := api.CreateHoldWithResponse(t.Context(), params, apitest.Wish("a", 1, product, other))
		require.NoError(t, err)
		require.NotNil(t, reply.JSON201, string(reply.Body))
		assert.Equal(t, *key, reply.JSON201.ID)
		assert.Equal(t, i > 0, reply.Headers201.IdempotentReplayed != nil)
	}
	reply, err := api.CreateHoldWithResponse(t.Context(), params, apitest.Wish("a", 2, product, other))
	refused(t, reply, err, http.StatusUnprocessableEntity, client.ProblemCodeIdempotencyKeyReused)
	strange := &client.CreateHoldParams{IdempotencyKey: new("hold_00000000000000000000000000")}
	reply, err = api.CreateHoldWithResponse(t.Context(), strange, apitest.Wish("a", 1, product))
	problem := refused(t, reply, err, http.StatusUnprocessableEntity, client.ProblemCodeInvalidRequest)
	assert.Equal(t, []string{"/header/Idempotency-Key"}, pointers(problem))
	assert.Equal(t, int64(1), api.Books(t)[product.ID].Held)
}

func TestRefusalIsNotKeptSoItsKeyMaySucceedLater(t *testing.T) {
	t.Parallel()
	api := start(t)
	product := api.Product(t, 1)
	for name, key := range map[string]*string{"plain": new("plain"), "hold id": apitest.HoldKey(t, product)} {
		params := &client.CreateHoldParams{IdempotencyKey: key}
		blocker := api.Hold(t, 1, product)
		reply, err := api.CreateHoldWithResponse(t.Context(), params, apitest.Wish("a", 1, product))
		refused(t, reply, err, http.StatusConflict, client.ProblemCodeAllHeld)
		_, err = api.ReleaseHoldWithResponse(t.Context(), blocker.ID, nil)
		require.NoError(t, err)
		reply, err = api.CreateHoldWithResponse(t.Context(), params, apitest.Wish("a", 1, product))
		require.NoError(t, err)
		require.NotNil(t, reply.JSON201, "%s: %s", name, reply.Body)
		_, err = api.ReleaseHoldWithResponse(t.Context(), reply.JSON201.ID, nil)
		require.NoError(t, err)
	}
	api.Books(t)
}

func TestKeyThatComesFiftyTimesAtOnceMakesOneHold(t *testing.T) {
	t.Parallel()
	api := start(t)
	product := api.Product(t, 100)
	for name, key := range map[string]*string{"plain": new("plain"), "hold id": apitest.HoldKey(t, product)} {
		var made, replayed atomic.Int64
		var ids sync.Map
		require.NoError(t, apitest.Together(50, func(int) error {
			var reply *client.CreateHoldResponse
			// An equal one that still runs is worth asking again, as the contract says.
			for reply == nil || reply.StatusCode() == http.StatusConflict {
				var err error
				params := &client.CreateHoldParams{IdempotencyKey: key}
				if reply, err = api.CreateHoldWithResponse(t.Context(), params, apitest.Wish("a", 1, product)); err != nil {
					return err
				}
			}
			if reply.JSON201 == nil {
				return fmt.Errorf("answered %d: %s", reply.StatusCode(), reply.Body)
			}
			ids.Store(reply.JSON201.ID, true)
			if reply.Headers201.IdempotentReplayed == nil {
				made.Add(1)
				return nil
			}
			replayed.Add(1)
			return nil
		}))
		assert.Equal(t, []int64{1, 49}, []int64{made.Load(), replayed.Load()}, name)
		distinct := 0
		ids.Range(func(any, any) bool { distinct++; return true })
		assert.Equal(t, 1, distinct, name)
	}
	assert.Equal(t, int64(2), api.Books(t)[product.ID].Held)
}

func TestKeyIsForgottenAfterADay(t *testing.T) {
	t.Parallel()
	api := start(t)
	product := api.Product(t, 10)
	params := &client.CreateHoldParams{IdempotencyKey: new("yesterday")}
	adjustment := keyed{path: "/api/products/" + product.ID + "/stock-adjustments"}
	ids := map[string]bool{}
	for _, quantity := range []int64{1, 2} {
		reply, err := api.CreateHoldWithResponse(t.Context(), params, apitest.Wish("a", quantity, product))
		require.NoError(t, err)
		require.NotNil(t, reply.JSON201, string(reply.Body))
		ids[reply.JSON201.ID] = true
		answer, err := adjustment.send(t.Context(), api, "yesterday", fmt.Sprintf(`{"delta":%d,"reason":"x"}`, quantity))
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, answer.Status, string(answer.Body))
		_, err = api.Other.DB.SQL().ExecContext(t.Context(), "UPDATE idempotency_keys SET created_at = created_at - INTERVAL 25 HOUR")
		require.NoError(t, err)
	}
	assert.Len(t, ids, 2)
	books := api.Books(t)[product.ID]
	assert.Equal(t, []int64{13, 3}, []int64{books.Total, books.Held})
}

func TestKeyOutsideOfItsFormIsInvalid(t *testing.T) {
	t.Parallel()
	api := start(t)
	product := api.Product(t, 1)
	for _, key := range []string{"two words", "ümlaut", strings.Repeat("k", 256)} {
		answer, err := keyed{path: "/api/products/" + product.ID + "/stock-adjustments"}.send(t.Context(), api, key, `{"delta":1,"reason":"x"}`)
		problem := refused(t, answer, err, http.StatusUnprocessableEntity, client.ProblemCodeInvalidRequest)
		assert.Contains(t, pointers(problem), "/header/Idempotency-Key")
	}
	answer, err := api.Send(t.Context(), http.MethodPost, "/api/orders", `{"hold_id":"`+strangeHold+`"}`,
		"Content-Type", "application/json", "Idempotency-Key", "one", "Idempotency-Key", "two")
	problem := refused(t, answer, err, http.StatusUnprocessableEntity, client.ProblemCodeInvalidRequest)
	assert.Equal(t, []string{"/header/Idempotency-Key"}, pointers(problem))
}

// holdRow keeps a product's row locked, as a transaction of another process may.
func holdRow(t *testing.T, api *apitest.API, product client.Product) *sql.Tx {
	t.Helper()
	id, err := sale.ParseProductID(product.ID)
	require.NoError(t, err)
	tx, err := api.Other.DB.SQL().BeginTx(t.Context(), nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = tx.Rollback() })
	var locked []byte
	require.NoError(t, tx.QueryRowContext(t.Context(), "SELECT id FROM products WHERE id = ? FOR UPDATE", id).Scan(&locked))
	return tx
}

// awaitBlocked waits until so many transactions wait for a row of this database.
func awaitBlocked(t *testing.T, api *apitest.API, count int) {
	t.Helper()
	eventually(t, func() bool {
		var waiting int
		err := api.Other.DB.SQL().QueryRowContext(t.Context(), "SELECT COUNT(DISTINCT ENGINE_TRANSACTION_ID) "+
			"FROM performance_schema.data_locks WHERE OBJECT_SCHEMA = DATABASE() AND LOCK_STATUS = 'WAITING'").Scan(&waiting)
		return err == nil && waiting >= count
	})
}

func TestProductThatIsBusyTooLongIsOverloadedAndAnEqualKeyIsInProgress(t *testing.T) {
	t.Parallel()
	// One batch at a time may want a product's row. While it waits for that, the others
	// wait for it, and the keyed ones below longer than an equal key does.
	const crowd, keyedOnes = 6, 6
	api := start(t)
	product := api.Product(t, 100)
	row := holdRow(t, api, product)
	var running sync.WaitGroup
	var mu sync.Mutex
	codes := map[client.ProblemCode]int{}
	reserve := func(params *client.CreateHoldParams) {
		running.Go(func() {
			reply, err := api.CreateHoldWithResponse(t.Context(), params, apitest.Wish("a", 1, product))
			if assert.NoError(t, err) && assert.NotNil(t, reply.ApplicationProblemJSONDefault) {
				mu.Lock()
				defer mu.Unlock()
				codes[reply.ApplicationProblemJSONDefault.Code]++
			}
		})
	}
	for range crowd {
		reserve(nil)
	}
	awaitBlocked(t, api, 1)
	for range keyedOnes {
		reserve(&client.CreateHoldParams{IdempotencyKey: new("busy")})
	}
	running.Wait()
	assert.Equal(t, crowd+keyedOnes, codes[client.ProblemCodeOverloaded]+codes[client.ProblemCodeIdempotencyInProgress])
	assert.GreaterOrEqual(t, codes[client.ProblemCodeOverloaded], crowd)
	assert.Positive(t, codes[client.ProblemCodeIdempotencyInProgress])

	require.NoError(t, row.Rollback())
	reply, err := api.CreateHoldWithResponse(t.Context(), &client.CreateHoldParams{IdempotencyKey: new("busy")}, apitest.Wish("a", 1, product))
	require.NoError(t, err)
	assert.Equal(t, http.StatusCreated, reply.StatusCode(), "nothing was done before")
	assert.Equal(t, int64(1), api.Books(t)[product.ID].Held)
}
