package httpapi

import (
	"context"
	"fmt"

	"github.com/flashsale-api/flashsale/gen/server"
	"github.com/flashsale-api/flashsale/internal/action"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// CreateHold answers POST /api/holds.
func (h *handlers) CreateHold(ctx context.Context, request server.CreateHoldRequestObject) (server.CreateHoldResponseObject, error) {
	lines := make([]sale.LineRequest, len(request.Body.Lines))
	for i, line := range request.Body.Lines {
		id, err := sale.ParseProductID(line.ProductID)
		if err != nil {
			return nil, notAProduct(fmt.Sprintf("/lines/%d/product_id", i))
		}
		lines[i] = sale.LineRequest{ProductID: id, Quantity: line.Quantity}
	}
	result, err := h.Actions.CreateHold.Do(ctx, action.CreateHoldInput{
		Key:        value(request.Params.IdempotencyKey),
		CustomerID: request.Body.CustomerID,
		Lines:      lines,
	})
	if err != nil {
		return nil, err
	}
	hold := holdBody(result.Value)
	return server.CreateHold201JSONResponse{
		Body: hold,
		Headers: server.CreateHold201ResponseHeaders{
			Location:           "/api/holds/" + hold.ID,
			IdempotentReplayed: replayed(result.Replayed),
		},
	}, nil
}

// GetHold answers GET /api/holds/{hold_id}.
func (h *handlers) GetHold(ctx context.Context, request server.GetHoldRequestObject) (server.GetHoldResponseObject, error) {
	id, err := holdID("/path/hold_id", request.HoldID)
	if err != nil {
		return nil, err
	}
	hold, err := h.Actions.GetHold.Do(ctx, id)
	if err != nil {
		return nil, err
	}
	return server.GetHold200JSONResponse(holdBody(hold)), nil
}

// ReleaseHold answers POST /api/holds/{hold_id}/release.
func (h *handlers) ReleaseHold(ctx context.Context, request server.ReleaseHoldRequestObject) (server.ReleaseHoldResponseObject, error) {
	id, err := holdID("/path/hold_id", request.HoldID)
	if err != nil {
		return nil, err
	}
	result, err := h.Actions.ReleaseHold.Do(ctx, action.ReleaseHoldInput{
		Key:    value(request.Params.IdempotencyKey),
		HoldID: id,
	})
	if err != nil {
		return nil, err
	}
	return server.ReleaseHold200JSONResponse{
		Body:    holdBody(result.Value),
		Headers: server.ReleaseHold200ResponseHeaders{IdempotentReplayed: replayed(result.Replayed)},
	}, nil
}

// ExtendHold answers POST /api/holds/{hold_id}/extend.
func (h *handlers) ExtendHold(ctx context.Context, request server.ExtendHoldRequestObject) (server.ExtendHoldResponseObject, error) {
	id, err := holdID("/path/hold_id", request.HoldID)
	if err != nil {
		return nil, err
	}
	result, err := h.Actions.ExtendHold.Do(ctx, action.ExtendHoldInput{
		Key:    value(request.Params.IdempotencyKey),
		HoldID: id,
		By:     seconds(request.Body.Seconds),
	})
	if err != nil {
		return nil, err
	}
	return server.ExtendHold200JSONResponse{
		Body:    holdBody(result.Value),
		Headers: server.ExtendHold200ResponseHeaders{IdempotentReplayed: replayed(result.Replayed)},
	}, nil
}

func holdBody(hold action.HoldView) server.Hold {
	body := server.Hold{
		ID:         hold.ID.String(),
		CustomerID: hold.CustomerID,
		Status:     server.HoldStatus(hold.Status),
		Lines:      lineBodies(hold.Lines),
		Total:      server.Money(sale.Total(hold.Lines)),
		ExpiresAt:  hold.ExpiresAt.UTC(),
		CreatedAt:  hold.CreatedAt.UTC(),
	}
	if hold.Ordered {
		body.OrderID = new(sale.OrderOf(hold.ID).String())
	}
	return body
}

func lineBodies(lines []sale.Line) []server.Line {
	bodies := make([]server.Line, len(lines))
	for i, line := range lines {
		bodies[i] = server.Line{
			ProductID: line.ProductID.String(),
			Quantity:  line.Quantity,
			UnitPrice: server.Money(line.UnitPrice),
		}
	}
	return bodies
}

// holdID reads an id that the contract's pattern let through.
func holdID(pointer, text string) (sale.HoldID, error) {
	id, err := sale.ParseHoldID(text)
	if err != nil {
		return id, sale.Invalid(pointer, "must be the id of a hold")
	}
	return id, nil
}
