package app

import (
	"fmt"
	"path/filepath"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/internal/config"
	"sidecar/internal/kv"
	"sidecar/internal/metrics"
	"sidecar/modules"
	"sidecar/modules/all"
	"sidecar/modules/remote"
)

// makeModules makes every module that promises: built in, or in another process,
// which need not run yet. Modules of the type "commit" only ask for signatures.
func (p *promises) makeModules(a *App) error {
	builtin, hosts := all.Builtin(), newHosts(a, p)
	if a.signing != nil { // nil for a check of a configuration whose ledger cannot be opened
		policy, err := newIntentPolicy(a.config, a.signing.keys)
		if err != nil {
			return err
		}
		a.signing.policy = append(a.signing.policy, policy)
	}
	for i := range a.config.Modules {
		m := &a.config.Modules[i]
		if !m.Promises() {
			continue
		}
		host := hosts.of(m)
		var made modules.Module
		var err error
		if m.Type == config.ModuleRemote {
			made, err = dialModule(host, m.Remote)
		} else {
			made, err = builtin[m.Type](host, func(into any) error { return a.config.DecodeModule(i, into) })
		}
		if err != nil {
			return fmt.Errorf("module %s: %w", m.ID, err)
		}
		if m.Type != config.ModuleRemote {
			made = modules.WithTimeout(made, remote.DefaultBudgets)
		}
		p.list = append(p.list, modules.WithRecovery(made, host.Log))
	}
	set := modules.Set(p.list)
	p.modules = set
	return set.Check()
}

// dialModule makes a module that is in another process; it has its own budgets.
func dialModule(host modules.Host, r *config.ModuleRemoteAt) (modules.Module, error) {
	secret, err := remote.ReadSecret(r.SecretFile)
	if err != nil {
		return nil, err
	}
	return remote.New(remote.Config{
		ID: host.ID, SigningID: host.SigningID, URL: r.URL, Secret: secret, CommitmentTypes: r.CommitmentTypes, ConstraintTypes: r.ConstraintTypes,
		Budgets: modules.Budgets{Slot: r.SlotTimeout, Commit: r.CommitTimeout, Verify: r.VerifyTimeout, Audit: r.AuditTimeout},
		Events:  host.Events, Clock: host.Clock, Log: host.Log,
	})
}

// hosts lends modules what they may have.
type hosts struct {
	app     *App
	parts   *promises
	dropped *metrics.CounterVec
	spaces  map[string]*metrics.Namespace // by prefix: two ids may have one
}

func newHosts(a *App, p *promises) *hosts {
	return &hosts{app: a, parts: p, spaces: map[string]*metrics.Namespace{}, dropped: NewModuleMetrics(a.metrics)}
}

// NewModuleMetrics counts what a module's own metrics are not allowed.
func NewModuleMetrics(r *metrics.Registry) *metrics.CounterVec {
	return r.CounterVec(metrics.Opts{Name: "sidecar_module_metrics_dropped_total", Help: "Measurements of a module under a name that is wrong, or one too many."}, "module")
}

// maxModuleMetrics is how many names a module may measure under.
const maxModuleMetrics = 64

func (h *hosts) of(m *config.Module) modules.Host {
	name := metrics.PrefixOf(m.ID)
	space := h.spaces[name]
	if space == nil {
		space = h.app.metrics.Namespace("sidecar_module_"+name+"_", maxModuleMetrics, h.dropped.With(m.ID))
		h.spaces[name] = space
	}
	return modules.Host{
		ID: m.ID, SigningID: m.SigningID, Spec: h.app.spec, Clock: h.app.clock, Log: h.app.log.With("module", m.ID),
		State: following{h.parts.execution, func() phase0.Slot { return h.parts.schedule.Head() }}, Schedule: h.parts.schedule, Events: h.parts.events, Metrics: space,
		Signer: &intents{signing: h.app.signing, module: m},
		// Hexadecimal keeps apart ids that a file system would take for one.
		Store: kv.New(filepath.Join(h.app.config.Data.Path, fmt.Sprintf("module-%x.json", m.ID))),
	}
}
