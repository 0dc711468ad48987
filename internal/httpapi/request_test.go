package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/gen/server"
)

const (
	aProduct = "prod_01kjma0fm0ek0tz2p1tewg37hq"
	aHold    = "hold_01kjmma2g0f398qskz672th7hq"
	jsonType = "application/json"
)

// holdOf is a well-formed request for a hold but for its one quantity.
func holdOf(quantity string) string {
	return `{"customer_id":"c","lines":[{"product_id":"` + aProduct + `","quantity":` + quantity + `}]}`
}

func TestBodiesThatAreNoJSONAreMalformed(t *testing.T) {
	handler := newAPI(t, testConfig(t))
	for name, body := range map[string]string{
		"nothing":             "",
		"blanks":              " \n",
		"a broken object":     `{"customer_id":`,
		"a comma too many":    `{"customer_id":"c",}`,
		"two values":          holdOf("1") + holdOf("1"),
		"a value and a brace": holdOf("1") + "}",
		"a byte order mark":   "\ufeff" + holdOf("1"),
		"invalid UTF-8":       strings.Replace(holdOf("1"), `"c"`, "\"\xff\"", 1),
		"half a pair":         strings.Replace(holdOf("1"), `"c"`, `"\ud83d"`, 1),
		"the other half":      strings.Replace(holdOf("1"), `"c"`, `"\uDE00c"`, 1),
		"two first halves":    strings.Replace(holdOf("1"), `"c"`, `"\ud83d\ud83d"`, 1),
		"half a pair, broken": strings.Replace(holdOf("1"), `"c"`, `"\ud83d\n\ude00"`, 1),
		"a bare NUL":          strings.Replace(holdOf("1"), `"c"`, "\"\x00\"", 1),
		"NaN":                 holdOf("NaN"),
		"a leading zero":      holdOf("01"),
		"hexadecimal":         holdOf("0x1"),
		"a member twice":      `{"customer_id":"c","lines":[{"product_id":"` + aProduct + `","quantity":1,"quantity":5000}]}`,
		"escaped twins":       `{"customer_id":"c","customer\u005fid":"d","lines":[]}`,
		"deep arrays":         strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000),
		"deep objects":        strings.Repeat(`{"a":`, 10_000) + "1" + strings.Repeat("}", 10_000),
		"deeper than a stack": strings.Repeat("[", 60_000),
	} {
		t.Run(name, func(t *testing.T) {
			requireProblem(t, serve(handler, request(t, "POST", "/api/holds", body, "Content-Type", jsonType)), 400, "malformed_request")
		})
	}
}

