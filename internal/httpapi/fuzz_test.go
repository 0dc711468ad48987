package httpapi

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/gen/server"
)

// FuzzRequest sends anything: an answer is never an empty 200, every 4xx and 5xx
// is a problem, and an internal error comes from nothing but a valid request
// that reached its action, of which this server has none.
func FuzzRequest(f *testing.F) {
	for _, seed := range []struct{ method, target, contentType, key, body string }{
		{"POST", "/api/holds", jsonType, "k", holdOf("1")},
		{"POST", "/api/holds", jsonType, "", holdOf("1e400")},
		{"POST", "/api/holds", "", "", `{"customer_id":"\ud800","lines":[{},{}]}`},
		{"PATCH", "/api/products/" + aProduct, "application/merge-patch+json", "", `{"sale_ends_at":null,"price":{"amount":1e3,"currency":"USD"}}`},
		{"POST", "/api/products", jsonType, "a,b", `{"sku":"s","name":"n","price":{"amount":1,"currency":"USD"},"stock":1,"sale_starts_at":"2026-01-01T00:00:00.5+23:59"}`},
		{"POST", "/api/products/" + aProduct + "/stock-adjustments", jsonType, "k", `{"delta":-1,"reason":"r"}`},
		{"POST", "/api/payments/webhook", jsonType, "", `{"type":"payment.succeeded"}`},
		{"GET", "/api/products?limit=20&cursor=cHJvZF8wMWtqbWEwZm0wZWswdHoycDF0ZXdnMzdocQ", "", "", ""},
		{"GET", "/api/products/%70rod_01kjma0fm0ek0tz2p1tewg37hq", "", "", ""},
		{"HEAD", "/docs/", "", "", ""},
		{"OPTIONS", "*", "", "", ""},
		{"GET", "/problems/%2e%2e%2f", "", "", ""},
	} {
		f.Add(seed.method, seed.target, seed.contentType, seed.key, seed.body)
	}
	var log bytes.Buffer
	cfg := testConfig(f)
	cfg.DisableAccessLog = true
	cfg.Log = slog.New(slog.NewJSONHandler(&log, nil))
	handler := newAPI(f, cfg)
	f.Fuzz(func(t *testing.T, method, target, contentType, key, body string) {
		log.Reset()
		r, ok := anyRequest(t, method, target, contentType, key, body)
		if !ok {
			return
		}
		w := serve(handler, r)
		switch {
		case w.Code == http.StatusOK:
			require.NotEmpty(t, w.Body.Bytes())
		case w.Code == http.StatusInternalServerError:
			require.Contains(t, log.String(), "internal/action.(*", w.Body.String())
			fallthrough
		case w.Code >= http.StatusBadRequest:
			require.Equal(t, problemMediaType, w.Header().Get("Content-Type"))
			var p server.Problem
			require.NoError(t, json.Unmarshal(w.Body.Bytes(), &p))
			require.True(t, p.Code.Valid(), p.Code)
			require.Equal(t, w.Code, p.Status)
		}
	})
}

// anyRequest is a request that net/http would hand to a handler, if it would.
func anyRequest(t *testing.T, method, target, contentType, key, body string) (*http.Request, bool) {
	t.Helper()
	address, err := url.ParseRequestURI(target)
	if err != nil {
		return nil, false
	}
	r, err := http.NewRequestWithContext(t.Context(), method, "/", strings.NewReader(body))
	if err != nil {
		return nil, false
	}
	r.URL, r.RequestURI = address, target
	r.Header = http.Header{}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	return r, true
}

// BenchmarkCreateHoldValidation is what the checks cost a request: parameters,
// body and binding.
func BenchmarkCreateHoldValidation(b *testing.B) {
	e := newHandlers(b, nil).route(nil, pages{}, newPlaces())
	check := contractOperation(b, "createHold").check
	next := check(func(c echo.Context) error { return c.Bind(&server.CreateHoldRequest{}) })
	body := holdOf("2")
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequestWithContext(b.Context(), http.MethodPost, "/api/holds", strings.NewReader(body))
		r.Header.Set("Content-Type", jsonType)
		r.Header.Set("Idempotency-Key", "5b2f6f0e-8a51-4d5c-9d0e-2f1c7c1b9a44")
		if err := next(e.NewContext(r, httptest.NewRecorder())); err != nil {
			b.Fatal(err)
		}
	}
}
