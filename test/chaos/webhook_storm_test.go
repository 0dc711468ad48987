package chaos

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	mathrand "math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/gen/client"
	"github.com/flashsale-api/flashsale/internal/sale"
	"github.com/flashsale-api/flashsale/internal/testenv"
	"github.com/flashsale-api/flashsale/test/apitest"
	"github.com/flashsale-api/flashsale/test/chaos/model"
)

const (
	// stormEvents is how many different events there are in the short form, stormCopies
	// how often each is sent even if the first is taken.
	stormEvents = 250
	stormCopies = 3
	stormAtOnce = 32
	// An event is sent first so long before or after its order is made; a few are much
	// earlier.
	stormSpread = 5 * time.Minute
	stormEarly  = 12 * time.Hour
	stormLength = 6 * time.Hour
	// stormOfOrder bounds the events of one order: every order of theirs is replayed.
	stormOfOrder = 4
	stormProbes  = 1 // one more customer, who takes what came back, for so many orders
	probeUnits   = 3
)

// Events come long before their orders exist, in any order, several times, with answers
// that get lost, to two processes. In the end each order is where a replay of its events
// could have left it, in some order and each of them once; every payment is known once;
// and the units are where the orders say.
func TestStormOfWebhooksLeavesEachOrderWhereItsEventsLead(t *testing.T) {
	t.Parallel()
	count, seed := testenv.Number(t, "FLASHSALE_TEST_WEBHOOKS", stormEvents), testenv.Seed(t)
	s := newStorm(t, mathrand.New(mathrand.NewPCG(seed, 0)), count)
	s.run("holds", s.holds())
	s.run("storm", s.all())
	s.run("reads", s.reads())
	s.verify()
}

// storm is orders and what their payment providers say of them.
type storm struct {
	*testing.T
	dice           *mathrand.Rand
	apis           []*apitest.API
	plenty, scarce client.Product
	orders         []*stormOrder
	mu             sync.Mutex
	effects        map[string]int // answers other than 'duplicate', by event
	outcomes       map[string]int
}

// stormOrder is one of them, before and after it exists.
type stormOrder struct {
	key      *string
	order    client.Order
	product  client.Product
	quantity int64
	born     time.Duration
	stripe   bool
	script   []said
	status   string
}

// said is one event of an order: about its first or second payment, or one of a wrong
// amount.
type said struct {
	kind    string
	payment string
	matches bool
}

func newStorm(t *testing.T, dice *mathrand.Rand, events int) *storm {
	t.Helper()
	dsn := testenv.Database(t)
	s := &storm{T: t, dice: dice, effects: map[string]int{}, outcomes: map[string]int{}, apis: []*apitest.API{
		apitest.Start(t, apitest.Settings{DSN: dsn, Unchecked: true}),
		apitest.Start(t, apitest.Settings{DSN: dsn, Unchecked: true, Environ: []string{"FLASHSALE_COALESCE=off"}}),
	}}
	long := func(r *client.CreateProductRequest) {
		r.HoldTTLSeconds, r.PaymentWindowSeconds = new(int64(86_400)), new(int64(86_400))
	}
	units := map[string]int64{}
	s.plenty, s.scarce = s.apis[0].Product(t, 1_000_000, long), s.apis[0].Product(t, 0, long)
	for total := 0; total < events; {
		o := s.newOrder()
		total += len(o.script)
		units[o.product.ID] += o.quantity
		s.orders = append(s.orders, o)
	}
	// All of the scarce units are held before the first event comes.
	_, err := s.apis[0].AdjustStockWithResponse(t.Context(), s.scarce.ID, nil,
		client.AdjustStockRequest{Delta: units[s.scarce.ID], Reason: "delivery"})
	require.NoError(t, err)
	return s
}

func (s *storm) newOrder() *stormOrder {
	s.Helper()
	o := &stormOrder{
		product: s.plenty, quantity: 1 + s.dice.Int64N(3), stripe: s.dice.IntN(2) == 0,
		born: stormEarly + time.Duration(s.dice.Int64N(int64(stormLength))),
	}
	if s.dice.IntN(2) == 0 {
		o.product = s.scarce
	}
	o.key = apitest.HoldKey(s, o.product)
	o.order = client.Order{ID: "ord_" + (*o.key)[len("hold_"):], Total: client.Money{Amount: o.quantity * apitest.Price, Currency: "USD"}}
	for range 1 + s.dice.IntN(stormOfOrder) {
		event := said{
			kind:    []string{apitest.Succeeded, apitest.Succeeded, apitest.Failed, apitest.Refunded}[s.dice.IntN(4)],
			payment: []string{"first", "second"}[s.dice.IntN(2)],
			matches: s.dice.IntN(8) > 0,
		}
		o.script = append(o.script, event)
	}
	return o
}

