package gateway

import (
	"time"

	"sidecar/fault"
	"sidecar/internal/metrics"
)

// Metrics counts promises and what became of their constraints. Nil counts nothing.
type Metrics struct {
	requests  *metrics.CounterVec
	duration  *metrics.Histogram
	redrafts  *metrics.Counter
	posts     *metrics.CounterVec
	pages     *metrics.CounterVec
	enforcers *metrics.Gauge
	states    *metrics.GaugeVec
	paths     *metrics.GaugeVec
	unproved  *metrics.GaugeVec
	foreigns  *metrics.CounterVec
	turned    *metrics.CounterVec
	listeners *metrics.Gauge
	cut       *metrics.Counter
	risky     *metrics.GaugeVec
	unsure    *metrics.Counter
}

// NewMetrics registers the metrics of this package.
func NewMetrics(r *metrics.Registry) *Metrics {
	return &Metrics{
		requests: r.CounterVec(metrics.Opts{
			Name: "sidecar_commitment_requests_total", Help: "Requests for a commitment, by reason of refusal; ok for a promise.",
		}, "reason"),
		duration: r.Histogram(metrics.Opts{
			Name: "sidecar_commitment_duration_seconds", Help: "From a request for a commitment to its answer.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2},
		}),
		redrafts: r.Counter(metrics.Opts{
			Name: "sidecar_commitment_redrafts_total", Help: "Drafts made again because another promise came first.",
		}),
		posts: r.CounterVec(metrics.Opts{
			Name: "sidecar_constraints_posts_total", Help: "Delegations and constraints handed to relays, by result after all retries.",
		}, "kind", "relay", "result"),
		pages: r.CounterVec(metrics.Opts{
			Name: "sidecar_constraints_pages_total", Help: "Pages with promises: taken by a relay, untaken, unsigned, or late after a restart.",
		}, "outcome"),
		enforcers: r.Gauge(metrics.Opts{
			Name: "sidecar_constraints_relays", Help: "Relays that answered the last probe with a constraint type.",
		}),
		states: r.GaugeVec(metrics.Opts{
			Name: "sidecar_promise_slots", Help: "Slots of ours to come by why they are not offered to searchers; offered for those that are.",
		}, "reason"),
		paths: r.GaugeVec(metrics.Opts{
			Name: "sidecar_promise_path", Help: "1 for the state of each relay or builder as a path for promises: ok, or what it lacks.",
		}, "relay", "reason"),
		unproved: r.GaugeVec(metrics.Opts{
			Name: "sidecar_relay_unproven", Help: "1 for a relay that took constraints and returned unproven bids twice: no path for new promises.",
		}, "relay"),
		foreigns: r.CounterVec(metrics.Opts{
			Name: "sidecar_foreign_delegations_total", Help: "Delegations of our slots to others that relays show: stopped if our validator signed them, else forged.",
		}, "relay", "result"),
		turned: r.CounterVec(metrics.Opts{
			Name: "sidecar_gateway_shed_total", Help: "Calls that found no place, by caller (known, stranger) and call (promise, question).",
		}, "caller", "call"),
		listeners: r.Gauge(metrics.Opts{
			Name: "sidecar_gateway_subscribers", Help: "Subscribers to what becomes of requests.",
		}),
		cut: r.Counter(metrics.Opts{
			Name: "sidecar_gateway_subscribers_dropped_total", Help: "Subscribers dropped because they read too slowly, were silent, or sent too much.",
		}),
		risky: r.GaugeVec(metrics.Opts{
			Name: "sidecar_promises_at_risk", Help: "Open promises that their slot's block may not be able to keep as the chain stands, by reason.",
		}, "reason"),
		unsure: r.Counter(metrics.Opts{
			Name: "sidecar_promises_unreviewed_total", Help: "Looks at open promises that told nothing, because a node or a module did not.",
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
	m.requests.With(reason).Inc()
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
	m.posts.With(kind, relay, result).Inc()
}

func (m *Metrics) page(outcome string) {
	if m != nil {
		m.pages.With(outcome).Inc()
	}
}

func (m *Metrics) shed(c caller, promise bool) {
	if m == nil {
		return
	}
	who, call := "stranger", "question"
	if c.known || c.local {
		who = "known"
	}
	if promise {
		call = "promise"
	}
	m.turned.With(who, call).Inc()
}

func (m *Metrics) subscribers(n int) {
	if m != nil {
		m.listeners.Set(float64(n))
	}
}

func (m *Metrics) dropped() {
	if m != nil {
		m.cut.Inc()
	}
}

func (m *Metrics) relays(n int) {
	if m != nil {
		m.enforcers.Set(float64(n))
	}
}

// slots shows how many slots to come are offered, and why the others are not.
func (m *Metrics) slots(count map[string]int) {
	if m == nil {
		return
	}
	for _, reason := range []string{whyOffered, ErrNoPath.Code, ErrExclusive.Code, ErrForeign.Code} {
		m.states.With(reason).Set(float64(count[reason]))
	}
}

// path shows that a target's state has changed.
func (m *Metrics) path(relay, before, now string) {
	if m == nil {
		return
	}
	if before != "" {
		m.paths.With(relay, before).Set(0)
	}
	m.paths.With(relay, now).Set(1)
}

func (m *Metrics) unproven(relay string, is bool) {
	if m == nil {
		return
	}
	v := 0.0
	if is {
		v = 1
	}
	m.unproved.With(relay).Set(v)
}

func (m *Metrics) foreign(relay, result string) {
	if m != nil {
		m.foreigns.With(relay, result).Inc()
	}
}

// risks shows how many promises are at risk; before are the reasons that were shown.
func (m *Metrics) risks(count, before map[string]int) {
	if m == nil {
		return
	}
	for reason := range before {
		m.risky.With(reason).Set(float64(count[reason]))
	}
	for reason, n := range count {
		m.risky.With(reason).Set(float64(n))
	}
}

func (m *Metrics) unreviewed() {
	if m != nil {
		m.unsure.Inc()
	}
}
