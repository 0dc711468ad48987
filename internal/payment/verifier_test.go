package payment_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/payment"
	"github.com/flashsale-api/flashsale/internal/sale"
	"github.com/flashsale-api/flashsale/internal/signature"
)

const (
	standardSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" // the one that Standard Webhooks publishes
	otherStandard  = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX"
	stripeSecret   = "whsec_test_secret"
	otherStripe    = "whsec_another_secret"

	messageID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	orderText = "ord_01j9zqk3v5e8w0m4n7p2r6t1xy"

	standardBody = `{"type":"payment.succeeded","timestamp":"2021-02-25T15:02:10Z","data":{"order_id":"` + orderText +
		`","payment_id":"pay_1","amount":9900,"currency":"USD"}}`
	stripeBody = `{"id":"evt_1","object":"event","type":"payment_intent.succeeded","data":{"object":{"id":"pi_1",` +
		`"amount":9900,"amount_received":9900,"currency":"usd","metadata":{"order_id":"` + orderText + `"}}}}`
)

var signedAt = time.Unix(1614265330, 0)

func newVerifier(tb testing.TB) *payment.Verifier {
	tb.Helper()
	verifier, err := payment.New(payment.Config{
		StandardSecrets: []string{otherStandard, standardSecret},
		StripeSecrets:   []string{otherStripe, stripeSecret},
	})
	require.NoError(tb, err)
	return verifier
}

func signStandard(tb testing.TB, body string) http.Header {
	tb.Helper()
	header, err := signature.Header(messageID, signedAt, []byte(body), standardSecret)
	require.NoError(tb, err)
	return header
}

func orderID(tb testing.TB) sale.OrderID {
	tb.Helper()
	id, err := sale.ParseOrderID(orderText)
	require.NoError(tb, err)
	return id
}

// requireCode wants an error of one code and no event with it.
func requireCode(tb testing.TB, code sale.Code, event sale.PaymentEvent, err error) {
	tb.Helper()
	require.Error(tb, err)
	var failure *sale.Error
	require.ErrorAs(tb, err, &failure)
	require.Equal(tb, code, failure.Code, failure.Error())
	require.Zero(tb, event)
}

