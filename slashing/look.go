package slashing

import (
	"context"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/fault"
	"sidecar/internal/beacon"
)

// ErrViews is when the two nodes do not agree on a slot.
var ErrViews = fault.Define("audit_views_differ", fault.Unavailable, "The beacon node and the execution node have different blocks for a slot; neither is believed.")

// Reasons of a verdict on a slot without a block.
const (
	reasonMissed   = "slot_missed"
	reasonOrphaned = "slot_orphaned"
	reasonEmpty    = "payload_empty"
)

type (
	// Beacon knows the canonical block of a slot, or that there is none.
	Beacon interface {
		Block(ctx context.Context, slot phase0.Slot) (beacon.BlockInfo, error)
		Root(ctx context.Context, slot phase0.Slot) (phase0.Root, error)
		Orphaned(ctx context.Context, slot phase0.Slot) (bool, error)
		Finality(ctx context.Context) (beacon.Finality, error)
	}
	// Execution reads blocks, headers and accounts.
	Execution interface {
		BlockByHash(ctx context.Context, hash phase0.Hash32) (commitments.Block, error)
		CanonicalAt(ctx context.Context, slot phase0.Slot) (hash phase0.Hash32, found bool, err error)
		CanonicalHeader(ctx context.Context, number uint64) (rlpHeader []byte, hash phase0.Hash32, err error)
		HeaderRLP(ctx context.Context, hash phase0.Hash32) ([]byte, error)
		AccountProof(ctx context.Context, addr bellatrix.ExecutionAddress, block phase0.Hash32) ([][]byte, error)
		Call(ctx context.Context, to [20]byte, data []byte) ([]byte, error)
	}
)

// nodes are the two sides of what we know of the chain.
type nodes struct {
	spec      chain.Spec
	beacon    Beacon
	execution Execution
}

// sight is what both nodes have at a slot.
type sight struct {
	info  beacon.BlockInfo
	block commitments.Block
	none  string // why the slot has no execution block; empty if it has
}

// hash of the execution block; zero if there is none.
func (s *sight) hash() phase0.Hash32 { return s.block.Hash }

// look reads the canonical block of a slot from the beacon node, and its
// transactions from the execution node, whose chain must say the same. Faults:
// ErrViews, ErrUndecided, those of the nodes.
func (n nodes) look(ctx context.Context, slot phase0.Slot) (sight, error) {
	info, err := n.beacon.Block(ctx, slot)
	switch {
	case err != nil:
		return sight{}, err
	case info.Slot != slot:
		return sight{}, ErrUndecided.With("block of slot %d, asked for %d", info.Slot, slot)
	case info.Optimistic:
		return sight{}, ErrUndecided.With("the block of slot %d is not verified yet", slot)
	}
	hash, found, err := n.execution.CanonicalAt(ctx, slot)
	if err != nil {
		return sight{}, err
	}
	s := sight{info: info, block: commitments.Block{Slot: slot, Missed: true}}
	switch {
	case info.Missed && found:
		return sight{}, ErrViews.With("slot %d: missed, and block %#x", slot, hash[:])
	case info.Missed:
		s.none = reasonMissed
		// Not every node remembers what it left: if it fails to, the slot is missed.
		if orphaned, err := n.beacon.Orphaned(ctx, slot); err == nil && orphaned {
			s.none = reasonOrphaned
		}
		return s, nil
	case info.Bid && !found: // and the execution node's head is at the slot, or after it
		s.none = reasonEmpty
		return s, nil
	case !found || hash != info.ExecutionHash:
		return sight{}, ErrViews.With("slot %d: block %#x, and %#x", slot, info.ExecutionHash[:], hash[:])
	}
	if s.block, err = n.execution.BlockByHash(ctx, hash); err != nil {
		return sight{}, err
	}
	if s.block.Hash != hash {
		return sight{}, ErrUndecided.With("the execution node answered with another block than that of slot %d", slot)
	}
	s.block.Slot = slot
	return s, nil
}

// stage says how settled a slot is. A block at the first slot of an epoch, or
// before it, is as settled as the epoch's checkpoint. [consensus-specs: get_block_root]
func stage(spec chain.Spec, slot phase0.Slot, f beacon.Finality) commitments.Stage {
	switch {
	case uint64(slot) <= uint64(f.Finalized.Epoch)*spec.SlotsPerEpoch:
		return commitments.Final
	case uint64(slot) <= uint64(f.Justified.Epoch)*spec.SlotsPerEpoch:
		return commitments.Justified
	}
	return commitments.Provisional
}
