package demo

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/flashsale-api/flashsale/internal/sale"
	"github.com/flashsale-api/flashsale/internal/signature"
)

// Webhook is a payment event of the Standard Webhooks form, to be signed.
type Webhook struct {
	EventID   string
	Type      string // payment.succeeded, payment.failed or payment.refunded
	OrderID   sale.OrderID
	PaymentID string // "": the one that the demo pays this order with
	Amount    sale.Money
}

// WebhookTypes are the types that a Webhook can have.
func WebhookTypes() []string {
	return []string{"payment.succeeded", "payment.failed", "payment.refunded"}
}

// paymentOf is the payment that the demo pays an order with, so that the refund
// of it is known too.
func paymentOf(order sale.OrderID) string { return "pay_" + order.String() }

// Sign makes the request that sends the webhook to the server at base. The
// signature holds for payment.Tolerance around now. The error says what is wrong
// with the secret.
func (w Webhook) Sign(base, secret string, now time.Time) (Request, error) {
	if w.PaymentID == "" {
		w.PaymentID = paymentOf(w.OrderID)
	}
	body, err := json.Marshal(map[string]any{
		"type":      w.Type,
		"timestamp": now.UTC().Format(time.RFC3339),
		"data": map[string]any{
			"order_id":   w.OrderID,
			"payment_id": w.PaymentID,
			"amount":     w.Amount.Amount,
			"currency":   w.Amount.Currency,
		},
	})
	if err != nil {
		return Request{}, fmt.Errorf("writing the webhook: %w", err)
	}
	signed, err := signature.Header(w.EventID, now, body, secret)
	if err != nil {
		return Request{}, fmt.Errorf("signing the webhook: %w", err)
	}
	headers := []Header{{"Content-Type", "application/json"}}
	for name := range signed {
		if name != "Content-Type" {
			headers = append(headers, Header{name, signed.Get(name)})
		}
	}
	slices.SortFunc(headers, func(a, b Header) int { return strings.Compare(a.Name, b.Name) })
	return Request{
		Title: w.Type, Status: http.StatusOK, Method: http.MethodPost,
		URL: base + "/api/payments/webhook", Headers: headers, Body: string(body),
	}, nil
}
