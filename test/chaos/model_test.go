package chaos

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/flashsale-api/flashsale/gen/client"
	"github.com/flashsale-api/flashsale/internal/app"
	"github.com/flashsale-api/flashsale/internal/sale"
	"github.com/flashsale-api/flashsale/test/apitest"
	"github.com/flashsale-api/flashsale/test/chaos/model"
)

// The shops that rapid makes are small, so that everything meets everything.
const (
	maxProducts  = 3
	maxStock     = 6
	maxQuantity  = 4
	maxLimit     = 3
	payments     = 3 // different ones of an order
	someAmount   = 7 // more than an order's, where an amount is to be wrong
	listedOrders = 100
)

func customers() []string { return []string{"ann", "bob", "eve"} }

// The same commands are given to the service, over HTTP, and to the model: every answer
// has to be the same, and in the end every number.
func TestServiceAnswersAsTheModelDoes(t *testing.T) {
	t.Parallel()
	for _, coalesce := range []string{"on", "off"} {
		t.Run("coalesce "+coalesce, func(t *testing.T) {
			t.Parallel()
			api := apitest.Start(t, apitest.Settings{Environ: []string{app.EnvCoalesce + "=" + coalesce}})
			rapid.Check(t, func(r *rapid.T) {
				play := newPlay(t, r, api)
				r.Repeat(play.commands())
				play.requireSameState()
			})
		})
	}
}

// play is one run of commands on both.
type play struct {
	*rapid.T
	tb       testing.TB
	api      *apitest.API
	model    model.Model
	products []client.Product
	holds    []client.Hold // those of the model, in its order
	run      string        // makes this run's customers and payments its own
}

func newPlay(tb testing.TB, r *rapid.T, api *apitest.API) *play {
	tb.Helper()
	p := &play{T: r, tb: tb, api: api, run: rand.Text()}
	for i := range rapid.IntRange(1, maxProducts).Draw(r, "products") {
		stock := rapid.Int64Range(0, maxStock).Draw(r, fmt.Sprint("stock ", i))
		limit := rapid.Int64Range(0, maxLimit).Draw(r, fmt.Sprint("limit ", i))
		p.products = append(p.products, api.Product(tb, stock, func(c *client.CreateProductRequest) {
			if limit > 0 {
				c.PerCustomerLimit = &limit
			}
		}))
		p.model.Products = append(p.model.Products, model.Product{Stock: stock, Limit: limit})
	}
	return p
}

func (p *play) commands() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"hold": p.hold, "hold again": p.holdAgain, "adjust": p.adjust, "sweep": p.sweep,
		"expire": p.onHold(p.expire), "release": p.onHold(p.release), "extend": p.onHold(p.extend), "order": p.onHold(p.order),
		"cancel": p.onOrder(p.cancel), "refund": p.onOrder(p.refund),
		"succeed": p.onOrder(p.succeed), "fail": p.onOrder(p.fail), "money back": p.onOrder(p.moneyBack),
		"": func(*rapid.T) {},
	}
}

func (p *play) ctx() context.Context { return p.tb.Context() }

// onHold gives a command one of the holds that there are.
func (p *play) onHold(do func(r *rapid.T, i int)) func(*rapid.T) {
	return func(r *rapid.T) {
		if len(p.holds) == 0 {
			r.Skip("no hold yet")
		}
		do(r, rapid.IntRange(0, len(p.holds)-1).Draw(r, "hold"))
	}
}

// onOrder gives a command one of the holds that were ordered.
func (p *play) onOrder(do func(r *rapid.T, i int)) func(*rapid.T) {
	return func(r *rapid.T) {
		var ordered []int
		for i, hold := range p.model.Holds {
			if hold.Order != nil {
				ordered = append(ordered, i)
			}
		}
		if len(ordered) == 0 {
			r.Skip("no order yet")
		}
		do(r, rapid.SampledFrom(ordered).Draw(r, "order"))
	}
}

func (p *play) hold(r *rapid.T) {
	customer := rapid.SampledFrom(customers()).Draw(r, "customer")
	var lines []model.Line
	request := client.CreateHoldRequest{CustomerID: customer + p.run}
	for _, product := range rapid.SliceOfNDistinct(rapid.IntRange(0, len(p.products)-1), 1, len(p.products), rapid.ID).Draw(r, "lines") {
		quantity := rapid.Int64Range(1, maxQuantity).Draw(r, "quantity")
		lines = append(lines, model.Line{Product: product, Quantity: quantity})
		request.Lines = append(request.Lines, client.HoldLineRequest{ProductID: p.products[product].ID, Quantity: quantity})
	}
	reply, err := p.api.CreateHoldWithResponse(p.ctx(), &client.CreateHoldParams{IdempotencyKey: p.key(r)}, request)
	_, code, refusals := p.model.Take(customer, lines)
	p.requireCode(code, reply, err)
	if code != model.Fine {
		p.requireRefusals(refusals, reply.ApplicationProblemJSONDefault.Lines)
		return
	}
	p.holds = append(p.holds, *reply.JSON201)
}

