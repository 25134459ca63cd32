package ledger

import (
	"time"

	"sidecar/chain"
	"sidecar/internal/metrics"
)

// Metrics measures the writer. A nil *Metrics measures nothing.
type Metrics struct {
	commit  *metrics.Histogram
	records *metrics.Histogram
	healthy *metrics.Gauge
	hold    *metrics.Gauge
	witness *metrics.Counter
	leading *metrics.Gauge
}

// NewMetrics registers the ledger's metrics.
func NewMetrics(r *metrics.Registry) *Metrics {
	m := &Metrics{
		commit: r.Histogram(metrics.Opts{
			Name: "sidecar_ledger_commit_seconds", Help: "Time from a batch's first decision until it is on disk.",
			Buckets: []float64{.0005, .001, .002, .005, .01, .02, .05, .1, .25, .5, 1, 2.5},
		}),
		records: r.Histogram(metrics.Opts{
			Name: "sidecar_ledger_batch_records", Help: "Records made durable by one commit.",
			Buckets: []float64{1, 2, 4, 8, 16, 32, 64, 128, 256, 512},
		}),
		healthy: r.Gauge(metrics.Opts{
			Name: "sidecar_ledger_healthy", Help: "1 while the ledger can write; 0 after a disk error or a broken chain, until a restart.",
		}),
		leading: r.Gauge(metrics.Opts{
			Name: "sidecar_ledger_leads", Help: "1 while this sidecar may write: it holds the lease of a shared ledger, or has one of its own.",
		}),
	}
	m.hold = r.Gauge(metrics.Opts{
		Name: "sidecar_ledger_hold_until_slot", Help: "The last slot for which a restored, copied or new ledger promises nothing; 0 if it never held.",
	})
	m.witness = r.Counter(metrics.Opts{
		Name: "sidecar_ledger_witness_failures_total", Help: "Times the ledger's witness could not be written; a restart may then hold.",
	})
	return m
}

// Measure makes the ledger report to m. Call it once, after Open.
func (l *Ledger) Measure(m *Metrics, clock *chain.Clock) {
	if m == nil || clock == nil {
		return
	}
	if l.Poisoned() == nil {
		m.healthy.Set(1)
	}
	m.hold.Set(float64(l.Hold().Until))
	l.metrics.Store(&meter{m, clock})
	l.meter().leads(l.Standing().Leads)
}

// meter is metrics with the clock they need. A nil *meter works.
type meter struct {
	*Metrics
	clock *chain.Clock
}

func (l *Ledger) meter() *meter { return l.metrics.Load() }

func (m *meter) start() (t time.Time) {
	if m != nil {
		t = m.clock.Now()
	}
	return t
}

func (m *meter) committed(started time.Time, records uint64) {
	if m != nil && !started.IsZero() {
		m.commit.Observe(m.clock.Now().Sub(started).Seconds())
		m.Metrics.records.Observe(float64(records))
	}
}

func (m *meter) unwitnessed() {
	if m != nil {
		m.witness.Inc()
	}
}

func (m *meter) poisoned() {
	if m != nil {
		m.healthy.Set(0)
		m.leading.Set(0)
	}
}

func (m *meter) leads(yes bool) {
	if m == nil {
		return
	}
	if yes {
		m.leading.Set(1)
	} else {
		m.leading.Set(0)
	}
}
