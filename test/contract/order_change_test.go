package contract

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/gen/client"
	"github.com/flashsale-api/flashsale/test/apitest"
)

func TestCancelledOrderGivesItsUnitsBackAndItsLateMoneyIsDueBack(t *testing.T) {
	t.Parallel()
	api := start(t)
	product := api.Product(t, 3)
	order := api.Order(t, 2, product)
	for range 2 {
		reply, err := api.CancelOrderWithResponse(t.Context(), order.ID, nil)
		require.NoError(t, err)
		require.NotNil(t, reply.JSON200, string(reply.Body))
		assert.Equal(t, client.OrderStatusCancelled, reply.JSON200.Status)
		assert.Equal(t, int64(3), api.Stock(t, product))
	}
	assert.Equal(t, client.PaymentOutcomeRefundDue, tell(t, api, api.Standard, apitest.NewEvent(apitest.Succeeded, order)))
	read, err := api.GetOrderWithResponse(t.Context(), order.ID)
	require.NoError(t, err)
	assert.Equal(t, client.OrderStatusRefundDue, read.JSON200.Status)
	require.NotNil(t, read.JSON200.RefundReason)
	assert.Equal(t, client.RefundReasonOrderCancelled, *read.JSON200.RefundReason)
	again, err := api.CancelOrderWithResponse(t.Context(), order.ID, nil)
	refused(t, again, err, http.StatusConflict, client.ProblemCodeOrderNotCancellable)
	api.Books(t)
}

func TestRefundIsDueUntilTheProviderSaysThatTheMoneyWentBack(t *testing.T) {
	t.Parallel()
	api := start(t)
	product := api.Product(t, 3)
	order := api.Order(t, 2, product)
	early, err := api.RefundOrderWithResponse(t.Context(), order.ID, nil, client.RefundOrderRequest{})
	refused(t, early, err, http.StatusConflict, client.ProblemCodeOrderNotRefundable)
	success := apitest.NewEvent(apitest.Succeeded, order)
	tell(t, api, api.Standard, success)
	reply, err := api.RefundOrderWithResponse(t.Context(), order.ID, nil, client.RefundOrderRequest{Restock: true})
	require.NoError(t, err)
	require.NotNil(t, reply.JSON200, string(reply.Body))
	assert.Equal(t, client.OrderStatusRefundDue, reply.JSON200.Status)
	assert.Equal(t, client.RefundReasonRequested, *reply.JSON200.RefundReason)
	assert.Equal(t, int64(3), api.Stock(t, product))
	refund := apitest.NewEvent(apitest.Refunded, order)
	refund.PaymentID = success.PaymentID
	assert.Equal(t, client.PaymentOutcomeRefunded, tell(t, api, api.Standard, refund))
	assert.Equal(t, client.OrderStatusRefunded, orderStatus(t, api, order))
	late, err := api.RefundOrderWithResponse(t.Context(), order.ID, nil, client.RefundOrderRequest{})
	refused(t, late, err, http.StatusConflict, client.ProblemCodeOrderNotRefundable)
	assert.Equal(t, int64(0), api.Books(t)[product.ID].Sold)
}

func TestOrdersAreListedByCustomerAndStatusAPageAtATime(t *testing.T) {
	t.Parallel()
	api := start(t)
	product := api.Product(t, 50)
	var ids []string
	for range 5 {
		ids = append([]string{api.Order(t, 1, product).ID}, ids...)
	}
	_, err := api.CancelOrderWithResponse(t.Context(), ids[1], nil)
	require.NoError(t, err)
	list := func(params client.ListOrdersParams) (found []string) {
		for {
			reply, err := api.ListOrdersWithResponse(t.Context(), &params)
			require.NoError(t, err)
			require.NotNil(t, reply.JSON200, string(reply.Body))
			for _, order := range reply.JSON200.Data {
				found = append(found, order.ID)
				assert.Len(t, order.Lines, 1)
			}
			if params.Cursor = reply.JSON200.NextCursor; params.Cursor == nil {
				return found
			}
		}
	}
	reply, err := api.GetOrderWithResponse(t.Context(), ids[0])
	require.NoError(t, err)
	customer := reply.JSON200.CustomerID
	assert.ElementsMatch(t, ids, list(client.ListOrdersParams{Limit: new(2)}))
	assert.Equal(t, ids[:1], list(client.ListOrdersParams{CustomerID: &customer, Limit: new(2)}))
	assert.Empty(t, list(client.ListOrdersParams{CustomerID: new("nobody")}))
	assert.Equal(t, []string{ids[1]}, list(client.ListOrdersParams{Status: new(client.OrderStatusCancelled), Limit: new(1)}))
	for query, pointer := range map[string]string{
		"status=lost": "/query/status", "limit=0": "/query/limit", "cursor=x": "/query/cursor", "customer_id=": "/query/customer_id",
	} {
		answer, err := api.Send(t.Context(), http.MethodGet, "/api/orders?"+query, "")
		problem := refused(t, answer, err, http.StatusUnprocessableEntity, client.ProblemCodeInvalidRequest)
		assert.Equal(t, []string{pointer}, pointers(problem), query)
	}
	answer, err := api.Send(t.Context(), http.MethodGet, "/api/orders?limit=%zz", "")
	refused(t, answer, err, http.StatusBadRequest, client.ProblemCodeMalformedRequest)
}
