// Package signer owns the only road to a signature. Nothing is signed that is
// not first on disk, and nothing is on disk that contradicts what is there. It
// holds no keys and keeps no state: keys are a Keystore's, truth is the ledger's.
package signer

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/fault"
	"sidecar/internal/bls"
	"sidecar/internal/ecdsa"
	"sidecar/internal/ledger"
)

// Faults of this package.
var (
	ErrNotAllowed   = fault.Define("signer_forbidden", fault.Forbidden, "The policy does not let this module use this key for this purpose.")
	ErrUnknownKey   = fault.Define("unknown_key", fault.NotFound, "The signer holds no such key.")
	ErrIncoherent   = fault.Define("signing_request_incoherent", fault.Invalid, "What is to be signed does not fit its page, its key or its signing root.")
	ErrBadSignature = fault.Define("own_signature_invalid", fault.Internal, "The key holder answered with a signature that does not verify; nothing was released.")
)

// Keystore holds private keys, here or elsewhere. Sign returns a fault of kind
// NotFound for a key it does not hold; the signer makes ErrUnknownKey of it.
// The same key and message always yield the same signature of its Root: 96 bytes
// of a BLS key, 65 (r‖s‖v, low s, v 27 or 28) of an ECDSA key.
type Keystore interface {
	Sign(ctx context.Context, key commitments.Key, m commitments.Message) ([]byte, error)
}

// Policy says which module may use which key for what.
type Policy interface {
	Allows(module string, kind ledger.Kind, key commitments.Key) bool
}

// Book is the ledger, as the signer needs it.
type Book interface {
	Append(ctx context.Context, id commitments.PageID, decide func(commitments.View) (ledger.Entry, error)) (ledger.Receipt, error)
	Seal(ctx context.Context, r ledger.Receipt, ink ledger.Ink) (ledger.Ink, error)
}

// Signer signs what policy, guard and ledger agree to. Make it as &Signer{…};
// its methods may be called from any goroutine.
type Signer struct {
	Ledger Book
	Keys   Keystore
	Policy Policy // nil allows nothing

	// Message computes what is signed for an entry, so that no caller can have
	// something signed under another object's name. See MessageOf.
	Message func(ledger.Entry) (commitments.Message, error)

	// Quoted computes what is signed for a quote. Nil: no quote is signed. See QuoteOf.
	Quoted func(commitments.Quote) commitments.Message

	// Clock tells which slots may be signed for. Required: without one, none may.
	Clock *chain.Clock
	// Lookahead is how many slots ahead of the present one may be. Zero: 64.
	Lookahead phase0.Slot

	// Log hears of refused contradictions. May be nil.
	Log *slog.Logger
	// Metrics may be nil.
	Metrics *Metrics

	validated sync.Map // phase0.BLSPubKey → *bls.PublicKey, to verify our own signatures
	alone     sync.Map // seq → *group, of entries that are signed again
	turns     sync.Map // groupOf → *turns
	seats     seats
	paired    sync.Map // phase0.BLSPubKey → *atomic.Uint64, signatures of a delegate; see delegated
	coming    coming
}

// Sign is the only road to a signature: decide names what to sign, policy and
// guard agree, the entry is on disk, the key signs, the signature is on disk.
// Then, and not before, the caller has it. decide runs under the ledger's lock.
//
// A commitment with a delegate is signed by both: its key signs the commitment,
// the delegate the group of all that became durable in one step. See group.
//
// The same resource with the same root again yields the stored signature. If
// the key or the disk fails after the entry stands, the entry stays and counts
// as promised; asking again signs it. The signer names the resources of
// delegations and constraints itself; decide names those of commitments.
//
// The page's slot lies between the one before the present and one lookahead
// ahead. For an earlier one, what is signed already is still answered; nothing
// new is signed, nor what stands unsigned.
//
// Faults: decide's, ErrNotAllowed, ErrIncoherent, ErrUnknownKey,
// commitments.ErrSlotRange,
// ErrBadSignature, ledger.ErrSlashable, ledger.ErrPageClosed, ledger.ErrHolding,
// ledger.ErrKeysLocked, ledger.ErrPoisoned.
func (s *Signer) Sign(ctx context.Context, id commitments.PageID, decide func(commitments.View) (ledger.Entry, error)) (ledger.Receipt, error) {
	r, err := s.sign(ctx, id, decide)
	s.Metrics.signed(r.Entry.Kind, err)
	if err != nil {
		return ledger.Receipt{}, err
	}
	return r, nil
}

// sign also returns the receipt of an entry that stands but could not be signed.
func (s *Signer) sign(ctx context.Context, id commitments.PageID, decide func(commitments.View) (ledger.Entry, error)) (ledger.Receipt, error) {
	over, err := s.plausible(id.Slot)
	if err != nil {
		return ledger.Receipt{}, err
	}
	// 1. Decide, policy, guard, under the ledger's lock; then the entry is on disk.
	// A crash up to here: nobody has a signature, and nobody can tell.
	r, g, err := s.append(ctx, id, over == nil, func(v commitments.View) (ledger.Entry, error) {
		e, err := decide(v)
		if err != nil {
			return e, err
		}
		if e, err = s.agree(v, e); err == nil && over != nil {
			return e, ledger.OnlyRepeat(over)
		}
		return e, err
	})
	s.audit(err)
	if err != nil {
		return r, err
	}
	// 2. Signed before: the same bytes again.
	if len(r.Signature) > 0 && (!r.Imported || r.Entry.Delegate.IsZero()) {
		return r, nil
	}
	if over != nil {
		return r, over
	}
	if len(r.Signature) > 0 {
		r.Proxy, err = s.completed(ctx, r)
		return r, err
	}
	// 3. The keys sign. A crash or an error from here on: the entry is a promise
	// without ink, which every reader of the page honours, and a repeat signs it.
	ink, err := s.inked(ctx, r, g)
	if err != nil {
		return r, err
	}
	// 4. The signatures are on disk before anyone has them. Another caller's may
	// have been there first.
	r.Ink, err = s.Ledger.Seal(ctx, r, ink)
	return r, err
}

