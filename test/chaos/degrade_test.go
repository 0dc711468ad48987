//go:build linux

package chaos

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/gen/client"
	"github.com/flashsale-api/flashsale/internal/app"
	"github.com/flashsale-api/flashsale/internal/testenv"
	"github.com/flashsale-api/flashsale/test/apitest"
)

const (
	// latestAnswer is above what the service promises, five operation timeouts: the
	// machine may be busy.
	latestAnswer = 10 * time.Second
	// recoveryLimit is when the service has to be well again after a cause is gone.
	recoveryLimit = 30 * time.Second
	// suffered is how many exchanges a cause lasts.
	suffered = 80
	// refused is how many of them are at least, where changes cannot be made.
	refused = 20
	// reads is how many there are of each kind while a cause lasts.
	reads = 10
)

// degradation is something that is wrong with a server for a while.
type degradation struct {
	name string
	// begin makes it so; end, which begin gives, undoes it.
	begin func(s *season) (end func())
	// refuses says that changes cannot be made, spares that reads go on, unless the server
	// has ended.
	refuses, spares bool
}

// What is wrong with MySQL or Redis shows as answers of the contract, 503 at worst, and
// never late; reads go on where they can; and once the cause is gone the service is well
// by itself, nothing lost and nothing doubled.
func TestAFailingMySQLOrRedisIsAnsweredCleanlyAndRecoveredFrom(t *testing.T) {
	rounds, seed := testenv.Number(t, "FLASHSALE_TEST_DEGRADE_ROUNDS", 1), testenv.Seed(t)
	f := fleetOn(t, testenv.OwnMySQL(t, notDurable()...), build(t), app.EnvSweepInterval+"=200ms")
	f.start(2)
	endure(t, f, seed, rounds, []degradation{
		{name: "MySQL is read-only", begin: readOnly, refuses: true, spares: true},
		{name: "MySQL has no connection left", begin: noConnections, refuses: true},
		{name: "a session locks the hot rows", begin: lockStorm, refuses: true},
		{name: "Redis is emptied again and again", begin: emptied, spares: true},
		{name: "Redis has values of the wrong type", begin: wrongType, spares: true},
		{name: "Redis is at its memory limit", begin: outOfMemory, spares: true},
	})
}

// endure puts a fleet with customers at work through each degradation.
func endure(t *testing.T, f *fleet, seed uint64, rounds int, degradations []degradation) {
	t.Helper()
	w := watchFleet(t, f)
	s := startSeason(t, f, seed)
	for range rounds {
		for _, d := range degradations {
			s.awaitAnswers(calm)
			w.suffer(s, d)
		}
	}
	s.awaitAnswers(calm)
	s.end()
	s.verify()
}

// watch sees all exchanges of a fleet's clients.
type watch struct {
	testing.TB
	fleet *fleet

	mu      sync.Mutex
	cause   string
	counts  map[int]int // by status since the cause began; 0: no answer
	slowest apitest.Exchange
}

func watchFleet(t *testing.T, f *fleet) *watch {
	t.Helper()
	w := &watch{TB: t, fleet: f, counts: map[int]int{}}
	for _, p := range f.processes {
		p.api.Observe(t, w.see)
	}
	return w
}

// see takes any answer of the contract but a fault of the service's own.
func (w *watch) see(e apitest.Exchange) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts[e.Status]++
	if e.Took > w.slowest.Took {
		w.slowest = e
	}
	var breach *apitest.BreachError
	assert.NotErrorAs(w, e.Err, &breach, w.cause)
	assert.False(w, e.Status >= http.StatusInternalServerError && e.Status != http.StatusServiceUnavailable,
		"%s: %s %s: %d", w.cause, e.Method, e.Path, e.Status)
	assert.Less(w, e.Took, latestAnswer, "%s: %s %s: %d", w.cause, e.Method, e.Path, e.Status)
}

// begin counts anew, for a cause.
func (w *watch) begin(cause string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cause, w.slowest = cause, apitest.Exchange{}
	clear(w.counts)
}

// count is how many answers of a status there were.
func (w *watch) count(status int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.counts[status]
}

func (w *watch) total() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	total := 0
	for _, n := range w.counts {
		total += n
	}
	return total
}

// log says what was seen since the cause began.
func (w *watch) log(more string) {
	w.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.Logf("%s: %v, the slowest was %s %s: %d after %v%s", w.cause, w.counts,
		w.slowest.Method, w.slowest.Path, w.slowest.Status, w.slowest.Took.Round(time.Millisecond), more)
}

// suffer lets one degradation last a while and waits for the recovery.
func (w *watch) suffer(s *season, d degradation) {
	w.Helper()
	w.begin(d.name)
	end := d.begin(s)
	if d.spares {
		w.requireReads(s)
	}
	eventually(w, func() bool {
		return w.total() >= suffered && (!d.refuses || w.count(http.StatusServiceUnavailable) >= refused)
	}, d.name+": nothing is answered, or nobody notices")
	end()
	w.log("")
	w.recover(d)
}

// requireReads reads from the cache and from the database.
func (w *watch) requireReads(s *season) {
	w.Helper()
	for i := range reads {
		api := w.fleet.processes[i%len(w.fleet.processes)].api
		product, err := api.GetProductWithResponse(w.Context(), s.products[i%len(s.products)].ID, nil)
		require.NoError(w, err, w.cause)
		require.Equal(w, http.StatusOK, product.StatusCode(), w.cause)
		orders, err := api.ListOrdersWithResponse(w.Context(), &client.ListOrdersParams{})
		require.NoError(w, err, w.cause)
		if orders.StatusCode() == http.StatusServiceUnavailable && w.fleet.mysql.Ended() {
			return
		}
		require.Equal(w, http.StatusOK, orders.StatusCode(), w.cause)
	}
}

// recover waits until each process is ready with all servers and something was made.
func (w *watch) recover(d degradation) {
	w.Helper()
	w.begin("after: " + d.name)
	start := time.Now()
	require.Eventually(w, func() bool {
		for _, p := range w.fleet.processes {
			reply, err := p.api.GetReadinessWithResponse(w.Context())
			if err != nil || reply.JSON200 == nil || reply.JSON200.Redis != client.ReadinessRedisUp {
				return false
			}
		}
		return w.count(http.StatusCreated) > 0
	}, recoveryLimit, pollPause, w.cause)
	w.log(", well after " + time.Since(start).Round(time.Millisecond).String())
}
