package beacon

import (
	"errors"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/internal/metrics"
)

// Metrics counts what happens between us and the node. Nil counts nothing.
type Metrics struct {
	requests   *metrics.CounterVec
	events     *metrics.CounterVec
	reconnects *metrics.Counter
	head       *metrics.Gauge
	ready      *metrics.Gauge
}

// NewMetrics registers the metrics of this package.
func NewMetrics(r *metrics.Registry) *Metrics {
	return &Metrics{
		requests: r.CounterVec(metrics.Opts{
			Name: "sidecar_beacon_requests_total", Help: "Requests to the beacon node, by endpoint and result.",
		}, "endpoint", "result"),
		events: r.CounterVec(metrics.Opts{
			Name: "sidecar_beacon_events_total", Help: "Events from the beacon node: heads taken, and events ignored.",
		}, "event"),
		reconnects: r.Counter(metrics.Opts{
			Name: "sidecar_beacon_reconnects_total", Help: "How often the event stream ended and was opened again.",
		}),
		head: r.Gauge(metrics.Opts{
			Name: "sidecar_beacon_head_slot", Help: "Slot of the last head the node announced.",
		}),
		ready: r.Gauge(metrics.Opts{
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
	m.requests.With(endpoint, result).Inc()
}

func (m *Metrics) headSeen(slot phase0.Slot) {
	if m != nil {
		m.events.With("head").Inc()
		m.head.Set(float64(slot))
	}
}

func (m *Metrics) ignored() {
	if m != nil {
		m.events.With("ignored").Inc()
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
