package supervise

import (
	"sidecar/fault"
	"sidecar/internal/metrics"
)

// Metrics of every child. A nil *Metrics measures nothing.
type Metrics struct {
	alive    *metrics.GaugeVec
	restarts *metrics.CounterVec
	lost     *metrics.CounterVec
}

// NewMetrics registers them.
func NewMetrics(r *metrics.Registry) *Metrics {
	return &Metrics{
		alive:    r.GaugeVec(metrics.Opts{Name: "sidecar_child_up", Help: "1 while a module's process runs."}, "module"),
		restarts: r.CounterVec(metrics.Opts{Name: "sidecar_child_restarts_total", Help: "Ends of a module's process that were not asked for."}, "module", "reason"),
		lost:     r.CounterVec(metrics.Opts{Name: "sidecar_child_log_lines_dropped_total", Help: "Lines of a module's output that were too many to be logged."}, "module"),
	}
}

func (m *Metrics) up(module string, is bool) {
	if m == nil {
		return
	}
	m.alive.With(module).Set(map[bool]float64{true: 1}[is])
}

func (m *Metrics) restart(module string, err error) {
	if m != nil {
		m.restarts.With(module, fault.Code(err)).Inc()
	}
}

func (m *Metrics) dropped(module string, n int) {
	if m != nil {
		m.lost.With(module).Add(n)
	}
}
