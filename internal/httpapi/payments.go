package httpapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/flashsale-api/flashsale/gen/server"
	"github.com/flashsale-api/flashsale/internal/budget"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// unknownOrderRetry is how long a sender should wait for an order that is not
// there yet, where the server is set to answer 503.
const unknownOrderRetry = 30 * time.Second

// ReceivePaymentWebhook answers POST /api/payments/webhook. The raw body is
// verified before anything reads it.
func (h *handlers) ReceivePaymentWebhook(ctx context.Context, request server.ReceivePaymentWebhookRequestObject) (server.ReceivePaymentWebhookResponseObject, error) {
	body, err := readBody(request.Body, -1)
	if err != nil {
		return nil, err
	}
	event, err := h.Verifier.Verify(signatureHeader(request.Params), body, time.Now())
	if err != nil {
		return nil, err
	}
	if h.Budget > 0 {
		ctx = budget.Within(ctx, h.Budget)
	}
	result, err := h.Actions.ProcessPayment.Do(ctx, event)
	if err != nil {
		return nil, h.unknownOrder(err)
	}
	response := server.ReceivePaymentWebhook200JSONResponse{
		EventID: event.ID,
		Outcome: server.PaymentOutcome(result.Outcome),
	}
	if result.OrderStatus != "" {
		response.OrderStatus = new(server.OrderStatus(result.OrderStatus))
	}
	return response, nil
}

// unknownOrder makes an unknown order a 503, where the server is set to do so,
// for senders that take a 404 for final.
func (h *handlers) unknownOrder(err error) error {
	unknown := errors.Is(err, &sale.Error{Code: sale.CodeOrderNotFound})
	if !unknown || h.UnknownOrderStatus != http.StatusServiceUnavailable {
		return err
	}
	return &sale.Error{
		Code:       sale.CodeUnavailable,
		Detail:     "There is no such order yet. Nothing was done.",
		RetryAfter: unknownOrderRetry,
	}
}

// signatureHeader is the part of a webhook's header that senders sign with.
func signatureHeader(params server.ReceivePaymentWebhookParams) http.Header {
	header := http.Header{}
	for name, given := range map[string]*string{
		"webhook-id":        params.WebhookID,
		"webhook-timestamp": params.WebhookTimestamp,
		"webhook-signature": params.WebhookSignature,
		"Stripe-Signature":  params.StripeSignature,
	} {
		if given != nil {
			header.Set(name, *given)
		}
	}
	return header
}
