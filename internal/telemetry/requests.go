package telemetry

import (
	"maps"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// answer is what requests are told apart by.
type answer struct {
	operation, method string
	status            int
}

// requests are the series of HTTP requests. Those that were counted once are found without
// their labels being put together and hashed each time.
type requests struct {
	counts    *prometheus.CounterVec
	durations *prometheus.HistogramVec

	growing sync.Mutex
	known   atomic.Pointer[map[answer]answered] // a map is never written to, but replaced
}

type answered struct {
	count    prometheus.Counter
	duration prometheus.Observer // of the operation
}

// newRequests has buckets from a read out of the cache to a client's timeout.
func newRequests(r prometheus.Registerer) *requests {
	counts := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "http_requests_total", Help: "HTTP requests that were answered.",
	}, []string{"operation", "method", "status"})
	durations := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: namespace, Name: "http_request_duration_seconds", Help: "Time from a request to its answer.",
		Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
	}, []string{"operation"})
	r.MustRegister(counts, durations)
	made := &requests{counts: counts, durations: durations}
	made.known.Store(&map[answer]answered{})
	return made
}

func (r *requests) of(a answer) answered {
	if series, known := (*r.known.Load())[a]; known {
		return series
	}
	return r.add(a)
}

// add resolves a series and remembers it. The durations of its operation show from then on,
// though none was measured if it was refused.
func (r *requests) add(a answer) answered {
	r.growing.Lock()
	defer r.growing.Unlock()
	grown := maps.Clone(*r.known.Load())
	series := answered{
		count:    r.counts.WithLabelValues(a.operation, a.method, strconv.Itoa(a.status)),
		duration: r.durations.WithLabelValues(a.operation),
	}
	grown[a] = series
	r.known.Store(&grown)
	return series
}
