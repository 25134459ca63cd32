package bindings

import (
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"

	"sidecar/commitments"
	"sidecar/slashing/evidence"
)

// What is in a file, as the contract takes it: keys and signatures
// decompressed. The error is a point that is none.

func newDelegation(s commitments.SignedDelegation) (out SignedDelegation, err error) {
	d := Delegation{Committer: common.Address(s.Message.Committer), Slot: uint64(s.Message.Slot), Metadata: s.Message.Metadata}
	if d.Proposer, err = NewG1(s.Message.Proposer); err != nil {
		return out, err
	}
	if d.Delegate, err = NewG1(s.Message.Delegate); err != nil {
		return out, err
	}
	out = SignedDelegation{Delegation: d, Nonce: s.Nonce, SigningId: s.SigningID}
	out.Signature, err = NewG2(s.Signature)
	return out, err
}

func newPromise(s evidence.Promise) (out SignedPromise, err error) {
	c := s.Commitment
	out = SignedPromise{
		Commitment: Commitment{CommitmentType: c.Type, Payload: c.Payload, RequestHash: c.RequestHash, Slasher: common.Address(c.Slasher)},
		Nonce:      s.Nonce, SigningId: s.SigningID, Branch: [][32]byte{},
	}
	for _, sibling := range s.Branch {
		out.Branch = append(out.Branch, sibling)
	}
	out.Signature, err = NewG2(phase0.BLSSignature(s.Signature))
	return out, err
}

func newProof(a evidence.Absence) AbsenceProof {
	list := func(nodes []hexutil.Bytes) [][]byte {
		out := make([][]byte, len(nodes))
		for i := range nodes {
			out[i] = nodes[i]
		}
		return out
	}
	return AbsenceProof{
		ChildNumber: a.ChildNumber,
		ChildHeader: a.Headers.Child, TargetHeader: a.Headers.Target, ParentHeader: a.Headers.Parent,
		BeaconParentRoot: a.BeaconHeader.ParentRoot, BeaconStateRoot: a.BeaconHeader.StateRoot, BeaconBodyRoot: a.BeaconHeader.BodyRoot,
		PreState: list(a.AccountProofs.Pre), PostState: list(a.AccountProofs.Post),
	}
}
