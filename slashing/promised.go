package slashing

import (
	"errors"
	"math/big"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/core/types"

	"sidecar/commitments"
	"sidecar/slashing/evidence"
)

// promisedTx is a promise that a block holds a transaction, of either type.
type promisedTx struct {
	evidence.Promised
	raw      []byte // EIP-2718
	provable bool
	excuse   error // an evidence.Excuse: the payload promises nothing that anybody could keep
}

// readInclusion reads a commitment; false if it is of another type.
func readInclusion(c *commitments.Commitment, chainID uint64) (promisedTx, bool) {
	switch c.Type {
	case commitments.TypeProvableInclusion:
		p, err := evidence.ReadPayload(c.Payload, chainID)
		return promisedTx{Promised: p, raw: evidence.SignedTx(c.Payload), provable: true, excuse: err}, true
	case commitments.TypeInclusion:
		slot, raw, err := commitments.DecodeInclusion(c.Payload)
		if err != nil {
			return promisedTx{excuse: evidence.PayloadEncoding}, true
		}
		p, err := readTransaction(raw, chainID)
		p.Slot = uint64(slot)
		return promisedTx{Promised: p, raw: raw, excuse: err}, true
	}
	return promisedTx{}, false
}

// readTransaction reads a promised transaction of any type a promise is made
// for. The error is an excuse.
func readTransaction(raw []byte, chainID uint64) (evidence.Promised, error) {
	var tx types.Transaction
	if err := tx.UnmarshalBinary(raw); err != nil {
		return evidence.Promised{}, evidence.TransactionInvalid
	}
	sender, err := types.Sender(types.LatestSignerForChainID(new(big.Int).SetUint64(chainID)), &tx)
	switch {
	case errors.Is(err, types.ErrInvalidChainId):
		return evidence.Promised{}, evidence.OtherChain
	case err != nil:
		return evidence.Promised{}, evidence.SignatureInvalid
	}
	return evidence.Promised{
		Sender: sender, Nonce: tx.Nonce(), Gas: tx.Gas(), MaxFee: tx.GasFeeCap(), Value: tx.Value(), TxHash: tx.Hash(),
	}, nil
}

// inclusions reads the promises of a page, by request hash.
func inclusions(p *commitments.Page, chainID uint64) map[phase0.Hash32]promisedTx {
	all := make(map[phase0.Hash32]promisedTx, len(p.Promises))
	for i := range p.Promises {
		if in, ok := readInclusion(&p.Promises[i].Commitment, chainID); ok {
			all[p.Promises[i].Commitment.RequestHash] = in
		}
	}
	return all
}

// senders are those of promises that could be kept, each once.
func senders(all map[phase0.Hash32]promisedTx) (list []bellatrix.ExecutionAddress) {
	seen := map[bellatrix.ExecutionAddress]bool{}
	for _, in := range all {
		address := bellatrix.ExecutionAddress(in.Sender)
		if in.excuse == nil && !seen[address] {
			seen[address] = true
			list = append(list, address)
		}
	}
	return list
}
