package gateway

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"sidecar/fault"
)

// Metrics counts promises and what became of their constraints. Nil counts nothing.
type Metrics struct {
	requests  *prometheus.CounterVec
	duration  prometheus.Histogram
	redrafts  prometheus.Counter
	posts     *prometheus.CounterVec
	pages     *prometheus.CounterVec
	enforcers prometheus.Gauge
}

// NewMetrics registers the metrics of this package.
func NewMetrics(r prometheus.Registerer) *Metrics {
	f := promauto.With(r)
	return &Metrics{
		requests: f.NewCounterVec(prometheus.CounterOpts{
			Name: "sidecar_commitment_requests_total", Help: "Requests for a commitment, by reason of refusal; ok for a promise.",
		}, []string{"reason"}),
		duration: f.NewHistogram(prometheus.HistogramOpts{
			Name: "sidecar_commitment_duration_seconds", Help: "From a request for a commitment to its answer.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2},
		}),
		redrafts: f.NewCounter(prometheus.CounterOpts{
			Name: "sidecar_commitment_redrafts_total", Help: "Drafts made again because another promise came first.",
		}),
		posts: f.NewCounterVec(prometheus.CounterOpts{
			Name: "sidecar_constraints_posts_total", Help: "Delegations and constraints handed to relays, by result after all retries.",
		}, []string{"kind", "relay", "result"}),
		pages: f.NewCounterVec(prometheus.CounterOpts{
			Name: "sidecar_constraints_pages_total", Help: "Pages with promises: taken by a relay, untaken, unsigned, or late after a restart.",
		}, []string{"outcome"}),
		enforcers: f.NewGauge(prometheus.GaugeOpts{
			Name: "sidecar_constraints_relays", Help: "Relays that answered the last probe with a constraint type.",
		}),
	}
}

func (m *Metrics) request(err error, took time.Duration) {
	if m == nil {
		return
	}
	reason := "ok"
	if err != nil {
		reason = fault.Code(err)
	}
	m.requests.WithLabelValues(reason).Inc()
	m.duration.Observe(took.Seconds())
}

func (m *Metrics) redraft() {
	if m != nil {
		m.redrafts.Inc()
	}
}

func (m *Metrics) post(kind, relay string, err error) {
	if m == nil {
		return
	}
	result := "ok"
	if err != nil {
		result = "error"
	}
	m.posts.WithLabelValues(kind, relay, result).Inc()
}

func (m *Metrics) page(outcome string) {
	if m != nil {
		m.pages.WithLabelValues(outcome).Inc()
	}
}

func (m *Metrics) relays(n int) {
	if m != nil {
		m.enforcers.Set(float64(n))
	}
}
