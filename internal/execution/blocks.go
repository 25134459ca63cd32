package execution

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"

	"sidecar/commitments"
)

// Parent is what a block's checks need of its parent.
type Parent struct {
	Number    uint64
	GasLimit  uint64
	Timestamp uint64 // unix seconds
}

// Parent returns the block of a hash, remembered for the blocks asked last.
// Faults: ErrUnknownBlock, ErrUnavailable, ErrBadAnswer, ErrRefused.
func (c *Client) Parent(ctx context.Context, hash phase0.Hash32) (Parent, error) {
	c.mu.Lock()
	p, ok := c.parents[hash]
	c.mu.Unlock()
	if ok {
		return p, nil
	}
	h, err := c.header(ctx, "eth_getBlockByHash", hash32(hash))
	if err != nil {
		return Parent{}, err
	}
	if phase0.Hash32(h.Hash()) != hash {
		return Parent{}, ErrBadAnswer.With("another block than was asked")
	}
	p = Parent{h.Number.Uint64(), h.GasLimit, h.Time}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.parents[hash]; !ok {
		if len(c.order) == maxParents {
			delete(c.parents, c.order[0])
			c.order = append(c.order[:0], c.order[1:]...)
		}
		c.parents[hash], c.order = p, append(c.order, hash)
	}
	return p, nil
}

// BlockByHash returns the block of a hash with its transactions. The header
// must hash to what was asked, and the transactions to the header's root.
// Faults: ErrUnknownBlock, ErrUnavailable, ErrBadAnswer, ErrRefused.
func (c *Client) BlockByHash(ctx context.Context, hash phase0.Hash32) (commitments.Block, error) {
	var answer raw
	if err := c.call(ctx, limitBlock, call{"eth_getBlockByHash", []any{hash32(hash), true}, &answer}); err != nil {
		return commitments.Block{}, err
	}
	h, err := decodeHeaderJSON(answer)
	if err != nil {
		return commitments.Block{}, err
	}
	if phase0.Hash32(h.Hash()) != hash {
		return commitments.Block{}, ErrBadAnswer.With("another block than was asked")
	}
	var body struct {
		Transactions []*types.Transaction `json:"transactions"`
	}
	if err := json.Unmarshal(answer.RawMessage, &body); err != nil {
		return commitments.Block{}, ErrBadAnswer.Wrap(err)
	}
	txs := make([][]byte, len(body.Transactions))
	for i, tx := range body.Transactions {
		if tx == nil {
			return commitments.Block{}, ErrBadAnswer.With("null transaction")
		}
		if txs[i], err = tx.MarshalBinary(); err != nil {
			return commitments.Block{}, ErrBadAnswer.Wrap(err)
		}
	}
	if TransactionsRoot(txs) != h.TxHash {
		return commitments.Block{}, ErrBadAnswer.With("the transactions are not those of the header")
	}
	text, err := rlp.EncodeToBytes(h)
	if err != nil {
		return commitments.Block{}, ErrBadAnswer.Wrap(err)
	}
	return commitments.Block{Slot: c.slotAt(h.Time), Number: h.Number.Uint64(), Hash: hash, HeaderRLP: text, Txs: txs}, nil
}

// header reads a block without its transactions.
func (c *Client) header(ctx context.Context, method string, which any) (*types.Header, error) {
	var answer raw
	if err := c.call(ctx, limitSmall, call{method, []any{which, false}, &answer}); err != nil {
		return nil, err
	}
	return decodeHeaderJSON(answer)
}

// decodeHeaderJSON reads a header; the hash beside it must be its own.
func decodeHeaderJSON(answer raw) (*types.Header, error) {
	if answer.null() {
		return nil, ErrUnknownBlock
	}
	h := new(types.Header)
	if err := json.Unmarshal(answer.RawMessage, h); err != nil {
		return nil, ErrBadAnswer.Wrap(err)
	}
	var named struct {
		Hash *common.Hash `json:"hash"`
	}
	if err := json.Unmarshal(answer.RawMessage, &named); err != nil || named.Hash == nil || *named.Hash != h.Hash() {
		return nil, ErrBadAnswer.With("the header does not hash to its block's hash")
	}
	if h.Number == nil || !h.Number.IsUint64() {
		return nil, ErrBadAnswer.With("block number")
	}
	return h, nil
}

// slotAt returns the slot of a block by its timestamp.
func (c *Client) slotAt(timestamp uint64) phase0.Slot {
	const farthest = 1 << 40                                             // seconds; beyond it time.Unix could overflow a Duration
	return c.clock.SlotAt(time.Unix(int64(min(timestamp, farthest)), 0)) // #nosec G115 -- bounded
}

// UnmarshalJSON keeps the answer.
func (r *raw) UnmarshalJSON(text []byte) error {
	r.RawMessage = bytes.Clone(text)
	return nil
}
