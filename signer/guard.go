package signer

import (
	"bytes"
	"fmt"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/internal/ledger"
)

// guard refuses entries that do not fit the page, or contradict what stands on
// it. It is pure. The ledger's resources are the last word; guard says no
// earlier, and by name. A repeat of what stands is let through, so that the
// ledger can answer it with the stored signature.
func guard(v commitments.View, e ledger.Entry) error {
	if !e.Kind.Signed() {
		return ErrIncoherent.With("%s is not signed", e.Kind)
	}
	if e.Key.Bytes() == nil || e.Root == (phase0.Root{}) || len(e.Resources) == 0 {
		return ErrIncoherent.With("%s without one key, root or resource", e.Kind)
	}
	switch e.Kind {
	case ledger.KindDelegation:
		return guardDelegation(v, e)
	case ledger.KindCommitment:
		return guardCommitment(v, e)
	case ledger.KindConstraints:
		return guardConstraints(v, e)
	case ledger.KindRequest:
		return guardRequest(e)
	default:
		return guardProxy(v, e)
	}
}

func guardDelegation(v commitments.View, e ledger.Entry) error {
	d := e.Delegation
	if d == nil || objects(e) != 1 {
		return ErrIncoherent.With("a delegation entry holds a delegation and nothing else")
	}
	if d.Slot != v.Slot || d.Proposer != v.Proposer {
		return ErrIncoherent.With("the delegation is for another page")
	}
	if e.Key != commitments.BLSKey(d.Proposer) {
		return ErrIncoherent.With("a delegation is signed by its proposer")
	}
	if has := v.Delegation; has != nil && !sameDelegation(has, e) {
		return contradicts(commitments.ResourceDelegation(v.Slot, v.Proposer), e)
	}
	return nil
}

func guardCommitment(v commitments.View, e ledger.Entry) error {
	if e.Draft == nil || objects(e) != 1 {
		return ErrIncoherent.With("a commitment entry holds a draft and nothing else")
	}
	if d := v.Delegation; d != nil && !e.Delegate.IsZero() && (e.Delegate != d.Message.Delegate || e.Key != commitments.ECDSAKey(d.Message.Committer)) {
		return ErrIncoherent.With("the slot's delegation names another delegate or committer")
	}
	if v.Closed && !promised(v.Page, e) {
		return ledger.ErrPageClosed.With("slot %d", v.Slot)
	}
	return nil
}

func guardConstraints(v commitments.View, e ledger.Entry) error {
	c := e.Constraints
	if c == nil || objects(e) != 1 {
		return ErrIncoherent.With("a constraints entry holds a message and nothing else")
	}
	if c.Slot != v.Slot || c.Proposer != v.Proposer {
		return ErrIncoherent.With("the constraints are for another page")
	}
	if e.Key != commitments.BLSKey(c.Delegate) {
		return ErrIncoherent.With("constraints are signed by their delegate")
	}
	if has := v.Constraints; has != nil && has.Message.Delegate != c.Delegate {
		return contradicts(commitments.ResourceConstraints(has.Message.Delegate, v.Slot), e)
	}
	return nil
}

// contradicts refuses an entry by the name of what stands.
func contradicts(resource string, e ledger.Entry) error {
	return ledger.ErrSlashable.Wrap(&ledger.Contradiction{Resource: resource, Kind: e.Kind, Module: e.Module, Key: e.Key, Asked: e.Root})
}

func guardRequest(e ledger.Entry) error {
	r := e.Request
	if r == nil || objects(e) != 1 {
		return ErrIncoherent.With("a request entry holds a module's request and nothing else")
	}
	if r.Envelope > commitments.EnvelopePlain || r.Envelope == commitments.EnvelopePlain && (e.Nonce != 0 || e.SigningID != phase0.Root{}) {
		return ErrIncoherent.With("envelope %d with nonce %d", r.Envelope, e.Nonce)
	}
	if r.Envelope == commitments.EnvelopeModule && (e.SigningID == phase0.Root{}) {
		return ErrIncoherent.With("module %.64q has no signing id", e.Module)
	}
	return nil
}

func guardProxy(v commitments.View, e ledger.Entry) error {
	p := e.Proxy
	if p == nil || objects(e) != 1 {
		return ErrIncoherent.With("a proxy entry holds a proxy delegation and nothing else")
	}
	if e.Key != commitments.BLSKey(p.Delegator) || p.Delegator != v.Proposer || p.Proxy.Bytes() == nil || p.Proxy == e.Key {
		return ErrIncoherent.With("a proxy is vouched for by the validator of its page, and is another key")
	}
	if e.Nonce != 0 || (e.SigningID != phase0.Root{}) {
		return ErrIncoherent.With("a proxy delegation has neither nonce nor signing id")
	}
	return nil
}

