package mux

import (
	"sidecar/internal/metrics"
)

// Metrics counts validators and loads by mux. A nil *Metrics counts nothing.
type Metrics struct {
	size *metrics.GaugeVec
	done *metrics.CounterVec
}

// NewMetrics registers the metrics of this package.
func NewMetrics(r *metrics.Registry) *Metrics {
	m := &Metrics{
		size: r.GaugeVec(metrics.Opts{
			Name: "sidecar_mux_validators", Help: "Validators in a mux."}, "mux"),
		done: r.CounterVec(metrics.Opts{
			Name: "sidecar_mux_loads_total", Help: "Runs of a mux's loader, by result: ok or error."}, "mux", "result"),
	}
	return m
}

func (m *Metrics) validators(mux string, n int) {
	if m != nil {
		m.size.With(mux).Set(float64(n))
	}
}

func (m *Metrics) loads(mux string, err error) {
	if m == nil {
		return
	}
	result := "ok"
	if err != nil {
		result = "error"
	}
	m.done.With(mux, result).Inc()
}
