package telemetry_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/cache"
	"github.com/flashsale-api/flashsale/internal/live"
	"github.com/flashsale-api/flashsale/internal/sale"
	"github.com/flashsale-api/flashsale/internal/telemetry"
)

// scrape is what a Prometheus server gets.
func scrape(tb testing.TB, metrics *telemetry.Metrics) string {
	tb.Helper()
	recorder := httptest.NewRecorder()
	metrics.Handler().ServeHTTP(recorder, httptest.NewRequestWithContext(tb.Context(), http.MethodGet, "/metrics", nil))
	require.Equal(tb, http.StatusOK, recorder.Code)
	return recorder.Body.String()
}

// assertSeries wants each line among the scraped ones.
func assertSeries(tb testing.TB, metrics *telemetry.Metrics, want ...string) {
	tb.Helper()
	lines := strings.Split(scrape(tb, metrics), "\n")
	for _, line := range want {
		assert.Contains(tb, lines, line)
	}
}

var (
	_ cache.Meter = (*telemetry.Metrics)(nil)
	_ live.Meter  = (*telemetry.Metrics)(nil)
)

func TestKnownSeriesShowBeforeAnythingHappens(t *testing.T) {
	assertSeries(t, telemetry.NewMetrics(),
		"flashsale_holds_created_total 0",
		"flashsale_units_held_total 0",
		`flashsale_holds_rejected_total{code="sold_out"} 0`,
		`flashsale_payment_events_total{outcome="mismatch"} 0`,
		`flashsale_stock_restored_units_total{reason="expired"} 0`,
		`flashsale_lines_returned_total{reason="failed"} 0`,
		`flashsale_lines_returned_total{reason="cancelled"} 0`,
		`flashsale_stock_restored_units_total{reason="refunded"} 0`,
		`flashsale_sweeps_total{result="failed"} 0`,
		"flashsale_sweep_duration_seconds_count 0",
		"flashsale_http_requests_in_flight 0",
		"flashsale_redis_up 0",
		"flashsale_live_listeners 0",
		"flashsale_live_events_total 0",
	)
}

func TestWhatHappensInTheDomainIsCounted(t *testing.T) {
	metrics := telemetry.NewMetrics()
	metrics.HoldCreated(3)
	metrics.HoldCreated(2)
	metrics.HoldRejected(sale.CodeSoldOut)
	metrics.HoldRejected(sale.CodeInvalidRequest) // not known beforehand
	metrics.PaymentReceived(sale.OutcomePaid)
	metrics.PaymentReceived(sale.OutcomeDuplicate)
	metrics.PaymentReceived(sale.OutcomeDuplicate)
	metrics.StockRestored(sale.ReturnExpired, 2, 7)
	assertSeries(t, metrics,
		"flashsale_holds_created_total 2",
		"flashsale_units_held_total 5",
		`flashsale_holds_rejected_total{code="sold_out"} 1`,
		`flashsale_holds_rejected_total{code="invalid_request"} 1`,
		`flashsale_payment_events_total{outcome="paid"} 1`,
		`flashsale_payment_events_total{outcome="duplicate"} 2`,
		`flashsale_lines_returned_total{reason="expired"} 2`,
		`flashsale_stock_restored_units_total{reason="expired"} 7`,
		`flashsale_stock_restored_units_total{reason="released"} 0`,
	)
}

func TestRequestsAreCountedAndTimed(t *testing.T) {
	metrics := telemetry.NewMetrics()
	metrics.RequestServed("createHold", http.MethodPost, http.StatusCreated, 3*time.Millisecond)
	metrics.RequestServed("createHold", http.MethodPost, http.StatusConflict, 30*time.Millisecond)
	metrics.RequestRefused("createHold", http.MethodPost, http.StatusServiceUnavailable)
	assertSeries(t, metrics,
		`flashsale_http_requests_total{method="POST",operation="createHold",status="503"} 1`,
		`flashsale_http_requests_total{method="POST",operation="createHold",status="201"} 1`,
		`flashsale_http_requests_total{method="POST",operation="createHold",status="409"} 1`,
		`flashsale_http_request_duration_seconds_bucket{operation="createHold",le="0.0005"} 0`,
		`flashsale_http_request_duration_seconds_bucket{operation="createHold",le="0.005"} 1`,
		`flashsale_http_request_duration_seconds_bucket{operation="createHold",le="10"} 2`,
		`flashsale_http_request_duration_seconds_count{operation="createHold"} 2`,
	)
}

