package httpd

import (
	"strconv"
	"time"

	"sidecar/internal/metrics"
)

// Metrics counts what servers do; one value serves them all, told apart by the
// label "server". A nil *Metrics counts nothing.
type Metrics struct {
	requests *metrics.CounterVec
	seconds  *metrics.HistogramVec
	inFlight *metrics.GaugeVec
	overruns *metrics.CounterVec
	conns    *metrics.GaugeVec
	refused  *metrics.CounterVec
	listens  *metrics.GaugeVec
}

// NewMetrics registers the metrics of this package.
func NewMetrics(r *metrics.Registry) *Metrics {
	m := &Metrics{
		requests: r.CounterVec(metrics.Opts{
			Name: "sidecar_http_requests_total",
			Help: "Requests answered. Route is \"unknown\" for those that no route took, status \"stream\" for streams begun.",
		}, "server", "route", "status"),
		seconds: r.HistogramVec(metrics.Opts{
			Name:    "sidecar_http_request_duration_seconds",
			Help:    "Time from a request's last byte to its answer, before it is written.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, .75, .95, 1.5, 2.5, 5},
		}, "server", "route"),
		inFlight: r.GaugeVec(metrics.Opts{
			Name: "sidecar_http_requests_in_flight",
			Help: "Requests a handler is at work on.",
		}, "server"),
		overruns: r.CounterVec(metrics.Opts{
			Name: "sidecar_http_handler_overruns_total",
			Help: "Handlers that returned well after their deadline.",
		}, "server", "route"),
		conns: r.GaugeVec(metrics.Opts{
			Name: "sidecar_http_connections",
			Help: "Open connections.",
		}, "server"),
		refused: r.CounterVec(metrics.Opts{
			Name: "sidecar_http_connections_refused_total",
			Help: "Connections closed at once because of a limit: server or address.",
		}, "server", "limit"),
		listens: r.GaugeVec(metrics.Opts{
			Name: "sidecar_listener_up",
			Help: "1 while a server listens; 0: its address cannot be had, and is tried again.",
		}, "server"),
	}
	return m
}

// Listens says whether a server has its address.
func (m *Metrics) Listens(server string, is bool) {
	if m != nil {
		m.listens.With(server).Set(map[bool]float64{true: 1}[is])
	}
}

func (m *Metrics) begin(server string) {
	if m != nil {
		m.inFlight.With(server).Inc()
	}
}

func (m *Metrics) end(server, route string, d time.Duration, overrun bool) {
	if m == nil {
		return
	}
	m.inFlight.With(server).Dec()
	m.seconds.With(server, route).Observe(d.Seconds())
	if overrun {
		m.overruns.With(server, route).Inc()
	}
}

func (m *Metrics) answered(server, route string, status int) {
	if m != nil {
		m.requests.With(server, route, strconv.Itoa(status)).Inc()
	}
}

func (m *Metrics) streamed(server, route string) {
	if m != nil {
		m.requests.With(server, route, "stream").Inc()
	}
}

func (m *Metrics) connections(server string, delta float64) {
	if m != nil {
		m.conns.With(server).Add(delta)
	}
}

func (m *Metrics) refuse(server, limit string) {
	if m != nil {
		m.refused.With(server, limit).Inc()
	}
}
