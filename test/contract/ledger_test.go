package contract

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/gen/client"
	"github.com/flashsale-api/flashsale/test/apitest"
)

func TestLedgerTellsEveryChangeOfTheStockInPages(t *testing.T) {
	t.Parallel()
	api := start(t)
	product := api.Product(t, 10)
	api.Hold(t, 3, product)
	adjusted, err := api.AdjustStockWithResponse(t.Context(), product.ID, nil, client.AdjustStockRequest{Delta: 5, Reason: "second delivery"})
	require.NoError(t, err)
	require.NotNil(t, adjusted.JSON200, string(adjusted.Body))

	type row struct {
		version, delta, after int64
		reason                client.MovementReason
		note                  string
	}
	var rows []row
	params := &client.ListStockMovementsParams{Limit: new(2)}
	for range 2 {
		reply, err := api.ListStockMovementsWithResponse(t.Context(), product.ID, params)
		require.NoError(t, err)
		require.NotNil(t, reply.JSON200, string(reply.Body))
		for _, m := range reply.JSON200.Data {
			note := ""
			if m.Note != nil {
				note = *m.Note
			}
			rows = append(rows, row{m.StockVersion, m.Delta, m.AvailableAfter, m.Reason, note})
		}
		params.Cursor = reply.JSON200.NextCursor
	}
	assert.Nil(t, params.Cursor, "the last page has no next one")
	assert.Equal(t, []row{
		{3, 5, 12, client.MovementReasonAdjusted, "second delivery"},
		{2, -3, 7, client.MovementReasonHeld, ""},
		{1, 10, 10, client.MovementReasonCreated, ""},
	}, rows)
}

func TestLedgerRefusesACursorOrLimitThatItDidNotGive(t *testing.T) {
	t.Parallel()
	api := start(t)
	product := api.Product(t, 1)
	for _, cursor := range []string{"nonsense", "LTE", "MA", "Mg=="} {
		reply, err := api.ListStockMovementsWithResponse(t.Context(), product.ID, &client.ListStockMovementsParams{Cursor: &cursor})
		problem := refused(t, reply, err, http.StatusUnprocessableEntity, client.ProblemCodeInvalidRequest)
		assert.Equal(t, []string{"/query/cursor"}, pointers(problem), cursor)
	}
	answer, err := api.Send(t.Context(), http.MethodGet, "/api/products/"+product.ID+"/stock-movements?limit=%zz", "")
	refused(t, answer, err, http.StatusBadRequest, client.ProblemCodeMalformedRequest)
}

func TestAuditSaysWhereEveryUnitIsAndThatTheBooksBalance(t *testing.T) {
	t.Parallel()
	api := start(t)
	product := api.Product(t, 20)
	api.Hold(t, 1, product)
	api.Order(t, 2, product)
	paid := api.Order(t, 3, product)
	assert.Equal(t, client.PaymentOutcomePaid, tell(t, api, api.Standard, apitest.NewEvent(apitest.Succeeded, paid)))
	reply, err := api.AuditProductWithResponse(t.Context(), product.ID)
	require.NoError(t, err)
	require.NotNil(t, reply.JSON200, string(reply.Body))
	assert.Equal(t, client.StockAudit{
		Available: 14, Held: 1, Pending: 2, Sold: 3, Total: 20, LedgerAvailable: 14, Balanced: true,
	}, *reply.JSON200)
}
