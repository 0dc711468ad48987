package httpapi

import (
	"encoding/json"
	"net/http/httptest"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/gen/server"
)

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
