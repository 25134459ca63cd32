package commitments

import (
	"fmt"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"
)

// Key names who signs: a BLS public key or the address of an ECDSA key
// (secp256k1), exactly one of the two. It is comparable. The zero Key is nobody.
type Key struct {
	BLS     phase0.BLSPubKey
	Address bellatrix.ExecutionAddress
}

// BLSKey returns the name of a BLS key.
func BLSKey(k phase0.BLSPubKey) Key { return Key{BLS: k} }

// ECDSAKey returns the name of an ECDSA key.
func ECDSAKey(a bellatrix.ExecutionAddress) Key { return Key{Address: a} }

// ParseKey reads what Bytes returned: 48 bytes of a BLS key, 20 of an address,
// or none of nobody.
func ParseKey(b []byte) (k Key, err error) {
	switch len(b) {
	case 0:
	case len(k.BLS):
		copy(k.BLS[:], b)
	case len(k.Address):
		copy(k.Address[:], b)
	default:
		err = fmt.Errorf("key of %d bytes, want 48 or 20", len(b))
	}
	return k, err
}

// IsZero says whether the key names nobody.
func (k Key) IsZero() bool { return k == Key{} }

// IsBLS says whether it is a BLS key.
func (k Key) IsBLS() bool { return k.BLS != phase0.BLSPubKey{} }

// IsECDSA says whether it is an ECDSA key.
func (k Key) IsECDSA() bool { return k.Address != bellatrix.ExecutionAddress{} }

// Bytes returns the 48 or 20 bytes of the key; nil if it names nobody, or two.
func (k Key) Bytes() []byte {
	switch {
	case k.IsBLS() && !k.IsECDSA():
		return k.BLS[:]
	case k.IsECDSA() && !k.IsBLS():
		return k.Address[:]
	default:
		return nil
	}
}

// SignatureLength is how many bytes a signature of the key has: 96 of a BLS
// key, 65 (r‖s‖v, v is 27 or 28) of an ECDSA key.
func (k Key) SignatureLength() int {
	if k.IsBLS() {
		return phase0.SignatureLength
	}
	return 65
}

// String is 0x and lower-case hexadecimal, as in logs, JSON and resource names.
func (k Key) String() string { return fmt.Sprintf("%#x", k.Bytes()) }

// ProxyDelegation vouches for a proxy key: Delegator is a validator's key.
// [Commit-Boost: ProxyDelegation]
type ProxyDelegation struct {
	Delegator phase0.BLSPubKey
	Proxy     Key
}

// Root returns the object root, which is signed as SigningData, without signing
// id, nonce or chain id. [Commit-Boost: ProxyDelegation]
func (d ProxyDelegation) Root() phase0.Root {
	if d.Proxy.IsBLS() {
		return hash2(pubkeyRoot(d.Delegator), pubkeyRoot(d.Proxy.BLS))
	}
	var address [32]byte
	copy(address[:], d.Proxy.Address[:])
	return hash2(pubkeyRoot(d.Delegator), address)
}

// Envelope says how an object root is wrapped before it is signed.
type Envelope uint8

// The envelopes. Their numbers are on disk: append only.
const (
	// EnvelopeModule binds signing id, nonce and chain id. [Commit-Boost ≥ 0.10]
	EnvelopeModule Envelope = iota
	// EnvelopePlain binds the domain only: weak, since every module of a key
	// signs under the same name. [Commit-Boost ≤ 0.9]
	EnvelopePlain
)

// ModuleRequest is what a module in another process asked to be signed.
type ModuleRequest struct {
	ObjectRoot phase0.Root // hash tree root of the module's object
	Envelope   Envelope

	// Of an intent: the type and the bytes of the object that ObjectRoot was
	// computed from. Both empty for a blind root.
	Type   string
	Object []byte

	// Claims are names that the key may sign for once per slot, such as what an
	// intent sells. The slot is the page's. See ResourceClaim.
	Claims []string
}
