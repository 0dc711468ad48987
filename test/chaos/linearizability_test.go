package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/flashsale-api/flashsale/gen/client"
	"github.com/flashsale-api/flashsale/internal/sale"
	"github.com/flashsale-api/flashsale/internal/testenv"
	"github.com/flashsale-api/flashsale/test/apitest"
)

const (
	// histories is how many there are in the short form, each of one product.
	histories       = 150
	historiesAtOnce = 8
	clientsOfOne    = 4
	stepsOfOne      = 6
	historyStock    = 5
	// impatience is how long a client waits at most that goes away: it may leave before
	// the request arrives, while it runs, or just not.
	impatience = 4 * time.Millisecond
	// checkLimit bounds the search for an order of one history.
	checkLimit = time.Minute
)

// The operations on a product's stock.
const (
	opHold = iota
	opRelease
	opAdjust
	opAudit
)

// input is what a client asks for: units to take, to give back or to add, or the books.
type input struct {
	op    int
	units int64
}

// output is what it is told. Nothing when it left before.
type output struct {
	unknown   bool
	code      string
	available int64
	taken     int64
}

// stock is all that there is to know of a product.
type stock struct{ available, taken int64 }

// sequential is a product whose operations happen one after the other: what each may be
// told and where it leads. What nobody heard of happened or not.
func sequential() porcupine.Model {
	return (&porcupine.NondeterministicModel{
		Init: func() []any { return []any{stock{available: historyStock}} },
		Step: func(state, in, out any) []any {
			before, asked, told := state.(stock), in.(input), out.(output) //nolint:errcheck // what this test put there
			after, code := before.do(asked)
			switch {
			case told.unknown && after == before:
				return []any{before}
			case told.unknown:
				return []any{before, after}
			case told.code != code || told.available != before.toldOf(asked, code) || asked.op == opAudit && told.taken != before.taken:
				return nil
			default:
				return []any{after}
			}
		},
		Equal:             func(x, y any) bool { return x == y },
		DescribeOperation: func(in, out any) string { return fmt.Sprintf("%+v -> %+v", in, out) },
	}).ToModel()
}

// do is one operation.
func (s stock) do(in input) (after stock, code string) {
	switch {
	case in.op == opHold && s.available >= in.units:
		return stock{s.available - in.units, s.taken + in.units}, ""
	case in.op == opHold && s.available > 0:
		return s, string(sale.CodeInsufficient)
	case in.op == opHold && s.taken > 0:
		return s, string(sale.CodeAllHeld)
	case in.op == opHold:
		return s, string(sale.CodeSoldOut)
	case in.op == opRelease:
		return stock{s.available + in.units, s.taken - in.units}, ""
	case in.op == opAdjust && s.available+in.units < 0:
		return s, string(sale.CodeInsufficient)
	case in.op == opAdjust:
		return stock{s.available + in.units, s.taken}, ""
	default:
		return s, ""
	}
}

// toldOf is the number that an answer names: of a refused hold and of an audit what is
// available, of an adjustment what is then.
func (s stock) toldOf(in input, code string) int64 {
	switch {
	case in.op == opHold && code == "", in.op == opRelease, in.op == opAdjust && code != "":
		return 0
	case in.op == opAdjust:
		return s.available + in.units
	default:
		return s.available
	}
}

// Clients of two processes take, give back, adjust and count the units of a product at
// the same time, and some go away before they are answered. For what they were told
// there must be an order in which it happens one after the other, each thing between
// its request and its answer.
func TestConcurrentStockOperationsAreLinearizable(t *testing.T) {
	t.Parallel()
	count, seed := testenv.Number(t, "FLASHSALE_TEST_HISTORIES", histories), testenv.Seed(t)
	dsn := testenv.Database(t)
	apis := []*apitest.API{
		apitest.Start(t, apitest.Settings{DSN: dsn, Unchecked: true}),
		apitest.Start(t, apitest.Settings{DSN: dsn, Unchecked: true, Environ: []string{"FLASHSALE_COALESCE=off"}}),
	}
	var running sync.WaitGroup
	places := make(chan struct{}, historiesAtOnce)
	for i := range count {
		places <- struct{}{}
		running.Go(func() {
			defer func() { <-places }()
			requireLinearizable(t, record(t, apis, rand.New(rand.NewPCG(seed, uint64(i)))))
		})
		if t.Failed() {
			break
		}
	}
	running.Wait()
	apis[0].Books(t)
}

