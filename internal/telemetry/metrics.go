package telemetry

import "sidecar/internal/metrics"

// NewRegistry returns a registry with sidecar_info, which is 1 and says in its
// labels what runs.
func NewRegistry(version, commit, network string) *metrics.Registry {
	r := metrics.NewRegistry()
	r.GaugeVec(metrics.Opts{Name: "sidecar_info", Help: "What runs, in the labels; the value is 1."},
		"version", "commit", "network").With(version, commit, network).Set(1)
	return r
}
