package simnet

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/attestantio/go-eth2-client/spec/deneb"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"

	"sidecar/chain"
	"sidecar/internal/bls"
)

const importTimeout = 5 * time.Second

var domainProposer = phase0.DomainType{0, 0, 0, 0}

// Beacon is a beacon node with a toy consensus: one chain, no attestations, one
// block per slot by its scheduled proposer. Everything a block says is checked:
// parent, proposer, signature, randao, timestamp, and its execution by geth. An
// epoch is justified by the first block of the next one and final one later.
type Beacon struct {
	server

	spec           chain.Spec
	fork           chain.Fork
	seed           string
	validatorsRoot phase0.Root
	validators     []Validator
	el             *Execution
	events         hub

	mu       sync.Mutex
	byRoot   map[phase0.Root]block
	bySlot   map[phase0.Slot]block // absent: missed
	head     block
	final    phase0.Epoch
	stalled  *[2]phase0.Epoch // justified and final while nothing more becomes so
	changed  chan struct{}    // closed at every new head
	syncing  bool
	proposed map[phase0.Slot]phase0.Hash32 // parent hash that attributes were sent for
}

// SetSyncing makes the node say that it syncs, or no longer.
func (b *Beacon) SetSyncing(syncing bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.syncing = syncing
}

// init puts the genesis block, which wraps geth's, at slot 0.
func (b *Beacon) init() error {
	b.byRoot, b.bySlot = map[phase0.Root]block{}, map[phase0.Slot]block{}
	b.proposed, b.changed = map[phase0.Slot]phase0.Hash32{}, make(chan struct{})
	payload, err := genesisPayload(b.el.Block(b.el.Head().Hash()))
	if err != nil {
		return err
	}
	g, err := readBlock(proposal{fork: b.fork, state: b.stateRoot(0, phase0.Root{})}.full(payload, []deneb.KZGCommitment{}))
	if err != nil {
		return err
	}
	b.byRoot[g.root], b.bySlot[0], b.head = g, g, g
	return nil
}

// proposer returns who proposes in a slot.
func (b *Beacon) proposer(slot phase0.Slot) Validator {
	sum := derive(b.seed, "proposer", uint64(slot))
	return b.validators[int(sum[0])%len(b.validators)]
}

// randao is the prev_randao of a slot's payload.
func (b *Beacon) randao(slot phase0.Slot) [32]byte { return derive(b.seed, "randao", uint64(slot)) }

func (b *Beacon) stateRoot(slot phase0.Slot, parent phase0.Root) phase0.Root {
	return derive(b.seed, "state "+string(parent[:]), uint64(slot))
}

// timestamp of a slot's execution block.
func (b *Beacon) timestamp(slot phase0.Slot) uint64 {
	return uint64(b.clock.Start(slot).Unix()) // #nosec G115 -- after 1970
}

// proposerDomain is the domain block signatures are made in.
func (b *Beacon) proposerDomain() phase0.Domain {
	return domain(domainProposer, forkVersion(b.fork), b.validatorsRoot)
}

// attributes are the payload attributes of a slot on the given parent.
func (b *Beacon) attributes(slot phase0.Slot, parent phase0.Root) engine.PayloadAttributes {
	root := common.Hash(parent)
	return engine.PayloadAttributes{
		Timestamp: b.timestamp(slot), Random: b.randao(slot), SuggestedFeeRecipient: b.proposer(slot).FeeRecipient,
		Withdrawals: []*types.Withdrawal{}, BeaconRoot: &root,
	}
}

// Head returns slot and root of the head and the hash of its execution block.
func (b *Beacon) Head() (phase0.Slot, phase0.Root, phase0.Hash32) {
	h := b.headBlock()
	return h.slot(), h.root, h.hash
}

func (b *Beacon) headBlock() block {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.head
}

// BlockHash returns the execution block hash of a slot's block; false: missed.
func (b *Beacon) BlockHash(slot phase0.Slot) (phase0.Hash32, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	at, ok := b.bySlot[slot]
	return at.hash, ok
}

// awaitBlock waits for the block of a slot, or the end of the context.
func (b *Beacon) awaitBlock(ctx context.Context, slot phase0.Slot) (block, error) {
	for {
		b.mu.Lock()
		at, ok := b.bySlot[slot]
		changed := b.changed
		b.mu.Unlock()
		if ok {
			return at, nil
		}
		select {
		case <-ctx.Done():
			return block{}, ctx.Err()
		case <-changed:
		}
	}
}

// importBlock checks a signed block and makes it the head. A block that is known
// already is fine.
func (b *Beacon) importBlock(ctx context.Context, signed codec) error {
	in, err := readBlock(signed)
	if err != nil {
		return err
	}
	// A caller that leaves must not leave geth ahead of the consensus.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), importTimeout)
	defer cancel()
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.importHeld(ctx, in)
}

