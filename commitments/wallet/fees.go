package wallet

import (
	"context"
	"encoding/json"
	"errors"
	"math/big"
	"sync"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"

	"sidecar/commitments"
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
	if err != nil {
		return nil, nil //nolint:nilerr // no promise, no hint: the node's answer stands
	}
	head, err := w.Node.Head(ctx)
	if err != nil {
		return nil, err
	}
	tip, worst := new(big.Int).Set(w.MinTip), new(big.Int)
	for _, s := range slots[:w.held(slots)] {
		t, b, err := w.price(ctx, phase0.Slot(s.Slot), head)
		if err != nil {
			continue // what has no price now is not hinted at
		}
		tip, worst = larger(tip, t), larger(worst, b)
	}
	if worst.Sign() == 0 {
		return nil, nil
	}
	f := &floors{tip: tip, gasPrice: new(big.Int).Add(worst, tip)}
	offered := new(big.Int).Mul(w.fees.leastBase(head), big.NewInt(multipleOf))
	offered.Div(offered, big.NewInt(multipleOne))
	if missing := new(big.Int).Sub(worst, offered); missing.Sign() > 0 {
		f.tip = new(big.Int).Add(tip, missing)
	}
	return f, nil
}

// held is how many of our slots a transaction may be promised for that is signed
// FeeHold from now, or sooner.
func (w *Wallet) held(slots []commitments.SlotCapability) int {
	after := w.Clock.Now().Add(w.FeeHold).UnixMilli()
	for i, s := range slots[:min(len(slots), w.MaxTries)] {
		if s.ClosesAtMS > after {
			return i + 1
		}
	}
	return min(len(slots), w.MaxTries)
}

// price is what a transaction of FeeGas must tip per gas in a slot, with an eighth
// to spare for promises that come before it, and the worst base fee of the slot.
func (w *Wallet) price(ctx context.Context, slot phase0.Slot, head modules.Head) (tip, worst *big.Int, err error) {
	r, err := w.request(slot, w.sample)
	if err != nil {
		return nil, nil, err
	}
	_, p, err := w.Gateway.Price(ctx, r)
	switch {
	case errors.Is(err, modules.ErrUnpriced) && slot > head.Slot:
		return new(big.Int), worstBaseFee(head.BaseFee.ToBig(), uint64(slot-head.Slot)), nil
	case err != nil:
		return nil, nil, err
	}
	tip = p.Tip.ToBig()
	return tip.Add(tip, new(big.Int).Rsh(tip, 3)), p.BaseFee.ToBig(), nil
}

// sampleOf is a transaction to ask the price of. Its key is nobody's, and it is
// never sent.
func sampleOf(signer types.Signer, gas uint64) ([]byte, error) {
	key, err := crypto.GenerateKey()
	if err != nil {
		return nil, err
	}
	to := common.Address{}
	tx, err := types.SignNewTx(key, signer, &types.DynamicFeeTx{
		ChainID: signer.ChainID(), Gas: gas, To: &to, GasTipCap: new(big.Int), GasFeeCap: new(big.Int), Value: new(big.Int),
	})
	if err != nil {
		return nil, err
	}
	return tx.MarshalBinary()
}

func larger(a, b *big.Int) *big.Int {
	if a.Cmp(b) > 0 {
		return a
	}
	return b
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
