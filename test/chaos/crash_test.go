//go:build linux

package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/gen/client"
	"github.com/flashsale-api/flashsale/internal/app"
	"github.com/flashsale-api/flashsale/internal/sale"
	"github.com/flashsale-api/flashsale/internal/testenv"
)

const (
	crashCustomers = 24
	crashProcesses = 2
	// calm is how many answers there are between two attacks, so that each of them meets
	// a service at work.
	calm = 150
	// A round attacks each thing once, the API so often.
	apiKillsOfRound = 4
	// frozenFor is longer than any operation's time: whoever waits gives up meanwhile.
	frozenFor = 3 * time.Second
)

// Everything may be killed or frozen at any moment, the service, MySQL and Redis. What
// was acknowledged is there, once; what was refused is not; what nobody knew is settled
// by sending it again; and the books balance.
func TestKillingAnythingLosesAndDoublesNothing(t *testing.T) {
	rounds, seed := testenv.Number(t, "FLASHSALE_TEST_CRASH_ROUNDS", 1), testenv.Seed(t)
	f := startFleet(t, crashProcesses, "FLASHSALE_SWEEP_INTERVAL=200ms")
	dice := rand.New(rand.NewPCG(seed, 0))
	s := startSeason(t, f, seed)
	for range rounds {
		for _, attack := range s.attacks(dice) {
			s.awaitAnswers(calm)
			attack()
		}
	}
	s.awaitAnswers(calm)
	s.end()
	s.verify()
	t.Logf("%d answers over %d rounds", s.answers.Load(), rounds)
}

// attacks are those of one round, in an order of chance.
func (s *season) attacks(dice *rand.Rand) []func() {
	f := s.fleet
	attacks := []func(){
		func() { f.mysql.Kill(); f.mysql.Start() },
		func() { f.redis.Kill(); f.redis.Start() },
		s.freezeMySQL,
		func() { s.freezeProcess(f.processes[dice.IntN(len(f.processes))]) },
	}
	for range apiKillsOfRound {
		attacks = append(attacks, func() {
			p := f.processes[dice.IntN(len(f.processes))]
			f.kill(p)
			f.launch(p)
		})
	}
	dice.Shuffle(len(attacks), func(i, j int) { attacks[i], attacks[j] = attacks[j], attacks[i] })
	return attacks
}

// freezeMySQL stops MySQL for a while and lets it go on with what it had in hand.
func (s *season) freezeMySQL() {
	s.fleet.mysql.Pause()
	defer s.fleet.mysql.Unpause()
	time.Sleep(frozenFor)
}

// freezeProcess does the same to a process.
func (s *season) freezeProcess(p *process) {
	s.fleet.freeze(p)
	defer s.fleet.thaw(p)
	time.Sleep(frozenFor)
}

// season is customers at work, and what they wrote down.
type season struct {
	*testing.T
	fleet    *fleet
	core     *app.Core // to look behind the service
	products []client.Product
	journals []*journal
	answers  atomic.Int64
	stop     chan struct{}
	running  sync.WaitGroup
}

// startSeason puts plenty of one product and little of another on sale, and sends in
// the customers. Each change is made to each of them first.
func startSeason(t *testing.T, f *fleet, seed uint64, changes ...func(*customer)) *season {
	t.Helper()
	s := &season{T: t, fleet: f, core: openCore(t, f), stop: make(chan struct{})}
	for _, stock := range []int64{1_000_000, 400} {
		s.products = append(s.products, f.processes[0].api.Product(t, stock, func(r *client.CreateProductRequest) {
			r.HoldTTLSeconds, r.PaymentWindowSeconds = new(int64(86_400)), new(int64(86_400))
		}))
	}
	for i := range crashCustomers {
		c := &customer{
			tb: t, fleet: f, journal: openJournal(t, fmt.Sprint("customer-", i)), products: s.products,
			dice: rand.New(rand.NewPCG(seed, uint64(i+1))), answers: &s.answers,
		}
		for _, change := range changes {
			change(c)
		}
		s.journals = append(s.journals, c.journal)
		s.running.Go(func() { assert.NoError(t, c.live(s.stop)) })
	}
	return s
}

// openCore looks behind a fleet.
func openCore(t *testing.T, f *fleet) *app.Core {
	t.Helper()
	cfg, err := app.LoadConfig([]string{app.EnvMySQLDSN + "=" + f.mysql.DSN(), app.EnvOperationTimeout + "=5s"})
	require.NoError(t, err)
	core, err := app.Open(t.Context(), cfg, testenv.Logger(t))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, core.Close()) })
	return core
}

// awaitAnswers waits until the customers got so many more.
func (s *season) awaitAnswers(n int64) {
	s.Helper()
	enough := s.answers.Load() + n
	eventually(s, func() bool { return s.answers.Load() >= enough }, "the service does not go on")
}

