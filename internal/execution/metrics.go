package execution

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"sidecar/fault"
)

// Metrics counts requests to the execution node. Nil counts nothing.
type Metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

// NewMetrics registers the metrics of this package.
func NewMetrics(r prometheus.Registerer) *Metrics {
	f := promauto.With(r)
	return &Metrics{
		requests: f.NewCounterVec(prometheus.CounterOpts{
			Name: "sidecar_execution_requests_total", Help: "Requests to the execution node, by method (the last of a batch) and result.",
		}, []string{"method", "result"}),
		seconds: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "sidecar_execution_request_duration_seconds", Help: "How long the execution node took to answer, by method.",
			Buckets: []float64{.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2},
		}, []string{"method"}),
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
	m.requests.WithLabelValues(method, result).Inc()
	m.seconds.WithLabelValues(method).Observe(took.Seconds())
}