func TestEveryFaultIsToldWithItsPointer(t *testing.T) {
	handler := newAPI(t, testConfig(t))
	product := `{"sku":"s","name":"n","price":{"amount":1,"currency":"USD"},"stock":1`
	for name, test := range map[string]struct {
		method, target, body string
		faults               []string // pointer: detail
	}{
		"no object": {"POST", "/api/holds", `[]`, []string{": must be an object"}},
		"null":      {"POST", "/api/holds", `null`, []string{": must not be null"}},
		"all missing": {"POST", "/api/holds", `{}`, []string{
			"/customer_id: is required", "/lines: is required",
		}},
		"several at once": {"POST", "/api/holds", `{"customer_id":"","lines":[{"product_id":"prod_x","quantity":0},{"quantity":"1"}],"extra":1,"a/b~c":1}`, []string{
			"/customer_id: must have at least 1 character",
			"/lines/0/product_id: must match ^prod_[0-7][0-9a-hjkmnp-tv-z]{25}$",
			"/lines/0/quantity: must be at least 1",
			"/lines/1/quantity: must be an integer",
			"/lines/1/product_id: is required",
			"/extra: is not a member of this object",
			"/a~1b~0c: is not a member of this object",
		}},
		"no lines":                  {"POST", "/api/holds", `{"customer_id":"c","lines":[]}`, []string{"/lines: must have at least 1 item"}},
		"another case":              {"POST", "/api/holds", strings.Replace(holdOf("1"), `"quantity":1`, `"quantity":1,"QUANTITY":99`, 1), []string{"/lines/0/QUANTITY: is not a member of this object"}},
		"another case alone":        {"POST", "/api/holds", strings.Replace(holdOf("1"), "quantity", "Quantity", 1), []string{"/lines/0/Quantity: is not a member of this object", "/lines/0/quantity: is required"}},
		"a NUL":                     {"POST", "/api/holds", strings.Replace(holdOf("1"), `"c"`, `"a\u0000b"`, 1), []string{`/customer_id: must match ^[^\x00-\x1f\x7f]*$`}},
		"another kind's id":         {"POST", "/api/orders", `{"hold_id":"` + aProduct + `"}`, []string{"/hold_id: must match ^hold_[0-7][0-9a-hjkmnp-tv-z]{25}$"}},
		"too many":                  {"POST", "/api/holds", holdOf("1001"), []string{"/lines/0/quantity: must be at most 1000"}},
		"a fraction":                {"POST", "/api/holds", holdOf("1.5"), []string{"/lines/0/quantity: must be an integer"}},
		"minus nothing":             {"POST", "/api/holds", holdOf("-0"), []string{"/lines/0/quantity: must be at least 1"}},
		"beyond all floats":         {"POST", "/api/holds", holdOf("1e400"), []string{"/lines/0/quantity: must be an integer"}},
		"beyond 64 bits":            {"POST", "/api/holds", holdOf("9223372036854775808"), []string{"/lines/0/quantity: must be at most 1000"}},
		"a float beyond 64 bits":    {"POST", "/api/holds", holdOf("1e300"), []string{"/lines/0/quantity: must be an integer of 64 bits", "/lines/0/quantity: must be at most 1000"}},
		"a true quantity":           {"POST", "/api/holds", holdOf("true"), []string{"/lines/0/quantity: must be an integer"}},
		"a null quantity":           {"POST", "/api/holds", holdOf("null"), []string{"/lines/0/quantity: must not be null"}},
		"a delta of nothing":        {"POST", "/api/products/" + aProduct + "/stock-adjustments", `{"delta":0,"reason":"r"}`, []string{"/delta: must not be 0"}},
		"a date that is not":        {"POST", "/api/products", product + `,"sale_starts_at":"2026-02-30T00:00:00Z"}`, []string{"/sale_starts_at: must be an RFC 3339 time in the years 1000 to 9999"}},
		"a leap second":             {"POST", "/api/products", product + `,"sale_starts_at":"2026-06-30T23:59:60Z"}`, []string{"/sale_starts_at: must be an RFC 3339 time in the years 1000 to 9999"}},
		"a year past the database":  {"POST", "/api/products", product + `,"sale_ends_at":"9999-12-31T23:59:59-01:00"}`, []string{"/sale_ends_at: must be an RFC 3339 time in the years 1000 to 9999"}},
		"a null that is not a wish": {"PATCH", "/api/products/" + aProduct, `{"name":null}`, []string{"/name: must not be null"}},
		"an id of a wrong kind":     {"GET", "/api/products/" + aHold, "", []string{"/path/product_id: must match ^prod_[0-7][0-9a-hjkmnp-tv-z]{25}$"}},
		"an id with a NUL":          {"GET", "/api/holds/" + aHold + "%00", "", []string{"/path/hold_id: must match ^hold_[0-7][0-9a-hjkmnp-tv-z]{25}$"}},
		"an id above 128 bits":      {"GET", "/api/holds/hold_81kjmma2g0f398qskz672th7hq", "", []string{"/path/hold_id: must match ^hold_[0-7][0-9a-hjkmnp-tv-z]{25}$"}},
		"path and body":             {"PATCH", "/api/products/x", `{"stock":1}`, []string{"/path/product_id: must match ^prod_[0-7][0-9a-hjkmnp-tv-z]{25}$", "/stock: is not a member of this object"}},
		"a limit twice":             {"GET", "/api/products?limit=1&limit=2", "", []string{"/query/limit: must be given once"}},
		"a limit of nothing":        {"GET", "/api/products?limit=0", "", []string{"/query/limit: must be at least 1"}},
		"a limit too large":         {"GET", "/api/products?limit=101", "", []string{"/query/limit: must be at most 100"}},
		"a limit in words":          {"GET", "/api/products?limit=ten", "", []string{"/query/limit: must be an integer"}},
		"an empty limit":            {"GET", "/api/products?limit=", "", []string{"/query/limit: must not be empty"}},
		"a limit beyond 64 bits":    {"GET", "/api/products?limit=9223372036854775808", "", []string{"/query/limit: must be an integer"}},
		"a made-up cursor":          {"GET", "/api/products?cursor=abc", "", []string{"/query/cursor: must be the next_cursor of an earlier answer"}},
		"a cursor of a hold":        {"GET", "/api/products?cursor=aG9sZF8wMWtqbW1hMmcwZjM5OHFza3o2NzJ0aDdocQ", "", []string{"/query/cursor: must be the next_cursor of an earlier answer"}},
		"a cursor with a NUL":       {"GET", "/api/products?cursor=a%00", "", []string{`/query/cursor: must match ^[\x21-\x7e]*$`}},
	} {
		t.Run(name, func(t *testing.T) {
			w := serve(handler, request(t, test.method, test.target, test.body, "Content-Type", jsonType))
			require.ElementsMatch(t, test.faults, faultsOf(requireProblem(t, w, 422, "invalid_request")))
		})
	}
}