// end lets each customer tell its last story to the end.
func (s *season) end() {
	close(s.stop)
	s.running.Wait()
}

// verify compares what customers were told with what there is.
func (s *season) verify() {
	s.Helper()
	ctx := s.Context()
	verifyBooks(s.T, s.core)
	holds := s.numbers("SELECT customer_id, COUNT(DISTINCT id) FROM hold_lines GROUP BY customer_id")
	events := s.numbers(`SELECT CONCAT(orders.customer_id, ' ', outbox.type), COUNT(*)
		FROM outbox JOIN orders ON orders.id = outbox.order_id GROUP BY 1`)
	payments := s.numbers("SELECT customer_id, COUNT(*) FROM payments JOIN orders ON orders.id = payments.order_id GROUP BY customer_id")
	tales := read(s, s.journals...)
	assert.GreaterOrEqual(s, len(tales), crashCustomers)
	for story, tale := range tales {
		for step, open := range tale.open {
			assert.False(s, open, "%s of %s was never answered", step, story)
		}
		assert.Equal(s, tale.made(stepHold), holds[story], "holds of %s", story)
		assert.Equal(s, tale.made(stepPay)+tale.made(stepPayMore), payments[story], "payments of %s", story)
		for event, want := range tale.events() {
			assert.Equal(s, want, events[story+" "+string(event)], "%s of %s", event, story)
		}
		s.requireStatus(ctx, story, tale)
	}
	for story := range holds {
		_, asked := tales[story] // assert.Contains would look at all of them each time
		assert.True(s, asked, "nobody asked for %s", story)
	}
}

// verifyBooks gives back what is overdue and audits all products.
func verifyBooks(t *testing.T, core *app.Core) {
	t.Helper()
	_, err := core.Actions.ReleaseExpired.Do(t.Context())
	require.NoError(t, err)
	books, err := core.Actions.Audit.Do(t.Context())
	require.NoError(t, err)
	assert.NotEmpty(t, books)
	for _, b := range books {
		assert.True(t, b.Balanced(), "%+v", b)
	}
}

// numbers reads what is counted for each of many names.
func (s *season) numbers(query string) map[string]int {
	s.Helper()
	rows, err := s.core.DB.SQL().QueryContext(s.Context(), query)
	require.NoError(s, err)
	defer func() { assert.NoError(s, rows.Close()) }()
	numbers := map[string]int{}
	for rows.Next() {
		var name string
		var n int
		require.NoError(s, rows.Scan(&name, &n))
		numbers[name] = n
	}
	require.NoError(s, rows.Err())
	return numbers
}

// made is how often a step had its effect: once if it was acknowledged, else never.
func (t *tale) made(step string) int {
	if answer, found := t.answers[step]; found && answer.Status < http.StatusBadRequest {
		return 1
	}
	return 0
}

// events are what the world has to be told of the story's order, and how often.
func (t *tale) events() map[sale.EventType]int {
	return map[sale.EventType]int{
		sale.EventOrderCreated:       t.made(stepOrder),
		sale.EventOrderPaid:          t.made(stepPay),
		sale.EventPaymentRefundDue:   t.made(stepPayMore),
		sale.EventOrderPaymentFailed: t.made(stepFail),
		sale.EventOrderCancelled:     t.made(stepCancel),
		sale.EventOrderRefundDue:     t.made(stepRefund),
	}
}

// status is what the story's order has come to, "" without one.
func (t *tale) status() sale.OrderStatus {
	switch {
	case t.made(stepOrder) == 0:
		return ""
	case t.made(stepRefund) > 0:
		return sale.OrderRefundDue
	case t.made(stepPay) > 0:
		return sale.OrderPaid
	case t.made(stepFail) > 0:
		return sale.OrderPaymentFailed
	case t.made(stepCancel) > 0:
		return sale.OrderCancelled
	default:
		return sale.OrderPendingPayment
	}
}

func (s *season) requireStatus(ctx context.Context, story string, t *tale) {
	s.Helper()
	if t.made(stepHold) == 0 {
		return
	}
	id, err := sale.ParseHoldID(t.answers[stepHold].ID)
	require.NoError(s, err)
	if want := t.status(); want != "" {
		order, err := s.core.Actions.GetOrder.Do(ctx, sale.OrderOf(id))
		require.NoError(s, err)
		assert.Equal(s, want, order.Status, story)
		return
	}
	hold, err := s.core.Actions.GetHold.Do(ctx, id)
	require.NoError(s, err)
	want := sale.HoldActive
	if t.made(stepRelease) > 0 {
		want = sale.HoldReleased
	}
	assert.Equal(s, want, hold.Status, story)
}
