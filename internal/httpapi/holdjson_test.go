package httpapi

import (
	"encoding/json"
	"net/http/httptest"
	"reflect"
	"testing"
	"time"

	"github.com/oapi-codegen/runtime"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/gen/server"
)

func TestAHoldIsReadAsTheGeneratedBodyIs(t *testing.T) {
	for body, usual := range map[string]bool{
		holdOf("1"): true,
		`{"lines":[{"quantity":2,"product_id":"a"},{"product_id":"b","quantity":3}],"customer_id":"\u00e9"}`: true,
		`{"customer_id":"","lines":[]}`:                                            true,
		`{"customer_id":"c","lines":[{"product_id":"a","quantity":1.5}]}`:          false,
		`{"customer_id":"c","lines":[{"product_id":"a","quantity":1,"more":1}]}`:   false,
		`{"customer_id":"c","lines":[{"product_id":"a"}]}`:                         false,
		`{"customer_id":"c","lines":[{"product_id":null,"quantity":1}]}`:           false,
		`{"customer_id":"c","lines":[null]}`:                                       false,
		`{"customer_id":"c","lines":[{"product_id":"a","quantity":1}],"note":"n"}`: false,
		`{"customer_id":"c","lines":null}`:                                         false,
		`{"customer_id":"c"}`:                                                      false,
		`[]`:                                                                       false,
	} {
		value, err := decodeJSON([]byte(body))
		require.NoError(t, err)
		var got, want server.CreateHoldJSONRequestBody
		require.Equal(t, usual, bindHold(value, &got), body)
		if usual {
			require.NoError(t, runtime.BindJSONValue(value, &want))
		}
		require.Equal(t, want, got, body)
	}
}

func TestAHoldIsWrittenAsTheGeneratedAnswerIs(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	price := server.Money{Amount: 9900, Currency: "USD"}
	line := server.Line{ProductID: aProduct, Quantity: 2, UnitPrice: price}
	for name, hold := range map[string]server.Hold{
		"one line":                  {CustomerID: "customer-17", Lines: []server.Line{line}},
		"lines":                     {CustomerID: "c", Lines: []server.Line{line, line}},
		"no lines":                  {CustomerID: "c", Lines: []server.Line{}},
		"an order":                  {CustomerID: "c", Lines: []server.Line{line}, OrderID: new("ord_1")},
		"a customer to be escaped":  {CustomerID: `<a href="x">\ & é ` + "\u2028\x7f", Lines: []server.Line{line}},
		"a customer that is no one": {Lines: []server.Line{line}},
	} {
		for _, at := range []time.Time{now, now.Add(time.Microsecond), now.Add(120 * time.Millisecond)} {
			hold.ID, hold.Status, hold.Total, hold.CreatedAt, hold.ExpiresAt = aHold, "active", price, at, at.Add(time.Hour)
			answer := server.CreateHold201JSONResponse{
				Body: hold, Headers: server.CreateHold201ResponseHeaders{Location: "/x", IdempotentReplayed: new(true)},
			}
			want, got := httptest.NewRecorder(), httptest.NewRecorder()
			require.NoError(t, answer.VisitCreateHoldResponse(want))
			require.NoError(t, holdAnswer(answer).VisitCreateHoldResponse(got))
			require.Equal(t, want, got, name)
		}
	}
}

// A member that the contract gets later must not be missing.
func TestAHoldIsWrittenWithEveryMember(t *testing.T) {
	hold := server.Hold{Lines: []server.Line{{}}}
	members := reflect.ValueOf(&hold).Elem()
	for i := range members.NumField() {
		if member := members.Field(i); member.Kind() == reflect.Pointer {
			member.Set(reflect.New(member.Type().Elem()))
		}
	}
	body, err := appendHold(nil, hold)
	require.NoError(t, err)
	want, err := json.Marshal(hold)
	require.NoError(t, err)
	require.Equal(t, string(want), string(body))
}
