package action_test

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/action"
	"github.com/flashsale-api/flashsale/internal/sale"
)

const (
	// interleavingsShort is how many run unless FLASHSALE_TEST_INTERLEAVINGS says more.
	interleavingsShort = 300
	// interleavingsShared is how many share one database.
	interleavingsShared = 150
	// interleavingsAtOnce is how many of them run at a time.
	interleavingsAtOnce = 4
)

// numbered reads a test's own setting.
func numbered(t *testing.T, variable string, fallback uint64) uint64 {
	t.Helper()
	number, err := strconv.ParseUint(cmp.Or(os.Getenv(variable), fmt.Sprint(fallback)), 10, 64)
	require.NoError(t, err, variable)
	return number
}

// Scripts of operations from a seed, each run by several goroutines on the actions of
// two processes, over few units of few products. FLASHSALE_TEST_SEED repeats a run's
// scripts; what the scheduler makes of them is its own.
func TestRandomInterleavingsKeepTheBooksAndFulfilOrReportEachPaymentOnce(t *testing.T) {
	t.Parallel()
	seed := numbered(t, "FLASHSALE_TEST_SEED", rand.Uint64())
	count := numbered(t, "FLASHSALE_TEST_INTERLEAVINGS", interleavingsShort)
	t.Logf("%d interleavings of FLASHSALE_TEST_SEED=%d", count, seed)
	seen := newSights()
	t.Run("from", func(t *testing.T) {
		for first := uint64(0); first < count; first += interleavingsShared {
			t.Run(fmt.Sprint(first), func(t *testing.T) {
				runInterleavings(t, seed, first, min(first+interleavingsShared, count), seen)
			})
		}
	})
	if count >= interleavingsShort {
		assert.Empty(t, seen.missing(), "what no interleaving came to")
	}
}

// runInterleavings runs those of a range of numbers in one shop and then looks at all
// that they left.
func runInterleavings(t *testing.T, seed, from, to uint64, seen *sights) {
	t.Helper()
	s := setup(t)
	processes := s.processes()
	answers := &answers{outcomes: map[string][]sale.PaymentOutcome{}}
	var next atomic.Uint64
	crowd(interleavingsAtOnce, func(int) {
		for number := from + next.Add(1) - 1; number < to; number = from + next.Add(1) - 1 {
			random := rand.New(rand.NewPCG(seed, number))
			x := &interleaving{shop: s, number: number, random: random, answers: answers, seen: seen}
			x.run(processes[random.IntN(len(processes))])
		}
	})
	for _, history := range s.histories() {
		history.verify(t, answers.outcomes)
	}
	assert.Zero(t, s.count(beyondLimit), "customers with more than their limit")
}

// processes are pairs of processes: of each pair one merges requests and the other
// does not, and each pair has its own policy for late money.
func (s *shop) processes() [][]*action.Actions {
	s.t.Helper()
	var pairs [][]*action.Actions
	for _, policy := range []sale.LatePayment{sale.LatePaymentRebook, sale.LatePaymentRefund} {
		var pair []*action.Actions
		for _, coalesce := range []bool{false, true} {
			s.kit.LatePayment, s.kit.Coalesce = policy, coalesce
			pair = append(pair, s.branch())
		}
		pairs = append(pairs, pair)
	}
	return pairs
}

// answers are what the senders of successes were told, by payment.
type answers struct {
	mu       sync.Mutex
	outcomes map[string][]sale.PaymentOutcome
}

func (a *answers) add(payment string, outcome sale.PaymentOutcome) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.outcomes[payment] = append(a.outcomes[payment], outcome)
}

// sights are the deeds that were done and the outcomes that payments came to.
type sights struct {
	mu   sync.Mutex
	seen map[string]bool
}

func newSights() *sights { return &sights{seen: map[string]bool{}} }

func (s *sights) add(sight string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[sight] = true
}