func faultsOf(p server.Problem) []string {
	var texts []string
	for _, fault := range p.Errors {
		texts = append(texts, fault.Pointer+": "+fault.Detail)
	}
	return texts
}

func TestTheListOfFaultsIsBounded(t *testing.T) {
	handler := newAPI(t, testConfig(t))
	members := make([]string, 5*maxFaults)
	for i := range members {
		members[i] = fmt.Sprintf(`"m%d":0`, i)
	}
	for name, body := range map[string]string{
		"members": "{" + strings.Join(members, ",") + "}",
		"lines":   `{"customer_id":"c","lines":[` + strings.TrimSuffix(strings.Repeat("0,", 5*maxFaults), ",") + `]}`,
	} {
		t.Run(name, func(t *testing.T) {
			p := requireProblem(t, serve(handler, request(t, "POST", "/api/holds", body, "Content-Type", jsonType)), 422, "invalid_request")
			require.Len(t, p.Errors, maxFaults)
		})
	}
}

func TestIdempotencyKeysAreChecked(t *testing.T) {
	handler := newAPI(t, testConfig(t))
	for name, keys := range map[string][]string{
		"empty":    {""},
		"too long": {strings.Repeat("k", 256)},
		"a blank":  {"a b"},
		"unicode":  {"schlüssel"},
		"two":      {"a", "b"},
	} {
		t.Run(name, func(t *testing.T) {
			r := request(t, "POST", "/api/holds/"+aHold+"/release", "")
			r.Header["Idempotency-Key"] = keys
			p := requireProblem(t, serve(handler, r), 422, "invalid_request")
			require.NotEmpty(t, p.Errors)
			for _, fault := range p.Errors {
				require.Equal(t, "/header/Idempotency-Key", fault.Pointer)
			}
		})
	}
}

func TestOnlyTheMediaTypesOfTheContractAreRead(t *testing.T) {
	handler := newAPI(t, testConfig(t))
	for _, target := range []string{"/api/holds", "/api/payments/webhook"} {
		for name, types := range map[string][]string{
			"none":            nil,
			"empty":           {""},
			"text":            {"text/plain"},
			"a form":          {"application/x-www-form-urlencoded"},
			"XML":             {"application/xml"},
			"a prefix":        {"application/jsonp"},
			"a suffix":        {"application/problem+json"},
			"another charset": {"application/json; charset=utf-16"},
			"nonsense":        {"application/json; charset"},
			"two":             {jsonType, jsonType},
		} {
			t.Run(target+" "+name, func(t *testing.T) {
				r := request(t, "POST", target, holdOf("1"))
				r.Header["Content-Type"] = types
				requireProblem(t, serve(handler, r), 415, "unsupported_media_type")
			})
		}
	}
	for _, accepted := range []string{jsonType, "application/json; charset=utf-8", "Application/JSON;charset=UTF-8", "application/json; version=1"} {
		requireProblem(t, serve(handler, request(t, "POST", "/api/holds", "{}", "Content-Type", accepted)), 422, "invalid_request")
	}
	merge := request(t, "PATCH", "/api/products/"+aProduct, `{"stock":1}`, "Content-Type", "application/merge-patch+json")
	requireProblem(t, serve(handler, merge), 422, "invalid_request")
}

