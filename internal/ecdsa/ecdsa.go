// Package ecdsa signs and recovers with secp256k1 as Ethereum does: keys go by
// the address of their public key, signatures are r‖s‖v over 32 bytes as they
// are, without a prefix, deterministic (RFC 6979), with low s and v 27 or 28.
// [Commit-Boost: proxy-ecdsa, Commitments API: committer]
package ecdsa

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"fmt"
	"io"
	"math/big"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/crypto/secp256k1"

	"sidecar/fault"
	"sidecar/internal/harden"
)

const secretLength = 32

// Faults of this package.
var (
	ErrSecretKey = fault.Define("ecdsa_secret_key_invalid", fault.Invalid, "An ECDSA secret key is not 32 bytes, zero, or not below the group order.")
	ErrSignature = fault.Define("ecdsa_signature_invalid", fault.Invalid, "An ECDSA signature is malformed, has a high s, or recovers to nobody.")
)

// SecretKey is a private key. It prints as a placeholder.
type SecretKey struct {
	bytes   []byte // 32, big-endian; shared by copies of the struct
	address bellatrix.ExecutionAddress
}

// NewSecretKey makes a random key.
func NewSecretKey() (*SecretKey, error) {
	var b [secretLength]byte
	defer clear(b[:])
	for {
		_, _ = rand.Read(b[:]) // never fails [crypto/rand]
		if s, err := ParseSecretKey(b[:]); err == nil {
			return s, nil
		}
	}
}

// ParseSecretKey reads 32 big-endian bytes. Fault: ErrSecretKey.
func ParseSecretKey(b []byte) (*SecretKey, error) {
	curve := secp256k1.S256()
	order := curve.N.Bytes()
	if len(b) != secretLength || bytes.Compare(b, order) >= 0 || bytes.Equal(b, make([]byte, secretLength)) {
		return nil, ErrSecretKey.With("not 32 bytes in [1, n)")
	}
	x, y := curve.ScalarBaseMult(b)
	public := ecdsa.PublicKey{Curve: curve, X: x, Y: y}
	return &SecretKey{bytes: bytes.Clone(b), address: bellatrix.ExecutionAddress(crypto.PubkeyToAddress(public))}, nil
}

// MoveTo moves the key into a vault, and wipes it where it was. What the library
// and the kernel copied to stacks and registers while computing is not reached.
func (s *SecretKey) MoveTo(v *harden.Vault) *SecretKey {
	moved := &SecretKey{bytes: v.Bytes(secretLength), address: s.address}
	copy(moved.bytes, s.bytes)
	s.Wipe()
	return moved
}

// Wipe zeroes the key. It signs nothing after that.
func (s *SecretKey) Wipe() { clear(s.bytes) }

// Bytes returns the 32 big-endian bytes of the key. Keep them out of logs.
func (s *SecretKey) Bytes() []byte { return bytes.Clone(s.bytes) }

// Format hides the key from every verb.
func (SecretKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "ecdsa.SecretKey(hidden)") }

// MarshalJSON hides the key from encoders.
func (SecretKey) MarshalJSON() ([]byte, error) { return []byte(`"ecdsa.SecretKey(hidden)"`), nil }

// Address returns what the key goes by.
func (s *SecretKey) Address() bellatrix.ExecutionAddress { return s.address }

// Sign signs a 32-byte signing root. Fault: ErrSecretKey, of a wiped key.
func (s *SecretKey) Sign(root phase0.Root) (sig [65]byte, err error) {
	b, err := secp256k1.Sign(root[:], s.bytes)
	if err != nil {
		return sig, ErrSecretKey.With("it signs nothing")
	}
	copy(sig[:], b)
	sig[64] += 27
	return sig, nil
}

// Recover returns the address whose key signed root. Only the one canonical form
// of a signature is taken: low s, v 27 or 28. Fault: ErrSignature.
func Recover(root phase0.Root, sig [65]byte) (a bellatrix.ExecutionAddress, err error) {
	if sig[64] != 27 && sig[64] != 28 {
		return a, ErrSignature.With("v is %d", sig[64])
	}
	if bytes.Compare(sig[32:64], halfOrder) > 0 { // [EIP-2]
		return a, ErrSignature.With("high s")
	}
	sig[64] -= 27
	public, err := secp256k1.RecoverPubkey(root[:], sig[:])
	if err != nil {
		return a, ErrSignature.With("no public key")
	}
	copy(a[:], crypto.Keccak256(public[1:])[12:])
	return a, nil
}

// halfOrder is the highest s of a canonical signature.
var halfOrder = new(big.Int).Rsh(secp256k1.S256().N, 1).Bytes()