// key is none or a new one.
func (p *play) key(r *rapid.T) *string {
	if rapid.Bool().Draw(r, "key") {
		return new("key-" + rand.Text())
	}
	return nil
}

// holdAgain sends a hold that was made once more, under its own id as the key.
func (p *play) holdAgain(r *rapid.T) {
	product := rapid.IntRange(0, len(p.products)-1).Draw(r, "product")
	params := &client.CreateHoldParams{IdempotencyKey: apitest.HoldKey(p.tb, p.products[product])}
	customer := rapid.SampledFrom(customers()).Draw(r, "customer")
	request := apitest.Wish(customer+p.run, 1, p.products[product])
	first, err := p.api.CreateHoldWithResponse(p.ctx(), params, request)
	_, code, _ := p.model.Take(customer, []model.Line{{Product: product, Quantity: 1}})
	p.requireCode(code, first, err)
	if code != model.Fine {
		return
	}
	p.holds = append(p.holds, *first.JSON201)
	again, err := p.api.CreateHoldWithResponse(p.ctx(), params, request)
	p.requireCode(model.Fine, again, err)
	require.Equal(p, *params.IdempotencyKey, again.JSON201.ID)
	require.NotNil(p, again.Headers201.IdempotentReplayed)
}

func (p *play) adjust(r *rapid.T) {
	product := rapid.IntRange(0, len(p.products)-1).Draw(r, "product")
	delta := rapid.Int64Range(-maxStock, maxStock).Filter(func(n int64) bool { return n != 0 }).Draw(r, "delta")
	if delta < 0 {
		p.sweep(r) // what is overdue can be taken away once it was given back
	}
	reply, err := p.api.AdjustStockWithResponse(p.ctx(), p.products[product].ID, nil, client.AdjustStockRequest{Delta: delta, Reason: "counted"})
	p.requireCode(p.model.Adjust(product, delta), reply, err)
}

func (p *play) sweep(*rapid.T) {
	_, err := p.api.Other.Actions.ReleaseExpired.Do(p.ctx())
	require.NoError(p, err)
}

func (p *play) expire(_ *rapid.T, i int) {
	p.api.Expire(p.tb, p.holds[i].ID)
	p.model.Expire(p.model.Holds[i])
}

func (p *play) release(_ *rapid.T, i int) {
	reply, err := p.api.ReleaseHoldWithResponse(p.ctx(), p.holds[i].ID, nil)
	code := p.model.Release(p.model.Holds[i])
	p.requireCode(code, reply, err)
	if code == model.Fine {
		require.Equal(p, p.model.Holds[i].Status(), string(reply.JSON200.Status))
	}
}

func (p *play) extend(_ *rapid.T, i int) {
	reply, err := p.api.ExtendHoldWithResponse(p.ctx(), p.holds[i].ID, nil, client.ExtendHoldRequest{Seconds: 1})
	p.requireCode(p.model.Extend(p.model.Holds[i]), reply, err)
}

func (p *play) order(_ *rapid.T, i int) {
	reply, err := p.api.CreateOrderWithResponse(p.ctx(), nil, client.CreateOrderRequest{HoldID: p.holds[i].ID})
	p.requireCode(p.model.MakeOrder(p.model.Holds[i]), reply, err)
}

func (p *play) cancel(_ *rapid.T, i int) {
	reply, err := p.api.CancelOrderWithResponse(p.ctx(), p.orderOf(i).ID, nil)
	p.requireCode(p.model.Cancel(p.model.Holds[i]), reply, err)
}

func (p *play) refund(r *rapid.T, i int) {
	restock := rapid.Bool().Draw(r, "restock")
	reply, err := p.api.RefundOrderWithResponse(p.ctx(), p.orderOf(i).ID, nil, client.RefundOrderRequest{Restock: restock})
	p.requireCode(p.model.Refund(p.model.Holds[i], restock), reply, err)
}

// orderOf is the order of a hold: its id has the same characters.
func (p *play) orderOf(i int) client.Order {
	hold := p.holds[i]
	return client.Order{ID: "ord_" + hold.ID[len("hold_"):], Total: hold.Total}
}

// event speaks of one of an order's few payments, sometimes of a wrong amount.
func (p *play) event(r *rapid.T, kind string, i int) (event apitest.Event, matches bool) {
	event = apitest.NewEvent(kind, p.orderOf(i))
	event.PaymentID = fmt.Sprint(event.OrderID, " ", rapid.IntRange(1, payments).Draw(r, "payment"))
	matches = rapid.IntRange(0, 9).Draw(r, "amount") > 0
	if !matches {
		event.Amount += someAmount
	}
	return event, matches
}

