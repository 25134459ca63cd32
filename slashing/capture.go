package slashing

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"

	"sidecar/internal/execution"
	"sidecar/slashing/evidence"
)

// Capture is what both nodes said of one block, as far as they forget it: ordinary
// execution nodes prove accounts of the last 128 blocks only. The child's header
// comes when the block has a child; headers are not forgotten.
type Capture struct {
	Slot         phase0.Slot               `json:"slot"`
	Block        phase0.Hash32             `json:"block"`
	Number       uint64                    `json:"number"`
	Headers      evidence.Headers          `json:"headers"`
	ChildNumber  uint64                    `json:"child_number,omitempty"` // 0: no child yet
	Beacon       *phase0.BeaconBlockHeader `json:"beacon_header,omitempty"`
	Transactions []common.Hash             `json:"transactions"` // all of the block's, in order
	Included     []Included                `json:"included,omitempty"`
	Accounts     []Account                 `json:"accounts,omitempty"`
	CapturedAt   time.Time                 `json:"captured_at"`
}

// Included is the proof that a promised transaction is in the block.
type Included struct {
	Hash  common.Hash     `json:"hash"`
	Index uint64          `json:"index"`
	Nodes []hexutil.Bytes `json:"nodes"` // of the transactions trie, root first
}

// Account is a sender before and after the block.
type Account struct {
	Address common.Address         `json:"address"`
	Proofs  evidence.AccountProofs `json:"proofs"`
	Gone    bool                   `json:"gone,omitempty"` // the node had pruned the state when it was asked
}

// account is what was captured of a sender.
func (c *Capture) account(address common.Address) (Account, bool) {
	i := slices.IndexFunc(c.Accounts, func(a Account) bool { return a.Address == address })
	if i < 0 {
		return Account{}, false
	}
	return c.Accounts[i], true
}

// gone says whether a proof came too late.
func (c *Capture) gone() bool {
	return slices.ContainsFunc(c.Accounts, func(a Account) bool { return a.Gone })
}

// collect completes what is captured of a block: known is what there is already,
// nil for nothing. It returns whether anything was added, also with an error.
// Faults: those of the nodes, ErrViews when the block is none of the chain's.
func (n nodes) collect(ctx context.Context, s *sight, known *Capture, all map[phase0.Hash32]promisedTx, now time.Time) (c *Capture, added bool, err error) {
	c = known
	if c == nil {
		if c, err = n.begin(ctx, s, all, now); err != nil {
			return nil, false, err
		}
		added = true
	}
	if c.Beacon == nil && s.info.Header != nil {
		c.Beacon, added = s.info.Header, true
	}
	for _, address := range senders(all) {
		if _, ok := c.account(common.Address(address)); ok {
			continue
		}
		a, err := n.proofs(ctx, c, address)
		if err != nil {
			return c, added, err
		}
		c.Accounts, added = append(c.Accounts, a), true
	}
	newer, err := n.child(ctx, c)
	return c, added || newer, err
}

// child captures the header of the block's child. One that the chain has left,
// though the block stayed, proves nothing to a contract: it is captured anew.
func (n nodes) child(ctx context.Context, c *Capture) (added bool, err error) {
	text, _, err := n.execution.CanonicalHeader(ctx, c.Number+1)
	switch {
	case errors.Is(err, execution.ErrUnknownBlock): // none yet, or none any more
		added = c.ChildNumber != 0
		c.Headers.Child, c.ChildNumber = nil, 0
		return added, nil
	case err != nil:
		return false, err
	case c.ChildNumber != 0 && bytes.Equal(text, c.Headers.Child):
		return false, nil
	}
	h, err := execution.DecodeHeader(text)
	if err != nil {
		return false, err
	}
	if h.ParentHash != c.Block {
		return false, ErrViews.With("block %d is not the child of %#x", h.Number, c.Block[:])
	}
	c.Headers.Child, c.ChildNumber = text, c.Number+1
	return true, nil
}

// begin captures what does not depend on who promised.
func (n nodes) begin(ctx context.Context, s *sight, all map[phase0.Hash32]promisedTx, now time.Time) (*Capture, error) {
	target, err := execution.DecodeHeader(s.block.HeaderRLP)
	if err != nil {
		return nil, err
	}
	parent, err := n.execution.HeaderRLP(ctx, target.ParentHash)
	if err != nil {
		return nil, err
	}
	c := &Capture{
		Slot: s.block.Slot, Block: s.block.Hash, Number: s.block.Number, CapturedAt: now.UTC(),
		Headers: evidence.Headers{Parent: parent, Target: s.block.HeaderRLP}, Transactions: make([]common.Hash, len(s.block.Txs)),
	}
	for i, raw := range s.block.Txs {
		c.Transactions[i] = crypto.Keccak256Hash(raw)
	}
	for _, in := range all {
		i := slices.IndexFunc(s.block.Txs, func(raw []byte) bool { return bytes.Equal(raw, in.raw) })
		if i < 0 || len(in.raw) == 0 {
			continue
		}
		path, _, err := execution.ProveTransaction(s.block.Txs, uint64(i)) // #nosec G115 -- an index
		if err != nil {
			return nil, err
		}
		c.Included = append(c.Included, Included{c.Transactions[i], uint64(i), hexes(path)}) // #nosec G115 -- an index
	}
	slices.SortFunc(c.Included, func(a, b Included) int { return int(a.Index) - int(b.Index) }) // #nosec G115 -- indices
	return c, nil
}

// proofs asks for a sender before and after the block, and believes what hangs
// on the two state roots.
func (n nodes) proofs(ctx context.Context, c *Capture, address bellatrix.ExecutionAddress) (Account, error) {
	a := Account{Address: common.Address(address)}
	target, err := execution.DecodeHeader(c.Headers.Target)
	if err != nil {
		return a, err
	}
	parent, err := execution.DecodeHeader(c.Headers.Parent)
	if err != nil {
		return a, err
	}
	for _, at := range []struct {
		of   execution.Header
		into *[]hexutil.Bytes
	}{{parent, &a.Proofs.Pre}, {target, &a.Proofs.Post}} {
		path, err := n.execution.AccountProof(ctx, address, at.of.Hash)
		if errors.Is(err, execution.ErrStateGone) {
			a.Gone = true
			a.Proofs = evidence.AccountProofs{}
			return a, nil
		}
		if err != nil {
			return a, err
		}
		*at.into = hexes(path)
		if !evidence.Proves(common.Hash(at.of.StateRoot), a.Address, *at.into) {
			return a, execution.ErrBadAnswer.With("the proof of %s is not one under the state of block %d", a.Address, at.of.Number)
		}
	}
	return a, nil
}

func hexes(in [][]byte) []hexutil.Bytes {
	out := make([]hexutil.Bytes, len(in))
	for i := range in {
		out[i] = in[i]
	}
	return out
}
