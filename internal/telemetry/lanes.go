package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// lanes are the numbers of the reservation engine, for each kind of request by itself.
type lanes struct {
	size       *prometheus.HistogramVec
	waited     *prometheus.HistogramVec
	took       *prometheus.HistogramVec
	waiting    *prometheus.GaugeVec
	overloaded *prometheus.CounterVec
	committed  prometheus.Histogram
}

func newLanes(r *prometheus.Registry) lanes {
	of := []string{"lane"}
	options := func(name, help string, buckets []float64) prometheus.HistogramOpts {
		return prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets}
	}
	// From an idle lane's answer to the age at which requests are sent away.
	times := prometheus.ExponentialBuckets(0.0005, 2, 13)
	l := lanes{
		size: prometheus.NewHistogramVec(options("lane_batch_size", "Requests that one transaction served.",
			prometheus.ExponentialBuckets(1, 2, 10)), of),
		waited: prometheus.NewHistogramVec(options("lane_wait_seconds", "How long the oldest request of a batch had waited.", times), of),
		took: prometheus.NewHistogramVec(options("lane_batch_duration_seconds", "How long a batch took, its commit included.", times),
			of),
		waiting: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: namespace, Name: "lane_waiting_requests", Help: "Requests that wait in lanes for their batch.",
		}, of),
		overloaded: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "lane_overloaded_total", Help: "Requests that were sent away, since a lane was full or slow.",
		}, of),
		committed: prometheus.NewHistogram(options("commit_duration_seconds",
			"How long MySQL took for a COMMIT, which waits for its disk.", times)),
	}
	r.MustRegister(l.size, l.waited, l.took, l.waiting, l.overloaded, l.committed)
	return l
}

// Lane is the meter of the lanes of one kind of request. Its series show from then on.
func (m *Metrics) Lane(kind string) *Lane {
	return &Lane{
		size:       m.lanes.size.WithLabelValues(kind),
		waited:     m.lanes.waited.WithLabelValues(kind),
		took:       m.lanes.took.WithLabelValues(kind),
		waiting:    m.lanes.waiting.WithLabelValues(kind),
		overloaded: m.lanes.overloaded.WithLabelValues(kind),
	}
}

// Lane counts what happens in the lanes of one kind of request.
type Lane struct {
	size, waited, took prometheus.Observer
	waiting            prometheus.Gauge
	overloaded         prometheus.Counter
}

// BatchStarted notes a batch's size and how long its oldest request had waited.
func (l *Lane) BatchStarted(size int, waited time.Duration) {
	l.size.Observe(float64(size))
	l.waited.Observe(waited.Seconds())
}

// BatchEnded notes how long a batch took.
func (l *Lane) BatchEnded(took time.Duration) { l.took.Observe(took.Seconds()) }

// QueueChanged notes that more or fewer requests wait.
func (l *Lane) QueueChanged(by int) { l.waiting.Add(float64(by)) }

// Overloaded counts a request that was sent away.
func (l *Lane) Overloaded() { l.overloaded.Inc() }

// Committed notes how long MySQL took for a COMMIT.
func (m *Metrics) Committed(took time.Duration) { m.lanes.committed.Observe(took.Seconds()) }
