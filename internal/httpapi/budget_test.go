package httpapi

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/flashsale-api/flashsale/gen/server"
	"github.com/flashsale-api/flashsale/internal/budget"
)

// measured keeps how much of its budget a request has left.
type measured struct {
	server.StrictServerInterface
	left time.Duration
}

func (m *measured) CreateOrder(ctx context.Context, _ server.CreateOrderRequestObject) (server.CreateOrderResponseObject, error) {
	m.left = budget.Left(ctx, time.Hour)
	return server.CreateOrder201JSONResponse{}, nil
}

// late is a body that takes its time.
type late struct {
	io.Reader
	pause time.Duration
}

func (l late) Read(p []byte) (int, error) {
	time.Sleep(l.pause)
	return l.Reader.Read(p)
}

func TestEachRequestHasItsBudgetFromWhenItsBodyIsThere(t *testing.T) {
	for configured, want := range map[time.Duration]time.Duration{0: time.Hour, time.Minute: time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			cfg, operations := testConfig(t), &measured{}
			cfg.Operations, cfg.Budget = operations, configured
			body := `{"hold_id":"hold_00000000000000000000000000"}`
			r := request(t, http.MethodPost, "/api/orders", body, "Content-Type", "application/json")
			r.Body = io.NopCloser(late{strings.NewReader(body), 2 * time.Minute})
			w := serve(newAPI(t, cfg), r)
			assert.Equal(t, http.StatusCreated, w.Code, w.Body.String())
			assert.Equal(t, want, operations.left)
		})
	}
}
