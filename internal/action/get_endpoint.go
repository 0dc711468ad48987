package action

import (
	"context"

	"github.com/flashsale-api/flashsale/internal/sale"
)

// GetEndpoint reads an endpoint.
type GetEndpoint struct{ *desk }

// Do returns CodeEndpointNotFound for an unknown id.
func (a *GetEndpoint) Do(ctx context.Context, id sale.EndpointID) (sale.Endpoint, error) {
	return a.endpoint(ctx, id)
}
