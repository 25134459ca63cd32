package signer

import (
	"github.com/prometheus/client_golang/prometheus"

	"sidecar/fault"
	"sidecar/internal/ledger"
)

// Metrics counts what was asked of the signer. A nil *Metrics counts nothing.
type Metrics struct{ requests *prometheus.CounterVec }

// NewMetrics registers the signer's metrics.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sidecar_signer_requests_total",
		Help: "Requests for a signature by kind of entry (unknown if refused before it stood) and result (ok or a fault's code).",
	}, []string{"kind", "result"})}
	r.MustRegister(m.requests)
	return m
}

func (m *Metrics) signed(kind ledger.Kind, err error) {
	if m == nil {
		return
	}
	result := fault.Code(err)
	if err == nil {
		result = "ok"
	}
	m.requests.WithLabelValues(kind.String(), result).Inc()
}
