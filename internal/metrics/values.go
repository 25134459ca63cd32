package metrics

import (
	"bytes"
	"math"
	"sort"
	"strconv"
	"sync/atomic"
)

// Counter only grows. Its zero value is 0.
type Counter struct{ n atomic.Uint64 }

// Inc adds one.
func (c *Counter) Inc() { c.n.Add(1) }

// Add adds n; a negative n is ignored.
func (c *Counter) Add(n int) {
	if n > 0 {
		c.n.Add(uint64(n))
	}
}

func (c *Counter) write(b *bytes.Buffer, name, pairs string) {
	line(b, name, pairs, strconv.FormatUint(c.n.Load(), 10))
}

// Gauge holds a value that goes up and down.
type Gauge struct{ bits atomic.Uint64 }

// Set sets the value.
func (g *Gauge) Set(v float64) { g.bits.Store(math.Float64bits(v)) }

// Add adds to the value.
func (g *Gauge) Add(v float64) { add(&g.bits, v) }

// Inc adds one.
func (g *Gauge) Inc() { g.Add(1) }

// Dec takes one away.
func (g *Gauge) Dec() { g.Add(-1) }

func (g *Gauge) write(b *bytes.Buffer, name, pairs string) {
	line(b, name, pairs, number(math.Float64frombits(g.bits.Load())))
}

// add adds to a float kept as bits.
func add(bits *atomic.Uint64, v float64) {
	for {
		old := bits.Load()
		if bits.CompareAndSwap(old, math.Float64bits(math.Float64frombits(old)+v)) {
			return
		}
	}
}

// Histogram counts observations by upper bound.
type Histogram struct {
	bounds []float64 // ascending
	counts []atomic.Uint64
	sum    atomic.Uint64 // a float's bits
}

func newHistogram(bounds []float64) *Histogram {
	return &Histogram{bounds: bounds, counts: make([]atomic.Uint64, len(bounds)+1)}
}

// Observe counts one value.
func (h *Histogram) Observe(v float64) {
	h.counts[sort.SearchFloat64s(h.bounds, v)].Add(1)
	add(&h.sum, v)
}

func (h *Histogram) write(b *bytes.Buffer, name, pairs string) {
	with := pairs
	if with != "" {
		with += ","
	}
	var total uint64
	for i := range h.counts {
		bound := "+Inf"
		if i < len(h.bounds) {
			bound = number(h.bounds[i])
		}
		total += h.counts[i].Load()
		line(b, name+"_bucket", with+"le="+strconv.Quote(bound), strconv.FormatUint(total, 10))
	}
	line(b, name+"_sum", pairs, number(math.Float64frombits(h.sum.Load())))
	line(b, name+"_count", pairs, strconv.FormatUint(total, 10))
}

func line(b *bytes.Buffer, name, pairs, value string) {
	b.WriteString(name)
	if pairs != "" {
		b.WriteString("{" + pairs + "}")
	}
	b.WriteString(" " + value + "\n")
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
