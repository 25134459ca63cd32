package slashing

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"sidecar/commitments"
)

// Metrics counts verdicts. Nil counts nothing.
type Metrics struct {
	promises *prometheus.CounterVec
	failures prometheus.Counter
	open     prometheus.Gauge
}

// NewMetrics registers the metrics of this package. Every outcome is there from
// the start, so that an alert on broken promises has a series to look at.
func NewMetrics(r prometheus.Registerer) *Metrics {
	f := promauto.With(r)
	m := &Metrics{
		promises: f.NewCounterVec(prometheus.CounterOpts{
			Name: "sidecar_promises_total", Help: "Promises judged, by outcome.",
		}, []string{"outcome"}),
		failures: f.NewCounter(prometheus.CounterOpts{
			Name: "sidecar_audit_failures_total", Help: "Attempts to judge a page that ended without a verdict for each promise.",
		}),
		open: f.NewGauge(prometheus.GaugeOpts{
			Name: "sidecar_promises_unjudged", Help: "Promises without a final verdict, those of slots to come included.",
		}),
	}
	for _, o := range []commitments.Outcome{commitments.Kept, commitments.Broken, commitments.Excused} {
		m.promises.WithLabelValues(o.String())
	}
	return m
}

func (m *Metrics) judged(o commitments.Outcome) {
	if m != nil {
		m.promises.WithLabelValues(o.String()).Inc()
	}
}

func (m *Metrics) failed() {
	if m != nil {
		m.failures.Inc()
	}
}

func (m *Metrics) unjudged(n int) {
	if m != nil {
		m.open.Set(float64(n))
	}
}
