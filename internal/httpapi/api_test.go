package httpapi

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/gen/server"
	"github.com/flashsale-api/flashsale/internal/action"
	"github.com/flashsale-api/flashsale/internal/payment"
	"github.com/flashsale-api/flashsale/internal/sale"
)

const testSecret = "whsec_dGhpcy1pcy1hLXNlY3JldC1vZi0zMi1ieXRlcy4uLi4="

// served is one call of the meter.
type served struct {
	operation, method string
	status            int
}

type recordingMeter struct {
	calls, refused []served
	rejected       []sale.Code
}

func (m *recordingMeter) RequestServed(operation, method string, status int, _ time.Duration) {
	m.calls = append(m.calls, served{operation, method, status})
}

func (m *recordingMeter) RequestRefused(operation, method string, status int) {
	m.refused = append(m.refused, served{operation, method, status})
}

func (m *recordingMeter) HoldRejected(code sale.Code) { m.rejected = append(m.rejected, code) }

// testConfig has no actions: what it serves must be refused before them, or
// need none.
func testConfig(tb testing.TB) Config {
	tb.Helper()
	verifier, err := payment.New(payment.Config{StandardSecrets: []string{testSecret}})
	require.NoError(tb, err)
	return Config{
		Actions:  &action.Actions{},
		Live:     newHub(tb, nowhere),
		Verifier: verifier,
		Ready: func(context.Context) Readiness {
			return Readiness{Ready: true, MySQL: "up", Redis: "disabled", Migrations: "current"}
		},
		UnknownOrderStatus: http.StatusNotFound,
		Log:                slog.New(slog.DiscardHandler),
		Meter:              &recordingMeter{},
	}
}

func newAPI(tb testing.TB, cfg Config) http.Handler {
	tb.Helper()
	handler, err := New(cfg)
	require.NoError(tb, err)
	return handler
}

// newHandlers are handlers outside of any route, for the error mapper.
func newHandlers(tb testing.TB, log io.Writer) *handlers {
	tb.Helper()
	cfg := testConfig(tb)
	cfg.Log = slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	return &handlers{Config: cfg, problems: problemKinds(), encoded: newEncodedProducts()}
}

func request(tb testing.TB, method, target, body string, header ...string) *http.Request {
	tb.Helper()
	r := httptest.NewRequestWithContext(tb.Context(), method, target, strings.NewReader(body))
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return r
}

func serve(handler http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return w
}

// requireProblem asserts that an answer is a whole problem of the contract.
func requireProblem(tb testing.TB, w *httptest.ResponseRecorder, status int, code string) server.Problem {
	tb.Helper()
	require.Equal(tb, status, w.Code, w.Body.String())
	require.Equal(tb, problemMediaType, w.Header().Get("Content-Type"))
	require.Equal(tb, "nosniff", w.Header().Get("X-Content-Type-Options"))
	var p server.Problem
	require.NoError(tb, json.Unmarshal(w.Body.Bytes(), &p))
	require.Equal(tb, server.ProblemCode(code), p.Code)
	require.Equal(tb, status, p.Status)
	require.Equal(tb, "/problems/"+code, p.Type)
	require.NotEmpty(tb, p.Title)
	require.Equal(tb, w.Header().Get("X-Request-Id"), p.Instance)
	if status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests {
		require.NotEmpty(tb, w.Header().Get("Retry-After"))
	}
	return p
}
