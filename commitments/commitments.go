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

// TypeInclusion is the commitment and constraint type of an L1 inclusion
// promise: payload = abi(struct{uint64 slot; bytes signed_tx}). [fabric: type 1]
const TypeInclusion uint64 = 1

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

// SignedCommitment is a commitment with the proxy key's signature over its
// Commit-Boost signing root. [fabric: SignedCommitment]
type SignedCommitment struct {
	Commitment Commitment
	Nonce      uint64
	SigningID  phase0.Root
	Signature  []byte // BLS, 96 bytes, by the delegate
}

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
