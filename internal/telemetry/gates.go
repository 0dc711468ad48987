package telemetry

import "github.com/prometheus/client_golang/prometheus"

// gates are the numbers of those who work a few at a time, for each kind of request by itself.
type gates struct {
	waiting    *prometheus.GaugeVec
	overloaded labelled[string]
}

func newGates(r *prometheus.Registry) gates {
	const label = "gate"
	waiting := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: namespace, Name: "gate_waiting_requests", Help: "Requests that wait for their turn with a product or the like.",
	}, []string{label})
	r.MustRegister(waiting)
	return gates{
		waiting:    waiting,
		overloaded: newLabelled[string](r, "gate_overloaded_total", "Requests that were sent away, since their turn did not come.", label),
	}
}

// Gate is the meter of the gates of one kind of request. Its series show from then on.
func (m *Metrics) Gate(kind string) *Gate {
	return &Gate{waiting: m.gates.waiting.WithLabelValues(kind), overloaded: m.gates.overloaded.of(kind)}
}

// Gate counts what happens at the gates of one kind of request.
type Gate struct {
	waiting    prometheus.Gauge
	overloaded prometheus.Counter
}

// QueueChanged notes that more or fewer requests wait.
func (g *Gate) QueueChanged(by int) { g.waiting.Add(float64(by)) }

// Overloaded counts a request that was sent away.
func (g *Gate) Overloaded() { g.overloaded.Inc() }
