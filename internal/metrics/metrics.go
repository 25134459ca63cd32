// Package metrics counts what the sidecar does, for Prometheus to read. It has
// the counters, gauges and histograms with labels that the sidecar uses, in the
// text format. The full Prometheus client would cost a quarter of the memory an
// idle sidecar may have (docs/decisions/001-metrics.md).
//
// It promises that measuring never fails and takes no lock that a slow scrape
// could hold. Label values are the caller's to keep few.
package metrics

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Opts name a family. Name is in base units and snake_case; Help is one sentence.
type Opts struct {
	Name, Help string
	// Buckets are upper bounds, ascending, of a histogram.
	Buckets []float64
}

// Registry holds families. Its methods may be called from any goroutine.
type Registry struct {
	mu       sync.Mutex
	families []*family
}

// NewRegistry returns an empty registry.
func NewRegistry() *Registry { return &Registry{} }

// family is one metric name, with a child per combination of label values.
type family struct {
	opts     Opts
	kind     string
	labels   []string
	children sync.Map // joined label values → child
}

// child is one metric of a family.
type child interface {
	// write appends the metric's lines; pairs are its labels, as in the text format.
	write(b *bytes.Buffer, name, pairs string)
}

// register adds a family. A name registered twice is the program's mistake, and
// panics when the program starts.
func (r *Registry) register(kind string, o Opts, labels []string) *family {
	f := &family{opts: o, kind: kind, labels: labels}
	r.mu.Lock()
	defer r.mu.Unlock()
	at, taken := slices.BinarySearchFunc(r.families, o.Name, func(f *family, name string) int { return strings.Compare(f.opts.Name, name) })
	if taken {
		panic("metrics: " + o.Name + " is registered twice")
	}
	r.families = slices.Insert(r.families, at, f)
	return f
}

// of returns the metric for label values, made on first use.
func of[T child](f *family, values []string, made func() T) T {
	if len(values) != len(f.labels) {
		panic(fmt.Sprintf("metrics: %s has %d labels, got %d values", f.opts.Name, len(f.labels), len(values)))
	}
	key := strings.Join(values, "\xff")
	if c, ok := f.children.Load(key); ok {
		return c.(T)
	}
	c, _ := f.children.LoadOrStore(key, made())
	return c.(T)
}

// pairs writes labels as in the text format, by name, without braces.
func (f *family) pairs(key string) string {
	if len(f.labels) == 0 {
		return ""
	}
	pairs := make([]string, 0, len(f.labels))
	for i, value := range strings.SplitN(key, "\xff", len(f.labels)) {
		pairs = append(pairs, f.labels[i]+"="+strconv.Quote(strings.ToValidUTF8(value, "?")))
	}
	slices.Sort(pairs)
	return strings.Join(pairs, ",")
}

func (f *family) write(b *bytes.Buffer) {
	fmt.Fprintf(b, "# HELP %s %s\n# TYPE %s %s\n", f.opts.Name, strings.ReplaceAll(f.opts.Help, "\n", " "), f.opts.Name, f.kind)
	var keys []string
	f.children.Range(func(key, _ any) bool {
		keys = append(keys, key.(string))
		return true
	})
	slices.Sort(keys)
	for _, key := range keys {
		c, _ := f.children.Load(key)
		c.(child).write(b, f.opts.Name, f.pairs(key))
	}
}

// CounterVec is a counter with labels.
type CounterVec struct{ f *family }

// GaugeVec is a gauge with labels.
type GaugeVec struct{ f *family }

// HistogramVec is a histogram with labels.
type HistogramVec struct{ f *family }

// CounterVec makes a counter with labels.
func (r *Registry) CounterVec(o Opts, labels ...string) *CounterVec {
	return &CounterVec{r.register("counter", o, labels)}
}

// Counter makes a counter without labels.
func (r *Registry) Counter(o Opts) *Counter { return r.CounterVec(o).With() }

// GaugeVec makes a gauge with labels.
func (r *Registry) GaugeVec(o Opts, labels ...string) *GaugeVec {
	return &GaugeVec{r.register("gauge", o, labels)}
}

// Gauge makes a gauge without labels.
func (r *Registry) Gauge(o Opts) *Gauge { return r.GaugeVec(o).With() }

// HistogramVec makes a histogram with labels.
func (r *Registry) HistogramVec(o Opts, labels ...string) *HistogramVec {
	return &HistogramVec{r.register("histogram", o, labels)}
}

// Histogram makes a histogram without labels.
func (r *Registry) Histogram(o Opts) *Histogram { return r.HistogramVec(o).With() }

// With returns the counter of some label values, in the order of the labels.
func (v *CounterVec) With(values ...string) *Counter {
	return of(v.f, values, func() *Counter { return new(Counter) })
}

// With returns the gauge of some label values.
func (v *GaugeVec) With(values ...string) *Gauge {
	return of(v.f, values, func() *Gauge { return new(Gauge) })
}

// With returns the histogram of some label values.
func (v *HistogramVec) With(values ...string) *Histogram {
	return of(v.f, values, func() *Histogram { return newHistogram(v.f.opts.Buckets) })
}

// Write writes every family in the text format, and then the process's.
func (r *Registry) Write(w io.Writer) error {
	r.mu.Lock()
	families := slices.Clone(r.families)
	r.mu.Unlock()
	var b bytes.Buffer
	for _, f := range families {
		f.write(&b)
	}
	writeProcess(&b)
	_, err := w.Write(b.Bytes())
	return err
}

// Value returns what Write would say of a metric given with its labels, such as
// `sidecar_bids_total{relay="a",verdict="accepted"}`; false if it says nothing.
func (r *Registry) Value(metric string) (float64, bool) {
	var b strings.Builder
	if err := r.Write(&b); err != nil {
		return 0, false
	}
	for line := range strings.Lines(b.String()) {
		if name, value, ok := cutLast(strings.TrimSpace(line), ' '); ok && name == metric {
			v, err := strconv.ParseFloat(value, 64)
			return v, err == nil
		}
	}
	return 0, false
}

func cutLast(s string, sep byte) (before, after string, found bool) {
	if i := strings.LastIndexByte(s, sep); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}

// ServeHTTP answers a scrape.
func (r *Registry) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_ = r.Write(w) // a scraper that hangs up is its own problem
}
