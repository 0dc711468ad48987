package httpapi

import (
	"context"
	"fmt"

	"github.com/flashsale-api/flashsale/gen/server"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// GetLiveness answers GET /livez.
func (*handlers) GetLiveness(context.Context, server.GetLivenessRequestObject) (server.GetLivenessResponseObject, error) {
	return server.GetLiveness200JSONResponse{Status: server.LivenessStatusOk}, nil
}

// GetReadiness answers GET /readyz.
func (h *handlers) GetReadiness(ctx context.Context, _ server.GetReadinessRequestObject) (server.GetReadinessResponseObject, error) {
	if h.Draining() {
		return nil, sale.Fail(sale.CodeUnavailable, "The server is shutting down.")
	}
	state := h.Ready(ctx)
	if !state.Ready {
		return nil, sale.Fail(sale.CodeUnavailable, fmt.Sprintf("The server is not ready: mysql is %s, migrations are %s, redis is %s.",
			state.MySQL, state.Migrations, state.Redis))
	}
	return server.GetReadiness200JSONResponse{
		Status:     server.ReadinessStatusReady,
		Mysql:      server.ReadinessMysql(state.MySQL),
		Redis:      server.ReadinessRedis(state.Redis),
		Migrations: server.ReadinessMigrations(state.Migrations),
	}, nil
}
