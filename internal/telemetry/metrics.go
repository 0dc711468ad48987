package telemetry

import (
	"database/sql"
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/flashsale-api/flashsale/internal/sale"
)

const namespace = "flashsale"

// Metrics counts what happens in this process, in a registry of its own. It is
// the Meter of the actions, the cache, the API and the loops, and safe for
// concurrent use.
type Metrics struct {
	registry *prometheus.Registry

	holds         prometheus.Counter
	unitsHeld     prometheus.Counter
	rejected      labelled[sale.Code]
	payments      labelled[sale.PaymentOutcome]
	unitsRestored labelled[sale.ReturnReason]
	linesReturned labelled[sale.ReturnReason]

	requests *requests
	inFlight prometheus.Gauge

	cacheReads    labelled[string]
	cacheFailures labelled[string]
	redisUp       prometheus.Gauge

	sweeps        labelled[string]
	sweepDuration prometheus.Histogram

	commits  prometheus.Histogram
	lanes    lanes
	gates    queues
	live     stream
	webhooks webhooks
	loops    *prometheus.CounterVec
	books    *books
}

// NewMetrics makes a Metrics at zero. Series whose labels are known beforehand
// show from the start, so that a rate over their first event is right.
func NewMetrics() *Metrics {
	r := prometheus.NewRegistry()
	r.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return &Metrics{
		registry:  r,
		holds:     counter(r, "holds_created_total", "Holds that were made."),
		unitsHeld: counter(r, "units_held_total", "Units that were taken off sale by holds."),
		rejected: newLabelled(r, "holds_rejected_total", "Holds that were refused.", "code",
			sale.CodeProductNotFound, sale.CodeMixedCurrency, sale.CodeSaleNotStarted, sale.CodeSaleEnded,
			sale.CodeLimitReached, sale.CodeInsufficient, sale.CodeAllHeld, sale.CodeSoldOut,
			sale.CodeUnavailable, sale.CodeOverloaded, sale.CodeOutcomeUnknown),
		payments: newLabelled(r, "payment_events_total", "Payment events that were answered.", "outcome",
			sale.OutcomePaid, sale.OutcomePaymentFailed, sale.OutcomeRebooked, sale.OutcomeRefundDue,
			sale.OutcomeRefundDueExtra, sale.OutcomeRefunded, sale.OutcomeDuplicate, sale.OutcomeIgnored,
			sale.OutcomeMismatch),
		unitsRestored: newLabelled(r, "stock_restored_units_total", "Units that went back on sale.", "reason",
			sale.ReturnReleased, sale.ReturnExpired, sale.ReturnFailed, sale.ReturnCancelled, sale.ReturnRefunded),
		linesReturned: newLabelled(r, "lines_returned_total", "Lines of holds and orders whose units went back on sale.", "reason",
			sale.ReturnReleased, sale.ReturnExpired, sale.ReturnFailed, sale.ReturnCancelled, sale.ReturnRefunded),
		requests: newRequests(r),
		inFlight: gauge(r, "http_requests_in_flight", "HTTP requests that are being served, live streams among them."),
		cacheReads: newLabelled(r, "cache_reads_total", "Reads of products, by what answered them.", "result",
			"local", "redis", "load"),
		cacheFailures: newLabelled(r, "cache_failures_total", "What failed between the cache and Redis.", "op",
			"connect", "get", "put", "queue"),
		redisUp:       gauge(r, "redis_up", "1 while Redis answers, else 0."),
		sweeps:        newLabelled(r, "sweeps_total", "Sweeps of what expired.", "result", runOK, runFailed),
		sweepDuration: sweepDurations(r),
		commits:       commitDurations(r),
		lanes:         newLanes(r),
		gates:         newGates(r),
		live:          newStream(r),
		webhooks:      newWebhooks(r),
		loops:         newLoops(r),
		books:         newBooks(r),
	}
}

// Handler serves the metrics in the format that the scraper asks for.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry, EnableOpenMetrics: true})
}

// WatchPool adds the numbers of a connection pool. Each pool has a name of its
// own; a name given twice panics.
func (m *Metrics) WatchPool(name string, db *sql.DB) {
	m.registry.MustRegister(collectors.NewDBStatsCollector(db, name))
}

// ShowBuild adds which program this is, as labels of a gauge that is always 1. Once; a
// second time panics.
func (m *Metrics) ShowBuild(version string) {
	labels := prometheus.Labels{"version": version, "go_version": runtime.Version()}
	gauge(prometheus.WrapRegistererWith(labels, m.registry), "build_info", "The program that runs: always 1.").Set(1)
}