func TestABodyInAnyCodingIsNotRead(t *testing.T) {
	handler := newAPI(t, testConfig(t))
	for _, target := range []string{"/api/holds", "/api/payments/webhook"} {
		for name, codings := range map[string][]string{
			"gzip": {"gzip"}, "in capitals": {"GZIP"}, "unknown": {"br2"}, "several": {"identity, gzip"}, "on two lines": {"identity", "deflate"},
		} {
			t.Run(target+" "+name, func(t *testing.T) {
				r := request(t, "POST", target, "{}", "Content-Type", jsonType)
				r.Header["Content-Encoding"] = codings
				w := serve(handler, r)
				requireProblem(t, w, 415, "unsupported_media_type")
				require.Equal(t, []string{"identity"}, w.Header().Values("Accept-Encoding"))
			})
		}
	}
	for _, plain := range [][]string{{"identity"}, {"Identity"}, {""}, {"identity,", "identity"}} {
		r := request(t, "POST", "/api/holds", "{}", "Content-Type", jsonType)
		r.Header["Content-Encoding"] = plain
		requireProblem(t, serve(handler, r), 422, "invalid_request")
	}
	// RFC 7694: the header tells the one reason from the other.
	w := serve(handler, request(t, "POST", "/api/holds", "{}", "Content-Type", "text/plain"))
	requireProblem(t, w, 415, "unsupported_media_type")
	require.Empty(t, w.Header().Values("Accept-Encoding"))
}

func TestBodiesAreLimited(t *testing.T) {
	handler := newAPI(t, testConfig(t))
	large := `{"customer_id":"` + strings.Repeat("c", MaxBody) + `"}`
	for _, target := range []string{"/api/holds", "/api/payments/webhook", "/api/nowhere"} {
		requireProblem(t, serve(handler, request(t, "POST", target, large, "Content-Type", jsonType)), 413, "payload_too_large")
	}
	for _, target := range []string{"/api/holds", "/api/payments/webhook"} {
		chunked := request(t, "POST", target, large, "Content-Type", jsonType)
		chunked.ContentLength = -1
		requireProblem(t, serve(handler, chunked), 413, "payload_too_large")
	}
	exact := `"` + strings.Repeat("c", MaxBody-2) + `"`
	requireProblem(t, serve(handler, request(t, "POST", "/api/holds", exact, "Content-Type", jsonType)), 422, "invalid_request")
}

func TestPathsAndMethodsThatAreNotThere(t *testing.T) {
	handler := newAPI(t, testConfig(t))
	for _, target := range []string{"/nowhere", "/api", "/api/", "/api/holds/x/y/z", "//api/holds", "/docs/..%2f", "/docs/nothing.js", "/api/orders/x/nothing", "/problems/sold_out/x", "/%00"} {
		requireProblem(t, serve(handler, request(t, "GET", target, "")), 404, "not_found")
	}
	requireProblem(t, serve(handler, request(t, "POST", "/api/orders/x/nothing", "")), 404, "not_found")
	for _, test := range []struct{ method, target, allow string }{
		{"DELETE", "/api/holds", "POST"},
		{"GET", "/api/holds", "POST"},
		{"OPTIONS", "/api/products", "GET, HEAD, POST"},
		{"PUT", "/api/products/" + aProduct, "GET, HEAD, PATCH"},
		{"POST", "/livez", "GET, HEAD"},
		{"BREW", "/api/orders", "GET, HEAD, POST"},
		{"POST", "/openapi.yaml", "GET, HEAD"},
	} {
		w := serve(handler, request(t, test.method, test.target, ""))
		requireProblem(t, w, 405, "method_not_allowed")
		require.ElementsMatch(t, strings.Split(test.allow, ", "), strings.Split(w.Header().Get("Allow"), ", "), test.method+" "+test.target)
	}
}

