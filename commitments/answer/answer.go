// Package answer checks what a gateway answered, as a searcher does before it
// relies on a promise: that it is the promise asked for, and that both keys of the
// slot's delegation signed it. It does no I/O. docs/commitments.md is the format.
package answer

import (
	"bytes"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/fault"
	"sidecar/internal/bls"
	"sidecar/internal/ecdsa"
)

// What may be wrong with an answer.
var (
	ErrOther     = fault.Define("answer_other_promise", fault.Invalid, "The answer is not the promise that was asked for: type, payload, slasher or request hash differ.")
	ErrCommitter = fault.Define("answer_committer_signature", fault.Invalid, "The answer is not signed by the committer that the slot's delegation names.")
	ErrProxy     = fault.Define("answer_proxy_signature", fault.Invalid, "The answer is not signed by the delegate that the slot's delegation names, so that no contract could judge it.")
)

// Signers are the keys that must have signed: those of the slot's delegation.
type Signers struct {
	Committer bellatrix.ExecutionAddress
	Delegate  phase0.BLSPubKey
}

// Verify says whether s is the answer to r, signed by both. The chain is known by
// its id and its genesis fork version. Faults: ErrOther, ErrCommitter, ErrProxy.
func Verify(spec chain.Spec, r commitments.Request, s commitments.SignedCommitment, by Signers) error {
	c := s.Commitment
	if c.Type != r.Type || !bytes.Equal(c.Payload, commitments.PromisedPayload(r)) || c.Slasher != r.Slasher || c.RequestHash != r.Hash() {
		return ErrOther
	}
	return VerifySignatures(spec, s, by)
}

// VerifySignatures says whether a commitment is signed by both, whatever it
// answers. Faults: ErrCommitter, ErrProxy.
func VerifySignatures(spec chain.Spec, s commitments.SignedCommitment, by Signers) error {
	domain, object := spec.Domain(chain.DomainCommitBoost), s.Commitment.Root()
	signed := func(object phase0.Root, nonce uint64) phase0.Root {
		return commitments.SigningRoot(domain, spec.ChainID, object, s.SigningID, nonce)
	}
	if len(s.Signature) != 65 {
		return ErrCommitter.With("a signature of %d bytes", len(s.Signature))
	}
	who, err := ecdsa.Recover(signed(object, s.Nonce), [65]byte(s.Signature))
	switch {
	case err != nil:
		return ErrCommitter.Wrap(err)
	case who != by.Committer:
		return ErrCommitter.With("signed by %s, not by %s", who, by.Committer)
	case len(s.Proxy.Branch) > commitments.MaxBranch:
		return ErrProxy.With("a branch of %d", len(s.Proxy.Branch))
	}
	if group := commitments.GroupRoot(object, s.Proxy.Branch); !bls.Verify(by.Delegate, signed(group, s.Proxy.Nonce), s.Proxy.Signature) {
		return ErrProxy
	}
	return nil
}
