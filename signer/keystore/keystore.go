// Package keystore is where private keys are: consensus keys in ERC-2335 files
// on this machine or with a remote holder, and the proxy keys of modules. It
// decrypts within bounds, checks that a key is the one its file names, keeps it
// in locked memory and signs. It never decides what may be signed, and never
// shows a secret in a log, an error or a format verb.
package keystore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/fault"
	"sidecar/internal/bls"
	"sidecar/internal/harden"
)

// Faults of this package.
var (
	ErrNotHeld   = fault.Define("key_not_held", fault.NotFound, "The keystore holds no such key.")
	ErrInvalid   = fault.Define("keystore_invalid", fault.Invalid, "A keystore file is missing, malformed, or of a kind this sidecar does not read.")
	ErrKDFBounds = fault.Define("keystore_kdf_bounds", fault.Invalid, "A keystore asks for more, or less, key derivation than any honest one.")
	ErrPassword  = fault.Define("keystore_password", fault.Invalid, "A keystore does not open with its password.")
	ErrMismatch  = fault.Define("keystore_mismatch", fault.Conflict, "A keystore holds another key than it names.")
	ErrEmpty     = fault.Define("keystore_empty", fault.Invalid, "There is no key where the configuration says keys are.")
)

// Local holds keys in the memory of this process. Its methods may be called from
// any goroutine.
type Local struct {
	vault *harden.Vault

	mu    sync.RWMutex // held for reading while a key signs, so that wiping it waits
	keys  map[commitments.Key]secretKey
	twins map[commitments.Key]secretKey // a second copy of each BLS key, for SignTwice
}

// NewLocal returns a keystore that holds the given keys, which it moves into
// memory of its own: do not use them again.
func NewLocal(keys ...*bls.SecretKey) *Local {
	l := &Local{
		vault: harden.NewVault(), keys: make(map[commitments.Key]secretKey, len(keys)), twins: make(map[commitments.Key]secretKey, len(keys)),
	}
	for _, k := range keys {
		l.Add(k)
	}
	return l
}

// Add takes a key, as NewLocal does, and returns its public key. The same key
// twice is no error.
func (l *Local) Add(key *bls.SecretKey) phase0.BLSPubKey {
	return l.add(blsSecret{key}).BLS
}

func (l *Local) add(secret secretKey) commitments.Key {
	name := secret.name()
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, has := l.keys[name]; has {
		secret.Wipe()
		return name
	}
	if twin := secret.twin(l.vault); twin != nil {
		l.twins[name] = twin
	}
	l.keys[name] = secret.moveTo(l.vault)
	return name
}

// drop forgets a key and zeroes it.
func (l *Local) drop(key commitments.Key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if secret := l.keys[key]; secret != nil {
		secret.Wipe()
		delete(l.keys, key)
	}
	if twin := l.twins[key]; twin != nil {
		twin.Wipe()
		delete(l.twins, key)
	}
}

// Keys returns the names of the keys held, in ascending order.
func (l *Local) Keys() []commitments.Key {
	l.mu.RLock()
	defer l.mu.RUnlock()
	keys := make([]commitments.Key, 0, len(l.keys))
	for k := range l.keys {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, compareKeys)
	return keys
}

// Pubkeys returns the public keys of the BLS keys held, ascending.
func (l *Local) Pubkeys() []phase0.BLSPubKey { return pubkeys(l.Keys()) }

// Sign signs the root of a message. It is deterministic. It asks nobody whether
// it may: only the signer calls it. Fault: ErrNotHeld.
func (l *Local) Sign(ctx context.Context, key commitments.Key, m commitments.Message) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	secret := l.keys[key]
	if secret == nil {
		return nil, ErrNotHeld.With("%s", key)
	}
	return secret.sign(m.Root())
}

// SignTwice signs the root of a message with each of two copies of a BLS key, at
// the same time, for a caller that compares: see signer.Twice. Fault: ErrNotHeld,
// also of an ECDSA key.
func (l *Local) SignTwice(ctx context.Context, key commitments.Key, m commitments.Message) (sigs [2][]byte, err error) {
	if err := ctx.Err(); err != nil {
		return sigs, err
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	secret, twin := l.keys[key], l.twins[key]
	if secret == nil || twin == nil {
		return sigs, ErrNotHeld.With("%s", key)
	}
	root := m.Root()
	sign := func(i int, k secretKey) (err error) {
		defer func() { // in a goroutine of its own it would end the program, and a proposal with it
			if p := recover(); p != nil {
				err = fmt.Errorf("sign with copy %d of the key: panic: %v", i+1, p)
			}
		}()
		sigs[i], err = k.sign(root)
		return err
	}
	beside := make(chan error, 1)
	go func() { beside <- sign(1, twin) }()
	err = errors.Join(sign(0, secret), <-beside)
	return sigs, err
}

// Unlocked says why some key may be swapped out to disk; nil if none can.
func (l *Local) Unlocked() error { return l.vault.Unlocked() }

// Close zeroes every key. Later calls of Sign find none.
func (l *Local) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, secret := range l.keys {
		secret.Wipe()
	}
	for _, twin := range l.twins {
		twin.Wipe()
	}
	clear(l.keys)
	clear(l.twins)
	l.vault.Close()
}

// Format hides the keys from every verb.
func (l *Local) Format(f fmt.State, _ rune) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	_, _ = fmt.Fprintf(f, "keystore.Local(%d keys)", len(l.keys))
}

// pubkeys are the BLS keys among some.
func pubkeys(keys []commitments.Key) []phase0.BLSPubKey {
	out := make([]phase0.BLSPubKey, 0, len(keys))
	for _, k := range keys {
		if k.IsBLS() {
			out = append(out, k.BLS)
		}
	}
	return out
}

func compareKeys(a, b commitments.Key) int {
	if c := bytes.Compare(a.BLS[:], b.BLS[:]); c != 0 {
		return c
	}
	return bytes.Compare(a.Address[:], b.Address[:])
}