func TestAWebhookIsVerifiedBeforeItsBodyIsRead(t *testing.T) {
	handler := newAPI(t, testConfig(t))
	for _, body := range []string{"", "{", "null", strings.Repeat("[", 10_000)} {
		requireProblem(t, serve(handler, request(t, "POST", "/api/payments/webhook", body, "Content-Type", jsonType)), 401, "invalid_signature")
	}
	twice := request(t, "POST", "/api/payments/webhook", "{}", "Content-Type", jsonType, "webhook-signature", "v1,a", "webhook-signature", "v1,b")
	p := requireProblem(t, serve(handler, twice), 422, "invalid_request")
	require.Equal(t, []string{"/header/webhook-signature: must be given once"}, faultsOf(p))
}

func TestAMalformedQueryIsRefusedAndAnUnknownOneIgnored(t *testing.T) {
	handler := newAPI(t, testConfig(t))
	requireProblem(t, serve(handler, request(t, "GET", "/api/products?limit=%zz", "")), 400, "malformed_request")
	require.Equal(t, 200, serve(handler, request(t, "GET", "/livez?a=1&a=2&b", "")).Code)
}

// contractOperation is one operation of the contract.
func contractOperation(tb testing.TB, id string) *operation {
	tb.Helper()
	for _, op := range allOperations(tb) {
		if op.id == id {
			return op
		}
	}
	require.FailNow(tb, "no operation "+id)
	return nil
}

// bind sends a request through an operation's checks and fills target as the
// generated code does.
func bind(t *testing.T, operationID, method, target, route, body string, into any) *httptest.ResponseRecorder {
	t.Helper()
	e := newHandlers(t, io.Discard).route(nil, pages{}, newPlaces())
	e.Add(method, route, func(c echo.Context) error {
		if err := c.Bind(into); err != nil {
			return err
		}
		return c.NoContent(http.StatusNoContent)
	}, contractOperation(t, operationID).check)
	return serve(e, request(t, method, target, body, "Content-Type", jsonType))
}

func TestWhatIsBoundIsWhatWasValidated(t *testing.T) {
	for _, quantity := range []string{"7", "7.0", "7e0", "0.7e1", "70E-1"} {
		t.Run(quantity, func(t *testing.T) {
			var hold server.CreateHoldRequest
			w := bind(t, "createHold", "POST", "/", "/", holdOf(quantity), &hold)
			require.Equal(t, http.StatusNoContent, w.Code, w.Body.String())
			require.Equal(t, server.CreateHoldRequest{
				CustomerID: "c",
				Lines:      []server.HoldLineRequest{{ProductID: aProduct, Quantity: 7}},
			}, hold)
		})
	}
}

func TestAPatchTellsNullFromAbsent(t *testing.T) {
	var body server.UpdateProductRequest
	w := bind(t, "updateProduct", "PATCH", "/"+aProduct, "/:product_id",
		`{"per_customer_limit":null,"sale_ends_at":"2026-03-01T13:00:00.1234567+01:00","hold_ttl_seconds":60}`, &body)
	require.Equal(t, http.StatusNoContent, w.Code, w.Body.String())

	patch := productPatch(&body)
	require.True(t, patch.PerCustomerLimit.Given)
	require.Nil(t, patch.PerCustomerLimit.Value)
	require.True(t, patch.SaleEndsAt.Given)
	require.Equal(t, "2026-03-01T12:00:00.123456Z", patch.SaleEndsAt.Value.Format("2006-01-02T15:04:05.999999999Z07:00"))
	require.False(t, patch.SaleStartsAt.Given)
	require.Nil(t, patch.Name)
	require.Equal(t, "1m0s", patch.HoldTTL.String())
	require.Nil(t, patch.PaymentWindow)
}

