//go:build linux

package chaos

import (
	"math/rand/v2"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/app"
	"github.com/flashsale-api/flashsale/internal/testenv"
	"github.com/flashsale-api/flashsale/test/apitest"
)

// networkStep is how many answers are awaited at once, and how far apart two attacks on
// a COMMIT are.
const networkStep = 100

// dsnAddress is where a DSN says which server is meant.
var dsnAddress = regexp.MustCompile(`@tcp\([^)]*\)`)

// links are proxies on all three links of a fleet.
type links struct {
	commits *testenv.CommitProxy // between mysql and the server
	mysql   *proxy
	redis   *proxy
	clients []*proxy // one before each process
}

// startBetween starts a fleet of n processes that reach MySQL and Redis, and are reached,
// through proxies alone.
func startBetween(t *testing.T, n int, seed uint64) (*fleet, *links) {
	t.Helper()
	f := fleetOn(t, testenv.OwnMySQL(t, notDurable()...), build(t), app.EnvSweepInterval+"=200ms")
	l := &links{commits: testenv.NewCommitProxy(t, f.mysql.DSN())}
	address := dsnAddress.FindString(l.commits.DSN())
	l.mysql = startProxy(t, strings.TrimSuffix(strings.TrimPrefix(address, "@tcp("), ")"), seed+1)
	l.redis = startProxy(t, strings.TrimPrefix(f.redis.URL(), "redis://"), seed+2)
	f.environ = append(f.environ,
		app.EnvMySQLDSN+"="+dsnAddress.ReplaceAllString(l.commits.DSN(), "@tcp("+l.mysql.addr()+")"),
		app.EnvRedisURL+"=redis://"+l.redis.addr())
	f.start(n)
	for i, p := range f.processes {
		before := startProxy(t, p.addr, seed+3+uint64(i))
		p.api = apitest.Attach(t, "http://"+before.addr(), f.secret, answerLimit)
		l.clients = append(l.clients, before)
	}
	return f, l
}

// Whatever the network does to any link, pieces, delays, stalls, cuts anywhere, a COMMIT
// or its answer lost: what was acknowledged is there, once; what was refused is not; and
// the books balance.
func TestANetworkThatFailsEverywhereLosesAndDoublesNothing(t *testing.T) {
	answers, seed := testenv.Number(t, "FLASHSALE_TEST_NETWORK_ANSWERS", 400), testenv.Seed(t)
	f, l := startBetween(t, 2, seed)
	s := startSeason(t, f, seed)
	l.inflict(
		&faults{cut: 0.002, stall: 0.001, delay: 0.05, pieces: 0.3, stalls: 3 * time.Second, delays: 20 * time.Millisecond},
		&faults{cut: 0.02, stall: 0.005, delay: 0.05, pieces: 0.3, stalls: 3 * time.Second, delays: 20 * time.Millisecond},
	)
	dice := rand.New(rand.NewPCG(seed, 0))
	for range max(1, answers/networkStep) {
		if dice.IntN(2) == 0 {
			l.commits.CutNextCommit()
		} else {
			l.commits.CutNextCommitAnswer()
		}
		s.awaitAnswers(networkStep)
	}
	l.inflict(nil, nil)
	s.awaitAnswers(networkStep)
	s.end()
	l.log(t)
	assert.Positive(t, l.mysql.tally.cut.Load()+l.mysql.tally.stalled.Load(), "MySQL's link was never harmed")
	assert.Positive(t, l.commits.Cuts(), "no COMMIT was lost")
	s.verify()
	t.Logf("%d answers", s.answers.Load())
}

// One answer in ten never arrives, though the service sent it. Asked again with its key,
// the service gives it again: each key has made one hold, each order is there once.
func TestARequestWhoseAnswerIsLostHasItsEffectOnce(t *testing.T) {
	answers, seed := testenv.Number(t, "FLASHSALE_TEST_LOST_ANSWERS", 600), testenv.Seed(t)
	f, l := startBetween(t, 2, seed)
	s := startSeason(t, f, seed)
	for _, p := range l.clients {
		p.inflict(&faults{lose: 0.1})
	}
	for range max(1, answers/networkStep) {
		s.awaitAnswers(networkStep)
	}
	s.end()
	l.log(t)
	assert.Greater(t, sum(l.clients, func(t *tally) *atomic.Int64 { return &t.lost }), s.answers.Load()/20)
	s.verify()
	t.Logf("%d answers", s.answers.Load())
}

// inflict does harm to the servers' links and to the clients'.
func (l *links) inflict(servers, clients *faults) {
	l.mysql.inflict(servers)
	l.redis.inflict(servers)
	for _, p := range l.clients {
		p.inflict(clients)
	}
}

// log says what struck.
func (l *links) log(t *testing.T) {
	t.Helper()
	require.NotEmpty(t, l.clients)
	for name, proxies := range map[string][]*proxy{"MySQL": {l.mysql}, "Redis": {l.redis}, "clients": l.clients} {
		t.Logf("%s: %d connections, %d answers lost, %d cuts, %d stalls, %d delays, %d in pieces", name,
			sum(proxies, func(t *tally) *atomic.Int64 { return &t.links }),
			sum(proxies, func(t *tally) *atomic.Int64 { return &t.lost }),
			sum(proxies, func(t *tally) *atomic.Int64 { return &t.cut }),
			sum(proxies, func(t *tally) *atomic.Int64 { return &t.stalled }),
			sum(proxies, func(t *tally) *atomic.Int64 { return &t.delayed }),
			sum(proxies, func(t *tally) *atomic.Int64 { return &t.pieces }))
	}
	t.Logf("%d COMMITs or their answers lost", l.commits.Cuts())
}

// sum adds up one number of several proxies.
func sum(proxies []*proxy, number func(*tally) *atomic.Int64) int64 {
	var total int64
	for _, p := range proxies {
		total += number(&p.tally).Load()
	}
	return total
}
