package payment_test

import (
	"net/http"
	"testing"

	"github.com/flashsale-api/flashsale/internal/payment"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// FuzzVerifyUnsigned knows no secret: whatever it makes up of the headers of either
// sender, and of bodies, nothing is ever taken for true or even looked into.
func FuzzVerifyUnsigned(f *testing.F) {
	const ofAnotherBody = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	f.Add(messageID, "1614265330", ofAnotherBody, "", []byte(standardBody))
	f.Add(messageID, "1614265330", "v1, v1 , v1,=", "", []byte(`{}`))
	f.Add("", "", "", "t=1614265330,v1=00,v0=,v1", []byte(stripeBody))
	f.Add("", "", "", "t=1614265330,t=1614265330", []byte(nil))
	f.Add("x", "-1", "", "t=99999999999999999999", []byte("\xff"))
	verifier := newVerifier(f)
	f.Fuzz(func(t *testing.T, id, timestamp, signature, stripe string, body []byte) {
		header := http.Header{}
		for name, value := range map[string]string{
			"Webhook-Id": id, "Webhook-Timestamp": timestamp, "Webhook-Signature": signature, "Stripe-Signature": stripe,
		} {
			if value != "" {
				header.Set(name, value)
			}
		}
		want := sale.CodeInvalidSignature
		if len(body) > payment.MaxBody {
			want = sale.CodeMalformed
		}
		event, err := verifier.Verify(header, body, signedAt)
		requireCode(t, want, event, err)
	})
}