// missing are the deeds that never worked and the outcomes that never came, but for
// the mismatch: all money here is the orders' own.
func (s *sights) missing() []string {
	want := []string{
		string(sale.OutcomePaid), string(sale.OutcomePaymentFailed), string(sale.OutcomeRebooked),
		string(sale.OutcomeRefundDue), string(sale.OutcomeRefundDueExtra), string(sale.OutcomeRefunded),
		string(sale.OutcomeDuplicate), string(sale.OutcomeIgnored),
	}
	for _, deed := range deeds {
		want = append(want, deed.name)
	}
	return slices.DeleteFunc(want, func(sight string) bool { return s.seen[sight] })
}

// interleaving is one script on products of its own.
type interleaving struct {
	*shop
	number   uint64
	random   *rand.Rand // the script's; nothing draws from it while the script runs
	products []sale.Product
	holds    []atomic.Pointer[action.HoldView] // nil where the wish was refused
	answers  *answers
	seen     *sights
}

// step is one line of the script.
type step struct {
	deed     deed
	hold     int              // which one
	held     *action.HoldView // that one, when the step is taken
	actions  *action.Actions
	customer string
	lines    []sale.LineRequest
	variant  int64 // one of two
}

// run writes the script and lets it happen: holds first, most of them ordered, then
// all that can become of them.
func (x *interleaving) run(processes []*action.Actions) {
	if x.open(processes[0]); x.t.Failed() {
		return
	}
	x.holds = make([]atomic.Pointer[action.HoldView], 3+x.random.IntN(3))
	opening := make([][]step, len(x.holds))
	for i := range opening {
		opening[i] = []step{x.step(holding, i, processes)}
		if x.random.IntN(5) > 0 {
			opening[i] = append(opening[i], x.step(ordering, i, processes))
		}
	}
	steps := make([][]step, 3+x.random.IntN(2))
	for range 9 + x.random.IntN(6) {
		who := x.random.IntN(len(steps))
		steps[who] = append(steps[who], x.step(x.anyDeed(), x.random.IntN(len(x.holds)), processes))
	}
	for _, part := range [][][]step{opening, steps} {
		crowd(len(part), func(who int) {
			for _, step := range part[who] {
				x.take(step)
			}
		})
	}
}

// open puts two or three products of few units on sale, some of them limited, some of
// no price.
func (x *interleaving) open(actions *action.Actions) {
	for i := range 2 + x.random.IntN(2) {
		in := action.CreateProductInput{
			SKU: fmt.Sprint(x.number, " ", i), Name: "Thing", Stock: 2 + x.random.Int64N(3),
			Rules: sale.Rules{Price: sale.Money{Amount: 1000 * min(1, x.random.Int64N(8)), Currency: "USD"}},
		}
		if x.random.IntN(2) == 0 {
			in.Rules.PerCustomerLimit = ptr(int64(2))
		}
		made, err := actions.CreateProduct.Do(x.ctx(), in)
		if assert.NoError(x.t, err) {
			x.products = append(x.products, made.Value)
		}
	}
}

func (x *interleaving) step(deed deed, hold int, processes []*action.Actions) step {
	s := step{
		deed: deed, hold: hold, actions: processes[x.random.IntN(len(processes))],
		customer: fmt.Sprint(x.number, " customer ", x.random.IntN(3)), variant: x.random.Int64N(2),
	}
	for _, i := range x.random.Perm(len(x.products))[:1+x.random.IntN(2)] {
		s.lines = append(s.lines, line(x.products[i], 1+x.random.Int64N(2)))
	}
	return s
}

// take does one step; what its deed may meet is no failure.
func (x *interleaving) take(s step) {
	if s.held = x.holds[s.hold].Load(); s.held == nil && s.deed.name != holding.name {
		return
	}
	err := s.deed.do(x, s)
	var refusal *sale.Error
	switch {
	case err == nil:
		x.seen.add(s.deed.name)
	case errors.As(err, &refusal) && slices.Contains(s.deed.may, refusal.Code):
	default:
		assert.NoError(x.t, err, "interleaving %d: %s", x.number, s.deed.name)
	}
}
