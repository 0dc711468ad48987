//go:build linux

// Package bench measures the reservation engine over HTTP, on a MySQL of its own
// that waits for its disk with every commit.
package bench

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/mysql"
	"github.com/flashsale-api/flashsale/internal/sale"
	"github.com/flashsale-api/flashsale/internal/testenv"
)

// How the engine is measured; scripts/bench passes its arguments on.
var (
	flagRounds  = flag.Int("rounds", 5, "how often everything is measured")
	flagWindow  = flag.Duration("window", 3*time.Second, "how long each contender is measured in a round")
	flagOld     = flag.Int64("old-lines", 1_000_000, "lines of earlier sales in the table that is compared with a small one")
	flagOut     = flag.String("out", "../../build/bench", "where the report goes")
	flagResume  = flag.Bool("resume", false, "go on with the rounds of the report that is there")
	flagOnly    = flag.String("only", "", "measure only what matches this regular expression")
	flagProfile = flag.Bool("profile", false, "write a CPU profile of the engine for each round")
	flagCrowd   = flag.Int("connections", crowdConnections, "how many connections wait at once in a closed load")
	flagTiny    = flag.Bool("tiny", false, "a small form that shows that everything works and measures nothing")
)

const (
	bufferPool = "--innodb-buffer-pool-size=1G"
	// crowdConnections are as many as wait at once in a closed load, unless told otherwise.
	crowdConnections = 256
	// openConnections are more than a lane and its batches hold, so that an open
	// load is really open.
	openConnections = 4096
	// overNaive and overOwn are by how much too much is offered.
	overNaive = 10
	overOwn   = 2
	// flowRequests are what a whole flow takes: a hold, its order, the payment.
	flowRequests = 3
	// firstBatch is the size of the raw batches until the engine has shown its own.
	firstBatch = 128
	// fewLines is what a table has before its first sale is over.
	fewLines = 1000
	// waiters is how many requests wait while memory is measured.
	waiters = 1000
)

// size is what a run takes its time for.
type size struct {
	warm, window time.Duration
	connections  int // of a closed load
	oldLines     int64
	units        int64 // of the product that is sold out
	buyers       int64
}

// engine is one run: the servers, and what was measured so far.
type engine struct {
	b      *testing.B
	out    string
	binary string
	http   *http.Client
	mysql  *testenv.MySQLServer
	redis  *testenv.RedisServer
	status *sql.DB
	size   size
	only   *regexp.Regexp

	mysqlPID int

	databases map[string]*database
	processes map[string]*process
	raw       *mysql.DB
	slow      *slowLink      // to the database that is slowed
	read      sale.ProductID // the product that is read
	many      sale.ProductID // the product with many old lines

	batch     map[keyKind]int
	flowBatch int // how many requests a transaction of whole flows had
	report    *report
	round     *round
}

// contender is one thing to be measured.
type contender struct {
	name    string
	measure func(ctx context.Context) (*measure, error)
}

// BenchmarkEngine measures the reservation engine against other designs and
// against what the machine could do at most. It fails when an answer is wrong,
// when the books do not balance or when units were oversold, never because
// something was slow.
func BenchmarkEngine(b *testing.B) {
	e := open(b)
	for n := len(e.report.Rounds) + 1; n <= e.report.Wanted; n++ {
		e.measureRound(n)
		require.NoError(b, e.report.save(e.out))
	}
	e.verify()
	if e.wants(nameWaiting) {
		e.report.WaitingBytes = e.measureWaiting()
	}
	require.NoError(b, e.report.save(e.out))
	require.NoError(b, e.report.publish(e.out, os.Stderr))
}

func open(b *testing.B) *engine {
	b.Helper()
	e := &engine{
		b: b, out: *flagOut, http: &http.Client{Timeout: time.Minute},
		size: size{
			warm: time.Second, window: *flagWindow, connections: *flagCrowd,
			oldLines: *flagOld, units: 10_000, buyers: 50_000,
		},
		databases: map[string]*database{}, processes: map[string]*process{},
		batch: map[keyKind]int{holdIDKeys: firstBatch, arbitraryKeys: firstBatch}, flowBatch: firstBatch,
	}
	b.Cleanup(e.http.CloseIdleConnections)
	rounds := *flagRounds
	if *flagTiny {
		rounds = 1
		e.size = size{
			warm: 50 * time.Millisecond, window: 250 * time.Millisecond, connections: *flagCrowd,
			oldLines: 10_000, units: 500, buyers: 2500,
		}
	}
	var err error
	e.only, err = regexp.Compile(*flagOnly)
	require.NoError(b, err)
	require.NoError(b, os.MkdirAll(e.out, 0o750))
	e.report, err = newReport(e.out, *flagResume, rounds, e.size)
	require.NoError(b, err)
	e.say("building, starting MySQL and Redis")
	e.build()
	e.serve()
	return e
}

