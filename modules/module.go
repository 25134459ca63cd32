// Package modules is the plugin interface of the sidecar.
//
// A module answers three questions about a page of the ledger: may we promise
// this, does this block keep what we promised, and was it kept?
package modules

import (
	"context"
	"log/slog"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/holiman/uint256"

	"sidecar/chain"
	"sidecar/commitments"
)

// Info is what a module says of itself. It never changes.
type Info struct {
	ID              string
	SigningID       phase0.Root
	CommitmentTypes []uint64
	ConstraintTypes []uint64
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

// Account is an account of the execution layer at a block.
type Account struct {
	Nonce   uint64
	Balance uint256.Int // wei
	HasCode bool
}

// Head is the execution block that accounts are read at.
type Head struct {
	Number    uint64
	Hash      phase0.Hash32
	Slot      phase0.Slot // by its timestamp
	Timestamp uint64      // unix seconds
	GasLimit  uint64
	GasUsed   uint64
	BaseFee   uint256.Int // wei
}

// State is what a module may read from the execution layer. Faults: of kind
// Unavailable when the node does not answer.
type State interface {
	Account(ctx context.Context, addr bellatrix.ExecutionAddress) (Account, Head, error)
	Head(ctx context.Context) (Head, error)
}

// Host is what the sidecar lends to a module. Tests fill the fields they need.
type Host struct {
	ID        string
	SigningID phase0.Root
	Spec      chain.Spec
	Clock     *chain.Clock
	Log       *slog.Logger
	State     State
}

// New makes a module from its [modules.config] table. decode is strict.
type New func(host Host, decode func(into any) error) (Module, error)
