package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// lanes are the numbers of the reservation engine, for each kind of request by itself.
type lanes struct {
	queues
	size   *prometheus.HistogramVec
	waited *prometheus.HistogramVec
	took   *prometheus.HistogramVec
}

func newLanes(r *prometheus.Registry) lanes {
	const label = "lane"
	histogram := func(name, help string, buckets []float64) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: name, Help: help, Buckets: buckets,
		}, []string{label})
		r.MustRegister(h)
		return h
	}
	return lanes{
		queues: newQueues(r, label, "Requests that wait in lanes for their batch.",
			"Requests that were sent away, since a lane was full or slow."),
		size: histogram("lane_batch_size", "Requests that one transaction served.",
			prometheus.ExponentialBuckets(1, 2, 10)),
		waited: histogram("lane_wait_seconds", "How long the oldest request of a batch had waited.", engineTimes()),
		took:   histogram("lane_batch_duration_seconds", "How long a batch took, its commit included.", engineTimes()),
	}
}

// engineTimes are buckets from an idle lane's answer to the age at which requests are sent
// away.
func engineTimes() []float64 { return prometheus.ExponentialBuckets(0.0005, 2, 13) }

// Lane is the meter of the lanes of one kind of request. Its series show from then on.
func (m *Metrics) Lane(kind string) *Lane {
	return &Lane{
		Queue:  m.lanes.of(kind),
		size:   m.lanes.size.WithLabelValues(kind),
		waited: m.lanes.waited.WithLabelValues(kind),
		took:   m.lanes.took.WithLabelValues(kind),
	}
}

// Lane counts what happens in the lanes of one kind of request.
type Lane struct {
	*Queue
	size, waited, took prometheus.Observer
}

// BatchStarted notes a batch's size and how long its oldest request had waited.
func (l *Lane) BatchStarted(size int, waited time.Duration) {
	l.size.Observe(float64(size))
	l.waited.Observe(waited.Seconds())
}

// BatchEnded notes how long a batch took.
func (l *Lane) BatchEnded(took time.Duration) { l.took.Observe(took.Seconds()) }
