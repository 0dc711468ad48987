package httpapi

import (
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/api"
)

func allOperations(tb testing.TB) []*operation {
	tb.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(api.Spec)
	require.NoError(tb, err)
	operations, err := newOperations(doc, 0)
	require.NoError(tb, err)
	return operations
}

// requireSound asserts that no plain check of the contract recognizes a value that
// the whole check refuses.
func requireSound(tb testing.TB, operations []*operation, value any, text string) {
	tb.Helper()
	for _, op := range operations {
		for _, body := range op.bodies {
			if body.plain != nil && body.plain(value) {
				require.NoError(tb, body.VisitJSON(value, op.schema...), "%s takes %v", op.id, value)
			}
		}
		for _, p := range op.parameters {
			if p.plain == nil || text == "" || !p.plain(text) {
				continue
			}
			require.NoError(tb, p.Schema.Value.VisitJSON(text, op.schema...), "%s takes %q", p.Name, text)
			r := request(tb, "GET", "/", "", p.Name, text)
			input := &openapi3filter.RequestValidationInput{
				Request: r, Options: op.options, PathParams: map[string]string{p.Name: text},
			}
			require.NoError(tb, openapi3filter.ValidateParameter(r.Context(), input, p.Parameter), "%s takes %q", p.Name, text)
		}
	}
}

func TestAPlainCheckTakesNothingThatTheContractRefuses(t *testing.T) {
	operations := allOperations(t)
	id := aProduct[len("prod_"):]
	for _, text := range []string{
		"k", "a b", "é", "\x7f", "\x00", strings.Repeat("k", 255), strings.Repeat("k", 256), aProduct, aProduct + "0",
		"hold_" + id, "hold_" + strings.ToUpper(id), "hold_8" + id[1:], "hold_" + id[1:], "ord_" + id, "prod_" + id[1:] + "i",
	} {
		requireSound(t, operations, text, text)
	}
	for _, body := range []string{
		holdOf("1"), holdOf("0"), holdOf("1000"), holdOf("1001"), holdOf("1.5"), holdOf("1e3"), holdOf("-1"), holdOf("null"),
		holdOf(`"1"`), holdOf("9223372036854775807"), `{}`, `[]`, `null`, `{"customer_id":"c","lines":[]}`, `{"hold_id":"hold_` + id + `"}`,
		`{"hold_id":"hold_` + id + `","more":1}`, `{"customer_id":"","lines":[{"product_id":"` + aProduct + `","quantity":1}]}`,
		`{"customer_id":"c","lines":[` + strings.Repeat(`{"product_id":"`+aProduct+`","quantity":1},`, 20) + `{}]}`,
		`{"customer_id":"c","lines":[{"product_id":"` + aProduct + `"}]}`, `{"seconds":1}`, `{"seconds":1000000001}`,
		`{"delta":0,"reason":"r"}`, `{"delta":1,"reason":"r"}`,
	} {
		value, err := decodeJSON([]byte(body))
		require.NoError(t, err)
		requireSound(t, operations, value, "k")
	}
}

func TestACrowdsRequestsAreRecognizedByPlainChecks(t *testing.T) {
	id := aProduct[len("prod_"):]
	for operation, body := range map[string]string{
		"createHold": holdOf("2"), "createOrder": `{"hold_id":"hold_` + id + `"}`,
	} {
		op := contractOperation(t, operation)
		value, err := decodeJSON([]byte(body))
		require.NoError(t, err)
		require.True(t, op.bodies[jsonType].plain(value), operation)
		require.Len(t, op.parameters, 1)
		require.True(t, op.parameters[0].plain("hold_"+id), operation)
	}
	read := contractOperation(t, "getProduct")
	require.Equal(t, "product_id", read.parameters[0].Name)
	require.True(t, read.parameters[0].plain(aProduct))
}

func TestPatternsThatWouldNeedASecondTryHaveNoPlainCheck(t *testing.T) {
	for _, pattern := range []string{`a`, `^a`, `a$`, `^a*b$`, `^a{1,2}b$`, `^(a|b)$`, `^a|b$`, `(?i)^a$`, `^(?:ab){2}$`, `^a?$`, `(`} {
		_, ok := partsOf(pattern)
		require.False(t, ok, pattern)
	}
}

// FuzzPlainChecks looks for a value that a plain check takes and the contract does
// not.
func FuzzPlainChecks(f *testing.F) {
	operations := allOperations(f)
	f.Add(holdOf("1"), "k")
	f.Add(`{"hold_id":"hold_01kjma0fm0ek0tz2p1tewg37hq"}`, "hold_01kjma0fm0ek0tz2p1tewg37hq")
	f.Add(`{"sku":"s","name":"n","price":{"amount":1,"currency":"USD"},"stock":1}`, aProduct)
	f.Fuzz(func(t *testing.T, body, text string) {
		value, err := decodeJSON([]byte(body))
		if err != nil {
			value = text
		}
		requireSound(t, operations, value, strings.TrimSpace(text))
	})
}
