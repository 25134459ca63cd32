package api

import (
	"context"
	"slices"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/internal/config"
	"sidecar/internal/ledger"
)

// reload loads the configuration again. Secrets in the body stand in for those
// of the configuration until the next reload. [Commit-Boost: reload]
func (s *Service) reload(ctx context.Context, c *call) (any, error) {
	r := reader{fields: c.fields}
	var secrets map[string]config.Secret
	if _, ok := c.fields["jwt_secrets"]; ok {
		var err error
		if secrets, err = config.ParseSecrets(r.text("jwt_secrets")); err != nil {
			r.fail("jwt_secrets", "is not a list of MODULE=secret, each module once")
		}
	}
	var admin config.Secret
	if _, ok := c.fields["admin_secret"]; ok {
		if admin = config.Secret(r.text("admin_secret")); admin == "" {
			r.fail("admin_secret", "is empty")
		}
	}
	if r.err != nil {
		return nil, r.err
	}
	if s.cfg.Reload == nil {
		return nil, ErrReload.With("this sidecar does not reload")
	}
	s.admin.Lock()
	defer s.admin.Unlock()
	t, err := s.cfg.Reload(ctx)
	if err != nil {
		s.cfg.Log.Error("The configuration was not loaded again", "detail", err)
		return nil, ErrReload.Wrap(err)
	}
	t.Modules = slices.Clone(t.Modules)
	for id, secret := range secrets {
		i := slices.IndexFunc(t.Modules, func(m Module) bool { return m.ID == id })
		if i < 0 {
			return nil, ErrOverride.With("Module %.64s not found in config, cannot override JWT secret", id)
		}
		t.Modules[i].Secret = secret
	}
	if admin != "" {
		t.Admin = admin
	}
	if err := s.cfg.Policy.Update(t); err != nil {
		return nil, err
	}
	s.cfg.Log.Info("The modules were loaded again", "modules", len(t.Modules))
	return nil, nil
}

// revoke makes a module's present secret worth nothing, for good: a restart or a
// reload with the same secret does not lift it, a new secret does.
// [Commit-Boost: revoke_jwt]
func (s *Service) revoke(ctx context.Context, c *call) (any, error) {
	r := reader{fields: c.fields}
	id := r.text("module_id")
	if r.err != nil {
		return nil, r.err
	}
	s.admin.Lock()
	defer s.admin.Unlock()
	m := s.cfg.Policy.table.Load().modules[id]
	if m == nil {
		return nil, ErrModule.With("module id not found")
	}
	// Without effect until it is durable: a crash here, and the caller, who has
	// no answer, asks again.
	if err := s.cfg.Policy.revocations.Revoke(ctx, id, m.Secret.Fingerprint(id)); err != nil {
		return nil, err
	}
	s.cfg.Log.Warn("A module's secret was revoked", "module", id)
	return nil, nil
}

// revokeProxy ends a proxy key for good, whose ever it is: it signs no more, not
// after a reload or a restart either. There is no way back; a module makes
// another.
func (s *Service) revokeProxy(ctx context.Context, c *call) (any, error) {
	r := reader{fields: c.fields}
	key := r.key("proxy", phase0.PublicKeyLength, bellatrix.ExecutionAddressLength)
	if r.err != nil {
		return nil, r.err
	}
	c.key, c.proxy = key.String(), true
	s.admin.Lock()
	defer s.admin.Unlock()
	if err := s.cfg.Policy.proxies.Revoke(ctx, key); err != nil {
		return nil, err
	}
	s.cfg.Log.Warn("A proxy key was revoked", "key", key.String())
	return nil, nil
}

// LedgerRevocations keeps revocations in the ledger: a note of a resource that
// names module and fingerprint. All fields are required.
type LedgerRevocations struct {
	// Notes writes to the ledger. Holds says whether a resource is taken.
	Notes interface {
		Note(ctx context.Context, id commitments.PageID, e ledger.Entry) error
	}
	Book interface {
		Revoked(resource func() string) bool
	}
	Clock *chain.Clock
}

// Revoke implements Revocations.
func (l LedgerRevocations) Revoke(ctx context.Context, module string, fingerprint [32]byte) error {
	name := commitments.ResourceToken(module, fingerprint)
	return l.Notes.Note(ctx, commitments.PageID{Slot: l.Clock.Slot()}, ledger.Entry{
		Kind: ledger.KindRevocation, Module: module, Resources: []string{name}, Note: map[string]string{"token_of": module},
	})
}

// Revoked implements Revocations.
func (l LedgerRevocations) Revoked(module string, fingerprint func() [32]byte) bool {
	return l.Book.Revoked(func() string { return commitments.ResourceToken(module, fingerprint()) })
}
