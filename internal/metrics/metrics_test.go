package metrics

import (
	"math"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// TestWrite holds the text format: families by name, children by label, buckets
// that add up.
func TestWrite(t *testing.T) {
	r := NewRegistry()
	h := r.HistogramVec(Opts{Name: "b_seconds", Help: "Times.", Buckets: []float64{.1, 1}}, "what")
	c := r.CounterVec(Opts{Name: "a_total", Help: "Counts."}, "x", "y")
	g := r.Gauge(Opts{Name: "c", Help: "Two\nlines."})
	c.With("2", `quo"te`).Inc()
	c.With("1", "\xff").Add(3)
	c.With("1", "\xff").Add(-3)
	for _, v := range []float64{.05, .1, .5, 7} {
		h.With("z").Observe(v)
	}
	g.Set(2)
	g.Dec()
	w := httptest.NewRecorder()
	r.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	want := `# HELP a_total Counts.
# TYPE a_total counter
a_total{x="1",y="?"} 3
a_total{x="2",y="quo\"te"} 1
# HELP b_seconds Times.
# TYPE b_seconds histogram
b_seconds_bucket{what="z",le="0.1"} 2
b_seconds_bucket{what="z",le="1"} 3
b_seconds_bucket{what="z",le="+Inf"} 4
b_seconds_sum{what="z"} 7.65
b_seconds_count{what="z"} 4
# HELP c Two lines.
# TYPE c gauge
c 1
`
	if got := w.Body.String(); !strings.HasPrefix(got, want) {
		t.Fatalf("got\n%s\nwant\n%s", got, want)
	}
	for _, name := range []string{"go_goroutines", "process_resident_memory_bytes", "process_open_fds"} {
		if v, ok := r.Value(name); !ok || v <= 0 {
			t.Errorf("%s: got %v, %v", name, v, ok)
		}
	}
}

func TestConcurrent(t *testing.T) {
	r := NewRegistry()
	c, g, h := r.CounterVec(Opts{Name: "c"}, "l"), r.Gauge(Opts{Name: "g"}), r.Histogram(Opts{Name: "h", Buckets: []float64{1}})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 1000 {
				c.With("v").Inc()
				g.Add(.5)
				h.Observe(math.Mod(float64(i), 2))
			}
		})
	}
	wg.Wait()
	for name, want := range map[string]float64{`c{l="v"}`: 8000, "g": 4000, "h_sum": 4000, "h_count": 8000, `h_bucket{le="1"}`: 8000} {
		if got, _ := r.Value(name); got != want {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
}

func TestMistakesPanic(t *testing.T) {
	r := NewRegistry()
	v := r.CounterVec(Opts{Name: "c"}, "l")
	for name, f := range map[string]func(){
		"same name": func() { r.Gauge(Opts{Name: "c"}) }, "labels": func() { v.With() },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}