// say tells how far the run is.
func (e *engine) say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05 ")+format+"\n", args...)
}

func (e *engine) wants(name string) bool { return e.only.MatchString(name) }

// serve starts everything that will be measured.
func (e *engine) serve() {
	e.mysql, e.redis = testenv.OwnMySQL(e.b, bufferPool), testenv.OwnRedis(e.b)
	e.mysqlPID = findMySQL(bufferPool)
	var err error
	e.status, err = sql.Open("mysql", e.mysql.DirectDSN()) // registered by package mysql
	require.NoError(e.b, err)
	e.b.Cleanup(func() { require.NoError(e.b, e.status.Close()) })
	require.NoError(e.b, e.status.QueryRowContext(e.b.Context(), "SELECT VERSION()").Scan(&e.report.MySQL))
	for _, name := range []string{"naive", "coalesced", "units", "raw", "few", "many", "waiting", "slow"} {
		e.databases[name] = e.database(name)
	}
	e.raw, err = openRawDB(e.databases["raw"].dsn)
	require.NoError(e.b, err)
	e.b.Cleanup(func() { require.NoError(e.b, e.raw.Close()) })
	e.processes["naive"] = e.service("naive", e.databases["naive"].dsn, "off")
	for _, name := range []string{"coalesced", "few", "many", "waiting"} {
		e.processes[name] = e.service(name, e.databases[name].dsn, "on")
	}
	e.slow = newSlowLink(e.b, e.databases["slow"].dsn)
	e.processes["slow"] = e.service("slow", e.slow.dsn, "on")
	e.processes["slow-naive"] = e.service("slow-naive", e.slow.dsn, "off")
	_, err = e.databases["units"].admin.ExecContext(e.b.Context(), createUnits)
	require.NoError(e.b, err)
	e.processes[roleUnitRows] = e.role(roleUnitRows, envDSN+"="+e.databases["units"].dsn)
	e.processes[roleRawHTTP] = e.role(roleRawHTTP)
	e.servePage()
	if e.wants(nameMany) {
		e.say("writing %d old lines", e.size.oldLines)
		e.many = e.product("many", plenty)
		require.NoError(e.b, e.databases["many"].fillLines(e.b.Context(), e.many, e.size.oldLines))
	}
}

// servePage starts a bare net/http server that answers as the service does for
// the product that is read.
func (e *engine) servePage() {
	e.read = e.product("coalesced", plenty)
	url := "http://" + e.processes["coalesced"].addr + "/api/products/" + e.read.String()
	request, err := http.NewRequestWithContext(e.b.Context(), http.MethodGet, url, nil)
	require.NoError(e.b, err)
	response, err := e.http.Do(request)
	require.NoError(e.b, err)
	defer func() { _ = response.Body.Close() }()
	var body bytes.Buffer
	_, err = body.ReadFrom(response.Body)
	require.NoError(e.b, err)
	require.Equal(e.b, http.StatusOK, response.StatusCode, body.String())
	p := page{Header: response.Header.Clone(), Body: body.Bytes()}
	p.Header.Del("Date")
	p.Header.Del("Content-Length")
	text, err := json.Marshal(p)
	require.NoError(e.b, err)
	path, err := filepath.Abs(filepath.Join(e.out, "page.json"))
	require.NoError(e.b, err)
	require.NoError(e.b, os.WriteFile(path, text, 0o600))
	e.processes[roleBareRead] = e.role(roleBareRead, envPage+"="+path)
}

func (e *engine) product(name string, stock int64) sale.ProductID {
	e.b.Helper()
	id, err := e.databases[name].product(e.b.Context(), stock)
	require.NoError(e.b, err)
	return id
}

