package telemetry

import "github.com/prometheus/client_golang/prometheus"

// stream is the numbers of the live stock.
type stream struct {
	listeners prometheus.Gauge
	events    prometheus.Counter
}

func newStream(r *prometheus.Registry) stream {
	return stream{
		listeners: gauge(r, "live_listeners", "Who listens to the stock of a product now."),
		events:    counter(r, "live_events_total", "Events of stock that listeners were given."),
	}
}

// ListenersChanged notes that more or fewer listen.
func (m *Metrics) ListenersChanged(by int) { m.live.listeners.Add(float64(by)) }

// EventTaken counts an event that a listener was given.
func (m *Metrics) EventTaken() { m.live.events.Inc() }
