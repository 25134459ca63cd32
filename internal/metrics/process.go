package metrics

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"
)

// writeProcess writes what the Go runtime and the kernel know of this process,
// under the names dashboards know. What cannot be read is left out.
func writeProcess(b *bytes.Buffer) {
	say := func(name, kind, help string, v float64) {
		fmt.Fprintf(b, "# HELP %s %s\n# TYPE %s %s\n%s %s\n", name, help, name, kind, name, number(v))
	}
	say("go_goroutines", "gauge", "Goroutines that exist.", float64(runtime.NumGoroutine()))
	samples := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/gc/cycles/total:gc-cycles"}, {Name: "/cpu/classes/gc/total:cpu-seconds"}}
	metrics.Read(samples)
	if samples[0].Value.Kind() == metrics.KindUint64 {
		say("go_memstats_heap_alloc_bytes", "gauge", "Bytes of heap objects, live or not yet collected.", float64(samples[0].Value.Uint64()))
	}
	if samples[1].Value.Kind() == metrics.KindUint64 {
		say("go_gc_cycles_total", "counter", "Garbage collections.", float64(samples[1].Value.Uint64()))
	}
	if samples[2].Value.Kind() == metrics.KindFloat64 {
		say("go_gc_cpu_seconds_total", "counter", "Estimated processor time of garbage collection.", samples[2].Value.Float64())
	}
	if stat, err := os.ReadFile("/proc/self/stat"); err == nil {
		// After the name, which may hold anything: field 3 is the state.
		_, rest, _ := strings.Cut(string(stat), ") ")
		if f := strings.Fields(rest); len(f) > 21 {
			user, _ := strconv.ParseFloat(f[11], 64)
			system, _ := strconv.ParseFloat(f[12], 64)
			pages, _ := strconv.ParseFloat(f[21], 64)
			say("process_cpu_seconds_total", "counter", "Processor time, user and system.", (user+system)/100)
			say("process_resident_memory_bytes", "gauge", "Resident memory.", pages*float64(os.Getpagesize()))
		}
	}
	if fds, err := os.ReadDir("/proc/self/fd"); err == nil {
		say("process_open_fds", "gauge", "Open file descriptors.", float64(len(fds)))
	}
}
