package action

import (
	"context"
	"fmt"

	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// EndpointPage is a page of endpoints. Next is the last one's id when there are more.
type EndpointPage struct {
	Endpoints []sale.Endpoint
	Next      *sale.EndpointID
}

// ListEndpoints reads endpoints in order of id.
type ListEndpoints struct{ *desk }

// Do gives at most limit endpoints from after one on, the zero id: from the first.
func (a *ListEndpoints) Do(ctx context.Context, limit int, after sale.EndpointID) (EndpointPage, error) {
	var page EndpointPage
	err := a.DB.Read(ctx, func(ctx context.Context, q store.DBTX) error {
		// One more than asked for tells whether there is a next page.
		rows, err := a.q.ListEndpoints(ctx, q, store.ListEndpointsParams{After: after, Limit: int32(limit) + 1}) //nolint:gosec // at most 100
		if err != nil {
			return fmt.Errorf("listing endpoints: %w", err)
		}
		if len(rows) > limit {
			rows = rows[:limit]
			page.Next = &rows[limit-1].ID
		}
		page.Endpoints, err = endpointsOf(rows)
		return err
	})
	return page, err
}
