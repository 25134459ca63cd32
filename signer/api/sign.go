package api

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/internal/ledger"
)

// signed is the answer of the API since Commit-Boost 0.10; one of Pubkey and
// Address is set.
type signed struct {
	Pubkey     string  `json:"pubkey,omitempty"`
	Address    string  `json:"address,omitempty"`
	ObjectRoot string  `json:"object_root"`
	SigningID  string  `json:"module_signing_id"`
	Nonce      uint64  `json:"nonce"`
	ChainID    string  `json:"chain_id"` // quantity, such as "0x88bb0"
	Slot       *uint64 `json:"slot,omitempty"`
	Signature  string  `json:"signature"`
}

// ask is what a call wants signed.
type ask struct {
	key     commitments.Key
	proxy   bool
	slot    phase0.Slot
	nonce   uint64
	request commitments.ModuleRequest
}

func (s *Service) signBLS(ctx context.Context, c *call) (any, error) {
	return s.signBlind(ctx, c, "pubkey", false, len(phase0.BLSPubKey{}))
}

func (s *Service) signProxyBLS(ctx context.Context, c *call) (any, error) {
	return s.signBlind(ctx, c, "proxy", true, len(phase0.BLSPubKey{}))
}

func (s *Service) signProxyECDSA(ctx context.Context, c *call) (any, error) {
	return s.signBlind(ctx, c, "proxy", true, len(commitments.Key{}.Address))
}

// signBlind signs a root it cannot read. [Commit-Boost ≥ 0.10: request_signature]
func (s *Service) signBlind(ctx context.Context, c *call, name string, proxy bool, length int) (any, error) {
	r := reader{fields: c.fields}
	a := ask{key: r.key(name, length), proxy: proxy, slot: s.cfg.Clock.Slot(), nonce: r.number("nonce")}
	a.request = commitments.ModuleRequest{ObjectRoot: r.root("object_root")}
	if r.err != nil {
		return nil, r.err
	}
	receipt, err := s.sign(ctx, c, a)
	if err != nil {
		return nil, err
	}
	return s.answer(c, a, receipt), nil
}

// signLegacy signs as Commit-Boost did up to 0.9: neither signing id nor nonce
// nor chain id, and a bare string for an answer. Weak: every module's signature
// over a root is the same, and the token may bind nothing.
func (s *Service) signLegacy(ctx context.Context, c *call) (any, error) {
	if !c.module.Legacy {
		return nil, ErrLegacy.With("module %s uses the API of Commit-Boost up to 0.9; its grant needs generation = %q", c.module.ID, "legacy")
	}
	r := reader{fields: c.fields}
	a := ask{slot: s.cfg.Clock.Slot(), request: commitments.ModuleRequest{Envelope: commitments.EnvelopePlain, ObjectRoot: r.root("object_root")}}
	switch kind := r.text("type"); kind {
	case "consensus":
		a.key = r.key("pubkey", len(phase0.BLSPubKey{}))
	case "proxy_bls":
		a.key, a.proxy = r.key("proxy", len(phase0.BLSPubKey{})), true
	case "proxy_ecdsa":
		a.key, a.proxy = r.key("proxy", len(commitments.Key{}.Address)), true
	default:
		r.fail("type", "is not consensus, proxy_bls or proxy_ecdsa")
	}
	if r.err != nil {
		return nil, r.err
	}
	receipt, err := s.sign(ctx, c, a)
	if err != nil {
		return nil, err
	}
	return fmt.Sprintf("%#x", receipt.Signature), nil
}

// sign checks the grant and takes the one road.
func (s *Service) sign(ctx context.Context, c *call, a ask) (ledger.Receipt, error) {
	c.key, c.proxy = a.key.String(), a.proxy
	// 1. May this module use this key for this?
	delegator, err := s.mayUse(c, a)
	if err != nil {
		return ledger.Receipt{}, err
	}
	// 2. Not more often than this in a slot.
	now := s.cfg.Clock.Slot()
	if !s.state(c.module.ID).quota.take(uint64(now), c.module.Grant.PerSlot) {
		left := s.cfg.Clock.Until(s.cfg.Clock.Start(now + 1))
		return ledger.Receipt{}, retry{ErrQuota.With("module %s has had its %d in slot %d", c.module.ID, c.module.Grant.PerSlot, now), max(left, time.Second)}
	}
	// 3. Entry on disk, signature, signature on disk.
	e := ledger.Entry{Kind: ledger.KindRequest, Module: c.module.ID, Key: a.key, Request: &a.request}
	if a.request.Envelope == commitments.EnvelopeModule {
		e.Nonce, e.SigningID = a.nonce, c.module.SigningID
	}
	m, err := s.message(e)
	if err != nil {
		return ledger.Receipt{}, err
	}
	e.Root = m.Root()
	id := commitments.PageID{Slot: a.slot, Proposer: delegator}
	return s.cfg.Signer.Sign(ctx, id, func(commitments.View) (ledger.Entry, error) { return e, nil })
}

// mayUse says under which validator a module may use a key. What is said here
// tells the operator what to change; the signer's policy has the last word.
func (s *Service) mayUse(c *call, a ask) (delegator phase0.BLSPubKey, err error) {
	m := c.module
	if a.proxy {
		proxy, ok := s.cfg.Policy.proxies.Lookup(a.key)
		switch {
		case !ok:
			return delegator, ErrProxy.With("unknown proxy signer: %s", a.key)
		case proxy.Module != m.ID:
			return delegator, ErrProxyOwner.With("%s belongs to another module", a.key)
		case !m.Grant.Proxy:
			return delegator, ErrKey.With("module %s may not use proxy keys; its grant needs kinds = [%q]", m.ID, "proxy")
		case !m.Grant.covers(proxy.Delegator):
			return delegator, ErrKey.With("module %s may not act for validator %#x", m.ID, proxy.Delegator[:])
		}
		return proxy.Delegator, nil
	}
	key := a.key.BLS
	switch blind := a.request.Type == ""; {
	case !s.loaded(key):
		return delegator, ErrConsensus.With("unknown consensus signer: %s", a.key)
	case blind && (!m.Grant.Consensus || !slices.Contains(m.Grant.Keys, key)):
		return delegator, ErrBlind.With("module %s may not have roots signed by this key; its [modules.signer] needs kinds = [%q, %q] and keys = [%q]", m.ID, "consensus", "proxy", a.key)
	case !m.Grant.Consensus || !m.Grant.covers(key):
		return delegator, ErrKey.With("module %s may not use validators' keys, or not this one; its [modules.signer] needs kinds = [%q, %q]", m.ID, "consensus", "proxy")
	}
	return key, nil
}

// loaded says whether a validator's key is loaded.
func (s *Service) loaded(key phase0.BLSPubKey) bool {
	_, ok := slices.BinarySearchFunc(s.cfg.Consensus(), key, func(a, b phase0.BLSPubKey) int { return bytes.Compare(a[:], b[:]) })
	return ok
}

// answer shows a signature as the module asked for it.
func (s *Service) answer(c *call, a ask, r ledger.Receipt) signed {
	out := signed{
		ObjectRoot: a.request.ObjectRoot.String(), SigningID: c.module.SigningID.String(), Nonce: a.nonce,
		ChainID: fmt.Sprintf("%#x", s.cfg.Spec.ChainID), Signature: fmt.Sprintf("%#x", r.Signature),
	}
	if a.key.IsBLS() {
		out.Pubkey = a.key.String()
	} else {
		out.Address = a.key.String()
	}
	return out
}
