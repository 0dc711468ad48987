package payment_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/payment"
	"github.com/flashsale-api/flashsale/internal/sale"
	"github.com/flashsale-api/flashsale/internal/signature"
)

func TestStandardSignatureIsTheOneThatTheSpecificationGives(t *testing.T) {
	body := []byte(`{"test": 2432232314}`)
	header, err := signature.Header(messageID, signedAt, body, standardSecret)
	require.NoError(t, err)
	assert.Equal(t, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", header.Get("Webhook-Signature"))
	assert.Equal(t, "1614265330", header.Get("Webhook-Timestamp"))
	assert.Equal(t, messageID, header.Get("Webhook-Id"))

	event, err := newVerifier(t).Verify(header, body, signedAt)
	requireCode(t, sale.CodeInvalidRequest, event, err) // verified, and no payment event
}

func TestStandardEventsAreRead(t *testing.T) {
	verifier := newVerifier(t)
	for eventType, kind := range map[string]sale.PaymentKind{
		"payment.succeeded": sale.PaymentSucceeded,
		"payment.failed":    sale.PaymentFailed,
		"payment.refunded":  sale.PaymentRefunded,
	} {
		body := strings.Replace(standardBody, "payment.succeeded", eventType, 1)
		event, err := verifier.Verify(signStandard(t, body), []byte(body), signedAt)
		require.NoError(t, err)
		assert.Equal(t, sale.PaymentEvent{
			Provider:  sale.ProviderStandard,
			ID:        messageID,
			Kind:      kind,
			OrderID:   orderID(t),
			PaymentID: "pay_1",
			Amount:    sale.Money{Amount: 9900, Currency: "USD"},
		}, event)
	}
}

func TestStandardEventsOfAnotherTypeAreNotLookedInto(t *testing.T) {
	for _, body := range []string{
		`{"type":"payment.disputed","data":{"amount":"much","amount":-1}}`,
		`{"type":"Payment.Succeeded"}`,
		`{"type":"invoice.paid","data":null}`,
	} {
		event, err := newVerifier(t).Verify(signStandard(t, body), []byte(body), signedAt)
		require.NoError(t, err)
		assert.Equal(t, sale.PaymentEvent{Provider: sale.ProviderStandard, ID: messageID, Kind: sale.PaymentOther}, event)
	}
}

func TestStandardBodiesThatAreRead(t *testing.T) {
	cases := map[string]struct{ old, new string }{
		"unknown members":          {`{"type"`, `{"extra":{"amount":[1]},"extra":2,"type"`},
		"another case is unknown":  {`"amount":9900`, `"Amount":1,"AMOUNT":"x","amount":9900`},
		"white space":              {`"amount":9900,`, "\"amount\" \t:\r\n 9900 \n,"},
		"escaped name":             {`"amount"`, `"\u0061mount"`},
		"white space around it":    {`{"type"`, "\n\t {\"type\""},
		"longest payment id":       {`"pay_1"`, `"` + strings.Repeat("p", 255) + `"`},
		"payment id in any script": {`"pay_1"`, `"оплата 1"`},
	}
	verifier := newVerifier(t)
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			body := strings.Replace(standardBody, c.old, c.new, 1)
			require.NotEqual(t, standardBody, body)
			event, err := verifier.Verify(signStandard(t, body), []byte(body), signedAt)
			require.NoError(t, err)
			assert.Equal(t, sale.PaymentSucceeded, event.Kind)
			assert.Equal(t, sale.Money{Amount: 9900, Currency: "USD"}, event.Amount)
		})
	}
	for _, amount := range []string{"0", "1000000000000"} {
		body := strings.Replace(standardBody, "9900", amount, 1)
		_, err := verifier.Verify(signStandard(t, body), []byte(body), signedAt)
		require.NoError(t, err, amount)
	}
}

