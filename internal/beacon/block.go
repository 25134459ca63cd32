package beacon

import (
	"context"
	"errors"
	"strconv"

	"github.com/attestantio/go-eth2-client/spec/phase0"
)

// BlockInfo is what the auditor wants to know of a slot's canonical block.
type BlockInfo struct {
	Slot          phase0.Slot
	Root          phase0.Root // zero if the node does not serve headers
	ProposerIndex phase0.ValidatorIndex
	ExecutionHash phase0.Hash32
	Header        *phase0.BeaconBlockHeader // hashes to Root; nil if the node does not serve headers
	Bid           bool                      // the block holds a builder's bid and not its payload, which may never come [EIP-7732]
	Optimistic    bool                      // the execution payload is not yet verified
	Finalized     bool
	Missed        bool // the slot has no block; everything but Slot is empty
}

// history is how many slots back a missed slot looks for a block, to know that
// the node has the chain of that time. A node that started from a checkpoint
// fills in older blocks backwards, and answers 404 until it has.
const history = 32

type blockJSON struct {
	Optimistic bool `json:"execution_optimistic"`
	Finalized  bool `json:"finalized"`
	Data       struct {
		Message struct {
			messageJSON
			Body struct {
				Payload struct {
					BlockHash *phase0.Hash32 `json:"block_hash"`
				} `json:"execution_payload"`
				Bid struct {
					Message struct {
						BlockHash *phase0.Hash32 `json:"block_hash"`
					} `json:"message"`
				} `json:"signed_execution_payload_bid"`
			} `json:"body"`
		} `json:"message"`
	} `json:"data"`
}

// Block asks for the canonical block of a slot. A slot without one is Missed
// only if the node is in sync, has a later head and knows the chain before the
// slot; otherwise nothing is known. Faults: ErrUnavailable, ErrBadAnswer.
// [Beacon API: getBlockV2, getBlockHeader]
func (c *Client) Block(ctx context.Context, slot phase0.Slot) (BlockInfo, error) {
	b, err := c.block(ctx, slot)
	if errors.Is(err, errNotFound) {
		return c.missed(ctx, slot)
	}
	if err != nil {
		return BlockInfo{}, err
	}
	m := b.Data.Message
	info := BlockInfo{
		Slot: slot, ProposerIndex: *m.ProposerIndex, Optimistic: b.Optimistic, Finalized: b.Finalized,
	}
	if payload := m.Body.Payload.BlockHash; payload != nil {
		info.ExecutionHash = *payload
	} else {
		info.ExecutionHash, info.Bid = *m.Body.Bid.Message.BlockHash, true
	}
	h, err := c.header(ctx, strconv.FormatUint(uint64(slot), 10))
	if errors.Is(err, errNotFound) {
		return info, nil
	}
	if err != nil {
		return BlockInfo{}, err
	}
	hm := h.Data.Header.Message
	if *hm.Slot != slot || *hm.ProposerIndex != *m.ProposerIndex || *hm.ParentRoot != *m.ParentRoot || *hm.StateRoot != *m.StateRoot {
		return BlockInfo{}, ErrUnavailable.With("slot %d changed while it was read", slot) // a reorganisation between the two
	}
	info.Root = *h.Data.Root
	if hm.BodyRoot == nil {
		return BlockInfo{}, ErrBadAnswer.With("header without a body root")
	}
	info.Header = &phase0.BeaconBlockHeader{Slot: slot, ProposerIndex: *hm.ProposerIndex, ParentRoot: *hm.ParentRoot, StateRoot: *hm.StateRoot, BodyRoot: *hm.BodyRoot}
	if root, err := info.Header.HashTreeRoot(); err != nil || root != info.Root {
		return BlockInfo{}, ErrBadAnswer.With("the header of slot %d does not hash to its root", slot)
	}
	return info, nil
}

func (c *Client) block(ctx context.Context, slot phase0.Slot) (blockJSON, error) {
	var b blockJSON
	if _, err := c.get(ctx, "block", blockPath(slot), limitBlock, &b); err != nil {
		return b, err
	}
	m := b.Data.Message
	if !m.complete() || m.Body.Payload.BlockHash == nil && m.Body.Bid.Message.BlockHash == nil {
		return b, ErrBadAnswer.With("block without its fields")
	}
	if *m.Slot != slot {
		return b, ErrBadAnswer.With("block of slot %d, asked for %d", *m.Slot, slot)
	}
	return b, nil
}

// missed decides what a 404 means. The block is asked for again after the head
// is known, because it may have arrived between the two.
func (c *Client) missed(ctx context.Context, slot phase0.Slot) (BlockInfo, error) {
	s, err := c.Syncing(ctx)
	if err != nil {
		return BlockInfo{}, err
	}
	head, err := c.Head(ctx)
	if err != nil {
		return BlockInfo{}, err
	}
	if s.Syncing || head.Optimistic || head.Slot <= slot {
		return BlockInfo{}, ErrUnavailable.With("slot %d is not decided: head %d", slot, head.Slot)
	}
	if there, err := c.exists(ctx, slot); err != nil {
		return BlockInfo{}, err
	} else if there {
		return BlockInfo{}, ErrUnavailable.With("slot %d has only now a block", slot)
	}
	for s, n := slot, 0; s > 0 && n < history; n++ {
		s--
		if there, err := c.exists(ctx, s); err != nil {
			return BlockInfo{}, err
		} else if there {
			return BlockInfo{Slot: slot, Missed: true}, nil
		}
	}
	if slot <= history {
		return BlockInfo{Slot: slot, Missed: true}, nil // nothing but misses since genesis
	}
	return BlockInfo{}, ErrUnavailable.With("the node has no blocks before slot %d", slot)
}

// exists says whether the node has a canonical block at a slot.
func (c *Client) exists(ctx context.Context, slot phase0.Slot) (bool, error) {
	_, err := c.get(ctx, "block", blockPath(slot), limitBlock, nil)
	if errors.Is(err, errNotFound) {
		return false, nil
	}
	return err == nil, err
}

func blockPath(slot phase0.Slot) string {
	return "/eth/v2/beacon/blocks/" + strconv.FormatUint(uint64(slot), 10)
}