// measureRound measures everything once, each round in another order. What the
// later ones are compared with comes first.
func (e *engine) measureRound(n int) {
	e.round = &round{Number: n, Began: time.Now().UTC(), LoadAverage: loadAverage(), Measures: map[string]*measure{}}
	probe, err := probeDisk(e.out)
	require.NoError(e.b, err)
	e.round.DiskMicroseconds = float64(probe.Microseconds())
	e.say("round %d of %d: fdatasync %s, load average %.2f", n, e.report.Wanted, probe, e.round.LoadAverage)
	for _, group := range [][]contender{e.peaks(), e.others()} {
		for i := range group {
			c := group[(i+n-1)%len(group)]
			if !e.wants(c.name) {
				continue
			}
			m, err := c.measure(e.b.Context())
			require.NoError(e.b, err, c.name)
			e.round.Measures[c.name] = m
			e.say("  %s", m.line(c.name))
		}
	}
	e.report.Rounds = append(e.report.Rounds, e.round)
}

// peaks are the contenders for the most holds a second.
func (e *engine) peaks() []contender {
	return []contender{
		{nameNaive, func(ctx context.Context) (*measure, error) { return e.holds(ctx, "naive", holdIDKeys) }},
		{nameCoalescedID, func(ctx context.Context) (*measure, error) { return e.holds(ctx, "coalesced", holdIDKeys) }},
		{nameCoalescedKey, func(ctx context.Context) (*measure, error) { return e.holds(ctx, "coalesced", arbitraryKeys) }},
		{nameUnitRows, e.unitRows},
		{nameRawHTTP, e.rawHTTP},
		{nameRawDBID, func(ctx context.Context) (*measure, error) { return e.rawDB(ctx, holdIDKeys) }},
		{nameRawDBKey, func(ctx context.Context) (*measure, error) { return e.rawDB(ctx, arbitraryKeys) }},
	}
}

func (e *engine) others() []contender {
	return []contender{
		{nameOneNaive, func(ctx context.Context) (*measure, error) { return e.oneByOne(ctx, "naive") }},
		{nameOneCoalesced, func(ctx context.Context) (*measure, error) { return e.oneByOne(ctx, "coalesced") }},
		{nameRead, e.reads},
		{nameBareRead, e.bareReads},
		{nameBareAgain, e.bareReads},
		{nameSoldOut, e.refusals},
		{nameHoldsAgain, func(ctx context.Context) (*measure, error) { return e.holds(ctx, "coalesced", holdIDKeys) }},
		{nameFlow, e.flows},
		{nameRawFlow, e.rawFlows},
		{nameSellOut, e.sellOut},
		{nameOverNaive, func(ctx context.Context) (*measure, error) {
			return e.overload(ctx, overNaive*e.peak(nameNaive))
		}},
		{nameOverOwn, func(ctx context.Context) (*measure, error) {
			return e.overload(ctx, overOwn*e.peak(nameCoalescedID))
		}},
		{nameSlow, e.slowed},
		{nameFew, e.fewLines},
		{nameMany, e.manyLines},
	}
}

// peak is this round's.
func (e *engine) peak(name string) float64 {
	if m := e.round.Measures[name]; m != nil {
		return m.PerSecond
	}
	return 1000
}

// closed is a closed load for a service.
func (e *engine) closed(name string, buy func(int) buyer, want ...int) *plan {
	p := e.processes[name]
	return &plan{
		addr: p.addr, pids: pids{p.pid, e.mysqlPID}, connections: e.size.connections, buyer: buy, want: want,
		warm: e.size.warm, window: e.size.window,
	}
}

// sell runs a plan for a product and remembers what was sold of it.
func (e *engine) sell(ctx context.Context, name string, product sale.ProductID, p *plan) (*load, error) {
	l, err := p.run(ctx)
	if l != nil {
		e.databases[name].sold[product] += l.accepted()
	}
	return l, err
}

// holds is the throughput of a service, and what it asked of the database for it.
func (e *engine) holds(ctx context.Context, name string, kind keyKind) (*measure, error) {
	return e.holdsOf(ctx, name, e.product(name, plenty), kind)
}

func (e *engine) holdsOf(ctx context.Context, name string, product sale.ProductID, kind keyKind) (*measure, error) {
	p := e.processes[name]
	profiled := e.profile(name)
	before, batches := e.counters(), e.batches(p)
	l, err := e.sell(ctx, name, product, e.closed(name, holders(product, kind), http.StatusCreated))
	if err != nil {
		return nil, err
	}
	m := measureOf(l, http.StatusCreated)
	m.Numbers = e.counters().per(before, float64(l.accepted()))
	if done := e.batches(p).since(batches); done.count > 0 {
		done.tell(m)
		e.batch[kind] = max(int(m.Numbers[numberBatch]), 1)
	}
	profiled()
	return m, nil
}

