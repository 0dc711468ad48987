package payment

import (
	"net/http"
	"time"

	"github.com/flashsale-api/flashsale/internal/sale"
	"github.com/flashsale-api/flashsale/internal/signature"
)

func hasStandardHeaders(header http.Header) bool {
	return len(header.Values(signature.HeaderID))+len(header.Values(signature.HeaderTimestamp))+len(header.Values(signature.HeaderSignature)) > 0
}

func (v *Verifier) verifyStandard(header http.Header, body []byte, now time.Time) (sale.PaymentEvent, error) {
	id, err := only(header, signature.HeaderID)
	if err != nil {
		return sale.PaymentEvent{}, err
	}
	timestamp, err := only(header, signature.HeaderTimestamp)
	if err != nil {
		return sale.PaymentEvent{}, err
	}
	signatures, err := only(header, signature.HeaderSignature)
	if err != nil {
		return sale.PaymentEvent{}, err
	}
	if !signature.IsID(id) {
		return sale.PaymentEvent{}, unverified("The header " + signature.HeaderID + " must be 1 to 255 visible ASCII characters.")
	}
	if err := checkTimestamp(timestamp, now); err != nil {
		return sale.PaymentEvent{}, err
	}
	err = checkSignatures(v.standardKeys, signatures, " ", func(key []byte) string {
		return signature.Of(key, id, timestamp, body)
	})
	if err != nil {
		return sale.PaymentEvent{}, err
	}
	return readStandard(id, body)
}

func standardKind(eventType string) sale.PaymentKind {
	switch eventType {
	case "payment.succeeded":
		return sale.PaymentSucceeded
	case "payment.failed":
		return sale.PaymentFailed
	case "payment.refunded":
		return sale.PaymentRefunded
	default:
		return sale.PaymentOther
	}
}

func readStandard(id string, body []byte) (sale.PaymentEvent, error) {
	value, err := parse(body)
	if err != nil {
		return sale.PaymentEvent{}, err
	}
	var doc document
	root := doc.object(value, "", "type", "data")
	event := sale.PaymentEvent{
		Provider: sale.ProviderStandard,
		ID:       id,
		Kind:     standardKind(doc.text(root, "type")),
	}
	if event.Kind == sale.PaymentOther {
		return doc.result(event)
	}
	data := doc.member(root, "data", "order_id", "payment_id", "amount", "currency")
	event.OrderID = doc.orderID(data, "order_id")
	event.PaymentID = doc.paymentID(data, "payment_id")
	event.Amount = sale.Money{
		Amount:   doc.amount(data, "amount"),
		Currency: doc.currency(data, "currency"),
	}
	return doc.result(event)
}
