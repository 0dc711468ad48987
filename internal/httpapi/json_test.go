package httpapi

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/sale"
)

// FuzzDecodeJSON compares what is read of a body with what encoding/json reads.
func FuzzDecodeJSON(f *testing.F) {
	for _, seed := range []string{
		holdOf("1"), ` [ ] `, `{}`, `[1,-2.5e3,true,false,null,"\u00e9\n\\\"",{"a":{"b":[{}]}}]`, `"\ud800"`, `1e400`, `0`, `{"a":1,"a":2}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := decodeJSON(data)
		var want any
		decoder := json.NewDecoder(bytes.NewReader(data))
		decoder.UseNumber()
		if err != nil {
			return
		}
		require.NoError(t, decoder.Decode(&want))
		require.Equal(t, plainNumbers(want), got)
	})
}

// plainNumbers reads the numbers of a decoded value as decodeJSON does.
func plainNumbers(value any) any {
	switch value := value.(type) {
	case json.Number:
		return plainNumber(value)
	case []any:
		for i := range value {
			value[i] = plainNumbers(value[i])
		}
	case map[string]any:
		for name := range value {
			value[name] = plainNumbers(value[name])
		}
	}
	return value
}

func TestEscapedPairsAreReadAsOneCharacter(t *testing.T) {
	got, err := decodeJSON([]byte(`["\ud83d\ude00\uD83D\uDE00", "\\ud83d", "\ufffd\u0041\n", "😀\u00e9"]`))
	require.NoError(t, err)
	require.Equal(t, []any{"😀😀", `\ud83d`, "\ufffdA\n", "😀é"}, got)
}

func TestBodiesOfTooManyValuesAreNotLookedInto(t *testing.T) {
	of := func(n int) []byte { return []byte("[" + strings.Repeat("0,", n-2) + "{}]") }
	got, err := decodeJSON(of(maxValues))
	require.NoError(t, err)
	require.Len(t, got, maxValues-1)
	_, err = decodeJSON(of(maxValues + 1))
	require.ErrorIs(t, err, &sale.Error{Code: sale.CodeMalformed})

	handler := newAPI(t, testConfig(t))
	crowd := `{"customer_id":"c","lines":[` + strings.Repeat("{},", 20_000) + `{}]}`
	requireProblem(t, serve(handler, request(t, "POST", "/api/holds", crowd, "Content-Type", jsonType)), 400, "malformed_request")
	most := `{"customer_id":"c","lines":[` + strings.Repeat(`{"product_id":"p","quantity":1,"x":1},`, 19) + `{}]}`
	requireProblem(t, serve(handler, request(t, "POST", "/api/holds", most, "Content-Type", jsonType)), 422, "invalid_request")
}
