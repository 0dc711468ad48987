package contract

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/gen/client"
	"github.com/flashsale-api/flashsale/test/apitest"
)

// tooLarge is one byte more than the service takes.
const tooLarge = 64<<10 + 1

// fill puts an id into a path, without escaping it.
func fill(path, id string) string { return strings.Replace(path, "%s", id, 1) }

func TestBodyThatCannotBeTakenIsRefusedByEveryOperation(t *testing.T) {
	t.Parallel()
	api := start(t)
	for _, operation := range []struct{ method, path string }{
		{http.MethodPost, "/api/products"},
		{http.MethodPatch, "/api/products/" + strangeProduct},
		{http.MethodPost, "/api/products/" + strangeProduct + "/stock-adjustments"},
		{http.MethodPost, "/api/holds"},
		{http.MethodPost, "/api/holds/" + strangeHold + "/extend"},
		{http.MethodPost, "/api/orders"},
		{http.MethodPost, "/api/webhook-endpoints"},
		{http.MethodPost, "/api/orders/" + strangeOrder + "/refund"},
	} {
		send := func(mediaType, body string) *apitest.Answer {
			answer, err := api.Send(t.Context(), operation.method, operation.path, body, "Content-Type", mediaType)
			require.NoError(t, err)
			return answer
		}
		for name, body := range map[string]string{
			"nothing": "", "half of it": `{"name":`, "two of it": `{} {}`, "no UTF-8": "{\"name\":\"\xff\"}", "a member twice": `{"name":"a","name":"b"}`,
			"a number out of JSON": `{"name":01}`, "too deep": strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100),
			"deeper": strings.Repeat("[", 30_000) + strings.Repeat("]", 30_000),
		} {
			problem := refused(t, send("application/json", body), nil, http.StatusBadRequest, client.ProblemCodeMalformedRequest)
			assert.NotEmpty(t, problem.Detail, name)
		}
		problem := refused(t, send("application/json; charset=UTF-8", `{"unknown":1}`), nil, http.StatusUnprocessableEntity, client.ProblemCodeInvalidRequest)
		assert.Contains(t, pointers(problem), "/unknown")
		for _, body := range []string{"null", "[]", `"x"`, "1e400"} {
			problem := refused(t, send("application/json", body), nil, http.StatusUnprocessableEntity, client.ProblemCodeInvalidRequest)
			assert.Equal(t, []string{""}, pointers(problem), "the whole body is wrong")
		}
		for _, mediaType := range []string{"text/plain", "application/json; charset=latin1", "application/x-www-form-urlencoded", ""} {
			refused(t, send(mediaType, "{}"), nil, http.StatusUnsupportedMediaType, client.ProblemCodeUnsupportedMediaType)
		}
		refused(t, send("application/json", strings.Repeat(" ", tooLarge)), nil, http.StatusRequestEntityTooLarge, client.ProblemCodePayloadTooLarge)
	}
}

func TestWebhookBodyHasALimitAndAMediaType(t *testing.T) {
	t.Parallel()
	api := start(t)
	answer, err := api.Send(t.Context(), http.MethodPost, "/api/payments/webhook", strings.Repeat(" ", tooLarge), "Content-Type", "application/json")
	refused(t, answer, err, http.StatusRequestEntityTooLarge, client.ProblemCodePayloadTooLarge)
	answer, err = api.Send(t.Context(), http.MethodPost, "/api/payments/webhook", "{}", "Content-Type", "text/plain")
	refused(t, answer, err, http.StatusUnsupportedMediaType, client.ProblemCodeUnsupportedMediaType)
}

func TestBodyOfUnknownLengthHasTheSameLimit(t *testing.T) {
	t.Parallel()
	api := start(t)
	// A reader of no known kind is sent in chunks.
	body := struct{ *bytes.Reader }{bytes.NewReader(bytes.Repeat([]byte(" "), tooLarge))}
	reply, err := api.CreateHoldWithBodyWithResponse(t.Context(), nil, "application/json", body)
	refused(t, reply, err, http.StatusRequestEntityTooLarge, client.ProblemCodePayloadTooLarge)
}

