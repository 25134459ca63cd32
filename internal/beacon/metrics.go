package beacon

import (
	"errors"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Metrics counts what happens between us and the node. Nil counts nothing.
type Metrics struct {
	requests   *prometheus.CounterVec
	events     *prometheus.CounterVec
	reconnects prometheus.Counter
	head       prometheus.Gauge
	ready      prometheus.Gauge
}

// NewMetrics registers the metrics of this package.
func NewMetrics(r prometheus.Registerer) *Metrics {
	f := promauto.With(r)
	return &Metrics{
		requests: f.NewCounterVec(prometheus.CounterOpts{
			Name: "sidecar_beacon_requests_total", Help: "Requests to the beacon node, by endpoint and result.",
		}, []string{"endpoint", "result"}),
		events: f.NewCounterVec(prometheus.CounterOpts{
			Name: "sidecar_beacon_events_total", Help: "Events from the beacon node: heads taken, and events ignored.",
		}, []string{"event"}),
		reconnects: f.NewCounter(prometheus.CounterOpts{
			Name: "sidecar_beacon_reconnects_total", Help: "How often the event stream ended and was opened again.",
		}),
		head: f.NewGauge(prometheus.GaugeOpts{
			Name: "sidecar_beacon_head_slot", Help: "Slot of the last head the node announced.",
		}),
		ready: f.NewGauge(prometheus.GaugeOpts{
			Name: "sidecar_beacon_ready", Help: "1 if the node is in sync and its duties are known, else 0.",
		}),
	}
}

func (m *Metrics) request(endpoint string, err error) {
	if m == nil {
		return
	}
	result := "ok"
	switch {
	case errors.Is(err, errNotFound):
		result = "not_found"
	case err != nil:
		result = "error"
	}
	m.requests.WithLabelValues(endpoint, result).Inc()
}

func (m *Metrics) headSeen(slot phase0.Slot) {
	if m != nil {
		m.events.WithLabelValues("head").Inc()
		m.head.Set(float64(slot))
	}
}

func (m *Metrics) ignored() {
	if m != nil {
		m.events.WithLabelValues("ignored").Inc()
	}
}

func (m *Metrics) reconnected() {
	if m != nil {
		m.reconnects.Inc()
	}
}

func (m *Metrics) setReady(err error) {
	if m == nil {
		return
	}
	if err != nil {
		m.ready.Set(0)
		return
	}
	m.ready.Set(1)
}
