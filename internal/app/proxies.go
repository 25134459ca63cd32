package app

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/internal/ledger"
	"sidecar/signer/api"
	"sidecar/signer/keystore"
)

// proxies shows the Signer API the proxy keys of the store.
type proxies struct{ *signing }

// Of implements api.Proxies.
func (p proxies) Of(module string) (out []api.Proxy) {
	if p.keys.proxies == nil {
		return nil
	}
	for _, has := range p.keys.proxies.Of(module) {
		out = append(out, shown(has))
	}
	return out
}

// Lookup implements api.Proxies.
func (p proxies) Lookup(key commitments.Key) (api.Proxy, bool) {
	if p.keys.proxies == nil {
		return api.Proxy{}, false
	}
	has, ok := p.keys.proxies.Lookup(key)
	return shown(has), ok
}

// Generate implements api.Proxies.
func (p proxies) Generate(ctx context.Context, module string, delegator phase0.BLSPubKey, ecdsa bool) (api.Proxy, error) {
	if p.keys.proxies == nil {
		return api.Proxy{}, ErrStore
	}
	scheme := keystore.SchemeBLS
	if ecdsa {
		scheme = keystore.SchemeECDSA
	}
	made, err := p.keys.proxies.Generate(ctx, module, delegator, scheme, time.Time{})
	return shown(made), err
}

// Revoke implements api.Proxies. The ledger comes first: a crash before the store
// is marked is mended when the store is opened again.
func (p proxies) Revoke(ctx context.Context, key commitments.Key) error {
	if p.keys.proxies == nil {
		return keystore.ErrNotHeld.With("%s", key)
	}
	all := p.keys.proxies.All() // an expired one may be revoked, too
	i := slices.IndexFunc(all, func(has keystore.Proxy) bool { return has.Key == key })
	switch _, err := p.keys.proxies.Find(key); {
	case errors.Is(err, keystore.ErrRevoked):
		return nil
	case i < 0:
		return keystore.ErrNotHeld.With("%s", key)
	}
	has := all[i]
	note := ledger.Entry{
		Kind: ledger.KindRevocation, Module: has.Module, Resources: []string{commitments.ResourceRevokedProxy(key)},
		Note: map[string]string{"proxy": key.String()},
	}
	if err := p.signer.Note(ctx, commitments.PageID{Slot: p.clock.Slot(), Proposer: has.Consensus}, note); err != nil {
		return err
	}
	return p.keys.proxies.Revoke(key)
}

// revoked says whether the ledger knows a proxy to be revoked, by whichever sidecar.
func (s *signing) revoked(key commitments.Key) bool {
	return s.ledger.Revoked(func() string { return commitments.ResourceRevokedProxy(key) })
}

func shown(p keystore.Proxy) api.Proxy {
	return api.Proxy{Module: p.Module, Delegator: p.Consensus, Key: p.Key, Delegation: p.Delegation}
}