const (
	// numberBatch is the mean size of a batch.
	numberBatch = "requests per batch"
	// numberUnsent is what share of an open load's offer was not made.
	numberUnsent = "unsent share"
)

// batches are what a service's lanes have done so far.
type batches struct{ count, requests, seconds float64 }

func (e *engine) batches(p *process) batches {
	e.b.Helper()
	return batches{
		count:    e.metric(p, `flashsale_lane_batch_size_count{lane="holds"}`),
		requests: e.metric(p, `flashsale_lane_batch_size_sum{lane="holds"}`),
		seconds:  e.metric(p, `flashsale_lane_batch_duration_seconds_sum{lane="holds"}`),
	}
}

func (b batches) since(before batches) batches {
	return batches{b.count - before.count, b.requests - before.requests, b.seconds - before.seconds}
}

func (b batches) tell(m *measure) {
	m.Numbers[numberBatch] = b.requests / b.count
	m.Numbers["ms per batch"] = b.seconds / b.count * 1000
}

// profile takes a CPU profile while something is measured, if that was asked for.
func (e *engine) profile(name string) (wait func()) {
	if !*flagProfile {
		return func() {}
	}
	var running sync.WaitGroup
	running.Go(func() {
		file, err := os.Create(filepath.Join(e.out, fmt.Sprintf("%s-%s.pprof", name, time.Now().Format("150405"))))
		if err != nil {
			e.say("no profile: %v", err)
			return
		}
		defer func() { _ = file.Close() }()
		seconds := max(int(e.size.window.Seconds()), 1)
		if _, err := e.get(fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", e.processes[name].admin, seconds), file); err != nil {
			e.say("no profile: %v", err)
		}
	})
	return running.Wait
}

// counters are what the MySQL server has done so far.
type counters map[string]float64

func (e *engine) counters() counters {
	e.b.Helper()
	c := counters{}
	for name, variable := range map[string]string{
		"commits per 1,000": "Com_commit", "statements per 1,000": "Questions", "rows read per 1,000": "Innodb_rows_read",
	} {
		c[name] = e.counter(variable)
	}
	return c
}

// per is what was done since, for each 1,000 operations.
func (c counters) per(before counters, operations float64) map[string]float64 {
	numbers := make(map[string]float64, len(c))
	for name := range c {
		numbers[name] = (c[name] - before[name]) / operations * 1000
	}
	return numbers
}

func (e *engine) unitRows(ctx context.Context) (*measure, error) {
	product := e.product("units", plenty)
	plan := e.closed(roleUnitRows, holders(product, holdIDKeys), http.StatusCreated)
	before := e.counters()
	l, err := e.sell(ctx, "units", product, plan)
	if err != nil {
		return nil, err
	}
	m := measureOf(l, http.StatusCreated)
	m.Numbers = e.counters().per(before, float64(l.accepted()))
	return m, nil
}

func (e *engine) rawHTTP(ctx context.Context) (*measure, error) {
	l, err := e.closed(roleRawHTTP, holders(sale.NewProductID(), holdIDKeys), http.StatusCreated).run(ctx)
	if err != nil {
		return nil, err
	}
	return measureOf(l, http.StatusCreated), nil
}

func (e *engine) rawDB(ctx context.Context, kind keyKind) (*measure, error) {
	return e.raws(ctx, kind, e.batch[kind], (*rawDB).holds)
}

// rawFlows writes what the engine writes for whole flows, in batches of the same size.
func (e *engine) rawFlows(ctx context.Context) (*measure, error) {
	return e.raws(ctx, holdIDKeys, e.flowBatch, (*rawDB).flows)
}

func (e *engine) raws(
	ctx context.Context, kind keyKind, batch int, write func(*rawDB, context.Context) error,
) (*measure, error) {
	product, queries := e.product("raw", plenty), store.New()
	made, err := queries.GetProduct(ctx, e.raw.SQL(), product)
	if err != nil {
		return nil, fmt.Errorf("read a product: %w", err)
	}
	raw := &rawDB{
		pool: e.raw.SQL(), queries: queries, product: made, batch: batch, kind: kind,
		pids: pids{database: e.mysqlPID},
	}
	l, err := raw.run(ctx, e.size.warm, e.size.window, func(ctx context.Context) error { return write(raw, ctx) })
	if err != nil {
		return nil, err
	}
	e.databases["raw"].sold[product] = l.accepted()
	m := measureOf(l, http.StatusCreated)
	m.Numbers = map[string]float64{numberBatch: float64(raw.batch)}
	return m, nil
}

