package payment_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/payment"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// refundBody is a charge that was given back: the payment is its payment intent.
const refundBody = `{"id":"evt_3","type":"charge.refunded","data":{"object":{"id":"ch_1","amount":9900,"amount_refunded":400,` +
	`"currency":"eur","payment_intent":"pi_1","metadata":{"order_id":"` + orderText + `"}}}}`

func TestStripeSignatureIsTheHMACOfTimestampAndBody(t *testing.T) {
	body := []byte(`{"id":"evt_1","type":"payment_intent.succeeded"}`)
	// By: printf '1614265330.%s' "$body" | openssl dgst -sha256 -hmac whsec_test_secret
	assert.Equal(t, "t=1614265330,v1=f60156f07d9fcede64d2d4c42b7e1f12f459a2e0c0c293d0bd7f817fbc59ecf6",
		payment.SignStripe(stripeSecret, signedAt, body).Get("Stripe-Signature"))
}

func TestStripeEventsAreRead(t *testing.T) {
	failedBody := strings.Replace(strings.Replace(stripeBody, "succeeded", "payment_failed", 1),
		`"amount_received":9900`, `"amount_received":0`, 1)
	partlyReceived := strings.Replace(stripeBody, `"amount_received":9900`, `"amount_received":100`, 1)
	cases := map[string]struct {
		body string
		want sale.PaymentEvent
	}{
		"succeeded": {stripeBody, sale.PaymentEvent{
			ID: "evt_1", Kind: sale.PaymentSucceeded, PaymentID: "pi_1", Amount: sale.Money{Amount: 9900, Currency: "USD"},
		}},
		"succeeded counts what was received": {partlyReceived, sale.PaymentEvent{
			ID: "evt_1", Kind: sale.PaymentSucceeded, PaymentID: "pi_1", Amount: sale.Money{Amount: 100, Currency: "USD"},
		}},
		"failed counts what was asked for": {failedBody, sale.PaymentEvent{
			ID: "evt_1", Kind: sale.PaymentFailed, PaymentID: "pi_1", Amount: sale.Money{Amount: 9900, Currency: "USD"},
		}},
		"refunded counts what was given back": {refundBody, sale.PaymentEvent{
			ID: "evt_3", Kind: sale.PaymentRefunded, PaymentID: "pi_1", Amount: sale.Money{Amount: 400, Currency: "EUR"},
		}},
	}
	verifier := newVerifier(t)
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			c.want.Provider, c.want.OrderID = sale.ProviderStripe, orderID(t)
			event, err := verifier.Verify(payment.SignStripe(stripeSecret, signedAt, []byte(c.body)), []byte(c.body), signedAt)
			require.NoError(t, err)
			assert.Equal(t, c.want, event)
		})
	}
}

func TestStripeEventsThatAreNotOursAreOther(t *testing.T) {
	cases := map[string]struct{ old, new string }{
		"another type":                {"payment_intent.succeeded", "customer.created"},
		"no metadata":                 {`"metadata"`, `"other"`},
		"metadata is null":            {`{"order_id":"` + orderText + `"}`, `null`},
		"no order":                    {`"order_id"`, `"order"`},
		"order in another case":       {`"order_id"`, `"Order_ID"`},
		"order of another system":     {orderText, "10023"},
		"order of another kind":       {"ord_", "hold_"},
		"order is a number":           {`"` + orderText + `"`, `1`},
		"not ours, nothing else read": {`"amount_received":9900,"currency":"usd","metadata"`, `"x"`},
	}
	verifier := newVerifier(t)
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			body := strings.Replace(stripeBody, c.old, c.new, 1)
			require.NotEqual(t, stripeBody, body)
			event, err := verifier.Verify(payment.SignStripe(stripeSecret, signedAt, []byte(body)), []byte(body), signedAt)
			require.NoError(t, err)
			assert.Equal(t, sale.PaymentEvent{Provider: sale.ProviderStripe, ID: "evt_1", Kind: sale.PaymentOther}, event)
		})
	}
}

