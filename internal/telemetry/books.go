package telemetry

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// books are the numbers of the audits and of what is purged.
type books struct {
	imbalance prometheus.Gauge
	audits    labelled[string]
	provenAt  atomic.Int64 // Unix nanoseconds
	purges    labelled[string]
	purged    labelled[string]
}

func newBooks(r *prometheus.Registry) *books {
	return &books{
		audits: newLabelled(r, "stock_audits_total", "Rounds of audits of what changed.", "result", runOK, runFailed),
		purges: newLabelled(r, "purges_total", "Walks over what may be too old to keep.", "result", runOK, runFailed),
		purged: newLabelled(r, "purged_rows_total", "Rows that were deleted since nothing needs them any more.", "table",
			"idempotency_keys", "hold_lines", "outbox"),
	}
}

// WatchAudits adds the numbers that only mean something where audits are made.
func (m *Metrics) WatchAudits() {
	b := m.books
	b.imbalance = gauge(m.registry, "stock_imbalance_units",
		"Units that are out of balance, of all products: NaN before the first audit, 0 when all books balance.")
	b.imbalance.Set(math.NaN())
	b.provenAt.Store(time.Now().UnixNano())
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: namespace, Name: "stock_audit_age_seconds",
		Help: "Time since this process last audited all that had changed, or since its start.",
	}, func() float64 { return time.Since(time.Unix(0, b.provenAt.Load())).Seconds() }))
}

// AuditDone counts a round of audits.
func (m *Metrics) AuditDone(err error, _ time.Duration) {
	if err != nil {
		m.books.audits.of(runFailed).Inc()
		return
	}
	m.books.audits.of(runOK).Inc()
	m.books.provenAt.Store(time.Now().UnixNano())
}

// StockImbalance says how many units are out of balance by all that is known.
// WatchAudits must have returned.
func (m *Metrics) StockImbalance(units int64) { m.books.imbalance.Set(float64(units)) }

// PurgeDone counts a walk over what may be too old to keep.
func (m *Metrics) PurgeDone(err error, _ time.Duration) {
	result := runOK
	if err != nil {
		result = runFailed
	}
	m.books.purges.of(result).Inc()
}

// RowsPurged counts rows that were deleted for their age.
func (m *Metrics) RowsPurged(table string, rows int64) { m.books.purged.of(table).Add(float64(rows)) }