// oneByOne is the latency with nobody else there.
func (e *engine) oneByOne(ctx context.Context, name string) (*measure, error) {
	product := e.product(name, plenty)
	plan := e.closed(name, holders(product, holdIDKeys), http.StatusCreated)
	plan.connections = 1
	l, err := e.sell(ctx, name, product, plan)
	if err != nil {
		return nil, err
	}
	return measureOf(l, http.StatusCreated), nil
}

func (e *engine) reads(ctx context.Context) (*measure, error) {
	profiled := e.profile("coalesced")
	before, commands := e.counters(), e.redisCommands()
	l, err := e.closed("coalesced", readers(e.read), http.StatusOK).run(ctx)
	if err != nil {
		return nil, err
	}
	reads := float64(l.all[http.StatusOK])
	m := measureOf(l, http.StatusOK)
	m.Numbers = e.counters().per(before, reads)
	m.Numbers["Redis commands per 1,000"] = (e.redisCommands() - commands) / reads * 1000
	profiled()
	return m, nil
}

func (e *engine) bareReads(ctx context.Context) (*measure, error) {
	l, err := e.closed(roleBareRead, readers(e.read), http.StatusOK).run(ctx)
	if err != nil {
		return nil, err
	}
	return measureOf(l, http.StatusOK), nil
}

// refusals is how many are told that nothing is left.
func (e *engine) refusals(ctx context.Context) (*measure, error) {
	product := e.product("coalesced", 1)
	first := e.closed("coalesced", holders(product, holdIDKeys), http.StatusCreated)
	first.connections, first.crowd = 1, 1
	if _, err := e.sell(ctx, "coalesced", product, first); err != nil {
		return nil, err
	}
	before := e.counters()
	profiled := e.profile("coalesced")
	l, err := e.closed("coalesced", holders(product, holdIDKeys), http.StatusConflict).run(ctx)
	if err != nil {
		return nil, err
	}
	m := measureOf(l, http.StatusConflict)
	m.Numbers = e.counters().per(before, float64(l.all[http.StatusConflict]))
	profiled()
	return m, nil
}

// flows are holds that are ordered and paid for.
func (e *engine) flows(ctx context.Context) (*measure, error) {
	product := e.product("coalesced", plenty)
	before := e.counters()
	profiled := e.profile("coalesced")
	l, err := e.closed("coalesced", payers(product), http.StatusOK, http.StatusServiceUnavailable).run(ctx)
	if err != nil {
		return nil, err
	}
	e.databases["coalesced"].sold[product] += int64(l.all[http.StatusOK])
	m := measureOf(l, http.StatusOK)
	m.Numbers = e.counters().per(before, float64(l.all[http.StatusOK]))
	m.Numbers[numberBatch] = flowRequests * 1000 / m.Numbers["commits per 1,000"]
	e.flowBatch = max(int(m.Numbers[numberBatch]), 1)
	profiled()
	return m, nil
}

// sellOut lets more buyers come than there are units.
func (e *engine) sellOut(ctx context.Context) (*measure, error) {
	product := e.product("coalesced", e.size.units)
	plan := e.closed("coalesced", holders(product, holdIDKeys), http.StatusCreated, http.StatusConflict)
	plan.crowd = e.size.buyers
	l, err := e.sell(ctx, "coalesced", product, plan)
	if err != nil {
		return nil, err
	}
	if got := l.accepted(); got != e.size.units || int64(l.all[http.StatusConflict]) != e.size.buyers-e.size.units {
		return nil, fmt.Errorf("of %d units %d were sold, and %v were the answers", e.size.units, got, l.all)
	}
	m := measureOf(l, http.StatusCreated)
	m.PerSecond = float64(e.size.units) / l.lastGood.Seconds()
	m.Numbers = map[string]float64{"seconds until sold out": l.lastGood.Seconds()}
	return m, nil
}

