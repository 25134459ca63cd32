package signer

import (
	"context"
	"time"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/internal/ledger"
)

// MaxQuoteLife is how long a quote may be valid.
const MaxQuoteLife = 3 * time.Second

// Quote signs a quote with the committer's key. It is the one signature that is
// not on the ledger first, and it needs none: a quote reserves nothing, any
// number of them may be signed for one request, and no two contradict each
// other, so there is nothing to remember. Were they written down, strangers could
// fill the disk for nothing.
//
// In exchange the signer takes a quote and never a root. It computes the root
// itself, under a type and a signing id that no other message has; the policy
// must grant the key for quotes; the key is an ECDSA key, so that no validator's
// can be meant; and a quote ends within MaxQuoteLife, for a slot that may be
// signed for. Faults: ErrNotAllowed, ErrIncoherent, ErrUnknownKey,
// commitments.ErrSlotRange, ErrBadSignature.
func (s *Signer) Quote(ctx context.Context, module string, key commitments.Key, q commitments.Quote) (signed commitments.SignedQuote, err error) {
	signed = commitments.SignedQuote{Quote: q, Committer: key.Address}
	signed.Signature, err = s.quote(ctx, module, key, q)
	s.Metrics.signed(ledger.KindQuote, err)
	if err != nil {
		return commitments.SignedQuote{}, err
	}
	return signed, nil
}

func (s *Signer) quote(ctx context.Context, module string, key commitments.Key, q commitments.Quote) ([]byte, error) {
	if s.Quoted == nil || s.Policy == nil || !s.Policy.Allows(module, ledger.KindQuote, key) {
		return nil, ErrNotAllowed.With("module %.64q, %s", module, ledger.KindQuote)
	}
	if !key.IsECDSA() || key.IsBLS() {
		return nil, ErrIncoherent.With("a quote is signed by an ECDSA key")
	}
	over, err := s.plausible(q.Slot)
	if err != nil {
		return nil, err
	}
	if over != nil {
		return nil, over
	}
	now := s.Clock.Now().UnixMilli()
	// #nosec G115 -- of this century
	if until := q.ValidUntil; until <= uint64(now) || until > uint64(now+MaxQuoteLife.Milliseconds()) {
		return nil, ErrIncoherent.With("a quote ends within %v", MaxQuoteLife)
	}
	return s.sealed(ctx, key, s.Quoted(q))
}

// QuoteOf returns a function that computes what is signed for a quote on a
// chain, for Signer.Quoted. [Commit-Boost: PropCommitSigningInfo]
func QuoteOf(spec chain.Spec) func(commitments.Quote) commitments.Message {
	domain := spec.Domain(chain.DomainCommitBoost)
	return func(q commitments.Quote) commitments.Message { return q.Message(domain, spec.ChainID) }
}
