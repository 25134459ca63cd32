package api

import (
	"slices"
	"sync/atomic"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/internal/config"
	"sidecar/internal/ledger"
)

// Routes that a grant may list.
const (
	RoutePubkeys  = config.RoutePubkeys
	RouteSign     = config.RouteSign // of both generations
	RouteGenerate = config.RouteGenerate
	RouteIntents  = config.RouteIntents
)

// Grant says what a module may do. The zero Grant allows nothing.
type Grant struct {
	AllKeys   bool               // of validators; else Keys
	Keys      []phase0.BLSPubKey // of validators, and so of the proxies they vouch for
	Consensus bool               // sign with validators' keys: intents, and blind roots with those named in Keys
	Proxy     bool               // make proxy keys, and sign with its own
	Routes    []string
	PerSlot   int // signatures asked for in one slot
}

func (g *Grant) covers(key phase0.BLSPubKey) bool { return g.AllKeys || slices.Contains(g.Keys, key) }

// Module is a module in another process.
type Module struct {
	ID        string
	SigningID phase0.Root
	Secret    config.Secret
	Grant     Grant
	Legacy    bool   // also takes tokens and requests of Commit-Boost up to 0.9: weak
	Strict    bool   // single-use tokens of at most 60 s
	Peer      string // name in its client certificate; "" means any, or none
}

// Table is who may call. It is read-only once given away.
type Table struct {
	Modules []Module
	Admin   config.Secret // of /reload and /revoke_jwt; empty: nobody may
}

func (t *Table) check() error {
	ids, secrets, signing := map[string]bool{}, map[config.Secret]bool{"": true, t.Admin: true}, map[phase0.Root]bool{{}: true}
	for i := range t.Modules {
		m := &t.Modules[i]
		switch {
		case m.ID == "" || len(m.ID) > maxModuleID || ids[m.ID]:
			return ErrTable.With("module id %.64q is empty, too long, or twice", m.ID)
		case secrets[m.Secret]:
			return ErrTable.With("the secret of %s is empty, or another's", m.ID)
		case m.Strict && m.Secret.Weak():
			return ErrTable.With("the secret of %s has fewer than %d characters", m.ID, config.WeakSecret)
		case signing[m.SigningID]:
			return ErrTable.With("the signing id of %s is zero, or another's", m.ID)
		case m.Strict && m.Legacy:
			return ErrTable.With("%s is strict and legacy", m.ID)
		}
		for _, r := range m.Grant.Routes {
			if !slices.Contains([]string{RoutePubkeys, RouteSign, RouteGenerate, RouteIntents}, r) {
				return ErrTable.With("route %.64q of %s", r, m.ID)
			}
		}
		ids[m.ID], secrets[m.Secret], signing[m.SigningID] = true, true, true
	}
	return nil
}

// Policy is who may have what signed, now. It stands on the one road to a
// signature, behind everything that the routes check. It is a signer.Policy.
type Policy struct {
	proxies     Proxies
	revocations Revocations

	table atomic.Pointer[standing]
}

// standing is a table by id.
type standing struct {
	modules map[string]*Module
	Admin   config.Secret // exported so that fmt sees its Formatter
}

// NewPolicy checks a table. Fault: ErrTable.
func NewPolicy(t Table, proxies Proxies, revocations Revocations) (*Policy, error) {
	p := &Policy{proxies: proxies, revocations: revocations}
	return p, p.Update(t)
}

// Update puts another table in place of the present one, all of it or nothing.
// A secret that was revoked stays so. Fault: ErrTable.
func (p *Policy) Update(t Table) error {
	if err := t.check(); err != nil {
		return err
	}
	s := &standing{modules: map[string]*Module{}, Admin: t.Admin}
	for _, m := range t.Modules {
		s.modules[m.ID] = &m
	}
	p.table.Store(s)
	return nil
}

// module returns a module whose secret counts, or nil.
func (p *Policy) module(id string) *Module {
	m := p.table.Load().modules[id]
	if m == nil || p.revocations.Revoked(id, func() [32]byte { return m.Secret.Fingerprint(id) }) {
		return nil
	}
	return m
}

// Allows answers for what modules in other processes ask: requests under their
// own proxies and the validators' keys they may use, and proxy keys.
func (p *Policy) Allows(module string, kind ledger.Kind, key commitments.Key) bool {
	m := p.module(module)
	if m == nil {
		return false
	}
	switch kind {
	case ledger.KindProxy:
		return key.IsBLS() && m.Grant.Proxy && m.Grant.covers(key.BLS)
	case ledger.KindRequest:
		if proxy, ok := p.proxies.Lookup(key); ok {
			return proxy.Module == module && m.Grant.Proxy && m.Grant.covers(proxy.Delegator)
		}
		return key.IsBLS() && m.Grant.Consensus && m.Grant.covers(key.BLS)
	}
	return false
}
