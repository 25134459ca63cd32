// Package ecdsa signs and recovers with secp256k1 as Ethereum does: keys go by
// the address of their public key, signatures are r‖s‖v over 32 bytes as they
// are, without a prefix, deterministic (RFC 6979), with low s and v 27 or 28.
// [Commit-Boost: proxy-ecdsa, Commitments API: committer]
package ecdsa

import (
	"crypto/ecdsa"
	"fmt"
	"io"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/crypto"

	"sidecar/fault"
)

// Faults of this package.
var (
	ErrSecretKey = fault.Define("ecdsa_secret_key_invalid", fault.Invalid, "An ECDSA secret key is not 32 bytes, zero, or not below the group order.")
	ErrSignature = fault.Define("ecdsa_signature_invalid", fault.Invalid, "An ECDSA signature is malformed, has a high s, or recovers to nobody.")
)

// SecretKey is a private key. It prints as a placeholder.
type SecretKey struct {
	k       *ecdsa.PrivateKey
	address bellatrix.ExecutionAddress
}

// NewSecretKey makes a random key.
func NewSecretKey() (*SecretKey, error) {
	k, err := crypto.GenerateKey()
	if err != nil {
		return nil, fmt.Errorf("make an ECDSA key: %w", err)
	}
	return newSecretKey(k), nil
}

// ParseSecretKey reads 32 big-endian bytes.
func ParseSecretKey(b []byte) (*SecretKey, error) {
	k, err := crypto.ToECDSA(b)
	if err != nil {
		return nil, ErrSecretKey.With("not in [1, n)") // the library's text could tell of the key
	}
	return newSecretKey(k), nil
}

func newSecretKey(k *ecdsa.PrivateKey) *SecretKey {
	return &SecretKey{k: k, address: bellatrix.ExecutionAddress(crypto.PubkeyToAddress(k.PublicKey))}
}

// Bytes returns the 32 big-endian bytes of the key. Keep them out of logs.
func (s *SecretKey) Bytes() []byte { return crypto.FromECDSA(s.k) }

// Format hides the key from every verb.
func (s *SecretKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "ecdsa.SecretKey(hidden)") }

// Address returns what the key goes by.
func (s *SecretKey) Address() bellatrix.ExecutionAddress { return s.address }

// Sign signs a 32-byte signing root.
func (s *SecretKey) Sign(root phase0.Root) (sig [65]byte, err error) {
	b, err := crypto.Sign(root[:], s.k)
	if err != nil {
		return sig, fmt.Errorf("sign with ECDSA: %w", err)
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
	sig[64] -= 27
	public, err := crypto.SigToPub(root[:], sig[:])
	if err != nil {
		return a, ErrSignature.With("no public key")
	}
	if !crypto.VerifySignature(crypto.CompressPubkey(public), root[:], sig[:64]) { // refuses a high s
		return a, ErrSignature.With("high s")
	}
	return bellatrix.ExecutionAddress(crypto.PubkeyToAddress(*public)), nil
}
