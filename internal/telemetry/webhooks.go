package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/flashsale-api/flashsale/internal/sale"
)

// webhooks are the numbers of what goes out.
type webhooks struct {
	attempts labelled[sale.AttemptResult]
	pending  prometheus.Gauge
	oldest   prometheus.Gauge
	disabled prometheus.Gauge
}

func newWebhooks(r *prometheus.Registry) webhooks {
	return webhooks{
		attempts: newLabelled(r, "webhook_attempts_total", "Attempts to deliver an event to an endpoint.", "result",
			sale.AttemptDelivered, sale.AttemptFailed, sale.AttemptGivenUp),
		pending:  gauge(r, "webhook_pending_deliveries", "Deliveries that are on their way, of all processes."),
		oldest:   gauge(r, "webhook_oldest_pending_seconds", "How long the oldest delivery that is on its way waits."),
		disabled: gauge(r, "webhook_disabled_endpoints", "Endpoints that nothing is sent to until somebody enables them."),
	}
}

// DeliveryAttempted counts an attempt to deliver an event.
func (m *Metrics) DeliveryAttempted(result sale.AttemptResult) { m.webhooks.attempts.of(result).Inc() }

// EndpointsSurveyed notes what is on its way to all endpoints.
func (m *Metrics) EndpointsSurveyed(pending int64, oldest time.Duration, disabled int64) {
	m.webhooks.pending.Set(float64(pending))
	m.webhooks.oldest.Set(oldest.Seconds())
	m.webhooks.disabled.Set(float64(disabled))
}

func newLoops(r *prometheus.Registry) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "loop_runs_total", Help: "Runs of the loops that tell the world what happened.",
	}, []string{"loop", "result"})
	r.MustRegister(v)
	for _, loop := range []string{"delivery", "stock_telling", "webhook_upkeep"} {
		for _, result := range []string{runOK, runFailed} {
			v.WithLabelValues(loop, result)
		}
	}
	return v
}

// LoopDone gives what counts the runs of a loop. Its name comes from a small set: each is
// two series.
func (m *Metrics) LoopDone(name string) func(err error, took time.Duration) {
	succeeded, failed := m.loops.WithLabelValues(name, runOK), m.loops.WithLabelValues(name, runFailed)
	return func(err error, _ time.Duration) {
		if err != nil {
			failed.Inc()
			return
		}
		succeeded.Inc()
	}
}
