package api

import (
	"context"
	"fmt"

	"github.com/attestantio/go-eth2-client/spec/phase0"
)

// maxProxies is how many proxy keys a module may have made for one validator:
// each is on disk for good.
const maxProxies = 64

type keyMap struct {
	Consensus  string   `json:"consensus"`
	ProxyBLS   []string `json:"proxy_bls"`
	ProxyECDSA []string `json:"proxy_ecdsa"`
}

// pubkeys lists the validators a module may act for, and its own proxies.
// [Commit-Boost: get_pubkeys]
func (s *Service) pubkeys(_ context.Context, c *call) (any, error) {
	keys := []keyMap{}
	at := map[phase0.BLSPubKey]int{}
	for _, key := range s.cfg.Consensus() {
		if c.module.Grant.covers(key) {
			at[key] = len(keys)
			keys = append(keys, keyMap{fmt.Sprintf("%#x", key[:]), []string{}, []string{}})
		}
	}
	for _, p := range s.cfg.Policy.proxies.Of(c.module.ID) {
		i, ok := at[p.Delegator]
		switch {
		case !ok: // its validator is not loaded, or not the module's
		case p.Key.IsBLS():
			keys[i].ProxyBLS = append(keys[i].ProxyBLS, p.Key.String())
		default:
			keys[i].ProxyECDSA = append(keys[i].ProxyECDSA, p.Key.String())
		}
	}
	return map[string]any{"keys": keys}, nil
}

type delegation struct {
	Message struct {
		Delegator string `json:"delegator"`
		Proxy     string `json:"proxy"`
	} `json:"message"`
	Signature string `json:"signature"`
}

// generate makes a proxy key. [Commit-Boost: generate_proxy_key]
func (s *Service) generate(ctx context.Context, c *call) (any, error) {
	r := reader{fields: c.fields}
	key, scheme := r.pubkey("pubkey"), r.text("scheme")
	if r.err == nil && scheme != "bls" && scheme != "ecdsa" {
		r.fail("scheme", "is not bls or ecdsa")
	}
	if r.err != nil {
		return nil, r.err
	}
	c.key = fmt.Sprintf("%#x", key[:])
	switch {
	case !s.loaded(key):
		return nil, ErrConsensus.With("unknown consensus signer: %#x", key[:])
	case !c.module.Grant.Proxy:
		return nil, ErrKey.With("module %s may not have proxy keys; its grant needs kinds = [%q]", c.module.ID, "proxy")
	case !c.module.Grant.covers(key):
		return nil, ErrKey.With("module %s may not act for validator %#x", c.module.ID, key[:])
	}
	has := 0
	for _, p := range s.cfg.Policy.proxies.Of(c.module.ID) {
		if p.Delegator == key {
			has++
		}
	}
	if has >= maxProxies {
		return nil, ErrProxyLimit.With("%d proxy keys", has)
	}
	p, err := s.cfg.Policy.proxies.Generate(ctx, c.module.ID, key, scheme == "ecdsa")
	if err != nil {
		return nil, err
	}
	out := delegation{Signature: fmt.Sprintf("%#x", p.Delegation[:])}
	out.Message.Delegator, out.Message.Proxy = c.key, p.Key.String()
	return out, nil
}
