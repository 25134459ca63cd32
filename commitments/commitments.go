// Package commitments holds the nouns of proposer commitments, their encodings,
// their signing roots and their proofs. It does no I/O and keeps no state.
//
// Names and encodings follow the Commitments API and the Constraints API in the
// form eth-fabric serves ("Gen B"), and Commit-Boost for signing.
package commitments

import (
	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"
)

// The commitment types of a promise that a block contains a transaction.
const (
	// TypeInclusion is also the constraint type of both:
	// payload = abi(struct{uint64 slot; bytes signed_tx}). [fabric: type 1]
	TypeInclusion uint64 = 1
	// TypeProvableInclusion ("incl") names the proposer, so that the contracts can
	// judge it: payload = abi(uint64 slot, uint64 proposerIndex, bytes signedTx).
	// [contracts: FaultVerifier.TYPE_INCLUSION; docs/commitments.md]
	TypeProvableInclusion uint64 = 0x696e636c
)

// Request asks for a commitment. [Commitments API: CommitmentRequest]
type Request struct {
	Type    uint64
	Payload []byte
	Slasher bellatrix.ExecutionAddress
}

// Commitment is what we promise. [Commitments API: Commitment]
type Commitment struct {
	Type        uint64
	Payload     []byte
	RequestHash phase0.Hash32
	Slasher     bellatrix.ExecutionAddress
}

// SignedCommitment is a commitment with the signatures of the two keys that the
// slot's delegation names: the committer's and the delegate's. Both sign a
// Commit-Boost signing root under SigningID. [fabric: SignedCommitment; docs/commitments.md]
type SignedCommitment struct {
	Commitment Commitment
	Nonce      uint64 // of Signature: the committer never uses it again
	SigningID  phase0.Root

	// Signature is the committer's: ECDSA, 65 bytes (r‖s‖v, v is 27 or 28), over
	// the signing root of the commitment's root. Of an earlier version, with an
	// empty Proxy: the delegate's, BLS, 96 bytes, over the same root.
	Signature []byte
	// Proxy is the delegate's, which the contracts check.
	Proxy ProxySignature
}

// ProxySignature is the delegate's BLS signature of a group of commitments: over
// the signing root, with its own nonce, of GroupRoot(commitment root, branch).
// The zero ProxySignature is none.
type ProxySignature struct {
	Signature phase0.BLSSignature
	Nonce     uint64        // that of the group's first commitment
	Branch    []phase0.Root // siblings from the commitment up; none: a group of one. At most MaxBranch
}

// IsZero says whether there is no signature.
func (p ProxySignature) IsZero() bool { return p.Signature.IsZero() }

// Constraint is what a builder must do so that a commitment is kept, or, in a
// Candidate, the proof that it did. [Constraints API: Constraint]
type Constraint struct {
	Type    uint64
	Payload []byte
}

// ConstraintsMessage is the one message a delegate signs for a slot.
// [Constraints API: ConstraintsMessage]
type ConstraintsMessage struct {
	Proposer, Delegate phase0.BLSPubKey
	Slot               phase0.Slot
	Constraints        []Constraint
	Receivers          []phase0.BLSPubKey // empty: public
}

// SignedConstraints is a ConstraintsMessage with the delegate's signature.
type SignedConstraints struct {
	Message   ConstraintsMessage
	Nonce     uint64
	SigningID phase0.Root
	Signature phase0.BLSSignature
}

// Delegation lets a delegate act for a proposer in one slot. [URC: ISlasher.Delegation]
type Delegation struct {
	Proposer, Delegate phase0.BLSPubKey
	Committer          bellatrix.ExecutionAddress
	Slot               phase0.Slot
	Metadata           []byte
}

// SignedDelegation is a Delegation with the proposer's signature.
type SignedDelegation struct {
	Message   Delegation
	Nonce     uint64
	SigningID phase0.Root
	Signature phase0.BLSSignature
}
