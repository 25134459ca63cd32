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
	maxAttempts = 600         // of one signature: a bound that the deadline reaches first
)

// What a receipt is for.
const (
	messageDelegation  = "delegation"
	messageConstraints = "constraints"
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
	if err := g.stopped(id); err != nil {
		return phase0.BLSPubKey{}, err
	}
	if protocol := g.exclusive(id.Proposer); protocol != "" {
		return phase0.BLSPubKey{}, ErrExclusive.With("%s", protocol)
	}
	who := g.partyFor(id.Proposer)
	msg := commitments.Delegation{Proposer: id.Proposer, Delegate: who.Delegate, Committer: who.Committer, Slot: id.Slot}
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
	g.spawn(func(ctx context.Context) { g.postDelegation(ctx, id, d) })
	return msg.Delegate, nil
}

// postDelegation hands a delegation to every target, until each has taken it or
// the posts end. It is safe to repeat: the bytes are the same. Where another's
// delegation of the slot is known, ours is not posted beside it.
func (g *Gateway) postDelegation(ctx context.Context, id commitments.PageID, d commitments.SignedDelegation) {
	ctx, cancel := g.until(ctx, g.Clock.Start(id.Slot))
	defer cancel()
	targets := g.TargetsFor(id.Proposer)
	done := make(chan struct{}, len(targets))
	for _, r := range targets {
		go func() {
			defer func() { done <- struct{}{} }()
			g.readDelegations(ctx, r, id.Slot)
			if err := g.stopped(id); err != nil {
				g.Log.Error("The delegation is not posted", "slot", uint64(id.Slot), "relay", r.Name(), "reason", fault.Code(err))
				return
			}
			o := g.deliver(ctx, g.postsEnd(id.Slot), r.Name(), func(ctx context.Context) error { return r.PostDelegation(ctx, d) })
			g.receipt(ctx, id, messageDelegation, o)
		}()
	}
	for range targets {
		<-done
	}
}

// blsSignature is the signature of a receipt as an array.
func blsSignature(r ledger.Receipt) (s phase0.BLSSignature) {
	copy(s[:], r.Signature)
	return s
}

// outcome is how a post to one target ended.
type outcome struct {
	relay    string
	attempts int
	took     time.Duration
	err      error // of the last attempt
}

// deliver tries until post succeeds, ctx ends or end has passed, at least once, and
// returns how the last attempt went. It tries every 100 ms, and less often while
// end is minutes ahead, but never gives up before: a slot that a relay was once too
// busy to hear of must not stay undelegated there.
func (g *Gateway) deliver(ctx context.Context, end time.Time, relay string, post func(context.Context) error) outcome {
	o, began := outcome{relay: relay, err: ctx.Err()}, g.Clock.Now()
	for ctx.Err() == nil && (o.attempts == 0 || g.Clock.Until(end) > 0) {
		attempt, cancel := context.WithTimeout(ctx, postTimeout)
		o.err = g.contain(func() error { return post(attempt) })
		cancel()
		o.attempts, o.took = o.attempts+1, g.Clock.Now().Sub(began)
		if o.err == nil {
			return o
		}
		pause(ctx, g.retryIn(end))
	}
	return o
}

// retryIn is how long to wait before a post is tried again: a hundredth of what is
// left, but 100 ms in the last two slots, and a slot at most.
func (g *Gateway) retryIn(end time.Time) time.Duration {
	left := g.Clock.Until(end)
	if left < fixedSlots*g.Spec.SlotDuration {
		return retryEvery
	}
	return min(max(left/100, retryEvery), g.Spec.SlotDuration)
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
