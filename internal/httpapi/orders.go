package httpapi

import (
	"context"

	"github.com/flashsale-api/flashsale/gen/server"
	"github.com/flashsale-api/flashsale/internal/action"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// CreateOrder answers POST /api/orders.
func (h *handlers) CreateOrder(ctx context.Context, request server.CreateOrderRequestObject) (server.CreateOrderResponseObject, error) {
	id, err := holdID("/hold_id", request.Body.HoldID)
	if err != nil {
		return nil, err
	}
	result, err := h.Actions.CreateOrder.Do(ctx, action.CreateOrderInput{
		Key:    value(request.Params.IdempotencyKey),
		HoldID: id,
	})
	if err != nil {
		return nil, err
	}
	order := orderBody(result.Value)
	return server.CreateOrder201JSONResponse{
		Body: order,
		Headers: server.CreateOrder201ResponseHeaders{
			Location:           "/api/orders/" + order.ID,
			IdempotentReplayed: replayed(result.Replayed),
		},
	}, nil
}

// GetOrder answers GET /api/orders/{order_id}.
func (h *handlers) GetOrder(ctx context.Context, request server.GetOrderRequestObject) (server.GetOrderResponseObject, error) {
	id, err := orderID(request.OrderID)
	if err != nil {
		return nil, err
	}
	order, err := h.Actions.GetOrder.Do(ctx, id)
	if err != nil {
		return nil, err
	}
	return server.GetOrder200JSONResponse(orderBody(order)), nil
}

// ListOrders answers GET /api/orders.
func (h *handlers) ListOrders(ctx context.Context, request server.ListOrdersRequestObject) (server.ListOrdersResponseObject, error) {
	in := action.ListOrdersInput{
		CustomerID: value(request.Params.CustomerID),
		Status:     sale.OrderStatus(value(request.Params.Status)),
		Limit:      limitOf(request.Params.Limit),
	}
	if request.Params.Cursor != nil {
		id, err := readCursor(*request.Params.Cursor, sale.ParseOrderID)
		if err != nil {
			return nil, err
		}
		in.Before = &id
	}
	page, err := h.Actions.ListOrders.Do(ctx, in)
	if err != nil {
		return nil, err
	}
	body := server.ListOrders200JSONResponse{Data: make([]server.Order, len(page.Orders))}
	for i, order := range page.Orders {
		body.Data[i] = orderBody(order)
	}
	if page.Next != nil {
		body.NextCursor = new(writeCursor(page.Next.String()))
	}
	return body, nil
}

// CancelOrder answers POST /api/orders/{order_id}/cancel.
func (h *handlers) CancelOrder(ctx context.Context, request server.CancelOrderRequestObject) (server.CancelOrderResponseObject, error) {
	id, err := orderID(request.OrderID)
	if err != nil {
		return nil, err
	}
	result, err := h.Actions.CancelOrder.Do(ctx, action.CancelOrderInput{
		Key:     value(request.Params.IdempotencyKey),
		OrderID: id,
	})
	if err != nil {
		return nil, err
	}
	return server.CancelOrder200JSONResponse{
		Body:    orderBody(result.Value),
		Headers: server.CancelOrder200ResponseHeaders{IdempotentReplayed: replayed(result.Replayed)},
	}, nil
}

// RefundOrder answers POST /api/orders/{order_id}/refund.
func (h *handlers) RefundOrder(ctx context.Context, request server.RefundOrderRequestObject) (server.RefundOrderResponseObject, error) {
	id, err := orderID(request.OrderID)
	if err != nil {
		return nil, err
	}
	result, err := h.Actions.RefundOrder.Do(ctx, action.RefundOrderInput{
		Key:     value(request.Params.IdempotencyKey),
		OrderID: id,
		Restock: request.Body.Restock,
	})
	if err != nil {
		return nil, err
	}
	return server.RefundOrder200JSONResponse{
		Body:    orderBody(result.Value),
		Headers: server.RefundOrder200ResponseHeaders{IdempotentReplayed: replayed(result.Replayed)},
	}, nil
}

func orderID(text string) (sale.OrderID, error) {
	id, err := sale.ParseOrderID(text)
	if err != nil {
		return id, sale.Invalid("/path/order_id", "must be the id of an order")
	}
	return id, nil
}

func refundReason(reason sale.RefundReason) *server.RefundReason {
	if reason == "" {
		return nil
	}
	return new(server.RefundReason(reason))
}

func orderBody(order action.OrderView) server.Order {
	return server.Order{
		ID:           order.ID.String(),
		HoldID:       order.HoldID().String(),
		CustomerID:   order.CustomerID,
		Status:       server.OrderStatus(order.Status),
		Lines:        lineBodies(order.Lines),
		Total:        server.Money(order.Total),
		PayBy:        order.PayBy.UTC(),
		CreatedAt:    order.CreatedAt.UTC(),
		PaidAt:       utc(order.PaidAt),
		PaymentID:    optional(order.PaymentID),
		RefundReason: refundReason(order.RefundReason),
	}
}
