package wallet

import (
	"context"
	"encoding/json"
	"math/big"
	"sync"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/internal/execution"
	"sidecar/modules"
)

// A wallet that knows nothing of promises offers a fee cap of a multiple of the
// latest base fee, plus the tip that is suggested to it: ethers, web3.py, cast
// and go-ethereum's bindings twice the base fee, viem and MetaMask 1.2 times. A
// promise for a slot some blocks ahead needs a cap above the worst base fee the
// slot may have, 9/8 for each block. The base fee in a block is what it is, and
// part of its hash; the tip is a suggestion, and the only thing that can be
// raised. So it is raised by what the least multiple leaves open.
const (
	multipleOf  = 12 // tenths of the base fee that every wallet offers
	multipleOne = 10
)

// fees remembers the base fee of the block before the head: a wallet may have
// read its block just before the head came.
type fees struct {
	mu         sync.Mutex
	head       modules.Head
	baseBefore *big.Int // nil: not known
}

// floors are the least suggestions with which an unmodified wallet gets a promise.
type floors struct {
	tip      *big.Int // wei per gas, beside the cap a wallet makes of the base fee
	gasPrice *big.Int // wei per gas, of a transaction without a tip of its own
}

// floors are those for our next slots: all that are open, up to the first that
// still is FeeHold from now. Nil when there is no slot, or nothing to raise.
func (w *Wallet) floors(ctx context.Context) (*floors, error) {
	if !w.FeeHints {
		return nil, nil
	}
	slots, err := w.open(ctx)
	if err != nil || len(slots) == 0 {
		return nil, nil //nolint:nilerr // no promise, no hint: the node's answer stands
	}
	head, err := w.Node.Head(ctx)
	if err != nil {
		return nil, err
	}
	target := w.target(slots)
	if target <= head.Slot {
		return nil, nil
	}
	worst := worstBaseFee(head.BaseFee.ToBig(), uint64(target-head.Slot))
	tip := w.MinTipWei(target)
	f := &floors{tip: new(big.Int).Set(tip), gasPrice: new(big.Int).Add(worst, tip)}
	offered := new(big.Int).Mul(w.fees.leastBase(head), big.NewInt(multipleOf))
	offered.Div(offered, big.NewInt(multipleOne))
	if missing := worst.Sub(worst, offered); missing.Sign() > 0 {
		f.tip.Add(f.tip, missing)
	}
	return f, nil
}

// target is the farthest slot that a transaction signed FeeHold from now, or
// sooner, would be promised for.
func (w *Wallet) target(slots []phase0.Slot) phase0.Slot {
	for _, s := range slots {
		if w.Clock.Until(w.Clock.Start(s)) > w.FeeHold+w.Lead {
			return s
		}
	}
	return slots[len(slots)-1]
}

// leastBase is the least base fee that a wallet may have read lately: the head's
// or that of the block before. A block's base fee is at most an eighth above its
// parent's. [EIP-1559]
func (f *fees) leastBase(head modules.Head) *big.Int {
	f.mu.Lock()
	defer f.mu.Unlock()
	base := head.BaseFee.ToBig()
	if head.Hash != f.head.Hash {
		before := new(big.Int).Div(new(big.Int).Mul(base, big.NewInt(8)), big.NewInt(9))
		if f.head.Number+1 == head.Number {
			before = f.head.BaseFee.ToBig()
		}
		f.head, f.baseBefore = head, before
	}
	if f.baseBefore.Cmp(base) < 0 {
		return f.baseBefore
	}
	return base
}

// worstBaseFee is the highest base fee after a number of blocks, as the inclusion
// module reckons it: an eighth more each, and a wei for rounding. [EIP-1559]
func worstBaseFee(base *big.Int, blocks uint64) *big.Int {
	b := new(big.Int).Set(base)
	for ; blocks > 0; blocks-- {
		b.Add(b, new(big.Int).Rsh(b, 3)).Add(b, big.NewInt(1))
	}
	return b
}

// gasPrice is the node's suggestion, or what a promise needs if that is more.
func (w *Wallet) gasPrice(ctx context.Context, _ *caller, params json.RawMessage) (any, error) {
	return w.raised(ctx, "eth_gasPrice", params, func(f *floors) *big.Int { return f.gasPrice })
}

// maxPriorityFeePerGas likewise.
func (w *Wallet) maxPriorityFeePerGas(ctx context.Context, _ *caller, params json.RawMessage) (any, error) {
	return w.raised(ctx, "eth_maxPriorityFeePerGas", params, func(f *floors) *big.Int { return f.tip })
}

func (w *Wallet) raised(ctx context.Context, method string, params json.RawMessage, floor func(*floors) *big.Int) (any, error) {
	r, err := w.Node.Forward(ctx, method, params, limitSmall)
	if err != nil {
		return nil, err
	}
	f, err := w.floors(ctx)
	if err != nil || f == nil {
		return r, err
	}
	text, raised, err := atLeast(r, floor(f))
	if err != nil {
		return nil, execution.ErrBadAnswer.With("%s: not a quantity", method)
	}
	if !raised {
		return r, nil
	}
	return text, nil
}

// feeHistory is the node's, but that the rewards, which wallets take for
// suggestions, are no less than what a promise needs. What was raised is said:
// the answer has a member rewardFloor then. Base fees are as they were.
func (w *Wallet) feeHistory(ctx context.Context, _ *caller, params json.RawMessage) (any, error) {
	r, err := w.Node.Forward(ctx, "eth_feeHistory", params, limitLarge)
	if err != nil {
		return nil, err
	}
	f, err := w.floors(ctx)
	if err != nil || f == nil {
		return r, err
	}
	var fields map[string]json.RawMessage
	var rewards [][]json.RawMessage
	if json.Unmarshal(r, &fields) != nil || fields == nil {
		return nil, execution.ErrBadAnswer.With("eth_feeHistory: not an object")
	}
	if reward, ok := fields["reward"]; !ok || json.Unmarshal(reward, &rewards) != nil || rewards == nil {
		return r, nil
	}
	any := false
	for _, block := range rewards {
		for i := range block {
			text, raised, err := atLeast(block[i], f.tip)
			if err != nil {
				return nil, execution.ErrBadAnswer.With("eth_feeHistory: not a quantity")
			}
			if raised {
				any = true
				block[i] = json.RawMessage(`"` + text + `"`)
			}
		}
	}
	if !any {
		return r, nil
	}
	if fields["reward"], err = json.Marshal(rewards); err != nil {
		return nil, err
	}
	fields["rewardFloor"] = json.RawMessage(`"` + quantity(f.tip) + `"`)
	return fields, nil
}

// atLeast raises a quantity to a floor, and says whether it had to.
func atLeast(r json.RawMessage, floor *big.Int) (text string, raised bool, err error) {
	if err := json.Unmarshal(r, &text); err != nil {
		return "", false, err
	}
	n, ok := parseQuantity(text)
	if !ok {
		return "", false, ErrParams
	}
	if n.Cmp(floor) >= 0 {
		return text, false, nil
	}
	return quantity(floor), true, nil
}
