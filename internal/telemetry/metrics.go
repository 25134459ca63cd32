package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// NewRegistry returns a registry with the Go runtime's and the process's
// metrics and sidecar_info, which is 1 and says in its labels what runs.
func NewRegistry(version, commit, network string) *prometheus.Registry {
	r := prometheus.NewRegistry()
	info := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "sidecar_info",
		Help: "What runs, in the labels; the value is 1.",
	}, []string{"version", "commit", "network"})
	info.WithLabelValues(version, commit, network).Set(1)
	r.MustRegister(info, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}