func TestStandardBodiesAgainstTheContractAreRefusedWhereTheyAreWrong(t *testing.T) {
	cases := map[string]struct {
		old, new string
		pointers []string
	}{
		"array":                {standardBody, `[]`, []string{""}},
		"string":               {standardBody, `"x"`, []string{""}},
		"null":                 {standardBody, `null`, []string{""}},
		"nothing":              {standardBody, `{}`, []string{"/type"}},
		"type is a number":     {`"payment.succeeded"`, `1`, []string{"/type"}},
		"type is null":         {`"payment.succeeded"`, `null`, []string{"/type"}},
		"type is empty":        {`"payment.succeeded"`, `""`, []string{"/type"}},
		"type twice":           {`{"type"`, `{"type":"x","type"`, []string{"/type"}},
		"type in another case": {`"type"`, `"Type"`, []string{"/type"}},
		"no data":              {`"data"`, `"Data"`, []string{"/data"}},
		"data is null":         {standardBody, `{"type":"payment.failed","data":null}`, []string{"/data"}},
		"data twice":           {`"data"`, `"data":{},"data"`, []string{"/data"}},
		"data is empty": {
			standardBody, `{"type":"payment.failed","data":{}}`,
			[]string{"/data/order_id", "/data/payment_id", "/data/amount", "/data/currency"},
		},
		"another kind of id":        {"ord_", "hold_", []string{"/data/order_id"}},
		"order id too short":        {orderText, orderText[:29], []string{"/data/order_id"}},
		"order id in upper case":    {orderText, strings.ToUpper(orderText), []string{"/data/order_id"}},
		"order id twice":            {`"order_id"`, `"order_id":"x","order_id"`, []string{"/data/order_id"}},
		"payment id is empty":       {"pay_1", "", []string{"/data/payment_id"}},
		"payment id is a number":    {`"pay_1"`, "1", []string{"/data/payment_id"}},
		"payment id too long":       {"pay_1", strings.Repeat("p", 256), []string{"/data/payment_id"}},
		"payment id too many bytes": {"pay_1", strings.Repeat("é", 128), []string{"/data/payment_id"}},
		"amount in another case":    {`"amount"`, `"Amount"`, []string{"/data/amount"}},
		"amount twice":              {`"amount":9900`, `"amount":1,"amount":9900`, []string{"/data/amount"}},
		"amount twice by escape":    {`"amount":9900`, `"amount":9900,"\u0061mount":1`, []string{"/data/amount"}},
		"amount is a fraction":      {"9900", "9900.0", []string{"/data/amount"}},
		"amount has an exponent":    {"9900", "99e2", []string{"/data/amount"}},
		"amount is 1e3":             {"9900", "1e3", []string{"/data/amount"}},
		"amount is negative":        {"9900", "-1", []string{"/data/amount"}},
		"amount is minus zero":      {"9900", "-0", []string{"/data/amount"}},
		"amount is a string":        {"9900", `"9900"`, []string{"/data/amount"}},
		"amount is null":            {"9900", "null", []string{"/data/amount"}},
		"amount above the limit":    {"9900", "1000000000001", []string{"/data/amount"}},
		"amount above any number":   {"9900", "99999999999999999999999", []string{"/data/amount"}},
		"currency in lower case":    {`"USD"`, `"usd"`, []string{"/data/currency"}},
		"currency too long":         {`"USD"`, `"USDT"`, []string{"/data/currency"}},
		"currency of digits":        {`"USD"`, `"840"`, []string{"/data/currency"}},
		"currency is one letter":    {`"USD"`, `"€"`, []string{"/data/currency"}},
	}
	verifier := newVerifier(t)
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			body := strings.Replace(standardBody, c.old, c.new, 1)
			require.NotEqual(t, standardBody, body)
			event, err := verifier.Verify(signStandard(t, body), []byte(body), signedAt)
			requireCode(t, sale.CodeInvalidRequest, event, err)
			assert.Equal(t, c.pointers, pointers(err))
		})
	}
}

func FuzzVerifyStandard(f *testing.F) {
	f.Add(messageID, []byte(standardBody), uint(0), byte(1))
	f.Add("a.b", []byte(`{"test": 2432232314}`), uint(7), byte(0x80))
	f.Add("~", []byte("[[[\"\\\"\xff"), uint(3), byte(0x20))
	verifier := newVerifier(f)
	f.Fuzz(func(t *testing.T, id string, body []byte, at uint, flip byte) {
		header, err := signature.Header(id, signedAt, body, standardSecret)
		if err != nil {
			return
		}
		event, err := verifier.Verify(header, body, signedAt)
		requireWellFormed(t, event, err)
		if flip == 0 || len(body) > payment.MaxBody {
			return
		}
		for _, name := range []string{"Webhook-Id", "Webhook-Timestamp", "Webhook-Signature"} {
			changed := header.Clone()
			changed.Set(name, flipped(header.Get(name), at, flip))
			event, err := verifier.Verify(changed, body, signedAt)
			requireCode(t, sale.CodeInvalidSignature, event, err)
		}
		if len(body) > 0 {
			event, err := verifier.Verify(header, []byte(flipped(string(body), at, flip)), signedAt)
			requireCode(t, sale.CodeInvalidSignature, event, err)
		}
	})
}

// flipped is text with some bits of one byte changed.
func flipped(text string, at uint, flip byte) string {
	changed := []byte(text)
	changed[at%uint(len(changed))] ^= flip
	return string(changed)
}

// requireWellFormed wants an event that the database and the domain can take,
// or an error about the body: its signature was right.
func requireWellFormed(tb testing.TB, event sale.PaymentEvent, err error) {
	tb.Helper()
	if err != nil {
		var failure *sale.Error
		require.ErrorAs(tb, err, &failure)
		require.NotEqual(tb, sale.CodeInvalidSignature, failure.Code)
		require.Zero(tb, event)
		return
	}
	require.NotEmpty(tb, event.ID)
	require.LessOrEqual(tb, len(event.ID), 255)
	if event.Kind == sale.PaymentOther {
		require.Equal(tb, sale.PaymentEvent{Provider: event.Provider, ID: event.ID, Kind: event.Kind}, event)
		return
	}
	require.NotEmpty(tb, event.PaymentID)
	require.LessOrEqual(tb, len(event.PaymentID), 255)
	require.GreaterOrEqual(tb, event.Amount.Amount, int64(0))
	require.LessOrEqual(tb, event.Amount.Amount, int64(sale.MaxAmount))
	require.Regexp(tb, `^[A-Z]{3}$`, event.Amount.Currency)
}

func BenchmarkVerifyStandard(b *testing.B) {
	verifier, header, body := newVerifier(b), signStandard(b, standardBody), []byte(standardBody)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := verifier.Verify(header, body, signedAt); err != nil {
			b.Fatal(err)
		}
	}
}
