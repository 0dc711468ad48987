package contract

import (
	"crypto/rand"
	"maps"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/gen/client"
	"github.com/flashsale-api/flashsale/internal/app"
	"github.com/flashsale-api/flashsale/internal/payment"
	"github.com/flashsale-api/flashsale/test/apitest"
)

// tell sends an event that must be taken, and gives its outcome.
func tell(t *testing.T, api *apitest.API, sender apitest.Sender, event apitest.Event) client.PaymentOutcome {
	t.Helper()
	reply, err := api.Tell(t.Context(), sender, event)
	require.NoError(t, err)
	require.NotNil(t, reply.JSON200, string(reply.Body))
	assert.Equal(t, event.ID, reply.JSON200.EventID)
	return reply.JSON200.Outcome
}

func orderStatus(t *testing.T, api *apitest.API, order client.Order) client.OrderStatus {
	t.Helper()
	reply, err := api.GetOrderWithResponse(t.Context(), order.ID)
	require.NoError(t, err)
	require.NotNil(t, reply.JSON200, string(reply.Body))
	return reply.JSON200.Status
}

func TestOrderKeepsTheHoldsPriceAndIsMadeOnce(t *testing.T) {
	t.Parallel()
	api := start(t)
	product := api.Product(t, 5)
	hold := api.Hold(t, 2, product)
	_, err := api.UpdateProductWithResponse(t.Context(), product.ID, client.UpdateProductRequest{Price: &client.Price{Amount: 1, Currency: "EUR"}})
	require.NoError(t, err)
	reply, err := api.CreateOrderWithResponse(t.Context(), nil, client.CreateOrderRequest{HoldID: hold.ID})
	require.NoError(t, err)
	require.NotNil(t, reply.JSON201, string(reply.Body))
	order := reply.JSON201
	assert.Equal(t, "/api/orders/"+order.ID, reply.Headers201.Location)
	assert.Equal(t, hold.Total, order.Total)
	assert.Equal(t, client.OrderStatusPendingPayment, order.Status)

	again, err := api.CreateOrderWithResponse(t.Context(), nil, client.CreateOrderRequest{HoldID: hold.ID})
	problem := refused(t, again, err, http.StatusConflict, client.ProblemCodeHoldAlreadyOrdered)
	assert.Equal(t, order.ID, *problem.OrderID)
	read, err := api.GetHoldWithResponse(t.Context(), hold.ID)
	require.NoError(t, err)
	assert.Equal(t, client.HoldStatusOrdered, read.JSON200.Status)
	assert.Equal(t, order.ID, *read.JSON200.OrderID)
	api.Books(t)
}

func TestOrderOfNothingToPayIsPaidAtOnce(t *testing.T) {
	t.Parallel()
	api := start(t)
	order := api.Order(t, 1, api.Product(t, 1, func(r *client.CreateProductRequest) { r.Price.Amount = 0 }))
	assert.Equal(t, client.OrderStatusPaid, order.Status)
	assert.NotNil(t, order.PaidAt)
	api.Books(t)
}

func TestReleasedHoldCannotBeOrdered(t *testing.T) {
	t.Parallel()
	api := start(t)
	hold := api.Hold(t, 1, api.Product(t, 1))
	_, err := api.ReleaseHoldWithResponse(t.Context(), hold.ID, nil)
	require.NoError(t, err)
	reply, err := api.CreateOrderWithResponse(t.Context(), nil, client.CreateOrderRequest{HoldID: hold.ID})
	refused(t, reply, err, http.StatusConflict, client.ProblemCodeHoldNotActive)
}

