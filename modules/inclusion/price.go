package inclusion

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/big"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"

	"sidecar/commitments"
	"sidecar/modules"
)

// setPrices fills in the prices that are not set.
func (c *Config) setPrices() {
	or := func(to **float64, gwei float64) {
		if *to == nil {
			*to = &gwei
		}
	}
	or(&c.MinTipGwei, 1)
	or(&c.CurveStartGwei, 0.4)
	or(&c.CurveRatio, 31.6)
	or(&c.HorizonTipGwei, 0.005)
	or(&c.BlobPriceGwei, 20_000)
	if c.ReservedGasPercent == nil {
		c.ReservedGasPercent = new(uint64)
		*c.ReservedGasPercent = 10
	}
}

// pricing is what Config says of prices, in integers: no decision is made with a
// float.
type pricing struct {
	floor    *big.Int // wei per gas
	curve    curve
	horizon  *big.Int // wei per gas and slot
	blob     *big.Int // wei
	reserved uint64   // percent
}

func (c *Config) pricing() (p pricing, err error) {
	c.setPrices()
	wei := func(name string, gwei, most float64) *big.Int {
		if !(gwei >= 0 && gwei <= most) { // NaN neither
			err = errors.Join(err, fmt.Errorf("%s must be from 0 to %.0f", name, most))
			return nil
		}
		return new(big.Int).SetUint64(uint64(math.Round(gwei * 1e9)))
	}
	p.floor = wei("min_tip_gwei", *c.MinTipGwei, 1e6)
	p.curve.start = wei("curve_start_gwei", *c.CurveStartGwei, 1e6)
	p.horizon = wei("horizon_tip_gwei", *c.HorizonTipGwei, 1e6)
	p.blob = wei("blob_price_gwei", *c.BlobPriceGwei, 1e9)
	if r := *c.CurveRatio; !(r >= 1 && r <= 1e4) {
		err = errors.Join(err, errors.New("curve_ratio must be from 1 to 10000"))
	} else {
		p.curve.ratio = int64(math.Round(r * 1000))
	}
	if p.reserved = *c.ReservedGasPercent; p.reserved > 100 {
		err = errors.Join(err, errors.New("reserved_gas_percent must be from 0 to 100"))
	}
	return p, err
}

// load is what a promise asks of its slot, and what stands there already.
type load struct {
	used, limit uint64 // gas of the slot's promises, and the most they may have
	gas, least  uint64 // that the transaction reserves, and that it uses for sure
	blobs       uint64
	ahead       uint64 // slots from the head; 1 is the next
}

// tip is the price in wei per gas. It never falls as used rises.
func (p *pricing) tip(l load) *big.Int {
	tip := p.curve.mean(l.used, l.gas, l.limit)
	tip.Add(tip, p.floor)
	if l.ahead > 1 {
		tip.Add(tip, new(big.Int).Mul(p.horizon, bigOf(l.ahead-1)))
	}
	least := max(l.least, txGas)
	// What it uses for sure pays for the share of what it reserves.
	due := divideUp(new(big.Int).Mul(tip, bigOf(p.reserved*min(l.gas, maxTxGas))), bigOf(100*least))
	if due.Cmp(tip) > 0 {
		tip = due
	}
	if l.blobs > 0 {
		tip.Add(tip, divideUp(new(big.Int).Mul(p.blob, bigOf(l.blobs)), bigOf(least)))
	}
	return tip
}

// loadOf says what t asks of a slot. Without a limit from the gateway half of the
// head's gas limit is taken for one.
func loadOf(t *tx, view commitments.View, slot phase0.Slot, head modules.Head) load {
	limit := view.Limit.Gas
	if limit == 0 {
		limit = head.GasLimit / 2
	}
	return load{used: view.Used.Gas, limit: limit, gas: t.gas, least: t.least, blobs: t.blobs(), ahead: uint64(slot - head.Slot)}
}

