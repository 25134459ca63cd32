package client

import (
	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/fault"
	"sidecar/internal/bls"
	"sidecar/internal/ecdsa"
)

// Faults of promises.
var (
	ErrOther    = fault.Define("commitment_of_another_request", fault.Invalid, "The commitment answers another request than was made.")
	ErrUnsigned = fault.Define("commitment_signature_invalid", fault.Invalid, "A signature of the commitment is missing, or is not of the key that should have made it.")
)

// Keys are who must have signed a promise, and for which chain. Capabilities name
// them for every slot; the delegation that a relay shows binds them to a
// validator.
type Keys struct {
	ChainID            uint64
	GenesisForkVersion phase0.Version
	Committer          bellatrix.ExecutionAddress // zero: only the delegate signs
	Delegate           phase0.BLSPubKey
}

// Verify says whether a commitment answers a request and has both signatures:
// the committer's, which the Commitments API asks for, and the delegate's, alone
// or of a group, which the contracts check. Faults: ErrOther, ErrUnsigned.
func Verify(r commitments.Request, s commitments.SignedCommitment, k Keys) error {
	c := s.Commitment
	if c.RequestHash != r.Hash() || c.Type != r.Type || c.Slasher != r.Slasher || string(c.Payload) != string(r.Payload) {
		return ErrOther
	}
	domain := chain.Spec{GenesisForkVersion: k.GenesisForkVersion}.Domain(chain.DomainCommitBoost)
	object := c.Root()
	root := func(object phase0.Root, nonce uint64) phase0.Root {
		return commitments.SigningRoot(domain, k.ChainID, object, s.SigningID, nonce)
	}
	switch {
	case len(s.Signature) == len(phase0.BLSSignature{}) && s.Proxy.IsZero(): // of a sidecar without a committer
		if k.Committer != (bellatrix.ExecutionAddress{}) || !bls.Verify(k.Delegate, root(object, s.Nonce), phase0.BLSSignature(s.Signature)) {
			return ErrUnsigned.With("the delegate's, alone")
		}
		return nil
	case len(s.Signature) != 65:
		return ErrUnsigned.With("%d bytes", len(s.Signature))
	}
	signer, err := ecdsa.Recover(root(object, s.Nonce), [65]byte(s.Signature))
	if err != nil || signer != k.Committer {
		return ErrUnsigned.With("the committer's")
	}
	if len(s.Proxy.Branch) > commitments.MaxBranch || !bls.Verify(k.Delegate, root(commitments.GroupRoot(object, s.Proxy.Branch), s.Proxy.Nonce), s.Proxy.Signature) {
		return ErrUnsigned.With("the delegate's")
	}
	return nil
}
