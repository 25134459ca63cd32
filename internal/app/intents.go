package app

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/internal/config"
	"sidecar/internal/ledger"
	"sidecar/modules"
	"sidecar/signer/api"
	"sidecar/signer/keystore"
)

// intents signs what a module in this process asks for, with proxy keys that are
// stored under a name of their own: they are not those that promise, so that
// nothing a module writes into an object can be taken for a promise.
type intents struct {
	*signing
	module *config.Module

	mu sync.Mutex // over making a key
}

var _ modules.Signer = (*intents)(nil)

func (s *intents) name() string { return intentsName(s.module.ID) }

func intentsName(module string) string { return module + ".intents" }

// Key implements modules.Signer.
func (s *intents) Key(ctx context.Context, validator phase0.BLSPubKey) (commitments.Key, error) {
	if s.keys.proxies == nil {
		return commitments.Key{}, ErrStore
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.keys.proxies.Of(s.name()) {
		if p.Consensus == validator && p.Key.IsBLS() {
			return p.Key, nil
		}
	}
	made, err := s.keys.proxies.Generate(ctx, s.name(), validator, keystore.SchemeBLS, time.Time{})
	return made.Key, err
}

// Sign implements modules.Signer.
func (s *intents) Sign(ctx context.Context, key commitments.Key, i modules.Intent) ([]byte, error) {
	request, err := api.CheckIntent(i.Type, i.Hash, slices.Clone(i.Object), slices.Clone(i.Claims))
	if err != nil {
		return nil, err
	}
	if err := api.CheckIntentSlot(i.Slot, s.clock.Slot()); err != nil {
		return nil, err
	}
	proxy, err := s.keys.proxies.Find(key)
	if err != nil || proxy.Module != s.name() {
		return nil, api.ErrProxyOwner.With("%s", key)
	}
	e := ledger.Entry{Kind: ledger.KindRequest, Module: s.name(), Key: key, Nonce: i.Nonce, SigningID: s.module.SigningID, Request: request}
	m, err := s.signer.Message(e)
	if err != nil {
		return nil, err
	}
	e.Root = m.Root()
	r, err := s.signer.Sign(ctx, commitments.PageID{Slot: i.Slot, Proposer: proxy.Consensus}, func(commitments.View) (ledger.Entry, error) { return e, nil })
	if err != nil {
		return nil, err
	}
	// The same root was signed before, as something else: what this intent claims is
	// then not in the ledger.
	if has := r.Entry.Request; has == nil || r.Page.Slot != i.Slot || has.Type != i.Type || !slices.Equal(has.Claims, i.Claims) {
		return nil, api.ErrIntentDiffers.With("it stands as entry %d, slot %d", r.Seq, r.Page.Slot)
	}
	return r.Signature, nil
}

// intentPolicy lets a module in this process make the keys that are stored under
// its name for intents and have intents signed with them, and nothing else.
type intentPolicy struct {
	keys  keys
	names map[string]bool
}

// newIntentPolicy refuses a module whose id is another's name for intents.
func newIntentPolicy(c *config.Config, k keys) (p intentPolicy, err error) {
	p = intentPolicy{keys: k, names: map[string]bool{}}
	for i := range c.Modules {
		if m := &c.Modules[i]; m.Promises() && m.Type != config.ModuleRemote {
			p.names[intentsName(m.ID)] = true
		}
	}
	for i := range c.Modules {
		if id := c.Modules[i].ID; p.names[id] {
			return p, fmt.Errorf("module %s: the keys of another module are stored under that name", id)
		}
	}
	return p, nil
}

// Allows implements signer.Policy.
func (p intentPolicy) Allows(module string, kind ledger.Kind, key commitments.Key) bool {
	if !p.names[module] || p.keys.proxies == nil {
		return false
	}
	switch kind {
	case ledger.KindProxy:
		return key.IsBLS() && slices.Contains(p.keys.consensus, key.BLS)
	case ledger.KindRequest:
		proxy, ok := p.keys.proxies.Lookup(key)
		return ok && proxy.Module == module
	}
	return false
}
