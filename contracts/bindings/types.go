package bindings

import (
	"fmt"
	"math/big"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/ethereum/go-ethereum/common"
)

// G1 is a public key as contracts take it. [EIP-2537]
type G1 struct{ XHigh, XLow, YHigh, YLow [32]byte }

// G2 is a signature as contracts take it. [EIP-2537]
type G2 struct {
	X0High, X0Low, X1High, X1Low [32]byte
	Y0High, Y0Low, Y1High, Y1Low [32]byte
}

// NewG1 decompresses a public key; it must be in its subgroup and not infinity.
func NewG1(k phase0.BLSPubKey) (G1, error) {
	var p bls12381.G1Affine
	if _, err := p.SetBytes(k[:]); err != nil {
		return G1{}, fmt.Errorf("decompress public key: %w", err)
	}
	if p.IsInfinity() {
		return G1{}, fmt.Errorf("public key %#x is the point at infinity", k[:])
	}
	var out G1
	out.XHigh, out.XLow = words(p.X.Bytes())
	out.YHigh, out.YLow = words(p.Y.Bytes())
	return out, nil
}

// NewG2 decompresses a signature; it must be in its subgroup.
func NewG2(s phase0.BLSSignature) (G2, error) {
	var p bls12381.G2Affine
	if _, err := p.SetBytes(s[:]); err != nil {
		return G2{}, fmt.Errorf("decompress signature: %w", err)
	}
	var out G2
	out.X0High, out.X0Low = words(p.X.A0.Bytes())
	out.X1High, out.X1Low = words(p.X.A1.Bytes())
	out.Y0High, out.Y0Low = words(p.Y.A0.Bytes())
	out.Y1High, out.Y1Low = words(p.Y.A1.Bytes())
	return out, nil
}

// words pads a coordinate on the left to two words.
func words(c [48]byte) (high, low [32]byte) {
	copy(high[16:], c[:16])
	copy(low[:], c[16:])
	return high, low
}

// Delegation is the tuple of that name. [contracts/src/Types.sol]
type Delegation struct {
	Proposer, Delegate G1
	Committer          common.Address
	Slot               uint64
	Metadata           []byte
}

// SignedDelegation is the tuple of that name.
type SignedDelegation struct {
	Delegation Delegation
	Nonce      uint64
	SigningId  [32]byte // named as in the ABI
	Signature  G2
}

// Commitment is the tuple of that name.
type Commitment struct {
	CommitmentType uint64
	Payload        []byte
	RequestHash    [32]byte
	Slasher        common.Address
}

// CommitmentMain is a commitment as the registry's main branch knows it.
type CommitmentMain struct {
	CommitmentType uint64
	Payload        []byte
	Slasher        common.Address
}

// SignedPromise is the tuple of that name. An empty branch is a commitment
// signed by itself.
type SignedPromise struct {
	Commitment Commitment
	Nonce      uint64
	SigningId  [32]byte // named as in the ABI
	Signature  G2
	Branch     [][32]byte
}

// AbsenceProof is the tuple of that name.
type AbsenceProof struct {
	ChildNumber                             uint64
	ChildHeader, TargetHeader, ParentHeader []byte
	BeaconParentRoot                        [32]byte
	BeaconStateRoot                         [32]byte
	BeaconBodyRoot                          [32]byte
	PreState, PostState                     [][]byte
}

// Fault is what FaultVerifier returns.
type Fault struct {
	Id        [32]byte // named as in the ABI
	Validator [32]byte
	Slot      uint64
}

// Registration is the tuple of that name.
type Registration struct {
	Pubkey    G1
	Nonce     uint64
	Signature G2
}

// VerifierConfig is what FaultVerifier's constructor takes.
type VerifierConfig struct {
	GenesisTime, SlotMillis, FirstSlot, EndSlot uint64
	SigningDomain                               [32]byte
	SigningId                                   [32]byte // named as in the ABI
}

// ManagerConfig is what PreconfServiceManager's constructor takes.
type ManagerConfig struct {
	AllocationManager, Verifier, Guardian common.Address
	MetadataURI                           string
	Strategies                            []common.Address
	AbsentWad, DoubleWad, DailyWad        *big.Int
	Delay                                 uint64
	// RedistributionRecipient is where slashed stake goes; the zero address burns it.
	RedistributionRecipient common.Address
}