func TestNewRefusesFaultySecretsWithoutShowingThem(t *testing.T) {
	cases := map[string]struct {
		config payment.Config
		want   string
		secret string
	}{
		"no prefix":    {payment.Config{StandardSecrets: []string{standardSecret, "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}}, "webhook secret 2: it must begin with whsec_", "MfKQ"},
		"no base64":    {payment.Config{StandardSecrets: []string{"whsec_~secret~"}}, "webhook secret 1: what follows whsec_ must be base64", "~secret"},
		"too short":    {payment.Config{StandardSecrets: []string{"whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRY="}}, "webhook secret 1: it holds 23 bytes, want at least 24", "AAEC"},
		"nothing":      {payment.Config{StandardSecrets: []string{"whsec_"}}, "webhook secret 1: it holds 0 bytes, want at least 24", "\x00"},
		"empty Stripe": {payment.Config{StripeSecrets: []string{stripeSecret, ""}}, "stripe webhook secret 2: it is empty", stripeSecret},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := payment.New(c.config)
			require.EqualError(t, err, c.want)
			assert.NotContains(t, err.Error(), c.secret)
		})
	}
}

func TestEverySecretOfASenderIsAccepted(t *testing.T) {
	verifier := newVerifier(t)
	for _, secret := range []string{standardSecret, otherStandard} {
		header, err := signature.Header(messageID, signedAt, []byte(standardBody), secret)
		require.NoError(t, err)
		_, err = verifier.Verify(header, []byte(standardBody), signedAt)
		require.NoError(t, err)
	}
	for _, secret := range []string{stripeSecret, otherStripe} {
		_, err := verifier.Verify(payment.SignStripe(secret, signedAt, []byte(stripeBody)), []byte(stripeBody), signedAt)
		require.NoError(t, err)
	}
}

func TestOneRightSignatureAmongSeveralIsEnough(t *testing.T) {
	verifier := newVerifier(t)

	header := signStandard(t, standardBody)
	header.Set("Webhook-Signature", "v1a,Zm9v v1,Zm9v "+header.Get("Webhook-Signature")+" v2,Zm9v")
	_, err := verifier.Verify(header, []byte(standardBody), signedAt)
	require.NoError(t, err)

	header = payment.SignStripe(stripeSecret, signedAt, []byte(stripeBody))
	header.Set("Stripe-Signature", "v0=00,v1=00,"+header.Get("Stripe-Signature")+",v1=11")
	_, err = verifier.Verify(header, []byte(stripeBody), signedAt)
	require.NoError(t, err)
}

func TestASignatureOfAnotherSchemeNeverCounts(t *testing.T) {
	verifier := newVerifier(t)

	header := signStandard(t, standardBody)
	header.Set("Webhook-Signature", strings.Replace(header.Get("Webhook-Signature"), "v1,", "v2,", 1))
	event, err := verifier.Verify(header, []byte(standardBody), signedAt)
	requireCode(t, sale.CodeInvalidSignature, event, err)

	header = payment.SignStripe(stripeSecret, signedAt, []byte(stripeBody))
	header.Set("Stripe-Signature", strings.Replace(header.Get("Stripe-Signature"), "v1=", "v0=", 1))
	event, err = verifier.Verify(header, []byte(stripeBody), signedAt)
	requireCode(t, sale.CodeInvalidSignature, event, err)
}

func TestOneSendersSecretNeverSignsForTheOther(t *testing.T) {
	verifier, err := payment.New(payment.Config{StripeSecrets: []string{standardSecret}})
	require.NoError(t, err)
	event, err := verifier.Verify(signStandard(t, standardBody), []byte(standardBody), signedAt)
	requireCode(t, sale.CodeInvalidSignature, event, err)

	verifier, err = payment.New(payment.Config{StandardSecrets: []string{standardSecret}})
	require.NoError(t, err)
	header := payment.SignStripe(standardSecret, signedAt, []byte(stripeBody))
	event, err = verifier.Verify(header, []byte(stripeBody), signedAt)
	requireCode(t, sale.CodeInvalidSignature, event, err)
}

func TestHeadersThatDoNotNameOneSenderAreRefused(t *testing.T) {
	cases := map[string]func(http.Header){
		"none":                         func(h http.Header) { clear(h) },
		"both senders":                 func(h http.Header) { h.Set("Stripe-Signature", "t=1,v1=00") },
		"both senders, one empty":      func(h http.Header) { h.Set("Stripe-Signature", "") },
		"no id":                        func(h http.Header) { h.Del("Webhook-Id") },
		"no timestamp":                 func(h http.Header) { h.Del("Webhook-Timestamp") },
		"no signature":                 func(h http.Header) { h.Del("Webhook-Signature") },
		"empty signature":              func(h http.Header) { h.Set("Webhook-Signature", "") },
		"id twice":                     func(h http.Header) { h.Add("Webhook-Id", h.Get("Webhook-Id")) },
		"timestamp twice":              func(h http.Header) { h.Add("Webhook-Timestamp", h.Get("Webhook-Timestamp")) },
		"signature twice":              func(h http.Header) { h.Add("Webhook-Signature", h.Get("Webhook-Signature")) },
		"another id":                   func(h http.Header) { h.Set("Webhook-Id", "msg_2") },
		"another timestamp, same time": func(h http.Header) { h.Set("Webhook-Timestamp", "01614265330") },
		"signature in another spelling": func(h http.Header) {
			h.Set("Webhook-Signature", strings.TrimRight(h.Get("Webhook-Signature"), "="))
		},
	}
	verifier := newVerifier(t)
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			header := signStandard(t, standardBody)
			change(header)
			event, err := verifier.Verify(header, []byte(standardBody), signedAt)
			requireCode(t, sale.CodeInvalidSignature, event, err)
		})
	}
}

func TestStripeHeadersThatAreNotClearAreRefused(t *testing.T) {
	right := payment.SignStripe(stripeSecret, signedAt, []byte(stripeBody)).Get("Stripe-Signature")
	timestamp, signature, _ := strings.Cut(right, ",")
	cases := map[string][]string{
		"given twice":       {right, right},
		"no timestamp":      {signature},
		"two timestamps":    {"t=1," + right},
		"no signature":      {timestamp},
		"upper-case hex":    {timestamp + ",v1=" + strings.ToUpper(strings.TrimPrefix(signature, "v1="))},
		"empty":             {""},
		"another timestamp": {"t=1614265331," + signature},
	}
	verifier := newVerifier(t)
	for name, values := range cases {
		t.Run(name, func(t *testing.T) {
			event, err := verifier.Verify(http.Header{"Stripe-Signature": values}, []byte(stripeBody), signedAt)
			requireCode(t, sale.CodeInvalidSignature, event, err)
		})
	}
}

func TestATimestampCountsWithinTheTolerance(t *testing.T) {
	verifier := newVerifier(t)
	standard, stripe := signStandard(t, standardBody), payment.SignStripe(stripeSecret, signedAt, []byte(stripeBody))
	for distance, fresh := range map[time.Duration]bool{
		0:                                    true,
		payment.Tolerance:                    true,
		-payment.Tolerance:                   true,
		payment.Tolerance + time.Nanosecond:  false,
		-payment.Tolerance - time.Nanosecond: false,
		1000 * time.Hour:                     false,
	} {
		_, standardErr := verifier.Verify(standard, []byte(standardBody), signedAt.Add(distance))
		_, stripeErr := verifier.Verify(stripe, []byte(stripeBody), signedAt.Add(distance))
		for _, err := range []error{standardErr, stripeErr} {
			if fresh {
				require.NoError(t, err, distance)
			} else {
				require.ErrorIs(t, err, &sale.Error{Code: sale.CodeInvalidSignature}, distance)
			}
		}
	}
}

