package execution

import (
	"time"

	"sidecar/fault"
	"sidecar/internal/metrics"
)

// Metrics counts requests to the execution node. Nil counts nothing.
type Metrics struct {
	requests *metrics.CounterVec
	seconds  *metrics.HistogramVec
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
