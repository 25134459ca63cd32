package simnet

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/types"

	"sidecar/chain"
)

// SoloOptions describe an execution node alone.
type SoloOptions struct {
	Spec  chain.Spec // chain id, genesis time, slot duration
	Fork  chain.Fork // Deneb, Electra or Fulu, from genesis; default Fulu
	Alloc types.GenesisAlloc
	// Genesis makes the last changes to the genesis block: later forks. Optional.
	Genesis func(*core.Genesis)
}

// Solo is an execution node without a beacon node: its caller makes each block,
// with exact transactions, slot and beacon root, and may take blocks back. For
// proofs, which need exact blocks, and for whoever must survive a reorg.
type Solo struct {
	*Execution
	Spec chain.Spec
}

// StartSolo starts one at genesis.
func StartSolo(o SoloOptions) (*Solo, error) {
	e, err := startExecution(o.Spec, cmp.Or(o.Fork, chain.Fulu), o.Alloc, o.Genesis)
	if err != nil {
		return nil, err
	}
	return &Solo{e, o.Spec}, nil
}

// Mine makes the block of a slot on the head, whose beacon block has this
// parent root: of these transactions in this order, all of which must be valid,
// or of the pool's if txs is nil.
func (s *Solo) Mine(ctx context.Context, slot phase0.Slot, beaconParent common.Hash, txs types.Transactions) (*types.Block, error) {
	var list *[]hexutil.Bytes
	if txs != nil {
		raw := make([]hexutil.Bytes, len(txs))
		for i, tx := range txs {
			b, err := tx.MarshalBinary()
			if err != nil {
				return nil, err
			}
			raw[i] = b
		}
		list = &raw
	}
	start := s.Spec.GenesisTime.Add(s.Spec.SlotDuration * time.Duration(slot)) // #nosec G115 -- slots of tests
	number := uint64(slot)
	attrs := engine.PayloadAttributes{
		Timestamp: uint64(start.Unix()), Withdrawals: []*types.Withdrawal{}, BeaconRoot: &beaconParent, // #nosec G115 -- after 1970
	}
	if config := s.backend.BlockChain().Config(); config.AmsterdamTime != nil {
		attrs.SlotNumber = &number // [EIP-7843]
	}
	var hash common.Hash
	if err := s.rpc.CallContext(ctx, &hash, "testing_commitBlockV1", attrs, list, hexutil.Bytes("solo")); err != nil {
		return nil, fmt.Errorf("commit block: %w", err)
	}
	return s.Block(hash), nil
}

// Rewind takes back every block above a number.
func (s *Solo) Rewind(number uint64) error { return s.backend.BlockChain().SetHead(number) }

// Finalize makes a block of the chain the finalized one.
func (s *Solo) Finalize(number uint64) {
	blocks := s.backend.BlockChain()
	blocks.SetFinalized(blocks.GetHeaderByNumber(number))
}

// Pending returns how many transactions wait in the pool.
func (s *Solo) Pending() int {
	pending, _ := s.backend.TxPool().Stats()
	return pending
}

// Stop ends the node.
func (s *Solo) Stop() error { return s.stop() }
