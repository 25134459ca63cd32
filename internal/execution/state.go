package execution

import (
	"context"
	"errors"
	"strings"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"
)

// limitProof bounds an account proof: nine full branches are 5 kB, in hex 10.
const limitProof = 1 << 20

// gone are parts of what nodes say when they no longer have a state: geth, with
// either of its databases, Nethermind, Besu, Erigon and Reth.
var gone = []string{
	"missing trie node", "historical state", "state is not available", "no state available", "world state unavailable", "world state not available",
	"too old", "proof window", "pruned",
}

// AccountProof returns the proof of an account in the state after a block, root
// first, as the node sent it: whoever uses it checks it against the block's
// state root. Faults: ErrStateGone when the node has pruned that state,
// ErrUnavailable, ErrBadAnswer, ErrRefused. [EIP-1186; EIP-1898]
func (c *Client) AccountProof(ctx context.Context, addr bellatrix.ExecutionAddress, block phase0.Hash32) ([][]byte, error) {
	var answer struct {
		Nodes []hexBytes `json:"accountProof"`
	}
	at := map[string]hash32{"blockHash": hash32(block)}
	err := c.call(ctx, limitProof, call{"eth_getProof", []any{hexBytes(addr[:]), []string{}, at}, &answer})
	if errors.Is(err, ErrRefused) && stateGone(err) {
		return nil, ErrStateGone.With("block %#x", block[:])
	}
	if err != nil {
		return nil, err
	}
	nodes := make([][]byte, len(answer.Nodes))
	for i, n := range answer.Nodes {
		nodes[i] = n
	}
	return nodes, nil
}

func stateGone(err error) bool {
	said := strings.ToLower(err.Error())
	for _, words := range gone {
		if strings.Contains(said, words) {
			return true
		}
	}
	return false
}

// HeaderRLP returns the header of a block by its hash, recomputed.
// Faults: ErrUnknownBlock, ErrUnavailable, ErrBadAnswer, ErrRefused.
func (c *Client) HeaderRLP(ctx context.Context, hash phase0.Hash32) ([]byte, error) {
	h, err := c.header(ctx, "eth_getBlockByHash", hash32(hash))
	if err != nil {
		return nil, err
	}
	if phase0.Hash32(h.Hash()) != hash {
		return nil, ErrBadAnswer.With("another block than was asked")
	}
	text, err := rlp.EncodeToBytes(h)
	if err != nil {
		return nil, ErrBadAnswer.Wrap(err)
	}
	return text, nil
}

// CanonicalHeader returns the header of the node's canonical block of a number.
// Faults: ErrUnknownBlock, ErrUnavailable, ErrBadAnswer, ErrRefused.
func (c *Client) CanonicalHeader(ctx context.Context, number uint64) (rlpHeader []byte, hash phase0.Hash32, err error) {
	h, err := c.numbered(ctx, number)
	if err != nil {
		return nil, hash, err
	}
	text, err := rlp.EncodeToBytes(h)
	if err != nil {
		return nil, hash, ErrBadAnswer.Wrap(err)
	}
	return text, phase0.Hash32(h.Hash()), nil
}

// CanonicalAt returns the hash of the node's canonical block of a slot; false if
// its chain has none there. A slot after the node's head is ErrUnavailable:
// nothing is known of it. Faults: ErrUnavailable, ErrBadAnswer, ErrRefused.
func (c *Client) CanonicalAt(ctx context.Context, slot phase0.Slot) (hash phase0.Hash32, found bool, err error) {
	head, err := c.Head(ctx)
	if err != nil {
		return hash, false, err
	}
	if head.Slot < slot {
		return hash, false, ErrUnavailable.With("the head is at slot %d", head.Slot)
	}
	// Between the head and as many blocks before it as slots: there is at most
	// one block a slot.
	low, high := head.Number-min(head.Number, uint64(head.Slot-slot)), head.Number
	for low < high {
		middle := low + (high-low)/2
		h, err := c.numbered(ctx, middle)
		if errors.Is(err, ErrUnknownBlock) {
			return hash, false, ErrUnavailable.With("block %d changed while it was read", middle)
		}
		if err != nil {
			return hash, false, err
		}
		if c.slotAt(h.Time) < slot {
			low = middle + 1
		} else {
			high = middle
		}
	}
	h, err := c.numbered(ctx, low)
	if errors.Is(err, ErrUnknownBlock) {
		return hash, false, ErrUnavailable.With("block %d changed while it was read", low)
	}
	if err != nil {
		return hash, false, err
	}
	return phase0.Hash32(h.Hash()), c.slotAt(h.Time) == slot, nil
}

func (c *Client) numbered(ctx context.Context, number uint64) (*types.Header, error) {
	h, err := c.header(ctx, "eth_getBlockByNumber", hexNumber(number))
	if err != nil {
		return nil, err
	}
	if h.Number.Uint64() != number {
		return nil, ErrBadAnswer.With("block %d, asked for %d", h.Number.Uint64(), number)
	}
	return h, nil
}

// HeadNumber returns number and timestamp (unix seconds) of the node's head,
// whatever chain it is on. Faults: ErrUnavailable, ErrBadAnswer, ErrRefused.
func (c *Client) HeadNumber(ctx context.Context) (number, timestamp uint64, err error) {
	h, err := c.header(ctx, "eth_getBlockByNumber", "latest")
	if errors.Is(err, ErrUnknownBlock) {
		err = ErrUnavailable.With("the node has no head")
	}
	if err != nil {
		return 0, 0, err
	}
	return h.Number.Uint64(), h.Time, nil
}