// objects counts what an entry holds: one is what it may.
func objects(e ledger.Entry) (n int) {
	for _, has := range []bool{e.Draft != nil, e.Delegation != nil, e.Constraints != nil, e.Request != nil, e.Proxy != nil} {
		if has {
			n++
		}
	}
	return n
}

func sameDelegation(has *commitments.SignedDelegation, e ledger.Entry) bool {
	x, y := has.Message, *e.Delegation
	return x.Proposer == y.Proposer && x.Delegate == y.Delegate && x.Committer == y.Committer && x.Slot == y.Slot &&
		bytes.Equal(x.Metadata, y.Metadata) && has.Nonce == e.Nonce && has.SigningID == e.SigningID
}

// promised says whether e is on the page already.
func promised(p commitments.Page, e ledger.Entry) bool {
	want := e.Draft.Commitment
	for i := range p.Promises {
		c := &p.Promises[i]
		has := c.Commitment
		if has.RequestHash == want.RequestHash && has.Type == want.Type && has.Slasher == want.Slasher &&
			bytes.Equal(has.Payload, want.Payload) && c.Nonce == e.Nonce && c.SigningID == e.SigningID {
			return true
		}
	}
	return false
}

// resources name what an entry of this kind uses up; nil if decide names it, or
// adds to it.
func resources(id commitments.PageID, e ledger.Entry) []string {
	switch {
	case e.Kind == ledger.KindDelegation:
		return []string{commitments.ResourceDelegation(id.Slot, id.Proposer)}
	case e.Kind == ledger.KindConstraints && e.Constraints != nil:
		return []string{commitments.ResourceConstraints(e.Constraints.Delegate, e.Constraints.Slot)}
	case e.Kind == ledger.KindCommitment && e.Draft != nil:
		names := []string{commitments.ResourceRequest(e.Key, e.Draft.Commitment.RequestHash)}
		for _, claim := range e.Draft.Claims {
			names = append(names, commitments.ResourceClaim(e.Key, id.Slot, claim))
		}
		return names
	case e.Kind == ledger.KindRequest && e.Request != nil:
		names := []string{commitments.ResourceRoot(e.Key, e.Root)}
		if e.Request.Envelope == commitments.EnvelopeModule && e.Nonce > 0 {
			names[0] = commitments.ResourceNonce(e.Key, e.SigningID, e.Nonce)
		}
		for _, claim := range e.Request.Claims {
			names = append(names, commitments.ResourceClaim(e.Key, id.Slot, claim))
		}
		return names
	case e.Kind == ledger.KindProxy:
		return []string{commitments.ResourceRoot(e.Key, e.Root)}
	case e.Kind == ledger.KindClose:
		return []string{fmt.Sprintf("close/%d/%#x", uint64(id.Slot), id.Proposer[:])}
	default:
		return nil
	}
}

// MessageOf returns a function that computes what is signed for an entry on a
// chain, for Signer.Message. [Commit-Boost: PropCommitSigningInfo, ProxyDelegation]
func MessageOf(spec chain.Spec) func(ledger.Entry) (commitments.Message, error) {
	domain := spec.Domain(chain.DomainCommitBoost)
	return func(e ledger.Entry) (m commitments.Message, err error) {
		var root phase0.Root
		switch {
		case e.Kind == ledger.KindCommitment && e.Draft != nil:
			root = e.Draft.Commitment.Root()
		case e.Kind == ledger.KindDelegation && e.Delegation != nil:
			root, err = e.Delegation.Root()
		case e.Kind == ledger.KindConstraints && e.Constraints != nil:
			root, err = e.Constraints.Root()
		case e.Kind == ledger.KindProxy && e.Proxy != nil:
			return commitments.Message{Object: e.Proxy.Root(), Domain: domain}, nil
		case e.Kind == ledger.KindRequest && e.Request != nil && e.Request.Envelope == commitments.EnvelopePlain:
			return commitments.Message{Object: e.Request.ObjectRoot, Domain: domain}, nil
		case e.Kind == ledger.KindRequest && e.Request != nil:
			root = e.Request.ObjectRoot
		default:
			err = ErrIncoherent.With("%s has no root", e.Kind)
		}
		return commitments.Message{Object: commitments.ModuleObject(spec.ChainID, root, e.SigningID, e.Nonce), Domain: domain}, err
	}
}
