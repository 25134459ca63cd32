package slashing

import (
	"sidecar/commitments"
	"sidecar/internal/metrics"
)

// Metrics counts verdicts. Nil counts nothing.
type Metrics struct {
	promises *metrics.CounterVec
	failures *metrics.Counter
	open     *metrics.Gauge
}

// NewMetrics registers the metrics of this package. Every outcome is there from
// the start, so that an alert on broken promises has a series to look at.
func NewMetrics(r *metrics.Registry) *Metrics {
	m := &Metrics{
		promises: r.CounterVec(metrics.Opts{
			Name: "sidecar_promises_total", Help: "Promises judged, by outcome.",
		}, "outcome"),
		failures: r.Counter(metrics.Opts{
			Name: "sidecar_audit_failures_total", Help: "Attempts to judge a page that ended without a verdict for each promise.",
		}),
		open: r.Gauge(metrics.Opts{
			Name: "sidecar_promises_unjudged", Help: "Promises without a final verdict, those of slots to come included.",
		}),
	}
	for _, o := range []commitments.Outcome{commitments.Kept, commitments.Broken, commitments.Excused} {
		m.promises.With(o.String())
	}
	return m
}

func (m *Metrics) judged(o commitments.Outcome) {
	if m != nil {
		m.promises.With(o.String()).Inc()
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