func (p *play) succeed(r *rapid.T, i int) {
	event, matches := p.event(r, apitest.Succeeded, i)
	p.tell(r, i, event, func() string { return p.model.Succeed(p.model.Holds[i], event.PaymentID, matches) })
}

func (p *play) fail(r *rapid.T, i int) {
	event, matches := p.event(r, apitest.Failed, i)
	p.tell(r, i, event, func() string { return p.model.Fail(p.model.Holds[i], matches) })
}

func (p *play) moneyBack(r *rapid.T, i int) {
	event, matches := p.event(r, apitest.Refunded, i)
	p.tell(r, i, event, func() string { return p.model.Return(p.model.Holds[i], event.PaymentID, matches) })
}

// tell sends an event, sometimes twice, and compares what it came to.
func (p *play) tell(r *rapid.T, i int, event apitest.Event, outcome func() string) {
	reply, err := p.api.Tell(p.ctx(), p.api.Standard, event)
	require.NoError(p, err)
	require.NotNil(p, reply.JSON200, string(reply.Body))
	require.Equal(p, outcome(), string(reply.JSON200.Outcome))
	require.Equal(p, p.model.Holds[i].OrderStatus(), string(*reply.JSON200.OrderStatus))
	if rapid.Bool().Draw(r, "twice") {
		reply, err = p.api.Tell(p.ctx(), p.api.Standard, event)
		require.NoError(p, err)
		require.NotNil(p, reply.JSON200, string(reply.Body))
		require.Equal(p, model.Duplicate, string(reply.JSON200.Outcome))
	}
}

func (p *play) requireCode(want string, reply apitest.Reply, err error) {
	require.NoError(p, err)
	got := model.Fine
	if problem := reply.GetApplicationProblemJSONDefault(); problem != nil {
		got = string(problem.Code)
	}
	require.Equal(p, want, got)
}

func (p *play) requireRefusals(want []model.Refusal, got []client.RefusedLine) {
	require.Len(p, got, len(want))
	for _, refusal := range want {
		i := slices.IndexFunc(got, func(line client.RefusedLine) bool { return line.ProductID == p.products[refusal.Product].ID })
		require.GreaterOrEqual(p, i, 0)
		line := got[i]
		require.Equal(p, refusal.Code, string(line.Code))
		if refusal.Code == model.LimitReached {
			require.Equal(p, refusal.Limit, *line.Limit)
			require.GreaterOrEqual(p, *line.Current, refusal.Current)
			require.LessOrEqual(p, *line.Current, refusal.CurrentAtMost)
			continue
		}
		require.Equal(p, refusal.Requested, *line.Requested)
		require.Equal(p, refusal.Available, *line.Available)
		require.Equal(p, refusal.Code == model.AllHeld, line.NextReleaseAt != nil)
	}
}

// requireSameState compares everything that can be read, after what is overdue was
// given back.
func (p *play) requireSameState() {
	p.sweep(p.T)
	for i, product := range p.products {
		id, err := sale.ParseProductID(product.ID)
		require.NoError(p, err)
		books, err := p.api.Other.Actions.Audit.Do(p.ctx(), id)
		require.NoError(p, err)
		require.True(p, books[0].Balanced())
		require.Equal(p, p.model.Products[i].Stock, books[0].Total)
		require.Equal(p, p.model.Available(i), books[0].Available)
		p.api.RequireStock(p.ctx(), p, product, p.model.Available(i))
	}
	for i, hold := range p.model.Holds {
		read, err := p.api.GetHoldWithResponse(p.ctx(), p.holds[i].ID)
		require.NoError(p, err)
		require.Equal(p, hold.Status(), string(read.JSON200.Status))
		if hold.Order == nil {
			continue
		}
		order, err := p.api.GetOrderWithResponse(p.ctx(), p.orderOf(i).ID)
		require.NoError(p, err)
		require.Equal(p, hold.OrderStatus(), string(order.JSON200.Status))
	}
	p.requireSameLists()
}

// requireSameLists asks for each customer's orders of each status.
func (p *play) requireSameLists() {
	for _, customer := range customers() {
		want := map[string]string{}
		for i, hold := range p.model.Holds {
			if hold.Customer == customer && hold.Order != nil {
				want[p.orderOf(i).ID] = hold.OrderStatus()
			}
		}
		list, err := p.api.ListOrdersWithResponse(p.ctx(), &client.ListOrdersParams{
			CustomerID: new(customer + p.run), Limit: new(listedOrders),
		})
		require.NoError(p, err)
		require.NotNil(p, list.JSON200, string(list.Body))
		got := map[string]string{}
		for _, order := range list.JSON200.Data {
			got[order.ID] = string(order.Status)
		}
		require.Equal(p, want, got)
	}
}
