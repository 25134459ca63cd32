// Package keystore is where private keys are: consensus keys and proxy keys in
// ERC-2335 files on this machine. It decrypts within bounds, checks that a key
// is the one its file names, and signs 32-byte roots. It never decides what may
// be signed, and never shows a secret in a log, an error or a format verb.
package keystore

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/fault"
	"sidecar/internal/bls"
)

// Faults of this package.
var (
	ErrNotHeld    = fault.Define("key_not_held", fault.NotFound, "The keystore holds no such key.")
	ErrInvalid    = fault.Define("keystore_invalid", fault.Invalid, "A keystore file is missing, malformed, or of a kind this sidecar does not read.")
	ErrKDFBounds  = fault.Define("keystore_kdf_bounds", fault.Invalid, "A keystore asks for more, or less, key derivation than any honest one.")
	ErrPassword   = fault.Define("keystore_password", fault.Invalid, "A keystore does not open with its password.")
	ErrMismatch   = fault.Define("keystore_mismatch", fault.Conflict, "A keystore holds another key than it names.")
	ErrEmpty      = fault.Define("keystore_empty", fault.Invalid, "There is no key where the configuration says keys are.")
	ErrDelegation = fault.Define("proxy_delegation_invalid", fault.Invalid, "A proxy key's delegation is not signed by its validator for this network.")
	ErrModuleName = fault.Define("proxy_module_name", fault.Invalid, "A module id cannot name a folder of proxy keys.")
)

// Holder is a place that holds private keys: this package's Local, or a remote one.
type Holder interface {
	Sign(ctx context.Context, key commitments.Key, m commitments.Message) ([]byte, error)
}

// Local holds keys in memory. Its methods may be called from any goroutine.
type Local struct {
	mu   sync.RWMutex
	keys map[phase0.BLSPubKey]*bls.SecretKey // guarded by mu
}

// NewLocal returns a keystore that holds the given keys.
func NewLocal(keys ...*bls.SecretKey) *Local {
	l := &Local{keys: make(map[phase0.BLSPubKey]*bls.SecretKey, len(keys))}
	for _, k := range keys {
		l.Add(k)
	}
	return l
}

// Add takes a key and returns its public key. The same key twice is no error.
func (l *Local) Add(key *bls.SecretKey) phase0.BLSPubKey {
	public := key.PublicKey()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.keys[public] = key
	return public
}

// AddProxies takes the secrets of proxy keys.
func (l *Local) AddProxies(proxies ...Proxy) {
	for _, p := range proxies {
		l.Add(p.secret)
	}
}

// Pubkeys returns the public keys held, ascending.
func (l *Local) Pubkeys() []phase0.BLSPubKey {
	l.mu.RLock()
	defer l.mu.RUnlock()
	keys := make([]phase0.BLSPubKey, 0, len(l.keys))
	for k := range l.keys {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b phase0.BLSPubKey) int { return bytes.Compare(a[:], b[:]) })
	return keys
}

// Sign signs the root of a message. It is deterministic. It asks nobody whether
// it may: only the signer calls it. Fault: ErrNotHeld.
func (l *Local) Sign(ctx context.Context, key commitments.Key, m commitments.Message) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l.mu.RLock()
	secret := l.keys[key.BLS]
	l.mu.RUnlock()
	if secret == nil || key.IsECDSA() {
		return nil, ErrNotHeld.With("%s", key)
	}
	sig := secret.Sign(m.Root())
	return sig[:], nil
}

// Format hides the keys from every verb.
func (l *Local) Format(f fmt.State, _ rune) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	_, _ = fmt.Fprintf(f, "keystore.Local(%d keys)", len(l.keys))
}

var _ interface {
	Holder
	fmt.Formatter
} = (*Local)(nil)