// charge wants the price from t: at the worst base fee its slot may have, and at
// the present one. It returns how much gas the slot's promises may use before t
// would have to pay more than it offers; 0 for any. Faults: ErrWorstBaseFee, ErrTipTooLow.
func (m *Module) charge(t *tx, view commitments.View, slot phase0.Slot, head modules.Head) (usedBelow uint64, err error) {
	base := head.BaseFee.ToBig()
	worst := worstBaseFee(base, head.GasLimit, uint64(slot-head.Slot), t.cap)
	if worst.Cmp(t.cap) > 0 {
		return 0, ErrWorstBaseFee.With("the base fee may rise to %s wei", worst)
	}
	offered, at := effectiveTip(t, worst), worst
	if now := effectiveTip(t, base); now.Cmp(offered) < 0 {
		offered, at = now, base
	}
	if q := view.Quoted; q != nil && offered.Cmp(q.Tip.ToBig()) >= 0 {
		return 0, nil
	}
	l := loadOf(t, view, slot, head)
	price := m.price.tip(l)
	if offered.Cmp(price) < 0 {
		return 0, ErrTipTooLow.With("%s wei per gas at a base fee of %s; a priority fee of %s and a fee cap of %s are enough",
			offered, at, price, new(big.Int).Add(worst, price))
	}
	// Some room for promises made meanwhile, if the tip pays for it: else any
	// promise at all has the price looked at again.
	usedBelow = above(l.used, 1)
	if l.used = above(l.used, l.limit/16); offered.Cmp(m.price.tip(l)) >= 0 {
		usedBelow = above(l.used, 1)
	}
	return usedBelow, nil
}

// above is n + by, or the greatest number if that is less.
func above(n, by uint64) uint64 { return n + min(by, math.MaxUint64-n) }

// effectiveTip is what t tips per gas at a base fee; below 0 if it cannot pay
// that. [EIP-1559]
func effectiveTip(t *tx, base *big.Int) *big.Int {
	tip := new(big.Int).Sub(t.cap, base)
	if tip.Cmp(t.tip) > 0 {
		tip.Set(t.tip)
	}
	return tip
}

// beyond is more than any transaction pays per gas.
var beyond = new(big.Int).Lsh(big.NewInt(1), 128)

// Price says what the promise of req's transaction would cost, whatever the
// transaction offers. Faults: those of Slot, of a transaction that cannot be
// promised by itself, ErrSlotPassed, the state's.
func (m *Module) Price(ctx context.Context, view commitments.View, req commitments.Request) (commitments.Price, error) {
	slot, raw, err := payload(req)
	if err != nil {
		return commitments.Price{}, err
	}
	if slot != view.Slot {
		return commitments.Price{}, ErrPayload.With("slot %d is not the page's, %d", slot, view.Slot)
	}
	t, err := m.read(raw)
	if err != nil {
		return commitments.Price{}, err
	}
	if t.typ == types.BlobTxType && t.blobs == nil {
		return commitments.Price{}, errBlobless()
	}
	head, err := m.state.Head(ctx)
	if err != nil {
		return commitments.Price{}, err
	}
	if slot <= head.Slot {
		return commitments.Price{}, ErrSlotPassed.With("the head is at slot %d", head.Slot)
	}
	if most := min(m.maxGas, head.GasLimit); t.gas > most {
		return commitments.Price{}, ErrGasAboveCap.With("%d gas, at most %d", t.gas, most)
	}
	tip := m.price.tip(loadOf(t.tx, view, slot, head))
	worst := worstBaseFee(head.BaseFee.ToBig(), head.GasLimit, uint64(slot-head.Slot), beyond)
	return commitments.Price{Mode: commitments.PaidByTip, Tip: word(tip), Total: word(new(big.Int).Mul(tip, bigOf(t.gas))), BaseFee: word(worst)}, nil
}

// word is n, or the greatest word if that is less.
func word(n *big.Int) (w uint256.Int) {
	if w.SetFromBig(n) {
		w.SetAllOne()
	}
	return w
}