func TestATimestampIsDigitsOnly(t *testing.T) {
	verifier := newVerifier(t)
	for _, text := range []string{
		"+1614265330", "-1614265330", "1614265330.0", "1.6e9", "0x60379772", "1_614_265_330", "now",
		"9223372036854775807", "18446744073709551615", "99999999999999999999",
	} {
		header := signStandard(t, standardBody)
		header.Set("Webhook-Timestamp", text)
		event, err := verifier.Verify(header, []byte(standardBody), signedAt)
		requireCode(t, sale.CodeInvalidSignature, event, err)
		require.ErrorContains(t, err, "timestamp", text)
	}
}

func TestAnEventIDIsVisibleASCII(t *testing.T) {
	verifier := newVerifier(t)
	for id, good := range map[string]bool{
		"a": true, strings.Repeat("~", 255): true, "!": true,
		"": false, strings.Repeat("a", 256): false, "a b": false, "a\x7f": false, "é": false,
	} {
		header, err := signature.Header(id, signedAt, []byte(standardBody), standardSecret)
		body := strings.Replace(stripeBody, "evt_1", id, 1)
		_, stripeErr := verifier.Verify(payment.SignStripe(stripeSecret, signedAt, []byte(body)), []byte(body), signedAt)
		if good {
			require.NoError(t, err)
			event, err := verifier.Verify(header, []byte(standardBody), signedAt)
			require.NoError(t, err)
			assert.Equal(t, id, event.ID)
			require.NoError(t, stripeErr)
			continue
		}
		require.Error(t, err, id)
		header = signStandard(t, standardBody)
		header.Set("Webhook-Id", id)
		event, err := verifier.Verify(header, []byte(standardBody), signedAt)
		requireCode(t, sale.CodeInvalidSignature, event, err)
		require.ErrorIs(t, stripeErr, &sale.Error{Code: sale.CodeInvalidRequest}, id)
	}
}

func TestNothingIsParsedBeforeItIsVerified(t *testing.T) {
	verifier := newVerifier(t)
	for _, body := range []string{"", "{", "\xff", standardBody + "x"} {
		event, err := verifier.Verify(signStandard(t, standardBody), []byte(body), signedAt)
		requireCode(t, sale.CodeInvalidSignature, event, err)
		event, err = verifier.Verify(payment.SignStripe(stripeSecret, signedAt, []byte(stripeBody)), []byte(body), signedAt)
		requireCode(t, sale.CodeInvalidSignature, event, err)
	}
}

func TestABodyIsRefusedAboveItsLimit(t *testing.T) {
	verifier := newVerifier(t)
	body := standardBody + strings.Repeat(" ", payment.MaxBody-len(standardBody))
	_, err := verifier.Verify(signStandard(t, body), []byte(body), signedAt)
	require.NoError(t, err)

	body += " "
	event, err := verifier.Verify(signStandard(t, body), []byte(body), signedAt)
	requireCode(t, sale.CodeMalformed, event, err)
}

func TestABodyThatIsNotOneJSONValueIsMalformed(t *testing.T) {
	nested := func(levels int) string {
		arrays := levels - 1
		return `{"type":"x","id":"evt_1","deep":` + strings.Repeat("[", arrays) + strings.Repeat("]", arrays) + "}"
	}
	cases := map[string]string{
		"empty":           "",
		"blank":           "  ",
		"no JSON":         "amount=1",
		"cut":             standardBody[:len(standardBody)-1],
		"trailing value":  standardBody + "{}",
		"trailing brace":  standardBody + "}",
		"byte order mark": "\uFEFF" + standardBody,
		"invalid UTF-8":   strings.Replace(standardBody, "pay_1", "pay_\xff", 1),
		"too deep":        nested(65),
		"far too deep":    nested(20_000),
	}
	verifier := newVerifier(t)
	for name, body := range cases {
		t.Run(name, func(t *testing.T) {
			event, err := verifier.Verify(signStandard(t, body), []byte(body), signedAt)
			requireCode(t, sale.CodeMalformed, event, err)
			event, err = verifier.Verify(payment.SignStripe(stripeSecret, signedAt, []byte(body)), []byte(body), signedAt)
			requireCode(t, sale.CodeMalformed, event, err)
		})
	}
	t.Run("as deep as may be", func(t *testing.T) {
		body := nested(64)
		event, err := verifier.Verify(signStandard(t, body), []byte(body), signedAt)
		require.NoError(t, err)
		assert.Equal(t, sale.PaymentOther, event.Kind)
	})
	t.Run("brackets in a string nest nothing", func(t *testing.T) {
		body := `{"type":"x","text":"\"\\` + strings.Repeat("[{", 100) + `"}`
		_, err := verifier.Verify(signStandard(t, body), []byte(body), signedAt)
		require.NoError(t, err)
	})
}

// pointers are where a failure says that a body is wrong.
func pointers(err error) []string {
	var failure *sale.Error
	if !errors.As(err, &failure) {
		return nil
	}
	var all []string
	for _, field := range failure.Fields {
		all = append(all, field.Pointer)
	}
	return all
}
