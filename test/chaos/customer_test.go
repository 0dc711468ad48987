//go:build linux

package chaos

import (
	"context"
	"crypto/rand"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flashsale-api/flashsale/gen/client"
	"github.com/flashsale-api/flashsale/test/apitest"
)

// The steps of a story, and how it goes on after its order.
const (
	stepHold    = "hold"
	stepRelease = "release"
	stepOrder   = "order"
	stepPay     = "pay"
	stepPayMore = "pay again"
	stepFail    = "fail"
	stepCancel  = "cancel"
	stepRefund  = "refund"

	// retryPause lets a process that was killed come back.
	retryPause = 10 * time.Millisecond
)

// customer lives one story after the other, each as somebody else, against processes
// that may be gone at any moment: it sends the very same request until it is answered.
type customer struct {
	tb       testing.TB
	fleet    *fleet
	journal  *journal
	products []client.Product
	dice     *mathrand.Rand
	answers  *atomic.Int64 // of all customers
	once     bool          // it sends each request once: one that is not answered for good is a fault
}

// live tells stories until it is told to stop; the last one is told to its end.
func (c *customer) live(stop <-chan struct{}) error {
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		if err := c.tell(c.tb.Context(), "customer-"+rand.Text()); err != nil {
			return err
		}
	}
}

// tell lives one story. An error is a fault of the service or of this test.
func (c *customer) tell(ctx context.Context, story string) error {
	chosen := c.products[:1+c.dice.IntN(len(c.products))]
	wish := apitest.Wish(story, 1+c.dice.Int64N(2), chosen...)
	key := new("key-" + story)
	if c.dice.IntN(2) == 0 {
		key = apitest.HoldKey(c.tb, chosen...)
	}
	var hold client.Hold
	made, err := c.ask(ctx, story, stepHold, func(api *apitest.API) (apitest.Reply, string, error) {
		reply, err := api.CreateHoldWithResponse(ctx, &client.CreateHoldParams{IdempotencyKey: key}, wish)
		if err != nil || reply.JSON201 == nil {
			return reply, "", err
		}
		hold = *reply.JSON201
		return reply, hold.ID, nil
	})
	switch {
	case err != nil || !made:
		return err
	case c.dice.IntN(4) == 0:
		_, err := c.ask(ctx, story, stepRelease, func(api *apitest.API) (apitest.Reply, string, error) {
			reply, err := api.ReleaseHoldWithResponse(ctx, hold.ID, &client.ReleaseHoldParams{IdempotencyKey: key})
			return reply, hold.ID, err
		})
		return err
	default:
		return c.buy(ctx, story, hold, key)
	}
}

func (c *customer) buy(ctx context.Context, story string, hold client.Hold, key *string) error {
	order := client.Order{ID: "ord_" + hold.ID[len("hold_"):], Total: hold.Total}
	made, err := c.ask(ctx, story, stepOrder, func(api *apitest.API) (apitest.Reply, string, error) {
		reply, err := api.CreateOrderWithResponse(ctx, &client.CreateOrderParams{IdempotencyKey: key}, client.CreateOrderRequest{HoldID: hold.ID})
		return reply, order.ID, err
	})
	if err != nil || !made {
		return err
	}
	switch c.dice.IntN(5) {
	case 0:
		_, err = c.ask(ctx, story, stepCancel, func(api *apitest.API) (apitest.Reply, string, error) {
			reply, err := api.CancelOrderWithResponse(ctx, order.ID, &client.CancelOrderParams{IdempotencyKey: key})
			return reply, order.ID, err
		})
		return err
	case 1:
		return c.hear(ctx, story, stepFail, apitest.NewEvent(apitest.Failed, order))
	case 2:
		if err := c.hear(ctx, story, stepPay, apitest.NewEvent(apitest.Succeeded, order)); err != nil {
			return err
		}
		return c.hear(ctx, story, stepPayMore, apitest.NewEvent(apitest.Succeeded, order))
	case 3:
		if err := c.hear(ctx, story, stepPay, apitest.NewEvent(apitest.Succeeded, order)); err != nil {
			return err
		}
		_, err = c.ask(ctx, story, stepRefund, func(api *apitest.API) (apitest.Reply, string, error) {
			reply, err := api.RefundOrderWithResponse(ctx, order.ID, &client.RefundOrderParams{IdempotencyKey: key}, client.RefundOrderRequest{Restock: true})
			return reply, order.ID, err
		})
		return err
	default:
		return c.hear(ctx, story, stepPay, apitest.NewEvent(apitest.Succeeded, order))
	}
}

// hear is a payment provider that sends an event until it is taken.
func (c *customer) hear(ctx context.Context, story, step string, event apitest.Event) error {
	_, err := c.ask(ctx, story, step, func(api *apitest.API) (apitest.Reply, string, error) {
		reply, err := api.Tell(ctx, api.Standard, event)
		return reply, event.PaymentID, err
	})
	return err
}

// ask sends a request, to one process after the other, until it is answered for good,
// and says whether it had its effect. What says 'try again' is no answer.
func (c *customer) ask(
	ctx context.Context, story, step string, send func(api *apitest.API) (apitest.Reply, string, error),
) (bool, error) {
	for attempt := c.dice.IntN(len(c.fleet.processes)); ; attempt++ {
		if err := c.journal.write(entry{Story: story, Step: step}); err != nil {
			return false, err
		}
		reply, made, err := send(c.fleet.processes[attempt%len(c.fleet.processes)].api)
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		if err == nil && final(reply) {
			c.answers.Add(1)
			answer := entry{Story: story, Step: step, Status: reply.StatusCode(), ID: made}
			if problem := reply.GetApplicationProblemJSONDefault(); problem != nil {
				answer.Code = string(problem.Code)
			}
			if reply.StatusCode() >= http.StatusInternalServerError {
				return false, fmt.Errorf("%s of %s: %+v", step, story, answer)
			}
			return reply.StatusCode() < http.StatusBadRequest, c.journal.write(answer)
		}
		if c.once {
			return false, unanswered(step, story, reply, err)
		}
		time.Sleep(retryPause)
	}
}

// unanswered says what a request that is sent once came to.
func unanswered(step, story string, reply apitest.Reply, err error) error {
	if err != nil {
		return fmt.Errorf("%s of %s failed: %w", step, story, err)
	}
	return fmt.Errorf("%s of %s failed: %+v", step, story, reply.GetApplicationProblemJSONDefault())
}

// final says whether an answer will stay the same.
func final(reply apitest.Reply) bool {
	problem := reply.GetApplicationProblemJSONDefault()
	return problem == nil || problem.Status != http.StatusServiceUnavailable && problem.Code != client.ProblemCodeIdempotencyInProgress
}
