package telemetry

import "github.com/prometheus/client_golang/prometheus"

// queues are the numbers of those who wait, for each kind of request by itself.
type queues struct {
	waiting    *prometheus.GaugeVec
	overloaded labelled[string]
}

// newQueues registers the queues of lanes or of gates, which is also their label.
func newQueues(r *prometheus.Registry, of, waitingHelp, overloadedHelp string) queues {
	waiting := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: namespace, Name: of + "_waiting_requests", Help: waitingHelp,
	}, []string{of})
	r.MustRegister(waiting)
	return queues{waiting: waiting, overloaded: newLabelled[string](r, of+"_overloaded_total", overloadedHelp, of)}
}

func newGates(r *prometheus.Registry) queues {
	return newQueues(r, "gate", "Requests that wait for their turn with a product or the like.",
		"Requests that were sent away, since their turn did not come.")
}

// Gate is the meter of the gates of one kind of request. Its series show from then on.
func (m *Metrics) Gate(kind string) *Queue { return m.gates.of(kind) }

func (q queues) of(kind string) *Queue {
	return &Queue{waiting: q.waiting.WithLabelValues(kind), overloaded: q.overloaded.of(kind)}
}

// Queue counts who waits of one kind of request.
type Queue struct {
	waiting    prometheus.Gauge
	overloaded prometheus.Counter
}

// QueueChanged notes that more or fewer requests wait.
func (q *Queue) QueueChanged(by int) { q.waiting.Add(float64(by)) }

// Overloaded counts a request that was sent away.
func (q *Queue) Overloaded() { q.overloaded.Inc() }
