package execution

import (
	"context"
	"encoding/json"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/crypto"

	"sidecar/commitments"
)

// limitReceipts bounds a block's receipts: logs are most of them.
const limitReceipts = 64 << 20

// GasUsed returns the gas that each transaction of a block used. The node's
// receipts must be of these transactions, and add up to what the block's header
// says. Faults: ErrUnknownBlock, ErrUnavailable, ErrBadAnswer, ErrRefused.
func (c *Client) GasUsed(ctx context.Context, b commitments.Block) ([]uint64, error) {
	header, err := DecodeHeader(b.HeaderRLP)
	if err != nil {
		return nil, err
	}
	var answer raw
	if err := c.call(ctx, limitReceipts, call{"eth_getBlockReceipts", []any{hash32(b.Hash)}, &answer}); err != nil {
		return nil, err
	}
	if answer.null() {
		return nil, ErrUnknownBlock
	}
	var receipts []struct {
		Hash    *hash32   `json:"transactionHash"`
		GasUsed *quantity `json:"gasUsed"`
	}
	if err := json.Unmarshal(answer.RawMessage, &receipts); err != nil {
		return nil, ErrBadAnswer.Wrap(err)
	}
	if len(receipts) != len(b.Txs) {
		return nil, ErrBadAnswer.With("%d receipts of %d transactions", len(receipts), len(b.Txs))
	}
	used, left := make([]uint64, len(receipts)), header.GasUsed
	for i, r := range receipts {
		if r.Hash == nil || r.GasUsed == nil || phase0.Hash32(*r.Hash) != phase0.Hash32(crypto.Keccak256Hash(b.Txs[i])) || uint64(*r.GasUsed) > left {
			return nil, ErrBadAnswer.With("receipt %d is not of its transaction, or uses more than its block", i)
		}
		used[i] = uint64(*r.GasUsed)
		left -= used[i]
	}
	if left != 0 {
		return nil, ErrBadAnswer.With("the receipts leave %d gas of their block", left)
	}
	return used, nil
}
