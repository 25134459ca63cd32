package relay

import (
	"time"

	"sidecar/fault"
	"sidecar/internal/metrics"
)

// Metrics counts and times what relays answer. A nil *Metrics does nothing.
type Metrics struct {
	requests *metrics.CounterVec
	duration *metrics.HistogramVec
	lenient  *metrics.CounterVec
}

// NewMetrics registers the metrics of all relay clients of a process.
func NewMetrics(r *metrics.Registry) *Metrics {
	m := &Metrics{
		requests: r.CounterVec(metrics.Opts{
			Name: "sidecar_relay_requests_total",
			Help: "Requests to relays by outcome: ok, none (204), or the code of the fault.",
		}, "relay", "endpoint", "outcome"),
		duration: r.HistogramVec(metrics.Opts{
			Name:    "sidecar_relay_request_duration_seconds",
			Help:    "Time from sending a request to a relay to its decoded answer, or fault.",
			Buckets: []float64{.002, .005, .01, .02, .05, .1, .15, .2, .3, .4, .5, .65, .8, .95, 1.5, 2, 3, 4},
		}, "relay", "endpoint"),
		lenient: r.CounterVec(metrics.Opts{
			Name: "sidecar_relay_lenient_total",
			Help: "Answers taken although they are not as specified: untyped_json, v2_status_200.",
		}, "relay", "what"),
	}
	return m
}

// observe records one request. An err of nil with none is a 204.
func (m *Metrics) observe(relay, endpoint string, took time.Duration, none bool, err error) {
	if m == nil {
		return
	}
	outcome := "ok"
	switch {
	case err != nil:
		outcome = fault.Code(err)
	case none:
		outcome = "none"
	}
	m.requests.With(relay, endpoint, outcome).Inc()
	m.duration.With(relay, endpoint).Observe(took.Seconds())
}

// tolerated records an answer taken in spite of its form.
func (m *Metrics) tolerated(relay, what string) {
	if m != nil {
		m.lenient.With(relay, what).Inc()
	}
}
