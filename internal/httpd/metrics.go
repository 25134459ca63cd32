package httpd

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts what servers do; one value serves them all, told apart by the
// label "server". A nil *Metrics counts nothing.
type Metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	inFlight *prometheus.GaugeVec
	overruns *prometheus.CounterVec
	conns    *prometheus.GaugeVec
	refused  *prometheus.CounterVec
}

// NewMetrics registers the metrics of this package.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sidecar_http_requests_total",
			Help: "Requests answered. Route is \"unknown\" for those that no route took.",
		}, []string{"server", "route", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "sidecar_http_request_duration_seconds",
			Help:    "Time from a request's last byte to its answer, before it is written.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, .75, .95, 1.5, 2.5, 5},
		}, []string{"server", "route"}),
		inFlight: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sidecar_http_requests_in_flight",
			Help: "Requests a handler is at work on.",
		}, []string{"server"}),
		overruns: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sidecar_http_handler_overruns_total",
			Help: "Handlers that returned well after their deadline.",
		}, []string{"server", "route"}),
		conns: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sidecar_http_connections",
			Help: "Open connections.",
		}, []string{"server"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sidecar_http_connections_refused_total",
			Help: "Connections closed at once because of a limit: server or address.",
		}, []string{"server", "limit"}),
	}
	r.MustRegister(m.requests, m.seconds, m.inFlight, m.overruns, m.conns, m.refused)
	return m
}

func (m *Metrics) begin(server string) {
	if m != nil {
		m.inFlight.WithLabelValues(server).Inc()
	}
}

func (m *Metrics) end(server, route string, d time.Duration, overrun bool) {
	if m == nil {
		return
	}
	m.inFlight.WithLabelValues(server).Dec()
	m.seconds.WithLabelValues(server, route).Observe(d.Seconds())
	if overrun {
		m.overruns.WithLabelValues(server, route).Inc()
	}
}

func (m *Metrics) answered(server, route string, status int) {
	if m != nil {
		m.requests.WithLabelValues(server, route, strconv.Itoa(status)).Inc()
	}
}

func (m *Metrics) connections(server string, delta float64) {
	if m != nil {
		m.conns.WithLabelValues(server).Add(delta)
	}
}

func (m *Metrics) refuse(server, limit string) {
	if m != nil {
		m.refused.WithLabelValues(server, limit).Inc()
	}
}
