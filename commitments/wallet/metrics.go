package wallet

import (
	"errors"

	"sidecar/fault"
	"sidecar/internal/httpd"
	"sidecar/internal/metrics"
)

// Metrics counts what wallets ask for. Nil counts nothing.
type Metrics struct {
	calls *metrics.CounterVec
	sends *metrics.CounterVec
}

// NewMetrics registers the metrics of this package.
func NewMetrics(r *metrics.Registry) *Metrics {
	return &Metrics{
		calls: r.CounterVec(metrics.Opts{
			Name: "sidecar_wallet_calls_total", Help: "JSON-RPC calls of wallets, by method (other: not served) and result: ok, error or limited.",
		}, "method", "result"),
		sends: r.CounterVec(metrics.Opts{
			Name: "sidecar_wallet_transactions_total", Help: "Transactions of wallets: promised, known (promised before), forwarded to the node, or the reason of refusal.",
		}, "outcome"),
	}
}

func (m *Metrics) call(name string, err error) {
	if m == nil {
		return
	}
	if _, ok := methods[name]; !ok {
		name = "other"
	}
	result := "ok"
	switch {
	case errors.Is(err, httpd.ErrRate):
		result = "limited"
	case err != nil:
		result = "error"
	}
	m.calls.With(name, result).Inc()
}

func (m *Metrics) send(outcome string, err error) {
	if m == nil {
		return
	}
	if err != nil {
		outcome = fault.Code(err)
	}
	m.sends.With(outcome).Inc()
}