func TestNoRequestIsLostWhileSeriesAreAdded(t *testing.T) {
	const crowd, each, statuses = 8, 200, 50
	metrics := telemetry.NewMetrics()
	var running sync.WaitGroup
	for range crowd {
		running.Go(func() {
			for i := range each {
				metrics.RequestServed("createHold", http.MethodPost, 400+i%statuses, time.Millisecond)
			}
		})
	}
	running.Wait()
	for status := range statuses {
		assertSeries(t, metrics, fmt.Sprintf(`flashsale_http_requests_total{method="POST",operation="createHold",status="%d"} %d`,
			400+status, crowd*each/statuses))
	}
	assertSeries(t, metrics, fmt.Sprintf(`flashsale_http_request_duration_seconds_count{operation="createHold"} %d`, crowd*each))
}

func TestLanesAreCountedByKind(t *testing.T) {
	metrics := telemetry.NewMetrics()
	holds := metrics.Lane("holds")
	metrics.Lane("orders")
	holds.QueueChanged(3)
	holds.BatchStarted(2, 3*time.Millisecond)
	holds.BatchEnded(time.Millisecond)
	holds.QueueChanged(-2)
	holds.Overloaded()
	assertSeries(t, metrics,
		`flashsale_lane_waiting_requests{lane="holds"} 1`,
		`flashsale_lane_batch_size_sum{lane="holds"} 2`,
		`flashsale_lane_wait_seconds_bucket{lane="holds",le="0.004"} 1`,
		`flashsale_lane_batch_duration_seconds_bucket{lane="holds",le="0.0005"} 0`,
		`flashsale_lane_overloaded_total{lane="holds"} 1`,
		`flashsale_lane_overloaded_total{lane="orders"} 0`,
	)
}

func TestGatesAreCountedByKind(t *testing.T) {
	metrics := telemetry.NewMetrics()
	products := metrics.Gate("products")
	metrics.Gate("orders")
	products.QueueChanged(3)
	products.QueueChanged(-2)
	products.Overloaded()
	assertSeries(t, metrics,
		`flashsale_gate_waiting_requests{gate="products"} 1`,
		`flashsale_gate_overloaded_total{gate="products"} 1`,
		`flashsale_gate_overloaded_total{gate="orders"} 0`,
	)
}

func TestCommitsAreTimed(t *testing.T) {
	metrics := telemetry.NewMetrics()
	metrics.Committed(3 * time.Millisecond)
	assertSeries(t, metrics,
		`flashsale_commit_duration_seconds_bucket{le="0.002"} 0`,
		`flashsale_commit_duration_seconds_bucket{le="0.004"} 1`,
	)
}

func TestRequestsInFlightAreThoseInside(t *testing.T) {
	metrics := telemetry.NewMetrics()
	entered, leave, left := make(chan struct{}), make(chan struct{}), make(chan struct{})
	handler := metrics.TrackInFlight(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(entered)
		<-leave
	}))
	request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	go func() {
		defer close(left)
		handler.ServeHTTP(httptest.NewRecorder(), request)
	}()
	<-entered
	assertSeries(t, metrics, "flashsale_http_requests_in_flight 1")
	close(leave)
	<-left
	assertSeries(t, metrics, "flashsale_http_requests_in_flight 0")
}

func TestSweepsAreCountedByTheirResult(t *testing.T) {
	metrics := telemetry.NewMetrics()
	metrics.SweepDone(nil, 2*time.Millisecond)
	metrics.SweepDone(nil, 2*time.Second)
	metrics.SweepDone(errors.New("no"), time.Millisecond)
	assertSeries(t, metrics,
		`flashsale_sweeps_total{result="ok"} 2`,
		`flashsale_sweeps_total{result="failed"} 1`,
		`flashsale_sweep_duration_seconds_bucket{le="0.005"} 2`,
		"flashsale_sweep_duration_seconds_count 3",
	)
}

func TestAuditsTellOfTheBooksAndOfTheirOwnAge(t *testing.T) {
	metrics := telemetry.NewMetrics()
	assert.NotContains(t, scrape(t, metrics), "flashsale_stock_imbalance_units", "nobody audits")
	metrics.WatchAudits()
	assertSeries(t, metrics, "flashsale_stock_imbalance_units NaN")
	metrics.StockImbalance(3)
	metrics.AuditDone(nil, time.Millisecond)
	metrics.AuditDone(errors.New("no"), time.Millisecond)
	assertSeries(t, metrics,
		"flashsale_stock_imbalance_units 3",
		`flashsale_stock_audits_total{result="ok"} 1`,
		`flashsale_stock_audits_total{result="failed"} 1`,
	)
	assert.Regexp(t, `(?m)^flashsale_stock_audit_age_seconds \d`, scrape(t, metrics))
}

