package app

import (
	"context"
	"slices"
	"sync"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/fault"
	"sidecar/signer/api"
	"sidecar/signer/keystore"
)

// ErrScheme is a proxy key that the store cannot keep.
var ErrScheme = fault.Define("proxy_scheme_unserved", fault.Rejected, "Proxy keys of this scheme cannot be stored: signer.local.store needs keys_path, and the scheme bls.")

// proxies shows the Signer API the proxy keys of the store.
type proxies struct {
	store keystore.ProxyStore
	local *keystore.Local

	mu   sync.Mutex
	list []api.Proxy // guarded by mu
}

// Of implements api.Proxies.
func (p *proxies) Of(module string) (out []api.Proxy) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, has := range p.list {
		if has.Module == module {
			out = append(out, has)
		}
	}
	return out
}

// Lookup implements api.Proxies.
func (p *proxies) Lookup(key commitments.Key) (api.Proxy, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.list, func(has api.Proxy) bool { return has.Key == key })
	if i < 0 {
		return api.Proxy{}, false
	}
	return p.list[i], true
}

// Generate implements api.Proxies. A delegation is no promise about a slot and
// cannot conflict with another, so the store makes it without the ledger.
func (p *proxies) Generate(ctx context.Context, module string, delegator phase0.BLSPubKey, ecdsa bool) (api.Proxy, error) {
	if ecdsa || p.store.Keys == "" {
		return api.Proxy{}, ErrScheme
	}
	made, err := p.store.GenerateProxy(ctx, p.local, delegator, module)
	if err != nil {
		return api.Proxy{}, err
	}
	p.local.AddProxies(made)
	return p.add(made), nil
}

func (p *proxies) add(k keystore.Proxy) api.Proxy {
	out := api.Proxy{Module: k.Module, Delegator: k.Consensus, Key: commitments.BLSKey(k.Key), Delegation: k.Delegation}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list = append(p.list, out)
	return out
}