// importHeld is importBlock with the lock held.
func (b *Beacon) importHeld(ctx context.Context, in block) error {
	if _, known := b.byRoot[in.root]; known {
		return nil
	}
	if err := b.check(in); err != nil {
		return err
	}
	data, err := dataOf(in.payload)
	if err != nil {
		return err
	}
	justified, final := b.checkpoints(in.slot())
	if err := b.el.Import(ctx, data, versionedHashes(in.blobs), common.Hash(in.header.Message.ParentRoot), b.hashAt(justified), b.hashAt(final)); err != nil {
		return err
	}
	epochs := b.spec.Epoch(in.slot()) != b.spec.Epoch(b.head.slot())
	b.byRoot[in.root], b.bySlot[in.slot()], b.head = in, in, in
	close(b.changed)
	b.changed = make(chan struct{})
	b.publishHead(in, epochs)
	if final > b.final {
		b.final = final
		b.publishFinal(final)
	}
	b.publishAttributes(in.slot() + 1)
	return nil
}

// check judges a block as consensus would. The lock is held.
func (b *Beacon) check(in block) error {
	m := in.header.Message
	switch who := b.proposer(m.Slot); {
	case in.payload == nil:
		return errors.New("block is blinded")
	case m.Slot <= b.head.slot() || m.Slot > b.clock.Slot():
		return fmt.Errorf("slot %d, head is at %d and the clock at %d", m.Slot, b.head.slot(), b.clock.Slot())
	case m.ParentRoot != b.head.root:
		return fmt.Errorf("parent %#x is not the head", m.ParentRoot)
	case m.ProposerIndex != who.Index:
		return fmt.Errorf("proposer %d, want %d", m.ProposerIndex, who.Index)
	case m.StateRoot != b.stateRoot(m.Slot, m.ParentRoot):
		return errors.New("wrong state root")
	case in.payload.ParentHash != b.head.hash:
		return errors.New("payload of another parent")
	case in.payload.PrevRandao != b.randao(m.Slot):
		return errors.New("wrong prev_randao")
	case in.payload.Timestamp != b.timestamp(m.Slot):
		return errors.New("wrong timestamp")
	case !bls.Verify(who.Pubkey, signingRoot(in.root, b.proposerDomain()), in.header.Signature):
		return errors.New("wrong proposer signature")
	}
	return nil
}

// checkpoints says which epochs are justified and final once slot has a block.
func (b *Beacon) checkpoints(slot phase0.Slot) (justified, final phase0.Epoch) {
	if b.stalled != nil {
		return b.stalled[0], b.stalled[1]
	}
	e := b.spec.Epoch(slot)
	return e - min(e, 1), e - min(e, 2)
}

// StallFinality keeps what is justified and final as it is, or no longer.
func (b *Beacon) StallFinality(stall bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stalled = nil
	if stall {
		j, f := b.checkpoints(b.head.slot())
		b.stalled = &[2]phase0.Epoch{j, f}
	}
}

// boundary is the block at, or last before, a slot. The lock is held.
func (b *Beacon) boundary(slot phase0.Slot) block {
	for {
		if at, ok := b.bySlot[slot]; ok || slot == 0 {
			return at
		}
		slot--
	}
}

// checkpoint is the boundary block of an epoch. The lock is held.
func (b *Beacon) checkpoint(e phase0.Epoch) block {
	return b.boundary(phase0.Slot(uint64(e) * b.spec.SlotsPerEpoch))
}

func (b *Beacon) hashAt(e phase0.Epoch) common.Hash { return common.Hash(b.checkpoint(e).hash) }

// dependentRoot is the block root that the duties of an epoch depend on: the
// last block of the epoch before. The lock is held.
func (b *Beacon) dependentRoot(e phase0.Epoch) phase0.Root {
	start := phase0.Slot(uint64(e) * b.spec.SlotsPerEpoch)
	return b.boundary(start - min(start, 1)).root
}

// tick sends the payload attributes that no new head sends: of slot 1 at
// genesis, and of the slot after a missed one.
func (b *Beacon) tick(ctx context.Context) {
	for slot := phase0.Slot(0); ; slot++ {
		at := b.clock.Start(slot)
		if slot > 0 {
			at = at.Add(b.spec.SlotDuration * 3 / 4)
		}
		if d := b.clock.Until(at); d > 0 && !pause(ctx, d) || ctx.Err() != nil {
			return
		}
		b.mu.Lock()
		if b.head.slot() < slot || slot == 0 {
			b.publishAttributes(slot + 1)
		}
		b.mu.Unlock()
	}
}