func TestPurgesAreCountedByTableAndResult(t *testing.T) {
	metrics := telemetry.NewMetrics()
	metrics.RowsPurged("outbox", 3)
	metrics.PurgeDone(nil, time.Second)
	metrics.PurgeDone(errors.New("no"), time.Second)
	assertSeries(t, metrics,
		`flashsale_purged_rows_total{table="outbox"} 3`,
		`flashsale_purged_rows_total{table="idempotency_keys"} 0`,
		`flashsale_purged_rows_total{table="hold_lines"} 0`,
		`flashsale_purges_total{result="ok"} 1`,
		`flashsale_purges_total{result="failed"} 1`,
	)
}

func TestTheCacheIsCounted(t *testing.T) {
	metrics := telemetry.NewMetrics()
	for _, result := range []string{cache.ReadLocal, cache.ReadRedis, cache.ReadLoad} {
		assertSeries(t, metrics, `flashsale_cache_reads_total{result="`+result+`"} 0`)
	}
	for _, op := range []string{cache.OpConnect, cache.OpGet, cache.OpPut, cache.OpQueue} {
		assertSeries(t, metrics, `flashsale_cache_failures_total{op="`+op+`"} 0`)
	}
	metrics.CacheRead(cache.ReadLocal)
	metrics.CacheFailed(cache.OpPut)
	metrics.RedisUp(true)
	assertSeries(t, metrics,
		`flashsale_cache_reads_total{result="local"} 1`,
		`flashsale_cache_failures_total{op="put"} 1`,
		"flashsale_redis_up 1",
	)
	metrics.RedisUp(false)
	assertSeries(t, metrics, "flashsale_redis_up 0")
}

func TestListenersAreThoseThatHaveNotLeft(t *testing.T) {
	metrics := telemetry.NewMetrics()
	metrics.ListenersChanged(1)
	metrics.ListenersChanged(1)
	metrics.EventTaken()
	metrics.ListenersChanged(-1)
	assertSeries(t, metrics, "flashsale_live_listeners 1", "flashsale_live_events_total 1")
}

// nowhere is a database that nobody can connect to: a pool has numbers all the same.
type nowhere struct{}

func (nowhere) Connect(context.Context) (driver.Conn, error) { return nil, driver.ErrBadConn }
func (nowhere) Driver() driver.Driver                        { return nil }

func TestThePoolTheRuntimeAndTheBuildAreShown(t *testing.T) {
	db := sql.OpenDB(nowhere{})
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	db.SetMaxOpenConns(32)
	metrics := telemetry.NewMetrics()
	metrics.WatchPool("mysql", db)
	metrics.ShowBuild("1.2.3")

	assertSeries(t, metrics, `go_sql_max_open_connections{db_name="mysql"} 32`)
	text := scrape(t, metrics)
	assert.Contains(t, text, "\ngo_goroutines ")
	assert.Regexp(t, `(?m)^flashsale_build_info\{go_version="go1[^"]+",version="1\.2\.3"\} 1$`, text)
}

func TestEachMetricsHasARegistryOfItsOwn(t *testing.T) {
	one, other := telemetry.NewMetrics(), telemetry.NewMetrics()
	one.HoldCreated(1)
	assertSeries(t, one, "flashsale_holds_created_total 1")
	assertSeries(t, other, "flashsale_holds_created_total 0")
}

func TestMetricsFollowTheConventionsOfPrometheus(t *testing.T) {
	metrics := telemetry.NewMetrics()
	metrics.WatchAudits()
	metrics.ShowBuild("1.2.3")
	metrics.RequestServed("getProduct", http.MethodGet, http.StatusOK, time.Millisecond)
	problems, err := promlint.New(strings.NewReader(scrape(t, metrics))).Lint()
	require.NoError(t, err)
	for _, problem := range problems {
		assert.NotContains(t, problem.Metric, "flashsale", problem.Text)
	}
}

func BenchmarkHoldRejected(b *testing.B) {
	metrics := telemetry.NewMetrics()
	for b.Loop() {
		metrics.HoldRejected(sale.CodeSoldOut)
	}
}

func BenchmarkRequestServed(b *testing.B) {
	metrics := telemetry.NewMetrics()
	for b.Loop() {
		metrics.RequestServed("createHold", http.MethodPost, http.StatusConflict, time.Millisecond)
	}
}
