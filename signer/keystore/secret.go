package keystore

import (
	"encoding/hex"
	"errors"
	"strings"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/internal/bls"
	"sidecar/internal/ecdsa"
	"sidecar/internal/harden"
)

// Scheme is how a proxy key signs. [Commit-Boost: EncryptionScheme]
type Scheme string

// The schemes, as they stand in requests and as folder names.
const (
	SchemeBLS   Scheme = "bls"
	SchemeECDSA Scheme = "ecdsa"
)

// secretKey is a private key of either scheme.
type secretKey interface {
	name() commitments.Key
	sign(root phase0.Root) ([]byte, error)
	moveTo(v *harden.Vault) secretKey
	twin(v *harden.Vault) secretKey // a second copy; nil for a scheme that is never signed twice
	Bytes() []byte                  // 32; the caller clears them
	Wipe()
}

type blsSecret struct{ *bls.SecretKey }

func (s blsSecret) name() commitments.Key            { return commitments.BLSKey(s.PublicKey()) }
func (s blsSecret) moveTo(v *harden.Vault) secretKey { return blsSecret{s.MoveTo(v)} }
func (s blsSecret) twin(v *harden.Vault) secretKey   { return blsSecret{s.CopyTo(v)} }
func (s blsSecret) sign(root phase0.Root) ([]byte, error) {
	sig := s.Sign(root)
	return sig[:], nil
}

type ecdsaSecret struct{ *ecdsa.SecretKey }

func (s ecdsaSecret) name() commitments.Key            { return commitments.ECDSAKey(s.Address()) }
func (s ecdsaSecret) moveTo(v *harden.Vault) secretKey { return ecdsaSecret{s.MoveTo(v)} }
func (s ecdsaSecret) twin(*harden.Vault) secretKey     { return nil }
func (s ecdsaSecret) sign(root phase0.Root) ([]byte, error) {
	sig, err := s.Sign(root)
	return sig[:], err
}

// newSecret makes a random key.
func newSecret(scheme Scheme) (secretKey, error) {
	switch scheme {
	case SchemeBLS:
		secret, err := bls.NewSecretKey(nil)
		return blsSecret{secret}, err
	case SchemeECDSA:
		secret, err := ecdsa.NewSecretKey()
		return ecdsaSecret{secret}, err
	}
	return nil, ErrScheme.With("%.16q", string(scheme))
}

// parseSecret reads the 32 bytes of a key.
func parseSecret(scheme Scheme, raw []byte) (secretKey, error) {
	if scheme == SchemeECDSA {
		secret, err := ecdsa.ParseSecretKey(raw)
		return ecdsaSecret{secret}, err
	}
	secret, err := bls.ParseSecretKey(raw)
	return blsSecret{secret}, err
}

// schemeOf says how a key signs.
func schemeOf(key commitments.Key) Scheme {
	if key.IsECDSA() {
		return SchemeECDSA
	}
	return SchemeBLS
}

// fileName is how a key names its files: lower-case hexadecimal of a public key,
// the EIP-55 form of an address. [Commit-Boost: ERC-2335 store]
func fileName(key commitments.Key) string {
	if key.IsECDSA() {
		return key.Address.String()
	}
	return key.String()
}

// hexDigits returns the digits of s if it is n bytes of hex, 0x optional.
func hexDigits(s string, n int) []byte {
	s = strings.TrimPrefix(s, "0x")
	if len(s) != 2*n {
		return nil
	}
	return []byte(s)
}

// decodeHex fills into from hex, 0x optional; it says whether s is that long.
func decodeHex(into []byte, s string) bool {
	n, err := hex.Decode(into, hexDigits(s, len(into)))
	return err == nil && n == len(into)
}

func isHex(s string, least, most int) bool {
	if len(s) > 2*most {
		return false
	}
	b, err := hex.DecodeString(s)
	return err == nil && len(b) >= least
}

// parsePubkey reads a public key as it stands in file and folder names.
func parsePubkey(name string) (key phase0.BLSPubKey, err error) {
	if !decodeHex(key[:], name) {
		return key, errors.New("not a public key")
	}
	return key, nil
}

// parseName reads the name of a key of either scheme; an address in any case.
func parseName(name string) (key commitments.Key, ok bool) {
	if decodeHex(key.BLS[:], name) {
		return key, true
	}
	key.BLS = phase0.BLSPubKey{}
	return key, decodeHex(key.Address[:], name)
}