func TestBothSendersPayFailAndRefundOrders(t *testing.T) {
	t.Parallel()
	api := start(t)
	product := api.Product(t, 100)
	for name, sender := range api.Senders() {
		t.Run(name, func(t *testing.T) {
			order := api.Order(t, 1, product)
			paid := apitest.NewEvent(apitest.Succeeded, order)
			assert.Equal(t, client.PaymentOutcomePaid, tell(t, api, sender, paid))
			assert.Equal(t, client.OrderStatusPaid, orderStatus(t, api, order))
			assert.Equal(t, client.PaymentOutcomeDuplicate, tell(t, api, sender, paid))

			extra := apitest.NewEvent(apitest.Succeeded, order)
			assert.Equal(t, client.PaymentOutcomeRefundDueExtra, tell(t, api, sender, extra))
			back := paid
			back.ID, back.Kind = "evt_"+rand.Text(), apitest.Refunded
			assert.Equal(t, client.PaymentOutcomeRefunded, tell(t, api, sender, back))
			assert.Equal(t, client.OrderStatusRefunded, orderStatus(t, api, order))

			failing := api.Order(t, 1, product)
			assert.Equal(t, client.PaymentOutcomePaymentFailed, tell(t, api, sender, apitest.NewEvent(apitest.Failed, failing)))
			assert.Equal(t, client.OrderStatusPaymentFailed, orderStatus(t, api, failing))
			assert.Equal(t, client.PaymentOutcomeIgnored, tell(t, api, sender, apitest.NewEvent(apitest.Failed, order)))
			assert.Equal(t, client.PaymentOutcomeRebooked, tell(t, api, sender, apitest.NewEvent(apitest.Succeeded, failing)))

			wrong := apitest.NewEvent(apitest.Succeeded, api.Order(t, 1, product))
			wrong.Amount--
			assert.Equal(t, client.PaymentOutcomeMismatch, tell(t, api, sender, wrong))
			other := apitest.NewEvent("payment.pondered", order)
			assert.Equal(t, client.PaymentOutcomeIgnored, tell(t, api, sender, other))
		})
	}
	api.Books(t)
}

func TestLatePaymentOfWhatIsGoneHasToGoBack(t *testing.T) {
	t.Parallel()
	api := start(t)
	product := api.Product(t, 1)
	order := api.Order(t, 1, product)
	api.Expire(t, order.HoldID)
	assert.Equal(t, client.OrderStatusExpired, orderStatus(t, api, order))
	api.Hold(t, 1, product)
	assert.Equal(t, client.PaymentOutcomeRefundDue, tell(t, api, api.Standard, apitest.NewEvent(apitest.Succeeded, order)))
	reply, err := api.GetOrderWithResponse(t.Context(), order.ID)
	require.NoError(t, err)
	assert.Equal(t, client.OrderStatusRefundDue, reply.JSON200.Status)
	assert.NotNil(t, reply.JSON200.RefundReason)
	api.Books(t)
}

func TestUnknownOrderLeavesNoTraceOfItsEvent(t *testing.T) {
	t.Parallel()
	api := start(t)
	product := api.Product(t, 5)
	for name, sender := range api.Senders() {
		t.Run(name, func(t *testing.T) {
			hold := api.Hold(t, 1, product)
			order := client.Order{ID: "ord_" + hold.ID[len("hold_"):], Total: hold.Total}
			event := apitest.NewEvent(apitest.Succeeded, order)
			early, err := api.Tell(t.Context(), sender, event)
			refused(t, early, err, http.StatusNotFound, client.ProblemCodeOrderNotFound)
			made, err := api.CreateOrderWithResponse(t.Context(), nil, client.CreateOrderRequest{HoldID: hold.ID})
			require.NoError(t, err)
			require.Equal(t, order.ID, made.JSON201.ID)
			assert.Equal(t, client.PaymentOutcomePaid, tell(t, api, sender, event))
		})
	}
	api.Books(t)
}

