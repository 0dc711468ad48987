package payment

import (
	"net/http"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"github.com/flashsale-api/flashsale/internal/sale"
)

// stripeTimestamp begins the element of Stripe-Signature that holds the time.
const stripeTimestamp = "t="

func (v *Verifier) verifyStripe(header http.Header, body []byte, now time.Time) (sale.PaymentEvent, error) {
	elements, err := only(header, headerStripe)
	if err != nil {
		return sale.PaymentEvent{}, err
	}
	timestamp, err := stripeTime(elements)
	if err != nil {
		return sale.PaymentEvent{}, err
	}
	if err := checkTimestamp(timestamp, now); err != nil {
		return sale.PaymentEvent{}, err
	}
	err = checkSignatures(v.stripeKeys, elements, ",", func(key []byte) string {
		return stripeSignature(key, timestamp, body)
	})
	if err != nil {
		return sale.PaymentEvent{}, err
	}
	return readStripe(body)
}

// stripeTime finds the one timestamp: with two, it would be open which was signed.
func stripeTime(elements string) (string, error) {
	timestamp, count := "", 0
	for element := range strings.SplitSeq(elements, ",") {
		if text, found := strings.CutPrefix(element, stripeTimestamp); found {
			timestamp = text
			count++
		}
	}
	if count != 1 {
		return "", unverified("The header " + headerStripe + " must have exactly one timestamp.")
	}
	return timestamp, nil
}

// dialect says where an event of one type keeps what we need.
type dialect struct {
	kind    sale.PaymentKind
	payment string // member with the payment's id
	amount  string
}

func stripeDialect(eventType string) dialect {
	switch eventType {
	case "payment_intent.succeeded":
		return dialect{kind: sale.PaymentSucceeded, payment: "id", amount: "amount_received"}
	case "payment_intent.payment_failed":
		return dialect{kind: sale.PaymentFailed, payment: "id", amount: "amount"}
	case "charge.refunded":
		return dialect{kind: sale.PaymentRefunded, payment: "payment_intent", amount: "amount_refunded"}
	default:
		return dialect{kind: sale.PaymentOther}
	}
}

func readStripe(body []byte) (sale.PaymentEvent, error) {
	value, err := parse(body)
	if err != nil {
		return sale.PaymentEvent{}, err
	}
	var doc document
	root := doc.object(value, "", "id", "type", "data")
	other := sale.PaymentEvent{
		Provider: sale.ProviderStripe,
		ID:       doc.eventID(root, "id"),
		Kind:     sale.PaymentOther,
	}
	words := stripeDialect(doc.text(root, "type"))
	if words.kind == sale.PaymentOther {
		return doc.result(other)
	}
	data := doc.member(root, "data", "object")
	payment := doc.member(data, "object", words.payment, words.amount, "currency", "metadata")
	order, ours := doc.stripeOrder(payment)
	if !ours {
		return doc.result(other)
	}
	return doc.result(sale.PaymentEvent{
		Provider:  sale.ProviderStripe,
		ID:        other.ID,
		Kind:      words.kind,
		OrderID:   order,
		PaymentID: doc.paymentID(payment, words.payment),
		Amount: sale.Money{
			Amount:   doc.amount(payment, words.amount),
			Currency: doc.stripeCurrency(payment, "currency"),
		},
	})
}

// stripeOrder finds the order that a payment is for. Whatever else the Stripe
// account is used for has none in its metadata, or one that is not of our form:
// that is no fault, but not ours.
func (d *document) stripeOrder(payment object) (sale.OrderID, bool) {
	if !payment.members["metadata"].IsObject() {
		return sale.OrderID{}, false
	}
	metadata := d.member(payment, "metadata", "order_id")
	given := metadata.members["order_id"]
	id, err := sale.ParseOrderID(given.Str)
	return id, err == nil && given.Type == gjson.String
}

// stripeCurrency reads an ISO 4217 code, which Stripe writes in lower case.
func (d *document) stripeCurrency(in object, name string) string {
	text := d.text(in, name)
	upper := strings.ToUpper(text)
	if text != "" && (len(upper) != len(text) || !isCurrency(upper)) {
		d.fault(in.pointer+"/"+name, "must be a currency of 3 letters")
	}
	return upper
}
