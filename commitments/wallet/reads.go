package wallet

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/internal/execution"
)

// Bounds of one answer of the node, in bytes.
const (
	limitSmall = 64 << 10
	limitLarge = 4 << 20
)

// getTransactionCount counts promised transactions as pending. Any other block
// than "pending" is the node's to answer.
func (w *Wallet) getTransactionCount(ctx context.Context, _ *caller, params json.RawMessage) (any, error) {
	list, err := stringParams(params, 2, 2)
	if err != nil || list[1] != "pending" {
		return w.Node.Forward(ctx, "eth_getTransactionCount", params, limitSmall)
	}
	account, err := parseAddress(list[0])
	if err != nil {
		return nil, err
	}
	next, err := w.nextNonce(ctx, account)
	if err != nil {
		return nil, err
	}
	pool, err := w.count(ctx, account, "pending") // the node's own pool, which we do not see
	if err != nil {
		return nil, err
	}
	return fmt.Sprintf("%#x", max(next, pool)), nil
}

// count is the node's eth_getTransactionCount.
func (w *Wallet) count(ctx context.Context, a bellatrix.ExecutionAddress, block string) (uint64, error) {
	r, err := w.Node.Forward(ctx, "eth_getTransactionCount", json.RawMessage(fmt.Sprintf(`["%#x",%q]`, a[:], block)), limitSmall)
	if err != nil {
		return 0, err
	}
	var text string
	if json.Unmarshal(r, &text) == nil {
		if n, ok := parseQuantity(text); ok && n.IsUint64() {
			return n.Uint64(), nil
		}
	}
	return 0, execution.ErrBadAnswer.With("eth_getTransactionCount: not a quantity")
}

// getTransactionByHash shows a promised transaction that the node does not know
// as one that is in no block yet, until the head has passed its slot.
func (w *Wallet) getTransactionByHash(ctx context.Context, _ *caller, params json.RawMessage) (any, error) {
	list, err := stringParams(params, 1, 1)
	if err != nil {
		return nil, err
	}
	hash, err := parseHash(list[0])
	if err != nil {
		return nil, err
	}
	head, err := w.Node.Head(ctx) // before the transaction: see receipt
	if err != nil {
		return nil, err
	}
	r, err := w.Node.Forward(ctx, "eth_getTransactionByHash", params, limitLarge)
	if err == nil && string(r) != "null" || err != nil && !refusedByNode(err) { // a node that is new refuses what it does not know
		return r, err
	}
	if p, ok := w.promised.of(hash, w.Clock.Slot()); ok && p.page.Slot > head.Slot {
		return w.pendingObject(p.raw)
	}
	return r, err
}

// getTransactionReceipt is the node's. There is none of a promised transaction
// until it is in a block.
func (w *Wallet) getTransactionReceipt(ctx context.Context, _ *caller, params json.RawMessage) (any, error) {
	list, err := stringParams(params, 1, 1)
	if err != nil {
		return nil, err
	}
	hash, err := parseHash(list[0])
	if err != nil {
		return nil, err
	}
	r, err := w.Node.Forward(ctx, "eth_getTransactionReceipt", params, limitLarge)
	if refusedByNode(err) {
		if _, ok := w.promised.of(hash, w.Clock.Slot()); ok {
			return nil, nil
		}
	}
	return r, err
}

// promised is the answer of preconf_getCommitment.
type commitmentOf struct {
	TransactionHash phase0.Hash32 `json:"transactionHash"`
	Slot            uint64        `json:"slot"`
	Proposer        string        `json:"proposer"`
	// Outcome is pending until the slot's block was judged, then kept, broken,
	// excused or unknown.
	Outcome string `json:"outcome"`
	// SignedCommitment is as the Commitments API gives it; null after a crash until
	// the same transaction is sent again.
	SignedCommitment *commitments.SignedCommitment `json:"signedCommitment"`
}

// getCommitment is preconf_getCommitment: the promise of a transaction, by its
// hash, whoever asked for it; null if there is none.
func (w *Wallet) getCommitment(_ context.Context, _ *caller, params json.RawMessage) (any, error) {
	list, err := stringParams(params, 1, 1)
	if err != nil {
		return nil, err
	}
	hash, err := parseHash(list[0])
	if err != nil {
		return nil, err
	}
	p, ok := w.promised.of(hash, w.Clock.Slot())
	if !ok {
		return nil, nil
	}
	out := commitmentOf{TransactionHash: hash, Slot: uint64(p.page.Slot), Proposer: fmt.Sprintf("%#x", p.page.Proposer[:]), Outcome: "pending"}
	if len(p.Signature) > 0 {
		out.SignedCommitment = &p.SignedCommitment
	}
	for _, v := range p.page.Verdicts {
		if v.RequestHash == p.Commitment.RequestHash {
			out.Outcome = v.Outcome.String()
		}
	}
	return out, nil
}
