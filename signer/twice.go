package signer

import (
	"bytes"
	"context"
	"sync/atomic"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/fault"
)

// Twice is a Keystore with BLS keys in this process's memory, in two copies that
// share nothing. SignTwice computes the signature with each of them, and returns a
// fault of kind NotFound for a key of which it has no two copies.
type Twice interface {
	SignTwice(ctx context.Context, key commitments.Key, m commitments.Message) ([2][]byte, error)
}

// pairEvery is how many signatures of a delegate there are for each one that is
// verified by pairing as well.
const pairEvery = 256

// delegated has a delegate sign. A BLS signature is the same bytes each time, so
// that two computations with two copies of the key that agree are as good as a
// verification, at the price of one if there is a processor to spare: a bit that
// flips, in a key or on the way, is in one of them. What both could have wrong, the
// key from the start or the library's tables, a pairing shows: of the first
// signature, and of every 256th. Keys elsewhere are verified by pairing always.
func (s *Signer) delegated(ctx context.Context, delegate phase0.BLSPubKey, m commitments.Message) ([]byte, error) {
	key := commitments.BLSKey(delegate)
	t, ok := s.Keys.(Twice)
	if !ok {
		return s.sealed(ctx, key, m)
	}
	sigs, err := t.SignTwice(ctx, key, m)
	if f := fault.Of(err); f != nil && f.Kind == fault.NotFound {
		return s.sealed(ctx, key, m)
	}
	if err != nil {
		return nil, err
	}
	sig := sigs[0]
	if len(sig) != key.SignatureLength() || !bytes.Equal(sig, sigs[1]) {
		return nil, ErrBadSignature.With("key %s: two computations differ", key)
	}
	found, _ := s.paired.LoadOrStore(delegate, new(atomic.Uint64))
	signed, _ := found.(*atomic.Uint64) // nothing else is stored
	if signed.Load()%pairEvery == 0 {   // and again, until one verifies
		if ok, err := s.verify(key, m.Root(), sig); err != nil || !ok {
			return nil, ErrBadSignature.With("key %s", key)
		}
	}
	signed.Add(1)
	return sig, nil
}
