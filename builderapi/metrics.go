package builderapi

import (
	"time"

	"github.com/holiman/uint256"

	"sidecar/internal/metrics"
)

// Metrics of the Builder API. A nil *Metrics measures nothing.
type Metrics struct {
	headers      *metrics.CounterVec
	into         *metrics.Histogram
	duration     *metrics.Histogram
	bids         *metrics.CounterVec
	wins         *metrics.CounterVec
	value        *metrics.Gauge
	recipients   *metrics.CounterVec
	parents      *metrics.Counter
	blocks       *metrics.CounterVec
	handovers    *metrics.CounterVec
	misses       *metrics.CounterVec
	penalised    *metrics.GaugeVec
	validators   *metrics.Gauge
	registration *metrics.Counter
}

// NewMetrics registers the metrics.
func NewMetrics(r *metrics.Registry) *Metrics {
	counter := func(name, help string, labels ...string) *metrics.CounterVec {
		return r.CounterVec(metrics.Opts{Name: name, Help: help}, labels...)
	}
	m := &Metrics{
		headers:    counter("sidecar_headers_total", "Answers to getHeader, by outcome: served, or the reason for a 204.", "outcome"),
		bids:       counter("sidecar_bids_total", "Bids judged, by relay and verdict.", "relay", "verdict"),
		wins:       counter("sidecar_auction_wins_total", "Headers served, by relay.", "relay"),
		recipients: counter("sidecar_bid_fee_recipient_differs_total", "Bids whose header pays another address than the registration.", "relay"),
		blocks:     counter("sidecar_blocks_total", "Signed blocks received, by API version and outcome; empty outcome is delivered.", "version", "outcome"),
		handovers:  counter("sidecar_block_handovers_total", "Blocks handed to a relay, by outcome; empty is taken.", "relay", "outcome"),
		misses:     counter("sidecar_relay_undelivered_total", "Blocks a relay had offered and did not deliver.", "relay"),
		into:       r.Histogram(metrics.Opts{Name: "sidecar_header_into_slot_seconds", Help: "How far into its slot getHeader came.", Buckets: []float64{-1, -0.1, 0, 0.1, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2, 2.5, 3, 4, 8}}),
		duration:   r.Histogram(metrics.Opts{Name: "sidecar_header_duration_seconds", Help: "Time from the last byte of getHeader to a served header.", Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .2, .3, .4, .5, .6, .7, .8, .9, .95, 1, 2}}),
		value:      r.Gauge(metrics.Opts{Name: "sidecar_header_value_ether", Help: "Value of the last header served."}),
		parents:    r.Counter(metrics.Opts{Name: "sidecar_parent_unknown_total", Help: "Auctions whose parent block the execution node did not know in time."}),
		penalised:  r.GaugeVec(metrics.Opts{Name: "sidecar_relay_penalised", Help: "1 while a relay is in the penalty box."}, "relay"),
		validators: r.Gauge(metrics.Opts{Name: "sidecar_registered_validators", Help: "Validators with a remembered registration."}),
	}
	m.registration = r.Counter(metrics.Opts{Name: "sidecar_registrations_total", Help: "Registrations received."})
	return m
}

func (m *Metrics) asked(into time.Duration) {
	if m != nil {
		m.into.Observe(into.Seconds())
	}
}

func (m *Metrics) noBid(why string) {
	if m != nil {
		m.headers.With(why).Inc()
	}
}

func (m *Metrics) served(relay string, wei *uint256.Int, took time.Duration) {
	if m != nil {
		m.headers.With("served").Inc()
		m.wins.With(relay).Inc()
		m.value.Set(wei.Float64() / 1e18)
		m.duration.Observe(took.Seconds())
	}
}

func (m *Metrics) judged(relay, verdict string) {
	if m != nil {
		m.bids.With(relay, verdict).Inc()
	}
}

func (m *Metrics) feeRecipientDiffers(relay string) {
	if m != nil {
		m.recipients.With(relay).Inc()
	}
}

func (m *Metrics) parentUnknown() {
	if m != nil {
		m.parents.Inc()
	}
}

func (m *Metrics) block(v2 bool, outcome string) {
	if m == nil {
		return
	}
	version := "v1"
	if v2 {
		version = "v2"
	}
	m.blocks.With(version, outcome).Inc()
}

func (m *Metrics) handed(relay, outcome string) {
	if m != nil {
		m.handovers.With(relay, outcome).Inc()
	}
}

func (m *Metrics) undelivered(relay string) {
	if m != nil {
		m.misses.With(relay).Inc()
	}
}

func (m *Metrics) boxed(relay string, in bool) {
	if m == nil {
		return
	}
	g := m.penalised.With(relay)
	g.Set(0)
	if in {
		g.Set(1)
	}
}

func (m *Metrics) registered(n, known int) {
	if m != nil {
		m.registration.Add(n)
		m.validators.Set(float64(known))
	}
}

// ether writes an amount of wei in ETH, for people.
func ether(wei *uint256.Int) string {
	whole, rest := new(uint256.Int), new(uint256.Int)
	whole.DivMod(wei, uint256.NewInt(1e18), rest)
	micro := rest.Uint64() / 1e9
	digits := [...]byte{'0', '0', '0', '0', '0', '0', '0', '0', '0'}
	for i := len(digits) - 1; i >= 0; i-- {
		digits[i] += byte(micro % 10)
		micro /= 10
	}
	return whole.Dec() + "." + string(digits[:])
}
