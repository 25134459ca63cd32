package bindings

import (
	"fmt"

	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"

	"sidecar/commitments"
	"sidecar/slashing/evidence"
)

// Generation is which interface of the Universal Registry Contract a slasher is
// called by. [contracts/src/Interfaces.sol]
type Generation int

// The generations.
const (
	RegistryMain          Generation = iota // main, July 2025
	RegistrySigningDomain                   // branch signing-domain, January 2026
)

// Submit is the call of PreconfServiceManager that submits the fault of a file:
// submitAbsent or submitDouble, which return its id. The contract to call is
// the file's slasher. Fault: evidence.ErrMalformed.
func Submit(f evidence.File) ([]byte, error) {
	parts, err := arguments(f)
	if err != nil {
		return nil, err
	}
	method := "submitAbsent"
	if f.Kind == evidence.Double {
		method = "submitDouble"
	}
	return call(PreconfServiceManager, method, parts...)
}

// Execute is the call of PreconfServiceManager that slashes for a submitted
// fault whose delay has passed.
func Execute(id common.Hash) ([]byte, error) {
	return call(PreconfServiceManager, "execute", [32]byte(id))
}

// Judge is the call of FaultVerifier, absent or double, that says whether a file
// proves a fault for its slasher: it returns a Fault, or reverts with the excuse.
// It changes nothing, so it is for eth_call. Fault: evidence.ErrMalformed.
func Judge(f evidence.File) ([]byte, error) {
	parts, err := arguments(f)
	if err != nil {
		return nil, err
	}
	return call(FaultVerifier, string(f.Kind), append([]any{f.Slasher}, parts...)...)
}

// SlashEvidence is what the registry hands to UrcInclusionSlasher as evidence:
// abi.encode(AbsenceProof). The registry punishes two promises for one nonce
// nowhere, so a file of that kind is evidence.ErrMalformed.
func SlashEvidence(f evidence.File) ([]byte, error) {
	if f.Kind != evidence.Absent || f.Absence == nil {
		return nil, evidence.ErrMalformed.With("fault %q: the registry's slasher judges %q only", f.Kind, evidence.Absent)
	}
	c, err := Load(FaultVerifier)
	if err != nil {
		return nil, err
	}
	return abi.Arguments{c.ABI.Methods["absent"].Inputs[3]}.Pack(NewAbsenceProof(*f.Absence))
}

// Slash is the call of UrcInclusionSlasher as the registry of a generation makes
// it; from any other sender it reverts. It shows by eth_call, with the registry
// as its sender, what the registry's slashCommitment would come to. Fault:
// evidence.ErrMalformed.
func Slash(f evidence.File, g Generation, challenger common.Address) ([]byte, error) {
	proof, err := SlashEvidence(f)
	if err != nil {
		return nil, err
	}
	parts, err := arguments(f)
	if err != nil {
		return nil, err
	}
	delegation, promise := parts[0].(SignedDelegation), parts[1].(SignedPromise)
	committer := delegation.Delegation.Committer
	if g == RegistrySigningDomain {
		return call(UrcInclusionSlasher, "slash0", delegation.Delegation, promise.Commitment, committer, proof, challenger)
	}
	c := CommitmentMain{promise.Commitment.CommitmentType, promise.Commitment.Payload, promise.Commitment.Slasher}
	return call(UrcInclusionSlasher, "slash", delegation.Delegation, c, committer, proof, challenger)
}

func call(contract, method string, arguments ...any) ([]byte, error) {
	c, err := Load(contract)
	if err != nil {
		return nil, err
	}
	input, err := c.ABI.Pack(method, arguments...)
	if err != nil {
		return nil, fmt.Errorf("encode %s.%s: %w", contract, method, err)
	}
	return input, nil
}

// arguments are the tuples of a file in the order the contracts take them: the
// delegation, the promise, and its absence or the other promise.
func arguments(f evidence.File) ([]any, error) {
	delegation, err := NewSignedDelegation(f.Delegation)
	if err != nil {
		return nil, evidence.ErrMalformed.Wrap(err)
	}
	out := []any{delegation}
	for _, p := range f.Promises {
		promise, err := NewSignedPromise(p)
		if err != nil {
			return nil, evidence.ErrMalformed.Wrap(err)
		}
		out = append(out, promise)
	}
	if f.Absence != nil {
		out = append(out, NewAbsenceProof(*f.Absence))
	}
	if len(out) != 3 {
		return nil, evidence.ErrMalformed.With("fault %q with %d promises", f.Kind, len(f.Promises))
	}
	return out, nil
}

// NewSignedDelegation decompresses the points of a delegation; an error is a
// point that is none.
func NewSignedDelegation(s commitments.SignedDelegation) (out SignedDelegation, err error) {
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

// NewSignedPromise decompresses the delegate's signature; an error is a point
// that is none.
func NewSignedPromise(s evidence.Promise) (out SignedPromise, err error) {
	c := s.Commitment
	out = SignedPromise{
		Commitment: Commitment{CommitmentType: c.Type, Payload: c.Payload, RequestHash: c.RequestHash, Slasher: common.Address(c.Slasher)},
		Nonce:      s.Nonce, SigningId: s.SigningID, Branch: [][32]byte{},
	}
	for _, sibling := range s.Branch {
		out.Branch = append(out.Branch, sibling)
	}
	out.Signature, err = NewG2(s.Signature)
	return out, err
}

// NewAbsenceProof is the tuple of an absence.
func NewAbsenceProof(a evidence.Absence) AbsenceProof {
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