func (s *storm) run(what string, errands diary) {
	s.Helper()
	first := len(errands)
	attempts, err := errands.run(s.Context(), stormAtOnce)
	require.NoError(s, err)
	s.Logf("%s: %d errands in %d attempts", what, first, attempts)
}

// api is a process for something that has no process of its own.
func (s *storm) api(n int) *apitest.API { return s.apis[n%len(s.apis)] }

// holds take the units of all orders that will be.
func (s *storm) holds() (errands diary) {
	for i, o := range s.orders {
		errands = append(errands, &errand{do: func(ctx context.Context) (bool, error) {
			reply, err := s.api(i).CreateHoldWithResponse(ctx, &client.CreateHoldParams{IdempotencyKey: o.key},
				apitest.Wish("customer", o.quantity, o.product))
			return made(reply, err)
		}})
	}
	return errands
}

// made says whether something is there now. It must not be refused but with a 503.
func made(reply apitest.Reply, err error) (bool, error) {
	switch {
	case err != nil:
		return false, err
	case reply.StatusCode() == http.StatusServiceUnavailable:
		return false, nil
	case reply.StatusCode() >= http.StatusBadRequest:
		return false, fmt.Errorf("refused: %+v", reply.GetApplicationProblemJSONDefault())
	}
	return true, nil
}

// all is the storm: orders, their events, and customers who take what came back.
func (s *storm) all() (errands diary) {
	for i, o := range s.orders {
		errands = append(errands, &errand{due: o.born, do: func(ctx context.Context) (bool, error) {
			reply, err := s.api(i).CreateOrderWithResponse(ctx, nil, client.CreateOrderRequest{HoldID: *o.key})
			return made(reply, err)
		}})
		for n, word := range o.script {
			event := o.event(word, n)
			for range stormCopies {
				errands = append(errands, s.delivery(o, event))
			}
		}
		if i%stormProbes == 0 {
			errands = append(errands, s.probe())
		}
	}
	return errands
}

// event is what the order's provider says. Its ids are the order's own.
func (o *stormOrder) event(word said, n int) apitest.Event {
	event := apitest.NewEvent(word.kind, o.order)
	event.ID = fmt.Sprint("msg_", n, "_", o.order.ID)
	event.PaymentID = word.payment + " " + o.order.ID
	if !word.matches {
		event.Amount += someAmount
	}
	return event
}

// delivery sends an event until its sender hears that it was taken.
func (s *storm) delivery(o *stormOrder, event apitest.Event) *errand {
	due := o.born + time.Duration(s.dice.Int64N(int64(2*stormSpread))) - stormSpread
	if s.dice.IntN(20) == 0 {
		due = o.born - time.Duration(s.dice.Int64N(int64(stormEarly)))
	}
	at, lost := s.dice.IntN(len(s.apis)), s.dice.IntN(5) == 0
	return &errand{due: due, do: func(ctx context.Context) (bool, error) {
		at++
		api := s.api(at)
		sender := api.Standard
		if o.stripe {
			sender = api.Stripe
		}
		reply, err := api.Tell(ctx, sender, event)
		if err != nil {
			return false, err
		}
		taken, err := s.heard(event, reply)
		if lost && taken {
			lost = false
			return false, err
		}
		return taken, err
	}}
}

// heard notes an answer. The event is taken, or its order is not there yet, or it is to
// be sent again: nothing else may be said.
func (s *storm) heard(event apitest.Event, reply *client.ReceivePaymentWebhookResponse) (taken bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch problem := reply.ApplicationProblemJSONDefault; {
	case reply.JSON200 != nil:
		s.outcomes[string(reply.JSON200.Outcome)]++
		if string(reply.JSON200.Outcome) != model.Duplicate {
			s.effects[event.ID]++
		}
		return true, nil
	case problem != nil && (problem.Code == client.ProblemCodeOrderNotFound || problem.Status == http.StatusServiceUnavailable):
		s.outcomes[string(problem.Code)]++
		return false, nil
	default:
		return false, fmt.Errorf("event %s of %s: %s", event.Kind, event.OrderID, reply.Body)
	}
}

// probe takes some units of what is scarce, if they came back.
func (s *storm) probe() *errand {
	api := s.api(s.dice.IntN(len(s.apis)))
	due := stormEarly + time.Duration(s.dice.Int64N(int64(stormLength)))
	return &errand{due: due, do: func(ctx context.Context) (bool, error) {
		_, err := api.CreateHoldWithResponse(ctx, nil, apitest.Wish("probe-"+rand.Text(), 1+int64(due)%probeUnits, s.scarce))
		return true, err
	}}
}