// overload offers more than can be served, in an open model.
func (e *engine) overload(ctx context.Context, rate float64) (*measure, error) {
	product := e.product("coalesced", plenty)
	plan := e.closed("coalesced", nil, http.StatusCreated, http.StatusServiceUnavailable)
	plan.connections, plan.rate, plan.request = openConnections, rate, holdRequests(product, holdIDKeys)
	if err := forgetPeak(plan.pids.server); err != nil {
		return nil, err
	}
	before := e.batches(e.processes["coalesced"])
	profiled := e.profile("coalesced")
	l, err := e.sell(ctx, "coalesced", product, plan)
	if err != nil {
		return nil, err
	}
	m := measureOf(l, http.StatusCreated)
	m.Numbers = map[string]float64{
		"offered a second": rate,
		"refused a second": l.perSecond(http.StatusServiceUnavailable),
		numberUnsent:       l.unsent,
		"memory MiB":       peakMemory(plan.pids.server),
	}
	e.batches(e.processes["coalesced"]).since(before).tell(m)
	profiled()
	return m, nil
}

// fewLines is the throughput with a table that is almost empty.
func (e *engine) fewLines(ctx context.Context) (*measure, error) {
	few := e.databases["few"]
	few.verify(e.b)
	require.NoError(e.b, few.empty(ctx))
	product := e.product("few", plenty)
	if err := few.fillLines(ctx, product, fewLines); err != nil {
		return nil, err
	}
	return e.holdsOf(ctx, "few", product, holdIDKeys)
}

// manyLines is the throughput with many lines of earlier sales of the same product.
func (e *engine) manyLines(ctx context.Context) (*measure, error) {
	return e.holdsOf(ctx, "many", e.many, holdIDKeys)
}

// measureWaiting is the memory that a waiting request takes beyond its idle
// connection, in bytes: the database stands still while it is measured.
func (e *engine) measureWaiting() float64 {
	p := e.processes["waiting"]
	product := e.product("waiting", plenty)
	buy := holders(product, holdIDKeys)
	wires := make([]*wire, waiters)
	idle := []byte("GET /livez HTTP/1.1\r\nHost: bench\r\n\r\n")
	for i := range wires {
		w, err := dial(e.b.Context(), p.addr)
		require.NoError(e.b, err)
		defer func() { _ = w.conn.Close() }()
		status, _, err := w.ask(idle)
		require.NoError(e.b, err)
		require.Equal(e.b, http.StatusOK, status)
		wires[i] = w
	}
	// The first hold reads the product.
	status, body, err := buy(0)(wires[0])
	require.NoError(e.b, err)
	require.Equal(e.b, http.StatusCreated, status, string(body))
	before := e.memory(p)
	e.mysql.Pause()
	var running sync.WaitGroup
	for i, w := range wires {
		running.Go(func() {
			// What the answer is depends on how long the server stands still.
			if _, _, err := buy(i)(w); err != nil {
				e.b.Errorf("a waiting request was not answered: %v", err)
			}
		})
	}
	const mostly = 0.95 * waiters
	deadline := time.Now().Add(startLimit)
	for e.metric(p, `flashsale_lane_waiting_requests{lane="holds"}`) < mostly && time.Now().Before(deadline) {
		time.Sleep(pollPause)
	}
	after := e.memory(p)
	e.mysql.Unpause()
	running.Wait()
	heap, stacks := (after.heap-before.heap)/waiters, (after.stacks-before.stacks)/waiters
	e.say("  waiting: %.1f KiB of heap and %.1f KiB of stacks each", heap/1024, stacks/1024)
	return heap + stacks
}

// memory is what a service's heap and stacks hold after a collection, in bytes.
type memory struct{ heap, stacks float64 }

func (e *engine) memory(p *process) memory {
	e.b.Helper()
	var text bytes.Buffer
	_, err := e.get("http://"+p.admin+"/debug/pprof/heap?gc=1&debug=1", &text)
	require.NoError(e.b, err)
	size := func(name string) float64 {
		_, after, found := strings.Cut(text.String(), "\n# "+name+" = ")
		require.True(e.b, found, name)
		return number(strings.Fields(after)[0])
	}
	return memory{heap: size("HeapAlloc"), stacks: size("Stack")}
}

// verify proves of every database that the books balance and nothing was lost.
func (e *engine) verify() {
	e.say("auditing")
	for _, name := range []string{"naive", "coalesced", "few", "many", "raw", "slow"} {
		e.databases[name].verify(e.b)
	}
	units := e.databases["units"]
	units.verifyLines(e.b)
	require.Zero(e.b, units.count(e.b, `SELECT COUNT(*) FROM products p WHERE p.total_stock <> p.available_stock
		+ (SELECT COUNT(*) FROM units u WHERE u.product_id = p.id) + (SELECT COUNT(*) FROM hold_lines l WHERE l.product_id = p.id)`),
		"the books of the unit rows do not balance")
}

// median of values, NaN of none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}