// append has an entry on disk and, if it may be signed and is not yet, among those
// that its delegate signs next.
func (s *Signer) append(ctx context.Context, id commitments.PageID, maySign bool, decide func(commitments.View) (ledger.Entry, error)) (ledger.Receipt, *group, error) {
	w := s.coming.depart()
	defer s.coming.arrive(w)
	r, err := s.Ledger.Append(ctx, id, decide)
	if err != nil || !maySign || len(r.Signature) > 0 {
		return r, nil, err
	}
	return r, s.enlist(r), nil
}

// Note writes what nobody signs: that a page is closed, a header was served, a
// relay answered, a promise was judged. Closing a page twice is no error.
// Faults: ErrIncoherent, ledger.ErrPoisoned.
func (s *Signer) Note(ctx context.Context, id commitments.PageID, e ledger.Entry) error {
	if e.Kind.Signed() || !e.Key.IsZero() || e.Root != (phase0.Root{}) {
		return ErrIncoherent.With("%s is not a note", e.Kind)
	}
	if names := resources(id, e); names != nil {
		e.Resources = names
	}
	_, err := s.Ledger.Append(ctx, id, func(commitments.View) (ledger.Entry, error) { return e, nil })
	return err
}

// agree is what stands between a decision and the disk.
func (s *Signer) agree(v commitments.View, e ledger.Entry) (ledger.Entry, error) {
	if s.Policy == nil || !s.Policy.Allows(e.Module, e.Kind, e.Key) ||
		!e.Delegate.IsZero() && !s.Policy.Allows(e.Module, e.Kind, commitments.BLSKey(e.Delegate)) {
		return e, ErrNotAllowed.With("module %.64q, %s", e.Module, e.Kind)
	}
	if names := resources(v.PageID, e); names != nil {
		e.Resources = names
	}
	if err := guard(v, e); err != nil {
		return e, s.named(v, err)
	}
	m, err := s.Message(e)
	if err != nil {
		return e, ErrIncoherent.Wrap(err)
	}
	if m.Root() != e.Root {
		return e, ErrIncoherent.With("the signing root is not that of the %s", e.Kind)
	}
	return e, nil
}

// ink has the key sign, and verifies what comes back: a faulty holder or a bit
// that flipped must not leave a wrong signature in the ledger for good.
func (s *Signer) ink(ctx context.Context, e ledger.Entry) ([]byte, error) {
	m, err := s.Message(e)
	if err != nil || m.Root() != e.Root { // an entry of before this version, or of another chain
		return nil, errors.Join(ErrIncoherent.With("the entry's root is not its object's"), err)
	}
	return s.sealed(ctx, e.Key, m)
}

// sealed has a key sign a message, and verifies what comes back.
func (s *Signer) sealed(ctx context.Context, key commitments.Key, m commitments.Message) ([]byte, error) {
	if s.Keys == nil {
		return nil, ErrUnknownKey.With("%s", key)
	}
	if key.IsECDSA() { // a proxy's, and so in our memory; a BLS key may be far away
		if err := s.seats.take(ctx); err != nil {
			return nil, err
		}
		defer s.seats.give()
	}
	sig, err := s.Keys.Sign(ctx, key, m)
	if f := fault.Of(err); f != nil && f.Kind == fault.NotFound && !errors.Is(err, ErrUnknownKey) {
		return nil, ErrUnknownKey.Wrap(err)
	}
	if err != nil {
		return nil, err
	}
	ok, err := s.verify(key, m.Root(), sig)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, ErrBadSignature.With("key %s", key)
	}
	return sig, nil
}

// verify says whether sig is the key's signature of root.
func (s *Signer) verify(key commitments.Key, root phase0.Root, sig []byte) (bool, error) {
	if len(sig) != key.SignatureLength() {
		return false, nil
	}
	if key.IsECDSA() {
		address, err := ecdsa.Recover(root, [65]byte(sig))
		return err == nil && address == key.Address, nil
	}
	public, err := s.public(key.BLS)
	if err != nil {
		return false, err
	}
	return public.Verify(root, phase0.BLSSignature(sig)), nil
}

// public validates a key of ours once.
func (s *Signer) public(key phase0.BLSPubKey) (*bls.PublicKey, error) {
	if known, ok := s.validated.Load(key); ok {
		if public, ok := known.(*bls.PublicKey); ok {
			return public, nil
		}
	}
	public, err := bls.ParsePublicKey(key)
	if err != nil {
		return nil, ErrBadSignature.Wrap(err)
	}
	s.validated.Store(key, public)
	return public, nil
}
