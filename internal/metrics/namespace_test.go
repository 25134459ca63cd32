package metrics

import (
	"fmt"
	"strings"
	"testing"
)

func TestNamespace(t *testing.T) {
	r := NewRegistry()
	dropped := r.Counter(Opts{Name: "dropped_total", Help: "x"})
	n := r.Namespace("sidecar_module_"+PrefixOf("My-Module.2")+"_", 4, dropped)
	n.Count("asked_total", 2)
	n.Count("asked_total", 1)
	n.Set("open", 7)
	n.Observe("took_seconds", 0.02)
	for metric, want := range map[string]float64{
		"sidecar_module_my_module_2_asked_total": 3, "sidecar_module_my_module_2_open": 7, "sidecar_module_my_module_2_took_seconds_count": 1,
	} {
		if got, ok := r.Value(metric); !ok || got != want {
			t.Errorf("%s: got %v, %v", metric, got, ok)
		}
	}
	wrong := []func(){
		func() { n.Count("asked", 1) }, func() { n.Set("x_total", 1) }, func() { n.Set("Bad", 1) }, func() { n.Set("a{b=\"c\"}", 1) },
		func() { n.Set("a\nb 1", 1) }, func() { n.Observe("open", 1) }, func() { n.Set("took_seconds_count", 1) }, func() { n.Set("", 1) }, func() { n.Set(strings.Repeat("a", 64), 1) },
	}
	for _, do := range wrong {
		do()
	}
	if got, _ := r.Value("dropped_total"); got != float64(len(wrong)) {
		t.Errorf("%v dropped of %d", got, len(wrong))
	}
	for i := range 1000 { // a label bomb
		n.Set(fmt.Sprintf("bomb_%d", i), 1)
	}
	var b strings.Builder
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(b.String(), "# TYPE sidecar_module_"); got != 4 {
		t.Errorf("%d families, want 4", got)
	}
}