func TestEveryFaultOfABodyIsPointedAt(t *testing.T) {
	t.Parallel()
	api := start(t)
	for _, attempt := range []struct {
		path, body string
		want       []string
	}{
		{"/api/products", `{}`, []string{"/name", "/price", "/sku", "/stock"}},
		{"/api/products", `{"sku":"","name":"a\u0000b","price":{"amount":-1,"currency":"usd"},"stock":1.5}`, []string{"/sku", "/name", "/price/amount", "/price/currency", "/stock"}},
		{"/api/products", `{"sku":"a","name":"b","price":{"amount":1e400,"currency":"USD"},"stock":1000000001}`, []string{"/price/amount", "/stock"}},
		{"/api/products", `{"SKU":"a","sku":"a","name":"b","price":{"amount":1,"currency":"USD"},"stock":1}`, []string{"/SKU"}},
		{"/api/products", `{"sku":"a","name":"b","price":{"amount":1,"currency":"USD"},"stock":1,"sale_starts_at":"2026-02-30T00:00:00Z"}`, []string{"/sale_starts_at"}},
		{"/api/products", `{"sku":"a","name":"b","price":null,"stock":9223372036854775808,"hold_ttl_seconds":0}`, []string{"/price", "/stock", "/hold_ttl_seconds"}},
		{"/api/holds", `{"customer_id":"c","lines":[]}`, []string{"/lines"}},
		{"/api/holds", `{"customer_id":"","lines":[{"product_id":"x","quantity":0}]}`, []string{"/customer_id", "/lines/0/product_id", "/lines/0/quantity"}},
		{"/api/holds", `{"customer_id":"c","lines":[{"product_id":"` + strangeProduct + `","quantity":1001,"a/b~c":1}]}`, []string{"/lines/0/quantity", "/lines/0/a~1b~0c"}},
		{"/api/webhook-endpoints", `{"types":["order.paid","order.paid"]}`, []string{"/url", "/types"}},
		{"/api/webhook-endpoints", `{"url":"https://a b/","types":["order.lost"],"secret":"x"}`, []string{"/url", "/types/0", "/secret"}},
		{"/api/orders/" + strangeOrder + "/refund", `{}`, []string{"/restock"}},
		{"/api/orders/" + strangeOrder + "/refund", `{"restock":"yes"}`, []string{"/restock"}},
		{"/api/orders", `{"hold_id":"` + strangeOrder + `"}`, []string{"/hold_id"}},
	} {
		answer, err := api.Send(t.Context(), http.MethodPost, attempt.path, attempt.body, "Content-Type", "application/json")
		problem := refused(t, answer, err, http.StatusUnprocessableEntity, client.ProblemCodeInvalidRequest)
		assert.ElementsMatch(t, attempt.want, pointers(problem), attempt.body)
	}
}

func TestTextOfAnyKindIsKeptAsItCame(t *testing.T) {
	t.Parallel()
	api := start(t)
	product := api.Product(t, 100)
	for _, customer := range []string{
		strings.Repeat("😀", 128), "İstanbul ß \u200b", "'; DROP TABLE products; --", `\"<script>`, "a", "A",
	} {
		reply, err := api.CreateHoldWithResponse(t.Context(), nil, apitest.Wish(customer, 1, product))
		require.NoError(t, err)
		require.NotNil(t, reply.JSON201, "%s: %s", customer, reply.Body)
		read, err := api.GetHoldWithResponse(t.Context(), reply.JSON201.ID)
		require.NoError(t, err)
		assert.Equal(t, customer, read.JSON200.CustomerID)
	}
	long := apitest.Wish(strings.Repeat("😀", 129), 1, product)
	problem := refusedHold(t, api, long, http.StatusUnprocessableEntity, client.ProblemCodeInvalidRequest)
	assert.Equal(t, []string{"/customer_id"}, pointers(problem))
	named := api.Product(t, 1, func(r *client.CreateProductRequest) {
		r.Name, r.SKU = strings.Repeat("😀", 200), strings.Repeat("😀", 64)
	})
	assert.Equal(t, strings.Repeat("😀", 200), named.Name)
}

// It stands for no character: two customers with different halves are not to be one.
func TestHalfASurrogatePairIsMalformed(t *testing.T) {
	t.Parallel()
	api := start(t)
	product := api.Product(t, 1)
	answer, err := api.Send(t.Context(), http.MethodPost, "/api/holds",
		`{"customer_id":"a\ud800b","lines":[{"product_id":"`+product.ID+`","quantity":1}]}`, "Content-Type", "application/json")
	refused(t, answer, err, http.StatusBadRequest, client.ProblemCodeMalformedRequest)
}

