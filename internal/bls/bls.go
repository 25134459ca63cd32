// Package bls signs and verifies with BLS12-381 in Ethereum's ciphersuite
// (minimal public keys, BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_). It is the
// only package that imports herumi. Every key it hands out was validated:
// on the curve, in the subgroup, not infinity.
package bls

import (
	"crypto/rand"
	"fmt"
	"io"
	"sync"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/herumi/bls-eth-go-binary/bls"

	"sidecar/fault"
	"sidecar/internal/harden"
)

// Faults of this package.
var (
	ErrPublicKey = fault.Define("bls_public_key_invalid", fault.Invalid, "A BLS public key is not a point of the right subgroup, or is infinity.")
	ErrSecretKey = fault.Define("bls_secret_key_invalid", fault.Invalid, "A BLS secret key is zero or not below the group order.")
)

// setUp initialises herumi's global state, once and for all.
var setUp = sync.OnceFunc(func() {
	if err := bls.Init(bls.BLS12_381); err != nil {
		panic(fmt.Sprintf("bls: initialise herumi: %v", err))
	}
	if err := bls.SetETHmode(bls.EthModeLatest); err != nil {
		panic(fmt.Sprintf("bls: set mode: %v", err))
	}
	bls.VerifyPublicKeyOrder(true)
	bls.VerifySignatureOrder(true)
})

// SecretKey is a private key. It prints as a placeholder.
type SecretKey struct{ k bls.SecretKey }

// PublicKey is a validated public key, decompressed once.
type PublicKey struct {
	k   bls.PublicKey
	raw phase0.BLSPubKey
}

// NewSecretKey makes a key from 32 bytes of random; a nil random is crypto/rand.
func NewSecretKey(random io.Reader) (*SecretKey, error) {
	if random == nil {
		random = rand.Reader
	}
	var b [32]byte
	defer clear(b[:])
	for {
		if _, err := io.ReadFull(random, b[:]); err != nil {
			return nil, fmt.Errorf("read random: %w", err)
		}
		b[0] &= 0x3f // most draws are then below the group order
		if s, err := ParseSecretKey(b[:]); err == nil {
			return s, nil
		}
	}
}

// ParseSecretKey reads 32 big-endian bytes.
func ParseSecretKey(b []byte) (*SecretKey, error) {
	setUp()
	s := new(SecretKey)
	if len(b) != 32 {
		return nil, ErrSecretKey.With("%d bytes, want 32", len(b))
	}
	if err := s.k.Deserialize(b); err != nil || s.k.IsZero() {
		return nil, ErrSecretKey.With("not in [1, r)")
	}
	return s, nil
}

// MoveTo moves the key into a vault, and wipes it where it was. What herumi and
// the kernel copied to stacks and registers while computing is not reached.
func (s *SecretKey) MoveTo(v *harden.Vault) *SecretKey {
	moved := harden.New[SecretKey](v)
	*moved = *s
	s.Wipe()
	return moved
}

// CopyTo copies the key into a vault. The two share nothing, so that a bit that
// flips in one is not in the other.
func (s *SecretKey) CopyTo(v *harden.Vault) *SecretKey {
	twin := harden.New[SecretKey](v)
	*twin = *s
	return twin
}

// Wipe zeroes the key. It must not be used again, by anyone.
func (s *SecretKey) Wipe() { *s = SecretKey{} }

// Bytes returns the 32 big-endian bytes of the key. Keep them out of logs.
func (s *SecretKey) Bytes() []byte { return s.k.Serialize() }

// String hides the key from every formatter.
func (SecretKey) String() string { return "bls.SecretKey(hidden)" }

// GoString hides the key from %#v.
func (s SecretKey) GoString() string { return s.String() }

// Format hides the key from %x and every other verb.
func (s SecretKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// MarshalJSON hides the key from encoders.
func (SecretKey) MarshalJSON() ([]byte, error) { return []byte(`"bls.SecretKey(hidden)"`), nil }

// PublicKey returns the compressed public key.
func (s *SecretKey) PublicKey() (p phase0.BLSPubKey) {
	copy(p[:], s.k.GetPublicKey().Serialize())
	return p
}

// Sign signs a 32-byte signing root.
func (s *SecretKey) Sign(root phase0.Root) (sig phase0.BLSSignature) {
	copy(sig[:], s.k.SignByte(root[:]).Serialize())
	return sig
}

// ParsePublicKey decompresses and validates p. [BLS: KeyValidate]
func ParsePublicKey(p phase0.BLSPubKey) (*PublicKey, error) {
	setUp()
	k := &PublicKey{raw: p}
	if err := k.k.Deserialize(p[:]); err != nil {
		return nil, ErrPublicKey.With("%#x…", p[:8])
	}
	if k.k.IsZero() || !k.k.IsValidOrder() {
		return nil, ErrPublicKey.With("%#x…", p[:8])
	}
	return k, nil
}

// Bytes returns the compressed key.
func (p *PublicKey) Bytes() phase0.BLSPubKey { return p.raw }

// Verify says whether sig is p's signature of root. A signature that is not a
// point of the subgroup, or is infinity, is never valid.
func (p *PublicKey) Verify(root phase0.Root, sig phase0.BLSSignature) bool {
	var s bls.Sign
	if err := s.Deserialize(sig[:]); err != nil || s.IsZero() {
		return false
	}
	return s.VerifyByte(&p.k, root[:])
}

// Verify is Verify for a key seen for the first time: it validates the key too.
func Verify(p phase0.BLSPubKey, root phase0.Root, sig phase0.BLSSignature) bool {
	k, err := ParsePublicKey(p)
	return err == nil && k.Verify(root, sig)
}
