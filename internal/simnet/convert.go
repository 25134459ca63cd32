package simnet

import (
	"errors"
	"math/big"

	"github.com/attestantio/go-builder-client/api"
	"github.com/attestantio/go-eth2-client/spec"
	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/capella"
	"github.com/attestantio/go-eth2-client/spec/deneb"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/flashbots/go-boost-utils/utils"
	"github.com/holiman/uint256"

	"sidecar/chain"
)

// payloadOf turns an engine payload into a consensus one. Blocks of this chain
// carry no withdrawals and no execution requests.
func payloadOf(d *engine.ExecutableData) (*deneb.ExecutionPayload, error) {
	if len(d.Withdrawals) != 0 {
		return nil, errors.New("payload with withdrawals")
	}
	base, over := uint256.FromBig(d.BaseFeePerGas)
	if over || len(d.LogsBloom) != 256 {
		return nil, errors.New("payload out of range")
	}
	p := &deneb.ExecutionPayload{
		ParentHash: phase0.Hash32(d.ParentHash), FeeRecipient: bellatrix.ExecutionAddress(d.FeeRecipient),
		StateRoot: phase0.Root(d.StateRoot), ReceiptsRoot: phase0.Root(d.ReceiptsRoot), LogsBloom: [256]byte(d.LogsBloom),
		PrevRandao: d.Random, BlockNumber: d.Number, GasLimit: d.GasLimit, GasUsed: d.GasUsed, Timestamp: d.Timestamp,
		ExtraData: d.ExtraData, BaseFeePerGas: base, BlockHash: phase0.Hash32(d.BlockHash),
		Transactions: make([]bellatrix.Transaction, len(d.Transactions)), Withdrawals: []*capella.Withdrawal{},
		BlobGasUsed: *d.BlobGasUsed, ExcessBlobGas: *d.ExcessBlobGas,
	}
	for i, tx := range d.Transactions {
		p.Transactions[i] = tx
	}
	return p, nil
}

// dataOf is the inverse of payloadOf.
func dataOf(p *deneb.ExecutionPayload) (engine.ExecutableData, error) {
	if len(p.Withdrawals) != 0 {
		return engine.ExecutableData{}, errors.New("payload with withdrawals")
	}
	d := engine.ExecutableData{
		ParentHash: common.Hash(p.ParentHash), FeeRecipient: common.Address(p.FeeRecipient), StateRoot: common.Hash(p.StateRoot),
		ReceiptsRoot: common.Hash(p.ReceiptsRoot), LogsBloom: p.LogsBloom[:], Random: p.PrevRandao, Number: p.BlockNumber,
		GasLimit: p.GasLimit, GasUsed: p.GasUsed, Timestamp: p.Timestamp, ExtraData: p.ExtraData, BaseFeePerGas: p.BaseFeePerGas.ToBig(),
		BlockHash: common.Hash(p.BlockHash), Transactions: make([][]byte, len(p.Transactions)), Withdrawals: []*types.Withdrawal{},
		BlobGasUsed: &p.BlobGasUsed, ExcessBlobGas: &p.ExcessBlobGas,
	}
	for i, tx := range p.Transactions {
		d.Transactions[i] = tx
	}
	return d, nil
}

// headerOf blinds a payload, by go-boost-utils.
func headerOf(p *deneb.ExecutionPayload) (*deneb.ExecutionPayloadHeader, error) {
	h, err := utils.PayloadToPayloadHeader(&api.VersionedExecutionPayload{Version: spec.DataVersionDeneb, Deneb: p})
	if err != nil {
		return nil, err
	}
	return h.Deneb, nil
}

// executionBlock rebuilds the execution block of a payload and checks its hash.
func executionBlock(fork chain.Fork, p *deneb.ExecutionPayload, beaconRoot common.Hash) (*types.Block, error) {
	d, err := dataOf(p)
	if err != nil {
		return nil, err
	}
	var requests [][]byte
	if fork >= chain.Electra {
		requests = [][]byte{}
	}
	return engine.ExecutableDataToBlock(d, blobHashes(p), &beaconRoot, requests)
}

// genesisPayload is the payload of the genesis block, as block 0 carries it.
func genesisPayload(b *types.Block) (*deneb.ExecutionPayload, error) {
	return payloadOf(engine.BlockToExecutableData(b, new(big.Int), nil, nil).ExecutionPayload)
}
