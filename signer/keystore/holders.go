package keystore

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/fault"
)

// Faults of holders.
var (
	ErrTwice       = fault.Define("key_held_twice", fault.Conflict, "A key is held in two places; only one of them can know what it signed.")
	ErrUnavailable = fault.Define("key_holder_unavailable", fault.Upstream, "The remote holder of a key does not sign: it cannot be reached, is late, or refuses.")
)

// Holder holds private keys, here or elsewhere: Local, Proxies, web3signer.Holder
// and dirk.Holder. Sign promises what signer.Keystore says.
type Holder interface {
	Keys() []commitments.Key
	Sign(ctx context.Context, key commitments.Key, m commitments.Message) ([]byte, error)
}

// Place is a holder of validators' keys, by name.
type Place struct {
	Name   string // "local", "web3signer", "dirk": in logs and errors
	Holder Holder
}

// Held is a key and where it is.
type Held struct {
	Key   commitments.Key
	Place string
}

// Holders routes every signature to where its key is: the keys of validators in
// places that were listed at the start, the keys of proxies in their registry.
// Its methods may be called from any goroutine.
type Holders struct {
	places  map[commitments.Key]Place
	proxies *Proxies
}

// NewHolders asks every place once what it holds. A key in two places is an
// error, and so is a place without a key. Faults: ErrTwice, ErrEmpty.
func NewHolders(places ...Place) (*Holders, error) {
	h := &Holders{places: map[commitments.Key]Place{}}
	for _, p := range places {
		keys := p.Holder.Keys()
		if len(keys) == 0 {
			return nil, ErrEmpty.With("%s", p.Name)
		}
		for _, k := range keys {
			if other, twice := h.places[k]; twice {
				return nil, ErrTwice.With("%s, by %s and %s", k, other.Name, p.Name)
			}
			h.places[k] = p
		}
	}
	return h, nil
}

// With returns holders that also sign with proxy keys. A validator's key that is
// also a proxy is an error. Fault: ErrTwice.
func (h *Holders) With(proxies *Proxies) (*Holders, error) {
	for _, p := range proxies.All() {
		if place, twice := h.places[p.Key]; twice {
			return nil, ErrTwice.With("%s, by %s and as a proxy key", p.Key, place.Name)
		}
	}
	return &Holders{h.places, proxies}, nil
}

// Consensus returns the keys of validators, ascending.
func (h *Holders) Consensus() []phase0.BLSPubKey {
	var keys []commitments.Key
	for _, held := range h.List() {
		keys = append(keys, held.Key)
	}
	return pubkeys(keys)
}

// List returns the keys of validators and where they are, ascending.
func (h *Holders) List() (list []Held) {
	for k, p := range h.places {
		list = append(list, Held{k, p.Name})
	}
	slices.SortFunc(list, func(a, b Held) int { return compareKeys(a.Key, b.Key) })
	return list
}

// Sign asks the holder of a key. A remote one that fails, for whatever reason, is
// unavailable; what it said is inside.
// Faults: ErrNotHeld, ErrUnavailable, those of Proxies.Find.
func (h *Holders) Sign(ctx context.Context, key commitments.Key, m commitments.Message) ([]byte, error) {
	place, ok := h.places[key]
	switch {
	case ok:
	case h.proxies != nil:
		return h.proxies.Sign(ctx, key, m)
	default:
		return nil, ErrNotHeld.With("%s", key)
	}
	sig, err := place.Holder.Sign(ctx, key, m)
	if _, local := place.Holder.(*Local); err == nil || local || errors.Is(ctx.Err(), context.Canceled) {
		return sig, err
	}
	return nil, ErrUnavailable.Wrap(fmt.Errorf("%s: %w", place.Name, err))
}

// SignTwice signs with both copies of a BLS key that is in our memory. Faults:
// ErrNotHeld, also of a key that is elsewhere; those of Proxies.Find.
func (h *Holders) SignTwice(ctx context.Context, key commitments.Key, m commitments.Message) ([2][]byte, error) {
	place, ok := h.places[key]
	if local, here := place.Holder.(*Local); here {
		return local.SignTwice(ctx, key, m)
	}
	if ok || h.proxies == nil {
		return [2][]byte{}, ErrNotHeld.With("%s", key)
	}
	return h.proxies.SignTwice(ctx, key, m)
}

// Close zeroes the secrets held here, and lets go of the remote holders.
func (h *Holders) Close() {
	if h.proxies != nil {
		h.proxies.Close()
	}
	for _, p := range h.places {
		if c, ok := p.Holder.(interface{ Close() }); ok {
			c.Close()
		}
	}
}

// Format hides everything from every verb.
func (h *Holders) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "keystore.Holders(%d keys)", len(h.places))
}

var (
	_ Holder = (*Local)(nil)
	_ Holder = (*Proxies)(nil)
)
