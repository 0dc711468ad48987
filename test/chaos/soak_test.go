//go:build linux

package chaos

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/gen/client"
	"github.com/flashsale-api/flashsale/internal/testenv"
	"github.com/flashsale-api/flashsale/test/apitest"
)

const (
	soakLength    = 12 * time.Second
	soakCustomers = 32
	// soakShare is the load's part of what the service can do, which is found out first:
	// over a fourth of the load's time, and not longer than peakLimit.
	soakShare = 0.7
	peakLimit = 30 * time.Second
	// tardy is how late a story may begin and still count as on time.
	tardy = time.Second
	// soldOutStock sells out soon, briefTTL is how long what nobody orders is held, and
	// soakStock outlasts a night.
	soldOutStock = 200
	soakStock    = 1_000_000_000
	briefTTL     = 2 // seconds
)

// A load that comes steadily, whatever the answers do, at seven tenths of the peak: of
// buyers, of those who look, who are refused, who leave what they hold. The process comes
// to need no more goroutines, descriptors and memory, and the books balance.
func TestALongLoadLeavesNothingBehind(t *testing.T) {
	length := testenv.Duration(t, "FLASHSALE_TEST_SOAK", soakLength)
	k := startSoak(t, testenv.Seed(t))
	window := min(length/4, peakLimit)
	peak := float64(k.load(window, 0)) / window.Seconds()
	probe := k.watch(length)
	told := k.load(length, peak*soakShare)
	samples := probe.end(t)
	assert.Positive(t, told)
	verifyBooks(t, openCore(t, k.fleet))
	t.Logf("%d stories in %v, %.0f a second of %.0f at the peak, %d of them late; %d answers",
		told, length, float64(told)/length.Seconds(), peak, k.late.Load(), k.answers.Load())
	for _, need := range needs() {
		need.verify(t, samples)
	}
}

// soak is one process under load.
type soak struct {
	*testing.T
	fleet     *fleet
	admin     string
	customers []*visitor
	answers   atomic.Int64
	late      atomic.Int64
}

// visitor is a customer with a connection of its own who does more than to buy.
type visitor struct {
	*customer
	brief client.Product // what is left in the basket
}

func startSoak(t *testing.T, seed uint64) *soak {
	t.Helper()
	k := &soak{T: t, admin: testenv.FreeAddress(t)}
	k.fleet = startFleet(t, 1, "FLASHSALE_ADMIN_ADDR="+k.admin)
	address, api := k.fleet.processes[0].addr, k.fleet.processes[0].api
	products := []client.Product{api.Product(t, soakStock), api.Product(t, soldOutStock)}
	brief := api.Product(t, soakStock, func(r *client.CreateProductRequest) { r.HoldTTLSeconds = new(int64(briefTTL)) })
	nowhere, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = nowhere.Close() })
	for i := range soakCustomers {
		seen := *k.fleet
		seen.processes = []*process{{addr: address, api: apitest.Attach(t, "http://"+address, seen.secret, answerLimit)}}
		k.customers = append(k.customers, &visitor{brief: brief, customer: &customer{
			tb: t, fleet: &seen, journal: &journal{file: nowhere}, products: products,
			dice: mathrand.New(mathrand.NewPCG(seed, uint64(i))), answers: &k.answers,
		}})
	}
	return k
}

// load lets stories begin over a time: so many a second, whatever the last ones do, as long
// as there are customers; with rate 0 each customer tells one after the other. It gives how
// many were told.
func (k *soak) load(length time.Duration, rate float64) int64 {
	k.Helper()
	a := arrivals{start: time.Now(), length: length, rate: rate, late: &k.late}
	var told atomic.Int64
	require.NoError(k, apitest.Together(len(k.customers), func(i int) error {
		for a.await() {
			if err := k.customers[i].visit(k.Context()); err != nil {
				return err
			}
			told.Add(1)
		}
		return nil
	}))
	return told.Load()
}

// arrivals say when the next story begins.
type arrivals struct {
	start   time.Time
	length  time.Duration
	rate    float64 // a second; 0: at once
	tickets atomic.Int64
	late    *atomic.Int64
}

// await waits until it is time for the next story. There is none after the end.
func (a *arrivals) await() bool {
	if time.Since(a.start) >= a.length || a.rate == 0 {
		return time.Since(a.start) < a.length
	}
	due := a.start.Add(time.Duration(float64(a.tickets.Add(1)-1) / a.rate * float64(time.Second)))
	if due.Sub(a.start) >= a.length {
		return false
	}
	time.Sleep(time.Until(due))
	if time.Since(due) > tardy {
		a.late.Add(1)
	}
	return true
}

// visit tells a story of chance.
func (v *visitor) visit(ctx context.Context) error {
	switch v.dice.IntN(8) {
	case 0:
		return v.look(ctx)
	case 1:
		return v.refuse(ctx)
	case 2:
		return v.leave(ctx)
	default:
		return v.tell(ctx, "customer-"+rand.Text())
	}
}

// look reads what is on sale, one product, and as a browser does, whether it has changed
// since.
func (v *visitor) look(ctx context.Context) error {
	api, product := v.fleet.processes[0].api, v.products[v.dice.IntN(len(v.products))]
	page, err := api.ListProductsWithResponse(ctx, nil)
	if err != nil {
		return err
	}
	read, err := api.GetProductWithResponse(ctx, product.ID, nil)
	if err != nil {
		return err
	}
	again, err := api.GetProductWithResponse(ctx, product.ID, &client.GetProductParams{IfNoneMatch: new(read.HTTPResponse.Header.Get("ETag"))})
	if err != nil {
		return err
	}
	return errors.Join(
		expect(page, http.StatusOK), expect(read, http.StatusOK), expect(again, http.StatusOK, http.StatusNotModified))
}

// expect says whether an answer is one of those that a service gives that is up, or asks
// to try again.
func expect(reply apitest.Reply, statuses ...int) error {
	if got := reply.StatusCode(); got != http.StatusServiceUnavailable && !slices.Contains(statuses, got) {
		return fmt.Errorf("the answer is %d and not one of %v: %+v", got, statuses, reply.GetApplicationProblemJSONDefault())
	}
	return nil
}

// refuse asks for what there is not.
func (v *visitor) refuse(ctx context.Context) error {
	wishes := map[int]client.CreateHoldRequest{
		http.StatusUnprocessableEntity: apitest.Wish("customer-"+rand.Text(), 0, v.products[0]),
		http.StatusNotFound:            apitest.Wish("customer-"+rand.Text(), 1, client.Product{ID: "prod_00000000000000000000000000"}),
	}
	for want, wish := range wishes {
		reply, err := v.fleet.processes[0].api.CreateHoldWithResponse(ctx, nil, wish)
		if err != nil {
			return err
		}
		if err := expect(reply, want); err != nil {
			return err
		}
	}
	return nil
}

// leave holds what will expire.
func (v *visitor) leave(ctx context.Context) error {
	reply, err := v.fleet.processes[0].api.CreateHoldWithResponse(ctx, nil, apitest.Wish("customer-"+rand.Text(), 1, v.brief))
	if err != nil {
		return err
	}
	return expect(reply, http.StatusCreated)
}
