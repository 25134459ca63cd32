// Package modules is the plugin interface of the sidecar.
//
// A module answers three questions about a page of the ledger: may we promise
// this, does this block keep what we promised, and was it kept?
package modules

import (
	"context"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
)

// Info is what a module says of itself. It never changes.
type Info struct {
	ID              string
	SigningID       phase0.Root
	CommitmentTypes []uint64
	ConstraintTypes []uint64
	// Excuses are the reasons of verdicts for which a promise that was not kept is
	// not broken, for searchers to know. Optional.
	Excuses []string
}

// Module is implemented in process, over HTTP, and by Set for many. It keeps no
// durable state: the page is the state.
type Module interface {
	Info() Info

	// Slot reads which slot req names; 0 leaves the choice to the gateway.
	// Faults: of kind Invalid or Rejected.
	Slot(ctx context.Context, req commitments.Request) (phase0.Slot, error)

	// Commit drafts the promise, or refuses with a fault of kind Rejected. The
	// view may be overtaken; the draft's Touches say when that matters.
	Commit(ctx context.Context, view commitments.View, req commitments.Request) (commitments.Draft, error)

	// Verify returns nil if cand keeps every promise of this module on page.
	Verify(ctx context.Context, page commitments.Page, cand commitments.Candidate) error

	// Audit judges every commitment of this module on page against the block.
	Audit(ctx context.Context, page commitments.Page, block commitments.Block) ([]commitments.Verdict, error)
}

// Runner is implemented by modules with work of their own. Run blocks until ctx ends.
type Runner interface {
	Run(ctx context.Context) error
}

// Pricer is implemented by modules whose promises have a price. The gateway asks
// it for a fee or a quote; the price is enforced by Commit, as on View.Quoted
// if that is set.
type Pricer interface {
	// Price says what the promise of req would cost now, whether or not req offers
	// as much. It wants no more of req than the price needs: a sender without funds
	// may ask. Faults: of kind Invalid or Rejected; ErrUnpriced.
	Price(ctx context.Context, view commitments.View, req commitments.Request) (commitments.Price, error)
}

// New makes a module from its [modules.config] table. decode is strict.
type New func(host Host, decode func(into any) error) (Module, error)
