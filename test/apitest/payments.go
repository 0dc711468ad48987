package apitest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/flashsale-api/flashsale/gen/client"
	"github.com/flashsale-api/flashsale/internal/payment"
	"github.com/flashsale-api/flashsale/internal/signature"
)

// Kinds of payment events, in the words of Standard Webhooks.
const (
	Succeeded = "payment.succeeded"
	Failed    = "payment.failed"
	Refunded  = "payment.refunded"
)

// Event is what a provider says of an order.
type Event struct {
	ID        string
	Kind      string // of the constants above, or any other
	OrderID   client.OrderID
	PaymentID string
	Amount    int64
	Currency  string
}

// NewEvent says something of an order's whole total, with ids of its own.
func NewEvent(kind string, order client.Order) Event {
	return Event{
		ID: "msg_" + rand.Text(), Kind: kind, OrderID: order.ID, PaymentID: "pay_" + rand.Text(),
		Amount: order.Total.Amount, Currency: order.Total.Currency,
	}
}

// Sender signs an event as one provider does.
type Sender func(event Event) (body []byte, header http.Header, err error)

// Senders are the providers that the service knows, by name.
func (a *API) Senders() map[string]Sender {
	return map[string]Sender{"standard": a.Standard, "stripe": a.Stripe}
}

// Standard writes and signs an event as Standard Webhooks does.
func (a *API) Standard(event Event) (body []byte, header http.Header, err error) {
	body, err = json.Marshal(map[string]any{
		"type": event.Kind, "timestamp": time.Now().UTC().Format(time.RFC3339),
		"data": map[string]any{
			"order_id": event.OrderID, "payment_id": event.PaymentID, "amount": event.Amount, "currency": event.Currency,
		},
	})
	if err != nil {
		return nil, nil, fmt.Errorf("write an event: %w", err)
	}
	header, err = a.SignStandard(event.ID, body)
	return body, header, err
}

// SignStandard signs any body as Standard Webhooks does.
func (a *API) SignStandard(id string, body []byte) (http.Header, error) {
	header, err := signature.Header(id, time.Now(), body, a.standardSecret)
	if err != nil {
		return nil, fmt.Errorf("sign an event: %w", err)
	}
	return header, nil
}

// Stripe writes and signs an event as Stripe does.
func (a *API) Stripe(event Event) (body []byte, header http.Header, err error) {
	kinds := map[string]struct{ kind, payment, amount string }{
		Succeeded: {"payment_intent.succeeded", "id", "amount_received"},
		Failed:    {"payment_intent.payment_failed", "id", "amount"},
		Refunded:  {"charge.refunded", "payment_intent", "amount_refunded"},
	}
	words, known := kinds[event.Kind]
	if !known {
		words.kind, words.payment, words.amount = event.Kind, "id", "amount"
	}
	body, err = json.Marshal(map[string]any{
		"id": event.ID, "object": "event", "type": words.kind, "created": time.Now().Unix(),
		"data": map[string]any{"object": map[string]any{
			words.payment: event.PaymentID, words.amount: event.Amount, "currency": strings.ToLower(event.Currency),
			"metadata": map[string]any{"order_id": event.OrderID},
		}},
	})
	if err != nil {
		return nil, nil, fmt.Errorf("write an event: %w", err)
	}
	return body, payment.SignStripe(a.stripeSecret, time.Now(), body), nil
}

// Tell sends an event to the webhook, signed by sender.
func (a *API) Tell(ctx context.Context, sender Sender, event Event) (*client.ReceivePaymentWebhookResponse, error) {
	body, header, err := sender(event)
	if err != nil {
		return nil, err
	}
	return a.Webhook(ctx, body, header)
}

// Webhook sends a body with headers of one's own making.
func (a *API) Webhook(ctx context.Context, body []byte, header http.Header) (*client.ReceivePaymentWebhookResponse, error) {
	return a.ReceivePaymentWebhookWithBodyWithResponse(ctx, nil, "application/json", bytes.NewReader(body),
		func(_ context.Context, r *http.Request) error {
			maps.Copy(r.Header, header)
			return nil
		})
}
