package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// lanes are the numbers of the reservation engine.
type lanes struct {
	size       prometheus.Histogram
	waited     prometheus.Histogram
	took       prometheus.Histogram
	committed  prometheus.Histogram
	waiting    prometheus.Gauge
	overloaded prometheus.Counter
}

func newLanes(r *prometheus.Registry) lanes {
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		h := prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Name: name, Help: help, Buckets: buckets,
		})
		r.MustRegister(h)
		return h
	}
	// From an idle lane's answer to the age at which requests are sent away.
	times := prometheus.ExponentialBuckets(0.0005, 2, 13)
	return lanes{
		size: histogram("lane_batch_size", "Requests that one transaction served.",
			prometheus.ExponentialBuckets(1, 2, 10)),
		waited: histogram("lane_wait_seconds", "How long the oldest request of a batch had waited.", times),
		took:   histogram("lane_batch_duration_seconds", "How long a batch took, its commit included.", times),
		committed: histogram("commit_duration_seconds",
			"How long MySQL took for a COMMIT, which waits for its disk.", times),
		waiting: gauge(r, "lane_waiting_requests",
			"Requests that wait in lanes for their batch."),
		overloaded: counter(r, "lane_overloaded_total", "Requests that were sent away, since a lane was full or slow."),
	}
}

// BatchStarted notes a batch's size and how long its oldest request had waited.
func (m *Metrics) BatchStarted(size int, waited time.Duration) {
	m.lanes.size.Observe(float64(size))
	m.lanes.waited.Observe(waited.Seconds())
}

// BatchEnded notes how long a batch took.
func (m *Metrics) BatchEnded(took time.Duration) { m.lanes.took.Observe(took.Seconds()) }

// Committed notes how long MySQL took for a COMMIT.
func (m *Metrics) Committed(took time.Duration) { m.lanes.committed.Observe(took.Seconds()) }

// QueueChanged notes that more or fewer requests wait.
func (m *Metrics) QueueChanged(by int) { m.lanes.waiting.Add(float64(by)) }

// Overloaded counts a request that was sent away.
func (m *Metrics) Overloaded() { m.lanes.overloaded.Inc() }
