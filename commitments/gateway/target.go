package gateway

import (
	"context"
	"time"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
)

// Strength says by what a page's promises would be kept. A block of the proposer's
// own, checked before it is signed, would be one more.
type Strength string

// The paths that there are.
const (
	PathRelay   Strength = "constraints_relay" // a relay that takes constraints, and bids that prove them
	PathBuilder Strength = "trusted_builder"   // a builder that the operator named, and bids that prove them
)

// Relay is where delegations and constraints go, and where bids come from.
type Relay interface {
	Name() string
	// Capabilities returns the constraint types that are honoured; none without
	// the Constraints API.
	Capabilities(ctx context.Context) ([]uint64, error)
	// ServesProofs says whether bids for a page come with proofs: whether
	// header_with_proofs is served at all.
	ServesProofs(ctx context.Context, id commitments.PageID) (bool, error)
	// Delegations returns those known for a slot; none if they are not served.
	Delegations(ctx context.Context, slot phase0.Slot) ([]commitments.SignedDelegation, error)
	PostDelegation(ctx context.Context, d commitments.SignedDelegation) error
	PostConstraints(ctx context.Context, s commitments.SignedConstraints) error
}

// Target is a relay, or a builder, that is told what a page's block must hold.
type Target struct {
	Relay
	Strength Strength // default PathRelay
	// Lead is how long before its slot it must have a page's constraints, or its
	// builders have no time for them. 0: Config.Lead.
	Lead time.Duration
	// Bids are the relays whose bids can show that the target complied. Empty:
	// the target itself.
	Bids []Relay
}

// bids are the relays whose bids the target's word is kept by.
func (t *Target) bids() []Relay {
	if len(t.Bids) == 0 {
		return []Relay{t.Relay}
	}
	return t.Bids
}

// Party is who promises for a validator: what its delegations name.
type Party struct {
	Delegate  phase0.BLSPubKey           // the proxy key that promises
	Committer bellatrix.ExecutionAddress // the key that signs commitments for contracts; zero if none does
}

// party is who promises on a page: whom its delegation names and, before there is
// one, whom the configuration does.
func (g *Gateway) party(id commitments.PageID) Party {
	if d := g.Views.Page(id).Delegation; d != nil {
		return Party{d.Message.Delegate, d.Message.Committer}
	}
	return g.partyFor(id.Proposer)
}

func (g *Gateway) partyFor(proposer phase0.BLSPubKey) Party {
	if g.Parties != nil {
		if p := g.Parties(proposer); !p.Delegate.IsZero() {
			return p
		}
	}
	return Party{g.Delegate, g.Committer}
}
