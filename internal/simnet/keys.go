package simnet

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/binary"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"sidecar/chain"
	"sidecar/internal/bls"
)

// derive is the seed of everything deterministic: H(seed, label, n).
func derive(seed, label string, n uint64) [32]byte {
	b := append([]byte(seed+"\x00"+label+"\x00"), binary.BigEndian.AppendUint64(nil, n)...)
	return sha256.Sum256(b)
}

// blsKey returns the n-th BLS key of a label.
func blsKey(seed, label string, n uint64) *bls.SecretKey {
	for sum := derive(seed, "bls "+label, n); ; sum = sha256.Sum256(sum[:]) {
		sum[0] &= 0x3f
		if k, err := bls.ParseSecretKey(sum[:]); err == nil {
			return k
		}
	}
}

// Account is an execution account with funds at genesis.
type Account struct {
	Key     *ecdsa.PrivateKey
	Address common.Address
}

func newAccount(seed, label string, n uint64) Account {
	for sum := derive(seed, "account "+label, n); ; sum = sha256.Sum256(sum[:]) {
		if k, err := crypto.ToECDSA(sum[:]); err == nil {
			return Account{k, crypto.PubkeyToAddress(k.PublicKey)}
		}
	}
}

// Validator is one proposer of the chain.
type Validator struct {
	Index        phase0.ValidatorIndex
	Key          *bls.SecretKey
	Pubkey       phase0.BLSPubKey
	FeeRecipient common.Address
}

// domain is the consensus specs' compute_domain, through the spec's own types.
func domain(kind phase0.DomainType, version phase0.Version, validatorsRoot phase0.Root) (d phase0.Domain) {
	root := must((&phase0.ForkData{CurrentVersion: version, GenesisValidatorsRoot: validatorsRoot}).HashTreeRoot())
	copy(d[:], kind[:])
	copy(d[4:], root[:28])
	return d
}

// signingRoot is the consensus specs' compute_signing_root.
func signingRoot(object phase0.Root, d phase0.Domain) phase0.Root {
	return must((&phase0.SigningData{ObjectRoot: object, Domain: d}).HashTreeRoot())
}

// forkVersion is the version of a fork on this chain.
func forkVersion(f chain.Fork) phase0.Version {
	if f <= chain.Phase0 {
		return phase0.Version{0x53, 0, 0, 0}
	}
	return phase0.Version{0x53, 0, 0, byte(f - chain.Phase0)}
}

// must unwraps results that cannot fail on values this package made itself.
func must[T any](v T, err error) T {
	if err != nil {
		panic("simnet: " + err.Error())
	}
	return v
}
