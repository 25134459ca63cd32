package signer

import (
	"context"
	"errors"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/internal/ecdsa"
	"sidecar/internal/ledger"
)

// committer adds an ECDSA key to a holder.
type committer struct {
	*holder
	key *ecdsa.SecretKey
}

func (c committer) Sign(ctx context.Context, key commitments.Key, m commitments.Message) ([]byte, error) {
	if key != commitments.ECDSAKey(c.key.Address()) {
		return c.holder.Sign(ctx, key, m)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lie {
		m.Object[0] ^= 1
	}
	sig, err := c.key.Sign(m.Root())
	return sig[:], err
}

func TestQuote(t *testing.T) {
	r := newRoad(t)
	secret, err := ecdsa.NewSecretKey()
	if err != nil {
		t.Fatal(err)
	}
	key := commitments.ECDSAKey(secret.Address())
	r.Keys = committer{r.keys, secret}
	now := uint64(r.Clock.Now().UnixMilli())
	good := commitments.Quote{RequestHash: phase0.Hash32{1}, Type: 1, Slot: 12, ValidUntil: now + 3000, Price: commitments.Price{Mode: commitments.PaidByTip}}
	if _, err := r.Quote(t.Context(), "gateway", key, good); !errors.Is(err, ErrNotAllowed) {
		t.Errorf("a signer that knows no quotes: %v", err)
	}
	r.Quoted = QuoteOf(spec)
	if _, err := r.Quote(t.Context(), "gateway", key, good); !errors.Is(err, ErrNotAllowed) {
		t.Errorf("without a grant: %v", err)
	}
	bls := commitments.BLSKey(r.proxy)
	r.Policy = append(r.Policy.(Grants), Grant{"gateway", ledger.KindQuote, key}, Grant{"gateway", ledger.KindQuote, bls})
	s, err := r.Quote(t.Context(), "gateway", key, good)
	if err != nil || s.Quote != good || s.Committer != key.Address {
		t.Fatalf("got %+v, %v", s, err)
	}
	again, err := r.Quote(t.Context(), "gateway", key, good)
	if err != nil || string(again.Signature) != string(s.Signature) {
		t.Errorf("again: %v", err)
	}
	if by, err := ecdsa.Recover(QuoteOf(spec)(good).Root(), [65]byte(s.Signature)); err != nil || by != key.Address {
		t.Errorf("signed by %#x, %v", by, err)
	}
	with := func(change func(*commitments.Quote)) commitments.Quote {
		q := good
		change(&q)
		return q
	}
	for name, c := range map[string]struct {
		module string
		key    commitments.Key
		quote  commitments.Quote
		want   error
	}{
		"another module":  {"inclusion", key, good, ErrNotAllowed},
		"a BLS key":       {"gateway", bls, good, ErrIncoherent},
		"two keys":        {"gateway", commitments.Key{BLS: r.proxy, Address: key.Address}, good, ErrNotAllowed},
		"a validator's":   {"gateway", commitments.BLSKey(r.proposer), good, ErrNotAllowed},
		"over already":    {"gateway", key, with(func(q *commitments.Quote) { q.ValidUntil = now }), ErrIncoherent},
		"too long":        {"gateway", key, with(func(q *commitments.Quote) { q.ValidUntil++ }), ErrIncoherent},
		"for ever":        {"gateway", key, with(func(q *commitments.Quote) { q.ValidUntil = 1<<64 - 1 }), ErrIncoherent},
		"slot of the far": {"gateway", key, with(func(q *commitments.Quote) { q.Slot = 1 << 40 }), commitments.ErrSlotRange},
		"slot of old":     {"gateway", key, with(func(q *commitments.Quote) { q.Slot = 3 }), commitments.ErrSlotRange},
	} {
		if s, err := r.Quote(t.Context(), c.module, c.key, c.quote); !errors.Is(err, c.want) || len(s.Signature) > 0 {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	r.keys.lie = true
	if s, err := r.Quote(t.Context(), "gateway", key, good); !errors.Is(err, ErrBadSignature) || len(s.Signature) > 0 {
		t.Errorf("a lying holder: %v", err)
	}
	if r.book.Len() != 0 {
		t.Errorf("%d entries in the ledger", r.book.Len())
	}
	// No other road leads to a quote's signature: an entry of its kind is no entry.
	e := ledger.Entry{Kind: ledger.KindQuote, Module: "gateway", Key: key, Root: QuoteOf(spec)(good).Root(), Resources: []string{"quote"}}
	if _, err := r.Sign(t.Context(), r.id, func(commitments.View) (ledger.Entry, error) { return e, nil }); !errors.Is(err, ErrIncoherent) {
		t.Errorf("an entry of a quote: %v", err)
	}
}
