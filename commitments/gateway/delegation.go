package gateway

import (
	"context"
	"fmt"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/fault"
	"sidecar/internal/ledger"
)

// Retries of a post to a relay.
const (
	retryEvery  = 100 * time.Millisecond
	postTimeout = time.Second // of one attempt
	maxAttempts = 600         // a bound that the deadline reaches first
)

// delegate returns the key that promises for a page. The first promise of a page
// has the validator's key delegate to ours, once: entry, ink, and then the
// relays, in the background. Faults: the signer's.
func (g *Gateway) delegate(ctx context.Context, id commitments.PageID) (phase0.BLSPubKey, error) {
	if d := g.Views.Page(id).Delegation; d != nil {
		return d.Message.Delegate, nil // that of the time; the configured key may be another by now
	}
	type made struct {
		key phase0.BLSPubKey
		err error
	}
	answer := make(chan made, 1)
	// The flight outlives the caller who began it, for others wait for it.
	if !g.spawn(func(work context.Context) {
		v, err, _ := g.flights.Do(fmt.Sprintf("%d/%x", id.Slot, id.Proposer[:]), func() (any, error) {
			work, cancel := context.WithTimeout(work, requestTimeout)
			defer cancel()
			return g.makeDelegation(work, id)
		})
		key, _ := v.(phase0.BLSPubKey)
		answer <- made{key, err}
	}) {
		return phase0.BLSPubKey{}, ErrDraining
	}
	select {
	case <-ctx.Done():
		return phase0.BLSPubKey{}, ctx.Err()
	case m := <-answer:
		return m.key, m.err
	}
}

func (g *Gateway) makeDelegation(ctx context.Context, id commitments.PageID) (phase0.BLSPubKey, error) {
	if d := g.Views.Page(id).Delegation; d != nil {
		return d.Message.Delegate, nil // made by the flight before
	}
	msg := commitments.Delegation{Proposer: id.Proposer, Delegate: g.Delegate, Committer: g.Committer, Slot: id.Slot}
	object, err := msg.Root()
	if err != nil {
		return phase0.BLSPubKey{}, err
	}
	// The nonce is the slot, not the position: a crash between entry and ink is
	// mended by making the same entry again, from nothing but the page's name.
	nonce := uint64(id.Slot)
	e := ledger.Entry{
		Kind: ledger.KindDelegation, Module: moduleName, Key: commitments.BLSKey(id.Proposer),
		Root:  commitments.SigningRoot(g.domain, g.Spec.ChainID, object, g.SigningID, nonce),
		Nonce: nonce, SigningID: g.SigningID, Delegation: &msg,
	}
	r, err := g.Signer.Sign(ctx, id, func(commitments.View) (ledger.Entry, error) { return e, nil })
	if err != nil {
		return phase0.BLSPubKey{}, err
	}
	d := commitments.SignedDelegation{Message: msg, Nonce: nonce, SigningID: g.SigningID, Signature: blsSignature(r)}
	g.spawn(func(ctx context.Context) { g.postDelegation(ctx, d) })
	return msg.Delegate, nil
}

// postDelegation hands a delegation to every constraints relay, until each has
// taken it or the slot begins. It is safe to repeat: the bytes are the same.
func (g *Gateway) postDelegation(ctx context.Context, d commitments.SignedDelegation) {
	ctx, cancel := g.until(ctx, g.Clock.Start(d.Message.Slot))
	defer cancel()
	relays := g.enforcers(d.Message.Proposer)
	done := make(chan struct{}, len(relays))
	for _, r := range relays {
		go func() {
			defer func() { done <- struct{}{} }()
			err := g.deliver(ctx, func(ctx context.Context) error { return r.PostDelegation(ctx, d) })
			g.Metrics.post("delegation", r.Name(), err)
			if err != nil {
				g.Log.Warn("Relay did not take the delegation", "slot", uint64(d.Message.Slot), "relay", r.Name(), "reason", fault.Code(err))
			}
		}()
	}
	for range relays {
		<-done
	}
}

// blsSignature is the signature of a receipt as an array.
func blsSignature(r ledger.Receipt) (s phase0.BLSSignature) {
	copy(s[:], r.Signature)
	return s
}

// enforcers are the relays of a proposer that are configured to honour constraints.
func (g *Gateway) enforcers(proposer phase0.BLSPubKey) (out []Relay) {
	for _, r := range g.RelaysFor(proposer) {
		if r.HonoursConstraints() {
			out = append(out, r)
		}
	}
	return out
}

// deliver tries until post succeeds or ctx ends, and returns the last error of
// post itself.
func (g *Gateway) deliver(ctx context.Context, post func(context.Context) error) error {
	last := ctx.Err()
	for n := 0; n < maxAttempts && ctx.Err() == nil; n++ {
		attempt, cancel := context.WithTimeout(ctx, postTimeout)
		err := post(attempt)
		cancel()
		if err == nil {
			return nil
		}
		last = err
		pause(ctx, retryEvery)
	}
	return last
}

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