// reads asks for every order.
func (s *storm) reads() (errands diary) {
	for i, o := range s.orders {
		errands = append(errands, &errand{do: func(ctx context.Context) (bool, error) {
			reply, err := s.api(i).GetOrderWithResponse(ctx, o.order.ID)
			over, err := made(reply, err)
			if over {
				o.status = string(reply.JSON200.Status)
			}
			return over, err
		}})
	}
	return errands
}

func (s *storm) verify() {
	s.Helper()
	s.apis[0].Books(s)
	places := s.texts("SELECT id, CONCAT(state, ' ', SUM(quantity)) FROM hold_lines GROUP BY id, state ORDER BY id")
	payments := s.texts("SELECT order_id, CONCAT(payment_id, '=', state) FROM payments ORDER BY payment_id")
	doubled := s.texts(`SELECT order_id, type FROM outbox
		GROUP BY order_id, type, JSON_VALUE(payload, '$.payment_id') HAVING COUNT(*) > 1`)
	assert.Empty(s, doubled, "told twice")
	replays := map[string][]string{}
	events := 0
	for _, o := range s.orders {
		events += len(o.script)
		id := o.order.ID
		scarce := o.product.ID == s.scarce.ID
		story := fmt.Sprint(scarce, o.script)
		ends, known := replays[story]
		if !known {
			ends = endings(o.script, scarce)
			replays[story] = ends
		}
		got := ending(o.status, strings.TrimSuffix(places[id], fmt.Sprint(" ", o.quantity)), strings.ReplaceAll(payments[id], " "+id, ""))
		assert.Contains(s, ends, got, "%s of %+v", id, o.script)
	}
	for event, effects := range s.effects {
		assert.Equal(s, 1, effects, event)
	}
	var remembered int
	require.NoError(s, s.apis[0].Other.DB.SQL().QueryRowContext(s.Context(), "SELECT COUNT(*) FROM payment_events").Scan(&remembered))
	assert.Equal(s, events, remembered, "every event is remembered, once")
	s.Logf("%d orders, %d events, %v", len(s.orders), events, s.outcomes)
}

// texts are rows of an order's or hold's id and a text; those of one id are joined.
func (s *storm) texts(query string) map[client.OrderID]string {
	s.Helper()
	rows, err := s.apis[0].Other.DB.SQL().QueryContext(s.Context(), query)
	require.NoError(s, err)
	defer func() { assert.NoError(s, rows.Close()) }()
	found := map[client.OrderID][]string{}
	for rows.Next() {
		var id sale.OrderID
		var text string
		require.NoError(s, rows.Scan(&id, &text))
		found[id.String()] = append(found[id.String()], text)
	}
	require.NoError(s, rows.Err())
	joined := map[client.OrderID]string{}
	for id, texts := range found {
		joined[id] = strings.Join(texts, " ")
	}
	return joined
}

// ending is where an order was left: its status, its units and its payments.
func ending(status, units, payments string) string { return status + " | " + units + " | " + payments }

// endings are all places where an order's events can leave it, whichever came first and,
// where units are scarce, whether or not somebody else takes its own when they come back.
func endings(script []said, scarce bool) []string {
	found := map[string]bool{}
	permute(script, func(script []said) {
		for _, greedy := range []bool{false, scarce} {
			found[replay(script, greedy)] = true
		}
	})
	return slices.Sorted(maps.Keys(found))
}

// replay tells the model a story.
func replay(script []said, greedy bool) string {
	m := model.Model{Products: []model.Product{{Stock: 1}}}
	line := []model.Line{{Quantity: 1}}
	hold, _, _ := m.Take("customer", line)
	m.MakeOrder(hold)
	for _, word := range script {
		switch word.kind {
		case apitest.Succeeded:
			m.Succeed(hold, word.payment, word.matches)
		case apitest.Failed:
			m.Fail(hold, word.matches)
		case apitest.Refunded:
			m.Return(hold, word.payment, word.matches)
		}
		if greedy && m.Available(0) > 0 {
			m.Take("somebody else", line)
		}
	}
	var payments []string
	for payment, state := range hold.Order.Payments() {
		payments = append(payments, payment+"="+state)
	}
	slices.Sort(payments)
	units := "returned"
	switch {
	case hold.Order.PaidBy != "":
		units = "sold"
	case hold.OrderStatus() == model.PendingPayment:
		units = "pending"
	}
	return ending(hold.OrderStatus(), units, strings.Join(payments, " "))
}

// permute visits every order of a few things.
func permute[T any](things []T, visit func([]T)) { permuteFrom(slices.Clone(things), 0, visit) }

func permuteFrom[T any](things []T, fixed int, visit func([]T)) {
	if fixed == len(things) {
		visit(things)
		return
	}
	for i := fixed; i < len(things); i++ {
		things[fixed], things[i] = things[i], things[fixed]
		permuteFrom(things, fixed+1, visit)
		things[fixed], things[i] = things[i], things[fixed]
	}
}