func requireLinearizable(t *testing.T, history []porcupine.Operation) {
	t.Helper()
	result, info := porcupine.CheckOperationsVerbose(sequential(), history, checkLimit)
	if result == porcupine.Ok {
		return
	}
	t.Errorf("a history is %s", result)
	for _, op := range history {
		t.Logf("client %d, %d to %d: %+v -> %+v", op.ClientId, op.Call, op.Return, op.Input, op.Output)
	}
	if path := t.ArtifactDir() + "/history.html"; porcupine.VisualizePath(sequential(), info, path) == nil {
		t.Logf("drawn in %s", path)
	}
}

// record makes one history.
func record(t *testing.T, apis []*apitest.API, dice *rand.Rand) []porcupine.Operation {
	t.Helper()
	product := apis[0].Product(t, historyStock)
	began := time.Now()
	var mu sync.Mutex
	var history []porcupine.Operation
	var clients sync.WaitGroup
	for i := range clientsOfOne {
		buyer := &buyer{api: apis[i%len(apis)], product: product, dice: rand.New(rand.NewPCG(dice.Uint64(), dice.Uint64()))}
		clients.Go(func() {
			for range stepsOfOne {
				call := time.Since(began)
				in, out := buyer.step(t.Context())
				op := porcupine.Operation{ClientId: i, Input: in, Output: out, Call: int64(call), Return: int64(time.Since(began))}
				if out.unknown {
					op.Return = int64(time.Hour) // it may still happen
				}
				mu.Lock()
				history = append(history, op)
				mu.Unlock()
			}
		})
	}
	clients.Wait()
	return history
}

// buyer is one client of one product.
type buyer struct {
	api     *apitest.API
	product client.Product
	dice    *rand.Rand
	holds   []client.Hold
}

// step does one thing, chosen by the dice. An error is a fault of this test's own.
func (b *buyer) step(ctx context.Context) (input, output) {
	if b.dice.IntN(6) == 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(b.dice.Int64N(int64(impatience))))
		defer cancel()
	}
	switch choice := b.dice.IntN(10); {
	case choice < 2 && len(b.holds) > 0:
		return b.release(ctx)
	case choice < 3:
		return b.adjust(ctx)
	case choice < 5:
		return b.audit(ctx)
	default:
		return b.hold(ctx)
	}
}

func (b *buyer) hold(ctx context.Context) (input, output) {
	in := input{op: opHold, units: 1 + b.dice.Int64N(3)}
	reply, err := b.api.CreateHoldWithResponse(ctx, nil, apitest.Wish("customer", in.units, b.product))
	if err != nil {
		return in, output{unknown: true}
	}
	if reply.JSON201 != nil {
		b.holds = append(b.holds, *reply.JSON201)
		return in, output{}
	}
	out := refusal(reply)
	if !out.unknown {
		out.available = *reply.ApplicationProblemJSONDefault.Lines[0].Available
	}
	return in, out
}

func (b *buyer) release(ctx context.Context) (input, output) {
	last := len(b.holds) - 1
	hold := b.holds[last]
	b.holds = b.holds[:last]
	in := input{op: opRelease, units: hold.Lines[0].Quantity}
	reply, err := b.api.ReleaseHoldWithResponse(ctx, hold.ID, nil)
	if err != nil {
		return in, output{unknown: true}
	}
	return in, refusal(reply)
}

func (b *buyer) adjust(ctx context.Context) (input, output) {
	in := input{op: opAdjust, units: []int64{-2, -1, 1}[b.dice.IntN(3)]}
	reply, err := b.api.AdjustStockWithResponse(ctx, b.product.ID, nil, client.AdjustStockRequest{Delta: in.units, Reason: "counted"})
	if err != nil {
		return in, output{unknown: true}
	}
	if reply.JSON200 != nil {
		return in, output{unknown: false, available: reply.JSON200.AvailableStock}
	}
	return in, refusal(reply)
}

// audit reads the books from one snapshot.
func (b *buyer) audit(ctx context.Context) (input, output) {
	in := input{op: opAudit}
	id, err := sale.ParseProductID(b.product.ID)
	if err != nil {
		return in, output{unknown: true}
	}
	books, err := b.api.Other.Actions.Audit.Do(ctx, id)
	if err != nil {
		return in, output{unknown: true}
	}
	return in, output{available: books[0].Available, taken: books[0].Held}
}

// refusal reads an answer's code. The service's own 'try again' is an answer, too, and
// one that says that nothing was done; only outcome_unknown leaves it open.
func refusal(reply apitest.Reply) output {
	problem := reply.GetApplicationProblemJSONDefault()
	switch {
	case problem == nil:
		return output{}
	case problem.Status == http.StatusServiceUnavailable:
		return output{unknown: true}
	default:
		return output{code: string(problem.Code)}
	}
}
