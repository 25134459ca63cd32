package mux

import "github.com/prometheus/client_golang/prometheus"

// Metrics counts validators and loads by mux. A nil *Metrics counts nothing.
type Metrics struct {
	size *prometheus.GaugeVec
	done *prometheus.CounterVec
}

// NewMetrics registers the metrics of this package.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		size: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sidecar_mux_validators", Help: "Validators in a mux."}, []string{"mux"}),
		done: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sidecar_mux_loads_total", Help: "Runs of a mux's loader, by result: ok or error."}, []string{"mux", "result"}),
	}
	r.MustRegister(m.size, m.done)
	return m
}

func (m *Metrics) validators(mux string, n int) {
	if m != nil {
		m.size.WithLabelValues(mux).Set(float64(n))
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
	m.done.WithLabelValues(mux, result).Inc()
}