func TestStripeBodiesAgainstTheContractAreRefusedWhereTheyAreWrong(t *testing.T) {
	const at = "/data/object"
	cases := map[string]struct {
		body, old, new string
		pointers       []string
	}{
		"array":                   {stripeBody, stripeBody, "[]", []string{""}},
		"nothing":                 {stripeBody, stripeBody, "{}", []string{"/id", "/type"}},
		"no event id":             {stripeBody, `"id":"evt_1"`, `"ID":"evt_1"`, []string{"/id"}},
		"event id twice":          {stripeBody, `"id":"evt_1"`, `"id":"evt_1","id":"evt_2"`, []string{"/id"}},
		"no id for another type":  {stripeBody, stripeBody, `{"type":"x"}`, []string{"/id"}},
		"no data":                 {stripeBody, `"data"`, `"Data"`, []string{"/data"}},
		"no object":               {stripeBody, `"data":{"object"`, `"data":{"Object"`, []string{at}},
		"object twice":            {stripeBody, `"data":{`, `"data":{"object":{},`, []string{at}},
		"metadata twice":          {stripeBody, `"metadata"`, `"metadata":{},"metadata"`, []string{at + "/metadata"}},
		"order twice":             {stripeBody, `"order_id"`, `"order_id":"","order_id"`, []string{at + "/metadata/order_id"}},
		"no payment id":           {stripeBody, `"id":"pi_1"`, `"Id":"pi_1"`, []string{at + "/id"}},
		"payment id too long":     {stripeBody, `pi_1`, strings.Repeat("p", 256), []string{at + "/id"}},
		"no amount":               {stripeBody, `"amount_received"`, `"Amount_Received"`, []string{at + "/amount_received"}},
		"amount has an exponent":  {stripeBody, `"amount_received":9900`, `"amount_received":1e3`, []string{at + "/amount_received"}},
		"amount is negative":      {stripeBody, `"amount_received":9900`, `"amount_received":-1`, []string{at + "/amount_received"}},
		"no currency":             {stripeBody, `"currency"`, `"Currency"`, []string{at + "/currency"}},
		"currency of two letters": {stripeBody, `"usd"`, `"us"`, []string{at + "/currency"}},
		"currency by case fold":   {stripeBody, `"usd"`, `"uſd"`, []string{at + "/currency"}},
		"refund of no payment":    {refundBody, `"pi_1"`, `null`, []string{at + "/payment_intent"}},
		"refund of no amount":     {refundBody, `400`, `null`, []string{at + "/amount_refunded"}},
	}
	verifier := newVerifier(t)
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			body := strings.Replace(c.body, c.old, c.new, 1)
			require.NotEqual(t, c.body, body)
			event, err := verifier.Verify(payment.SignStripe(stripeSecret, signedAt, []byte(body)), []byte(body), signedAt)
			requireCode(t, sale.CodeInvalidRequest, event, err)
			assert.Equal(t, c.pointers, pointers(err))
		})
	}
}

func FuzzVerifyStripe(f *testing.F) {
	f.Add([]byte(stripeBody), uint(0), byte(1))
	f.Add([]byte(refundBody), uint(40), byte(0x20))
	f.Add([]byte("{\"id\":\"\xff"), uint(2), byte(0x80))
	verifier := newVerifier(f)
	f.Fuzz(func(t *testing.T, body []byte, at uint, flip byte) {
		header := payment.SignStripe(stripeSecret, signedAt, body)
		event, err := verifier.Verify(header, body, signedAt)
		requireWellFormed(t, event, err)
		if flip == 0 || len(body) > payment.MaxBody {
			return
		}
		changed := header.Clone()
		changed.Set("Stripe-Signature", flipped(header.Get("Stripe-Signature"), at, flip))
		event, err = verifier.Verify(changed, body, signedAt)
		requireCode(t, sale.CodeInvalidSignature, event, err)
		if len(body) > 0 {
			event, err := verifier.Verify(header, []byte(flipped(string(body), at, flip)), signedAt)
			requireCode(t, sale.CodeInvalidSignature, event, err)
		}
	})
}

func BenchmarkVerifyStripe(b *testing.B) {
	verifier, body := newVerifier(b), []byte(stripeBody)
	header := payment.SignStripe(stripeSecret, signedAt, body)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := verifier.Verify(header, body, signedAt); err != nil {
			b.Fatal(err)
		}
	}
}