func TestRequestIDsAreTakenWhenFitAndMadeWhenNot(t *testing.T) {
	handler := newAPI(t, testConfig(t))
	for given, taken := range map[string]bool{
		"checkout-7f3a":          true,
		strings.Repeat("x", 128): true,
		strings.Repeat("x", 129): false,
		"":                       false,
		"a b":                    false,
		"a\nb":                   false,
		"ä":                      false,
	} {
		got := serve(handler, request(t, "GET", "/livez", "", "X-Request-Id", given)).Header().Get("X-Request-Id")
		require.NotEmpty(t, got)
		require.Equal(t, taken, got == given, "%q", given)
	}
}

func TestEachRequestIsLoggedAndCountedOnce(t *testing.T) {
	var log bytes.Buffer
	meter := &recordingMeter{}
	cfg := testConfig(t)
	cfg.Meter, cfg.Log = meter, slog.New(slog.NewJSONHandler(&log, nil))
	handler := newAPI(t, cfg)
	serve(handler, request(t, "POST", "/api/holds/"+aHold+"/extend", "", "Content-Type", jsonType))
	serve(handler, request(t, "GET", "/nowhere", ""))
	serve(handler, request(t, "BREW", "/api/holds", ""))
	require.Equal(t, []served{{"extendHold", "POST", 400}, {"other", "GET", 404}, {"other", "OTHER", 405}}, meter.calls)

	records := strings.Split(strings.TrimSpace(log.String()), "\n")
	require.Len(t, records, 3)
	var record map[string]any
	require.NoError(t, json.Unmarshal([]byte(records[0]), &record))
	require.Equal(t, "http.request", record["msg"])
	require.Equal(t, "extendHold", record["operation"])
	require.Equal(t, "/api/holds/:hold_id/extend", record["path"])
	require.EqualValues(t, 400, record["status"])
	require.Positive(t, record["bytes"])
	require.Contains(t, record, "duration_ms")

	log.Reset()
	cfg.DisableAccessLog = true
	serve(newAPI(t, cfg), request(t, "GET", "/livez", ""))
	require.Empty(t, log.String())
	require.Len(t, meter.calls, 4)
}

func TestReadinessFollowsTheServer(t *testing.T) {
	cfg := testConfig(t)
	draining := false
	cfg.Draining = func() bool { return draining }
	w := serve(newAPI(t, cfg), request(t, "GET", "/readyz", ""))
	require.Equal(t, 200, w.Code)
	require.JSONEq(t, `{"status":"ready","mysql":"up","redis":"disabled","migrations":"current"}`, w.Body.String())

	draining = true
	requireProblem(t, serve(newAPI(t, cfg), request(t, "GET", "/readyz", "")), 503, "unavailable")
	require.Equal(t, 200, serve(newAPI(t, cfg), request(t, "GET", "/livez", "")).Code)

	draining = false
	cfg.Ready = func(context.Context) Readiness {
		return Readiness{MySQL: "down", Redis: "up", Migrations: "unknown"}
	}
	p := requireProblem(t, serve(newAPI(t, cfg), request(t, "GET", "/readyz", "")), 503, "unavailable")
	require.Contains(t, value(p.Detail), "mysql is down")
}

func TestHEADIsAGETWithoutItsBody(t *testing.T) {
	live := httptest.NewServer(newAPI(t, testConfig(t)))
	t.Cleanup(live.Close)
	for _, target := range []string{"/livez", "/docs/", "/openapi.json", "/api/products/x"} {
		status, mediaType, body := fetch(t, http.MethodGet, live.URL+target)
		require.NotEmpty(t, body, target)
		headStatus, headMediaType, nothing := fetch(t, http.MethodHead, live.URL+target)
		require.Equal(t, status, headStatus, target)
		require.Equal(t, mediaType, headMediaType, target)
		require.Empty(t, nothing, target)
	}
}

// fetch sends a request over the network.
func fetch(t *testing.T, method, address string) (status int, mediaType string, body []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, address, http.NoBody)
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer response.Body.Close() //nolint:errcheck // it was read to its end
	body, err = io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, response.Header.Get("Content-Type"), body
}

func TestAnIncompleteConfigIsRefused(t *testing.T) {
	_, err := New(Config{})
	for _, missing := range []string{"actions", "verifier", "readiness", "log", "meter", "unknown order"} {
		require.ErrorContains(t, err, missing)
	}
}
