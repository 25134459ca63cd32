package api

import (
	"sidecar/fault"
	"sidecar/internal/metrics"
)

// Metrics counts what modules ask for. A nil *Metrics counts nothing.
type Metrics struct{ requests, weak *metrics.CounterVec }

// NewMetrics registers the metrics of this package.
func NewMetrics(r *metrics.Registry) *Metrics {
	return &Metrics{
		requests: r.CounterVec(metrics.Opts{
			Name: "sidecar_signer_api_requests_total",
			Help: "Requests by route, module of the configuration (admin, or unknown if the token did not show one) and result (ok or a fault's code). The route request_signature_legacy is weak: see docs/signer.md.",
		}, "route", "module", "result"),
		weak: r.CounterVec(metrics.Opts{
			Name: "sidecar_signer_api_weak_tokens_total",
			Help: "Tokens taken that bind neither route nor body, as Commit-Boost's clients up to 0.9 send them: whoever sees one may ask for anything the module may, until it expires.",
		}, "module"),
	}
}

// answered counts a request. Only modules of the table become labels.
func (m *Metrics) answered(route string, c *call, err error) {
	if m == nil {
		return
	}
	module, result := "unknown", "ok"
	switch {
	case c.module != nil:
		module = c.module.ID
	case err == nil:
		module = "admin"
	}
	if err != nil {
		result = fault.Code(err)
	}
	m.requests.With(route, module, result).Inc()
}

func (m *Metrics) weakToken(module string) {
	if m != nil {
		m.weak.With(module).Inc()
	}
}
