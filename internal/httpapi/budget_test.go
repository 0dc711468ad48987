package httpapi

import (
	"context"
	"net/http"
	"testing"
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

func (m *measured) GetLiveness(ctx context.Context, _ server.GetLivenessRequestObject) (server.GetLivenessResponseObject, error) {
	m.left = budget.Left(ctx, 2*time.Hour)
	return server.GetLiveness200JSONResponse{}, nil
}

func TestEachRequestHasItsBudget(t *testing.T) {
	for configured, want := range map[time.Duration]time.Duration{0: 2 * time.Hour, time.Hour: time.Hour} {
		cfg, operations := testConfig(t), &measured{}
		cfg.Operations, cfg.Budget = operations, configured
		assert.Equal(t, http.StatusOK, serve(newAPI(t, cfg), request(t, http.MethodGet, "/livez", "")).Code)
		assert.InDelta(t, want, operations.left, float64(time.Minute), configured)
	}
}
