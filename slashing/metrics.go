package slashing

import (
	"sidecar/commitments"
	"sidecar/internal/metrics"
	"sidecar/slashing/evidence"
)

// Metrics counts verdicts. Nil counts nothing.
type Metrics struct {
	promises *metrics.CounterVec
	evidence *metrics.CounterVec
	failures *metrics.Counter
	open     *metrics.Gauge
}

// NewMetrics registers the metrics of this package. Every outcome is there from
// the start, so that an alert on broken promises has a series to look at.
func NewMetrics(r *metrics.Registry) *Metrics {
	m := &Metrics{
		promises: r.CounterVec(metrics.Opts{
			Name: "sidecar_promises_total", Help: "Verdicts on promises, by outcome and stage: provisional at the head, justified, final; unknown is a verdict that the chain took back, or a proof that came too late.",
		}, "outcome", "stage"),
		evidence: r.CounterVec(metrics.Opts{
			Name: "sidecar_evidence_total", Help: "Evidence files kept against this sidecar, by fault.",
		}, "fault"),
		failures: r.Counter(metrics.Opts{
			Name: "sidecar_audit_failures_total", Help: "Attempts to judge a page that ended without a verdict for each promise.",
		}),
		open: r.Gauge(metrics.Opts{
			Name: "sidecar_promises_unjudged", Help: "Promises without a final verdict, those of slots to come included.",
		}),
	}
	for _, o := range []commitments.Outcome{commitments.Kept, commitments.Broken, commitments.Excused, commitments.Unknown} {
		for _, s := range []commitments.Stage{commitments.Provisional, commitments.Justified, commitments.Final} {
			m.promises.With(o.String(), s.String())
		}
	}
	for _, k := range []evidence.Kind{evidence.Absent, evidence.Double} {
		m.evidence.With(string(k))
	}
	return m
}

func (m *Metrics) judged(v commitments.Verdict) {
	if m != nil {
		m.promises.With(v.Outcome.String(), v.Stage.String()).Inc()
	}
}

func (m *Metrics) packed(k evidence.Kind) {
	if m != nil {
		m.evidence.With(string(k)).Inc()
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
