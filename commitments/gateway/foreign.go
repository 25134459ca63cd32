package gateway

import (
	"context"
	"fmt"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/internal/bls"
)

// readDelegations reads from a relay who holds a slot, unless that was read lately,
// and stops the slot if another does. It returns false if the relay did not say.
func (g *Gateway) readDelegations(ctx context.Context, r Relay, slot phase0.Slot) bool {
	key := slotOf{r.Name(), slot}
	c := once(g.paths, g.paths.read, key, fmt.Sprintf("read/%d/%s", slot, r.Name()), g.paths.answered, func() capability {
		ctx, cancel := context.WithTimeout(ctx, probeTimeout)
		defer cancel()
		list, err := r.Delegations(ctx, slot)
		for i := range list {
			g.compare(&list[i], r.Name(), slot)
		}
		return capability{ok: err == nil}
	})
	return c.ok
}

// compare holds a delegation that a relay shows against the one that is ours, or
// would be. One that our validator's key signed for someone else means that two
// sidecars hold the key, or that the slot is sold elsewhere: a second delegation
// would be slashable, so the slot is stopped. One without that signature proves
// nothing but that the relay shows it.
func (g *Gateway) compare(d *commitments.SignedDelegation, relay string, slot phase0.Slot) {
	id, ours := g.page(slot)
	if !ours || d.Message.Slot != slot || d.Message.Proposer != id.Proposer {
		return
	}
	who := g.party(id)
	if d.Message.Delegate == who.Delegate && d.Message.Committer == who.Committer {
		return // metadata alone is no equivocation [URC: slashEquivocation]
	}
	if !g.genuine(d) {
		g.Metrics.foreign(relay, "forged")
		g.Log.Warn("A relay shows a delegation of our slot that our validator did not sign", "slot", uint64(slot), "relay", relay)
		return
	}
	g.mu.Lock()
	_, known := g.foreign[id]
	g.foreign[id] = relay
	g.mu.Unlock()
	if known {
		return
	}
	page := g.Views.Page(id)
	g.Metrics.foreign(relay, "stopped")
	g.Log.Error("Our validator delegated this slot to someone else; it is stopped, and the key may be in use in two places",
		"slot", uint64(slot), "relay", relay, "delegate", d.Message.Delegate.String(), "delegated_here", page.Delegation != nil, "promises", len(page.Promises))
}

// genuine says whether the proposer's key signed a delegation, in any of the
// envelopes that are in use. [preconfirmations: signing layers]
func (g *Gateway) genuine(d *commitments.SignedDelegation) bool {
	root, err := d.Message.Root()
	if err != nil {
		return false
	}
	for _, signed := range []phase0.Root{
		commitments.SigningRoot(g.domain, g.Spec.ChainID, root, d.SigningID, d.Nonce),
		commitments.SigningData(root, g.domain),
		commitments.SigningData(root, g.Spec.Domain(chain.DomainBuilder)),
		root,
	} {
		if bls.Verify(d.Message.Proposer, signed, d.Signature) {
			return true
		}
	}
	return false
}

// stopped returns ErrForeign if another delegate holds a page.
func (g *Gateway) stopped(id commitments.PageID) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if relay, is := g.foreign[id]; is {
		return ErrForeign.With("seen at %s", relay)
	}
	return nil
}
