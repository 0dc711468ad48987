package concurrency

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/gen/client"
	"github.com/flashsale-api/flashsale/internal/app"
	"github.com/flashsale-api/flashsale/test/apitest"
)

// storm is customers who do everything at once with the same few products.
type storm struct {
	api      *apitest.API
	products []client.Product

	mu    sync.Mutex
	known []client.Hold                              // that were made
	told  map[client.OrderID][]client.PaymentOutcome // what became of payments
}

func TestStormOfEverythingAtOnceLosesNoUnitAndFailsNobody(t *testing.T) {
	t.Parallel()
	const customers, steps, stock = 24, 25, 60
	s := storm{
		api:  apitest.Start(t, apitest.Settings{Environ: []string{app.EnvSweepInterval + "=50ms"}}),
		told: map[client.OrderID][]client.PaymentOutcome{},
	}
	brief := func(r *client.CreateProductRequest) {
		r.HoldTTLSeconds, r.PaymentWindowSeconds = new(int64(1)), new(int64(1))
	}
	s.products = []client.Product{s.api.Product(t, stock), s.api.Product(t, stock, brief), s.api.Product(t, stock, brief)}
	require.NoError(t, apitest.Together(customers, func(i int) error {
		dice := rand.New(rand.NewPCG(uint64(i), 1))
		for step := range steps {
			if err := s.step(t.Context(), dice, fmt.Sprintf("customer-%d", i)); err != nil {
				return fmt.Errorf("step %d of customer %d: %w", step, i, err)
			}
		}
		return nil
	}))
	s.awaitCalm(t)
	s.checkPaid(t)
}

// awaitCalm waits until everything that ends by itself soon has ended and gone back.
func (s *storm) awaitCalm(t *testing.T) {
	t.Helper()
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		_, err := s.api.Other.Actions.ReleaseExpired.Do(t.Context())
		require.NoError(c, err)
		all, err := s.api.Other.Actions.Audit.Do(t.Context())
		require.NoError(c, err)
		for _, books := range all {
			if books.ProductID.String() != s.lasting().ID {
				require.Zero(c, books.Held+books.Pending)
			}
		}
	}, 30*time.Second, 50*time.Millisecond)
}

// lasting is the product whose holds outlast the storm.
func (s *storm) lasting() client.Product { return s.products[0] }

// step does one thing, chosen by the dice. Any answer will do that is not a
// fault of the server.
func (s *storm) step(ctx context.Context, dice *rand.Rand, customer string) error {
	hold, found := s.pick(dice)
	order := client.Order{ID: "ord_" + hold.ID[min(len("hold_"), len(hold.ID)):], Total: hold.Total}
	var reply apitest.Reply
	var err error
	switch roll := dice.IntN(10); {
	case roll < 3 || !found:
		return s.reserve(ctx, dice, customer)
	case roll < 5:
		reply, err = s.api.CreateOrderWithResponse(ctx, nil, client.CreateOrderRequest{HoldID: hold.ID})
	case roll < 7:
		return s.tell(ctx, dice, order)
	case roll < 8:
		reply, err = s.api.ReleaseHoldWithResponse(ctx, hold.ID, nil)
	case roll < 9:
		reply, err = s.api.ExtendHoldWithResponse(ctx, hold.ID, nil, client.ExtendHoldRequest{Seconds: 1})
	default:
		_, err := s.api.Other.Actions.ReleaseExpired.Do(ctx)
		return err
	}
	return noFault(reply, err)
}

func noFault(reply apitest.Reply, err error) error {
	if err == nil && reply.StatusCode() >= http.StatusInternalServerError {
		return fmt.Errorf("answered %d: %+v", reply.StatusCode(), reply.GetApplicationProblemJSONDefault())
	}
	return err
}

// pick gives a hold that somebody made, a late one rather than an early one.
func (s *storm) pick(dice *rand.Rand) (client.Hold, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.known) == 0 {
		return client.Hold{}, false
	}
	return s.known[len(s.known)-1-dice.IntN(min(len(s.known), 40))], true
}

// reserve asks for one or several products, in any order.
func (s *storm) reserve(ctx context.Context, dice *rand.Rand, customer string) error {
	var chosen []client.Product
	for _, i := range dice.Perm(len(s.products))[:1+dice.IntN(len(s.products))] {
		chosen = append(chosen, s.products[i])
	}
	reply, err := s.api.CreateHoldWithResponse(ctx, nil, apitest.Wish(customer, 1+dice.Int64N(3), chosen...))
	if err == nil && reply.JSON201 != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.known = append(s.known, *reply.JSON201)
	}
	return noFault(reply, err)
}

// tell sends what a provider may say of an order, there or not.
func (s *storm) tell(ctx context.Context, dice *rand.Rand, order client.Order) error {
	kind := []string{apitest.Succeeded, apitest.Succeeded, apitest.Failed}[dice.IntN(3)]
	sender := []apitest.Sender{s.api.Standard, s.api.Stripe}[dice.IntN(2)]
	reply, err := s.api.Tell(ctx, sender, apitest.NewEvent(kind, order))
	if err == nil && reply.JSON200 != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.told[order.ID] = append(s.told[order.ID], reply.JSON200.Outcome)
	}
	return noFault(reply, err)
}

// checkPaid asserts that the units that are sold are those of the orders that
// were told to be paid, each told so once.
func (s *storm) checkPaid(t *testing.T) {
	t.Helper()
	sold := map[client.ProductID]int64{}
	for id, outcomes := range s.told {
		paid := 0
		for _, outcome := range outcomes {
			if outcome == client.PaymentOutcomePaid || outcome == client.PaymentOutcomeRebooked {
				paid++
			}
		}
		require.LessOrEqual(t, paid, 1, "an order was paid twice: %v", outcomes)
		reply, err := s.api.GetOrderWithResponse(t.Context(), id)
		require.NoError(t, err)
		require.NotNil(t, reply.JSON200, string(reply.Body))
		require.Equal(t, paid == 1, reply.JSON200.Status == client.OrderStatusPaid, "%s after %v", reply.JSON200.Status, outcomes)
		for _, line := range reply.JSON200.Lines {
			sold[line.ProductID] += int64(paid) * line.Quantity
		}
	}
	require.NotEmpty(t, sold, "the storm paid for nothing")
	books := s.api.Books(t)
	for _, product := range s.products {
		assert.Equal(t, sold[product.ID], books[product.ID].Sold)
		s.api.RequireStock(t.Context(), t, product, books[product.ID].Available)
	}
}
