package bindings

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"strings"
	"sync"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"

	"sidecar/commitments"
	"sidecar/internal/ecdsa"
	"sidecar/slashing/evidence"
)

// registryJSON declares what is called of the Universal Registry Contract, by
// generation: names, arguments and results of its published interface, and none
// of its code. [URC main 132bc79: IRegistry; signing-domain: fabric's bindings]
//
//go:embed registry.json
var registryJSON []byte

var registryABIs = sync.OnceValues(func() (out [2]abi.ABI, err error) {
	var file [2]json.RawMessage
	if err := json.Unmarshal(registryJSON, &file); err != nil {
		return out, fmt.Errorf("parse the registry's interface: %w", err)
	}
	for g := range file {
		if out[g], err = abi.JSON(strings.NewReader(string(file[g]))); err != nil {
			return out, fmt.Errorf("parse the registry's interface: %w", err)
		}
	}
	return out, nil
})

// Registered shows that a delegation's proposer is in the registry, as
// getRegistrationProof answers it; the public key is the delegation's own.
type Registered struct {
	Root      common.Hash         `json:"registration_root"`
	Signature phase0.BLSSignature `json:"signature"` // of the key's registration, as it was registered
	Proof     []common.Hash       `json:"proof"`     // siblings, from the key's leaf up
	// Of RegistrySigningDomain only.
	Nonce     uint64      `json:"nonce"`
	SigningID common.Hash `json:"signing_id"`
	// Of RegistryMain only, which checks signatures of forms of its own, not those
	// of the file: of the delegation, and the committer's over
	// keccak256(abi.encode(commitment)), r‖s‖v.
	Delegation phase0.BLSSignature `json:"delegation_signature,omitzero"`
	Committer  hexutil.Bytes       `json:"committer_signature,omitempty"`
}

// SlashCommitment is the call of the registry of a generation that has its
// collateral slashed for the fault of a file, whose slasher is a
// UrcInclusionSlasher. Anybody may send it. Without a Registered the operator
// has opted in to the slasher: use SlashOptedIn. What the committer did not sign
// is refused here: the registry would. Fault: evidence.ErrMalformed.
func SlashCommitment(f evidence.File, g Generation, r Registered) ([]byte, error) {
	proof, err := SlashEvidence(f)
	if err != nil {
		return nil, err
	}
	parts, err := arguments(f)
	if err != nil {
		return nil, err
	}
	registration, err := NewG2(r.Signature)
	if err != nil {
		return nil, evidence.ErrMalformed.Wrap(err)
	}
	signed, err := committed(f, g, r.Committer, common.Address(f.Delegation.Message.Committer))
	if err != nil {
		return nil, err
	}
	delegation := parts[0].(SignedDelegation)
	path := make([][32]byte, len(r.Proof))
	for i := range r.Proof {
		path[i] = r.Proof[i]
	}
	if g == RegistrySigningDomain {
		return registryCall(g, "slashCommitment", registrationProof{
			r.Root, signedRegistration{delegation.Delegation.Proposer, registration, r.Nonce}, path, r.SigningID,
		}, delegation, signed, proof)
	}
	own, err := NewG2(r.Delegation)
	if err != nil {
		return nil, evidence.ErrMalformed.Wrap(err)
	}
	return registryCall(g, "slashCommitment", registrationProofMain{
		r.Root, signedRegistrationMain{delegation.Delegation.Proposer, registration}, path,
	}, signedDelegationMain{delegation.Delegation, own}, signed, proof)
}

// SlashOptedIn is the same for an operator, by the root of its registration, that
// has opted in to the slasher with a committer. RegistryMain wants the
// committer's signature in its own form; otherwise it is the file's. Fault:
// evidence.ErrMalformed.
func SlashOptedIn(f evidence.File, g Generation, root common.Hash, committer common.Address, main []byte) ([]byte, error) {
	proof, err := SlashEvidence(f)
	if err != nil {
		return nil, err
	}
	signed, err := committed(f, g, main, committer)
	if err != nil {
		return nil, err
	}
	return registryCall(g, "slashCommitment0", [32]byte(root), signed, proof)
}

// committed is the file's promise with the committer's signature, which is
// checked: main's in its own form, or the file's.
func committed(f evidence.File, g Generation, main []byte, by common.Address) (any, error) {
	p := f.Promises[0]
	if g == RegistrySigningDomain {
		if p.Committer == nil {
			return nil, evidence.ErrMalformed.With("the file has no signature of the committer, which the registry asks for")
		}
		root := commitments.SigningRoot(phase0.Domain(f.Rules.SigningDomain), f.Rules.ChainID, p.Commitment.Root(), p.SigningID, p.Committer.Nonce)
		promise, err := NewSignedPromise(p)
		if err != nil {
			return nil, evidence.ErrMalformed.Wrap(err)
		}
		return signedCommitment{promise.Commitment, p.Committer.Nonce, promise.SigningId, p.Committer.Signature}, recovers(root, p.Committer.Signature, by)
	}
	c := CommitmentMain{p.Commitment.Type, p.Commitment.Payload, common.Address(p.Commitment.Slasher)}
	slasher, err := Load(UrcInclusionSlasher)
	if err != nil {
		return nil, err
	}
	packed, err := abi.Arguments{slasher.ABI.Methods["slash"].Inputs[1]}.Pack(c)
	if err != nil {
		return nil, fmt.Errorf("encode commitment: %w", err)
	}
	return signedCommitmentMain{c, main}, recovers(phase0.Root(crypto.Keccak256(packed)), main, by)
}

// recovers says whether an ECDSA signature of a root is an account's.
func recovers(root phase0.Root, signature []byte, by common.Address) error {
	if len(signature) != 65 {
		return evidence.ErrMalformed.With("committer's signature of %d bytes", len(signature))
	}
	who, err := ecdsa.Recover(root, [65]byte(signature))
	if err != nil {
		return evidence.ErrMalformed.Wrap(err)
	}
	if who != bellatrix.ExecutionAddress(by) {
		return evidence.ErrMalformed.With("the commitment is signed by %s, the committer is %s", who, by)
	}
	return nil
}

func registryCall(g Generation, method string, arguments ...any) ([]byte, error) {
	abis, err := registryABIs()
	if err != nil {
		return nil, err
	}
	input, err := abis[g].Pack(method, arguments...)
	if err != nil {
		return nil, fmt.Errorf("encode %s of the registry: %w", method, err)
	}
	return input, nil
}

// The registry's tuples that evidence does not have: of the signing-domain
// branch, then of main.
type (
	signedRegistration struct {
		Pubkey    G1
		Signature G2
		Nonce     uint64
	}
	registrationProof struct {
		RegistrationRoot [32]byte
		Registration     signedRegistration
		MerkleProof      [][32]byte
		SigningId        [32]byte // named as in the ABI
	}
	signedCommitment struct {
		Commitment Commitment
		Nonce      uint64
		SigningId  [32]byte // named as in the ABI
		Signature  []byte
	}

	signedRegistrationMain struct {
		Pubkey    G1
		Signature G2
	}
	registrationProofMain struct {
		RegistrationRoot [32]byte
		Registration     signedRegistrationMain
		MerkleProof      [][32]byte
	}
	signedDelegationMain struct {
		Delegation Delegation
		Signature  G2
	}
	signedCommitmentMain struct {
		Commitment CommitmentMain
		Signature  []byte
	}
)
