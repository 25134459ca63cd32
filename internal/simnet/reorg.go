package simnet

import (
	"context"
	"fmt"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"
)

// Reorg takes the block of a slot, and those after it, out of the chain. In its
// place comes another of the same proposer on the same parent, of these
// transactions; nil leaves the slot missed. The blocks taken out stay known, and
// are not canonical.
func (n *Net) Reorg(ctx context.Context, slot phase0.Slot, txs [][]byte) error {
	ctx, cancel := context.WithTimeout(ctx, importTimeout)
	defer cancel()
	b := n.Beacon
	b.mu.Lock() // until the other block is the head: nobody builds on its parent meanwhile
	defer b.mu.Unlock()
	parent, err := b.rewind(slot)
	if err != nil || txs == nil {
		return err
	}
	extra := fmt.Sprintf("simnet reorg %d", len(b.byRoot)) // the same transactions may come again
	env, err := n.Execution.Build(ctx, common.Hash(parent.hash), b.attributes(slot, parent.root), txs, extra)
	if err != nil {
		return err
	}
	payload, err := payloadOf(env.ExecutionPayload)
	if err != nil {
		return err
	}
	who := b.proposer(slot)
	blobs, err := bundleOf(env.BlobsBundle)
	if err != nil {
		return err
	}
	other := n.Proposer.plan(slot, who, parent).full(payload, blobs.Commitments)
	n.Proposer.sign(other, who)
	in, err := readBlock(other)
	if err != nil {
		return err
	}
	return b.importHeld(ctx, in)
}

// rewind makes the block before a slot's the head, of both chains. The lock is held.
func (b *Beacon) rewind(slot phase0.Slot) (parent block, err error) {
	at, ok := b.bySlot[slot]
	if !ok || slot == 0 {
		return parent, fmt.Errorf("slot %d has no block to take out", slot)
	}
	parent = b.byRoot[at.header.Message.ParentRoot]
	if err := b.el.rewind(common.Hash(parent.hash)); err != nil {
		return parent, err
	}
	for s := slot; s <= b.head.slot(); s++ {
		delete(b.bySlot, s)
	}
	b.head = parent
	close(b.changed)
	b.changed = make(chan struct{})
	b.publishHead(parent, false)
	b.publishAttributes(max(b.clock.Slot(), slot) + 1)
	return parent, nil
}

// rewind makes an earlier block the head.
func (e *Execution) rewind(hash common.Hash) error {
	at := e.Block(hash)
	if at == nil {
		return fmt.Errorf("no block %s", hash)
	}
	_, err := e.backend.BlockChain().SetCanonical(at)
	return err
}
