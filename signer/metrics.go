package signer

import (
	"sidecar/fault"
	"sidecar/internal/ledger"
	"sidecar/internal/metrics"
)

// Metrics counts what was asked of the signer. A nil *Metrics counts nothing.
type Metrics struct {
	requests, contradictions *metrics.CounterVec
	groups, members          *metrics.Counter
}

// NewMetrics registers the signer's metrics.
func NewMetrics(r *metrics.Registry) *Metrics {
	return &Metrics{
		requests: r.CounterVec(metrics.Opts{
			Name: "sidecar_signer_requests_total",
			Help: "Requests for a signature by kind of entry (unknown if refused before it stood) and result (ok or a fault's code).",
		}, "kind", "result"),
		contradictions: r.CounterVec(metrics.Opts{
			Name: "sidecar_signer_contradictions_total",
			Help: "Requests refused because they contradict what is signed already, by kind of entry; each is in the log.",
		}, "kind"),
		groups: r.Counter(metrics.Opts{
			Name: "sidecar_signer_groups_total",
			Help: "Signatures of delegates over groups of commitments.",
		}),
		members: r.Counter(metrics.Opts{
			Name: "sidecar_signer_grouped_total",
			Help: "Commitments that these signatures cover.",
		}),
	}
}

// grouped counts one signature over a number of commitments.
func (m *Metrics) grouped(n int) {
	if m != nil {
		m.groups.Inc()
		m.members.Add(n)
	}
}

func (m *Metrics) contradicted(kind ledger.Kind) {
	if m != nil {
		m.contradictions.With(kind.String()).Inc()
	}
}

func (m *Metrics) signed(kind ledger.Kind, err error) {
	if m == nil {
		return
	}
	result := fault.Code(err)
	if err == nil {
		result = "ok"
	}
	m.requests.With(kind.String(), result).Inc()
}
