package app

import (
	"fmt"

	"sidecar/internal/config"
	"sidecar/modules"
	"sidecar/modules/all"
	"sidecar/modules/remote"
)

// makeModules makes every module that promises: built in, or in another process,
// which need not run yet. Modules of the type "commit" only ask for signatures.
func (p *promises) makeModules(a *App) error {
	builtin := all.Builtin()
	for i := range a.config.Modules {
		m := &a.config.Modules[i]
		if !m.Promises() {
			continue
		}
		host := modules.Host{ID: m.ID, SigningID: m.SigningID, Spec: a.spec, Clock: a.clock, Log: a.log.With("module", m.ID), State: p.execution}
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
		Clock:   host.Clock, Log: host.Log,
	})
}
