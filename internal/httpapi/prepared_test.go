package httpapi

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/sale"
)

func TestARefusalIsEncodedAsAnyProblemForWhoeverGetsIt(t *testing.T) {
	when := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	first := &sale.Error{Code: sale.CodeAllHeld, Detail: "taken", Lines: []sale.Refusal{
		{Code: sale.CodeAllHeld, Requested: 2, NextReleaseAt: &when},
	}}
	second := &sale.Error{Code: sale.CodeSoldOut, Detail: "gone", Lines: []sale.Refusal{{Code: sale.CodeSoldOut, Requested: 1}}}
	var r refusals
	for _, failure := range []*sale.Error{first, first, second, first, second, second} {
		for _, id := range []string{"one", `two "quoted"`} {
			kind := problemKinds()[failure.Code]
			got, err := r.encode(id, failure, kind)
			require.NoError(t, err)
			want, err := json.Marshal(newProblem(id, "", failure, kind))
			require.NoError(t, err)
			assert.Equal(t, string(want), string(got))
		}
	}
}
