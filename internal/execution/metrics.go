package execution

import (
	"time"

	"sidecar/fault"
	"sidecar/internal/metrics"
)

// Metrics counts requests to the execution node. Nil counts nothing.
type Metrics struct {
	requests  *metrics.CounterVec
	seconds   *metrics.HistogramVec
	accounts  *metrics.CounterVec
	agreement *metrics.Gauge
}

// NewMetrics registers the metrics of this package.
func NewMetrics(r *metrics.Registry) *Metrics {
	return &Metrics{
		requests: r.CounterVec(metrics.Opts{
			Name: "sidecar_execution_requests_total", Help: "Requests to the execution node, by method (the last of a batch) and result.",
		}, "method", "result"),
		seconds: r.HistogramVec(metrics.Opts{
			Name: "sidecar_execution_request_duration_seconds", Help: "How long the execution node took to answer, by method.",
			Buckets: []float64{.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2},
		}, "method"),
		accounts: r.CounterVec(metrics.Opts{
			Name: "sidecar_execution_accounts_total", Help: "Accounts wanted at the head: hit without a request, miss with one; and prefetched at a new head.",
		}, "result"),
		agreement: r.Gauge(metrics.Opts{
			Name: "sidecar_execution_agree", Help: "1 if the execution node told its head when last asked and, with two, both told the same.",
		}),
	}
}

func (m *Metrics) account(result string) {
	if m != nil {
		m.accounts.With(result).Inc()
	}
}

func (m *Metrics) prefetched(n int) {
	if m != nil {
		m.accounts.With("prefetched").Add(n)
	}
}

func (m *Metrics) agree(err error) {
	switch {
	case m == nil:
	case err == nil:
		m.agreement.Set(1)
	default:
		m.agreement.Set(0)
	}
}

func (m *Metrics) request(method string, took time.Duration, err error) {
	if m == nil {
		return
	}
	result := fault.Code(err)
	if err == nil {
		result = "ok"
	}
	m.requests.With(method, result).Inc()
	m.seconds.With(method).Observe(took.Seconds())
}