// HoldCreated counts a hold and the units of all its lines.
func (m *Metrics) HoldCreated(units int64) {
	m.holds.Inc()
	m.unitsHeld.Add(float64(units))
}

// HoldRejected counts a hold that was refused.
func (m *Metrics) HoldRejected(code sale.Code) { m.rejected.of(code).Inc() }

// PaymentReceived counts a payment event.
func (m *Metrics) PaymentReceived(outcome sale.PaymentOutcome) { m.payments.of(outcome).Inc() }

// StockRestored counts lines whose units went back on sale, and the units.
func (m *Metrics) StockRestored(reason sale.ReturnReason, lines, units int64) {
	m.linesReturned.of(reason).Add(float64(lines))
	m.unitsRestored.of(reason).Add(float64(units))
}

// RequestServed counts a request that was answered, and how long that took: for a
// stream, up to its beginning. Operation and method come from small sets: each
// pair is a series.
func (m *Metrics) RequestServed(operation, method string, status int, duration time.Duration) {
	known := m.requests.of(answer{operation, method, status})
	known.count.Inc()
	known.duration.Observe(duration.Seconds())
}

// RequestRefused counts a request that was refused unread, without a duration.
func (m *Metrics) RequestRefused(operation, method string, status int) {
	m.requests.of(answer{operation, method, status}).count.Inc()
}

// TrackInFlight counts the requests that are inside of next.
func (m *Metrics) TrackInFlight(next http.Handler) http.Handler {
	return promhttp.InstrumentHandlerInFlight(m.inFlight, next)
}

// CacheRead counts a read of a product by what answered it.
func (m *Metrics) CacheRead(result string) { m.cacheReads.of(result).Inc() }

// CacheFailed counts what failed between the cache and Redis.
func (m *Metrics) CacheFailed(op string) { m.cacheFailures.of(op).Inc() }

// RedisUp says whether Redis answers.
func (m *Metrics) RedisUp(up bool) {
	if up {
		m.redisUp.Set(1)
	} else {
		m.redisUp.Set(0)
	}
}

// The results of a loop's runs.
const (
	runOK     = "ok"
	runFailed = "failed"
)

// Committed notes how long MySQL took for a COMMIT.
func (m *Metrics) Committed(took time.Duration) { m.commits.Observe(took.Seconds()) }

// SweepDone counts a sweep of what expired, and how long it took.
func (m *Metrics) SweepDone(err error, took time.Duration) {
	result := runOK
	if err != nil {
		result = runFailed
	}
	m.sweeps.of(result).Inc()
	m.sweepDuration.Observe(took.Seconds())
}

// labelled is a counter for each value of one label.
type labelled[L ~string] struct {
	vector *prometheus.CounterVec
	known  map[L]prometheus.Counter // resolved once, for the hot paths; never written again
}

func (l labelled[L]) of(value L) prometheus.Counter {
	if known, ok := l.known[value]; ok {
		return known
	}
	return l.vector.WithLabelValues(string(value))
}

func newLabelled[L ~string](r prometheus.Registerer, name, help, label string, values ...L) labelled[L] {
	vector := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, []string{label})
	r.MustRegister(vector)
	known := make(map[L]prometheus.Counter, len(values))
	for _, value := range values {
		known[value] = vector.WithLabelValues(string(value))
	}
	return labelled[L]{vector: vector, known: known}
}

func counter(r prometheus.Registerer, name, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help})
	r.MustRegister(c)
	return c
}

func gauge(r prometheus.Registerer, name, help string) prometheus.Gauge {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help})
	r.MustRegister(g)
	return g
}

// sweepDurations has buckets from an empty sweep to one of a whole sale.
func sweepDurations(r prometheus.Registerer) prometheus.Histogram {
	h := prometheus.NewHistogram(prometheus.HistogramOpts{
		Namespace: namespace, Name: "sweep_duration_seconds", Help: "Time that a sweep of what expired took.",
		Buckets: []float64{.001, .005, .01, .05, .1, .5, 1, 5, 10, 30},
	})
	r.MustRegister(h)
	return h
}

func commitDurations(r prometheus.Registerer) prometheus.Histogram {
	h := prometheus.NewHistogram(prometheus.HistogramOpts{
		Namespace: namespace, Name: "commit_duration_seconds", Help: "How long MySQL took for a COMMIT, which waits for its disk.",
		Buckets: engineTimes(),
	})
	r.MustRegister(h)
	return h
}