func TestPathThatIsNotThereIsNotFound(t *testing.T) {
	t.Parallel()
	api := start(t)
	for _, path := range []string{"/api", "/api/", "/api/nothing", "/api/products/" + strangeProduct + "/x/y", "/api/holds/" + strangeHold + "/", "/api/orders/" + strangeOrder + "/x", "//", "/problems/nothing", "/docs/../secret"} {
		answer, err := api.Send(t.Context(), http.MethodGet, path, "")
		refused(t, answer, err, http.StatusNotFound, client.ProblemCodeNotFound)
	}
}

func TestMethodThatAPathDoesNotHaveIsToldWithThoseItHas(t *testing.T) {
	t.Parallel()
	api := start(t)
	for _, ask := range []struct{ method, path, allow string }{
		{http.MethodDelete, "/api/products", "GET, HEAD, POST"},
		{http.MethodPut, "/api/products/" + strangeProduct, "GET, HEAD, PATCH"},
		{http.MethodGet, "/api/holds", "POST"},
		{http.MethodOptions, "/api/holds", "POST"},
		{http.MethodOptions, "/api/products/" + strangeProduct, "GET, HEAD, PATCH"},
		{http.MethodTrace, "/livez", "GET, HEAD"},
		{"BREW", "/api/orders/" + strangeOrder, "GET, HEAD"},
	} {
		answer, err := api.Send(t.Context(), ask.method, ask.path, "")
		refused(t, answer, err, http.StatusMethodNotAllowed, client.ProblemCodeMethodNotAllowed)
		assert.ElementsMatch(t, strings.Split(ask.allow, ", "), strings.Split(answer.Header.Get("Allow"), ", "), ask.path)
	}
}

func TestHeadAnswersAsGetWithoutABody(t *testing.T) {
	t.Parallel()
	api := start(t)
	product := api.Product(t, 1)
	order := api.Order(t, 1, product)
	for path, status := range map[string]int{
		"/api/products": http.StatusOK, "/api/products/" + product.ID: http.StatusOK, "/api/products/" + strangeProduct: http.StatusNotFound,
		"/api/holds/" + order.HoldID: http.StatusOK, "/api/orders/" + order.ID: http.StatusOK, "/api/orders/x": http.StatusUnprocessableEntity,
		"/livez": http.StatusOK, "/readyz": http.StatusOK, "/openapi.json": http.StatusOK, "/docs/": http.StatusOK, "/nothing": http.StatusNotFound,
	} {
		answer, err := api.Send(t.Context(), http.MethodHead, path, "")
		require.NoError(t, err, path)
		assert.Equal(t, status, answer.Status, path)
		assert.NotEmpty(t, answer.Header.Get("Content-Type"), path)
	}
}

func TestRequestIDComesBackIfItIsSane(t *testing.T) {
	t.Parallel()
	api := start(t)
	for id, kept := range map[string]bool{"checkout-7f3a": true, strings.Repeat("x", 128): true, strings.Repeat("x", 129): false, "two words": false} {
		answer, err := api.Send(t.Context(), http.MethodGet, "/api/nothing", "", "X-Request-Id", id)
		require.NoError(t, err)
		assert.Equal(t, kept, answer.Header.Get("X-Request-Id") == id, id)
	}
}

func TestReleaseReadsNoBody(t *testing.T) {
	t.Parallel()
	api := start(t)
	hold := api.Hold(t, 1, api.Product(t, 1))
	answer, err := api.Send(t.Context(), http.MethodPost, "/api/holds/"+hold.ID+"/release", "no JSON at all", "Content-Type", "text/plain")
	require.NoError(t, err)
	assert.Equal(t, http.StatusOK, answer.Status, string(answer.Body))
}

func TestHealthIsAnsweredWithWhatItStandsOn(t *testing.T) {
	t.Parallel()
	api := start(t)
	live, err := api.GetLivenessWithResponse(t.Context())
	require.NoError(t, err)
	assert.Equal(t, client.LivenessStatusOk, live.JSON200.Status)
	ready, err := api.GetReadinessWithResponse(t.Context())
	require.NoError(t, err)
	require.NotNil(t, ready.JSON200, string(ready.Body))
	assert.Equal(t, client.ReadinessMysqlUp, ready.JSON200.Mysql)
	assert.Equal(t, client.ReadinessMigrationsCurrent, ready.JSON200.Migrations)
}
