package httpapi

import (
	"context"
	"strconv"

	"github.com/flashsale-api/flashsale/gen/server"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// ListStockMovements answers GET /api/products/{product_id}/stock-movements.
func (h *handlers) ListStockMovements(
	ctx context.Context, request server.ListStockMovementsRequestObject,
) (server.ListStockMovementsResponseObject, error) {
	id, err := productID(request.ProductID)
	if err != nil {
		return nil, err
	}
	var before *int64
	if request.Params.Cursor != nil {
		version, err := readCursor(*request.Params.Cursor, stockVersion)
		if err != nil {
			return nil, err
		}
		before = &version
	}
	page, err := h.Actions.ListMovements.Do(ctx, id, limitOf(request.Params.Limit), before)
	if err != nil {
		return nil, err
	}
	body := server.ListStockMovements200JSONResponse{Data: make([]server.StockMovement, len(page.Movements))}
	for i, movement := range page.Movements {
		body.Data[i] = movementBody(movement)
	}
	if page.Next != nil {
		body.NextCursor = new(writeCursor(strconv.FormatInt(*page.Next, 10)))
	}
	return body, nil
}

// AuditProduct answers GET /api/products/{product_id}/audit.
func (h *handlers) AuditProduct(
	ctx context.Context, request server.AuditProductRequestObject,
) (server.AuditProductResponseObject, error) {
	id, err := productID(request.ProductID)
	if err != nil {
		return nil, err
	}
	books, err := h.Actions.AuditProduct.Do(ctx, id)
	if err != nil {
		return nil, err
	}
	return server.AuditProduct200JSONResponse{
		Available:       books.Available,
		Held:            books.Held,
		Pending:         books.Pending,
		Sold:            books.Sold,
		Total:           books.Total,
		LedgerAvailable: books.LedgerAvailable,
		Balanced:        books.Balanced(),
	}, nil
}

func movementBody(m sale.Movement) server.StockMovement {
	return server.StockMovement{
		StockVersion:   m.StockVersion,
		Delta:          m.Delta,
		AvailableAfter: m.AvailableAfter,
		Reason:         server.MovementReason(m.Reason),
		Note:           optional(m.Note),
		CreatedAt:      m.CreatedAt.UTC(),
	}
}

// stockVersion reads what a cursor of movements names.
func stockVersion(text string) (int64, error) {
	version, err := strconv.ParseInt(text, 10, 64)
	if err == nil && (version < 1 || strconv.FormatInt(version, 10) != text) {
		err = strconv.ErrRange
	}
	return version, err
}