func TestUnknownOrderIsUnavailableWhereSoConfigured(t *testing.T) {
	t.Parallel()
	api := apitest.Start(t, apitest.Settings{Record: seen, Environ: []string{app.EnvUnknownOrderStatus + "=503"}})
	event := apitest.NewEvent(apitest.Succeeded, client.Order{ID: strangeOrder, Total: client.Money{Amount: 1, Currency: "USD"}})
	reply, err := api.Tell(t.Context(), api.Stripe, event)
	refused(t, reply, err, http.StatusServiceUnavailable, client.ProblemCodeUnavailable)
}

func TestEventThatComesFiftyTimesAtOnceHasOneEffect(t *testing.T) {
	t.Parallel()
	const times = 50
	api := start(t)
	product := api.Product(t, 10)
	for name, sender := range api.Senders() {
		for _, kind := range []string{apitest.Succeeded, apitest.Failed} {
			t.Run(name+" "+kind, func(t *testing.T) {
				event := apitest.NewEvent(kind, api.Order(t, 1, product))
				var effects, duplicates atomic.Int64
				require.NoError(t, apitest.Together(times, func(int) error {
					reply, err := api.Tell(t.Context(), sender, event)
					switch {
					case err != nil:
						return err
					case reply.JSON200 != nil && reply.JSON200.Outcome == client.PaymentOutcomeDuplicate:
						duplicates.Add(1)
					case reply.JSON200 != nil:
						effects.Add(1)
					}
					return nil
				}))
				assert.Equal(t, []int64{1, times - 1}, []int64{effects.Load(), duplicates.Load()})
			})
		}
	}
	books := api.Books(t)[product.ID]
	assert.Equal(t, []int64{2, 8}, []int64{books.Sold, books.Available})
}

func TestEventThatIsNotSignedRightlyIsRefusedUnread(t *testing.T) {
	t.Parallel()
	api := start(t)
	order := api.Order(t, 1, api.Product(t, 1))
	body, standard, err := api.Standard(apitest.NewEvent(apitest.Succeeded, order))
	require.NoError(t, err)
	stripeBody, stripe, err := api.Stripe(apitest.NewEvent(apitest.Succeeded, order))
	require.NoError(t, err)
	forged := maps.Clone(standard)
	forged["Webhook-Id"] = []string{"msg_another"}
	old := payment.SignStripe("not-the-secret", time.Now(), stripeBody)
	for name, attempt := range map[string]struct {
		body   []byte
		header http.Header
	}{
		"no signature":      {body, nil},
		"another body":      {append([]byte(" "), body...), standard},
		"another id":        {body, forged},
		"another secret":    {stripeBody, old},
		"the other's":       {body, stripe},
		"no JSON, unsigned": {[]byte("{"), nil},
	} {
		reply, err := api.Webhook(t.Context(), attempt.body, attempt.header)
		problem := refused(t, reply, err, http.StatusUnauthorized, client.ProblemCodeInvalidSignature)
		assert.Empty(t, problem.Errors, name)
	}
	assert.Equal(t, client.OrderStatusPendingPayment, orderStatus(t, api, order))
}

func TestSignedEventThatCannotBeReadIsRefused(t *testing.T) {
	t.Parallel()
	api := start(t)
	order := api.Order(t, 1, api.Product(t, 1))
	for _, attempt := range []struct {
		body   string
		status int
		code   client.ProblemCode
	}{
		{`{"type":`, http.StatusBadRequest, client.ProblemCodeMalformedRequest},
		{`{"type":"payment.succeeded"}`, http.StatusUnprocessableEntity, client.ProblemCodeInvalidRequest},
		{`[]`, http.StatusUnprocessableEntity, client.ProblemCodeInvalidRequest},
	} {
		header, err := api.SignStandard("msg_"+rand.Text(), []byte(attempt.body))
		require.NoError(t, err)
		reply, err := api.Webhook(t.Context(), []byte(attempt.body), header)
		refused(t, reply, err, attempt.status, attempt.code)
	}
	assert.Equal(t, client.OrderStatusPendingPayment, orderStatus(t, api, order))
}
