package inclusion

import (
	"fmt"
	"math/big"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"

	"sidecar/commitments"
)

// Offer is what a transaction asks of a slot and offers for it.
type Offer struct {
	Hash  phase0.Hash32 `json:"hash"`
	Gas   uint64        `json:"gas"`       // that it reserves
	Least uint64        `json:"least_gas"` // that it uses for sure
	Blobs uint64        `json:"blobs"`
	Tip   uint256.Int   `json:"max_priority_fee_wei"`
	Cap   uint256.Int   `json:"max_fee_wei"`
}

// OfferOf reads a transaction in EIP-2718 form. Fault: ErrTxEncoding.
func OfferOf(raw []byte) (Offer, error) {
	var t types.Transaction
	if err := t.UnmarshalBinary(raw); err != nil {
		return Offer{}, ErrTxEncoding.With("%v", err)
	}
	return Offer{
		Hash: phase0.Hash32(t.Hash()), Gas: t.Gas(), Least: leastGas(&t), Blobs: uint64(len(t.BlobHashes())),
		Tip: word(t.GasTipCap()), Cap: word(t.GasFeeCap()),
	}, nil
}

// tx is as much of the transaction as its tip follows from.
func (o *Offer) tx() *tx { return &tx{tip: o.Tip.ToBig(), cap: o.Cap.ToBig()} }

// OfferIn reads the transaction of one of this module's promises. Faults: those
// of Module.Slot, ErrTxEncoding.
func OfferIn(c commitments.Commitment) (Offer, error) {
	_, raw, err := payload(commitments.Request{Type: c.Type, Payload: c.Payload})
	if err != nil {
		return Offer{}, err
	}
	return OfferOf(raw)
}

// Past is a slot that is over.
type Past struct {
	Slot     phase0.Slot
	Number   uint64 // of its block; 0 if it has none
	GasLimit uint64
	GasUsed  uint64
	BaseFee  uint256.Int // wei
	Limit    uint64      // gas that its promises may have
	Block    []PastTx    // its transactions, in their order
	Promised []Offer     // what we promised for it, in that order
}

// PastTx is a transaction of a block.
type PastTx struct {
	Offer
	GasUsed uint64
}

// Replayed is what the prices of a Config would have made of some requests.
type Replayed struct {
	Asked    int         `json:"asked"`
	Accepted int         `json:"accepted"`
	TooCheap int         `json:"tip_too_low"`
	Full     int         `json:"slot_full_gas"`
	TooBig   int         `json:"gas_above_cap"`
	Gas      uint64      `json:"reserved_gas"` // of those accepted
	Tips     uint256.Int `json:"tips_wei"`     // that those accepted paid; of promises not in the block, nothing
	Last     uint256.Int `json:"last_tip_wei"` // the price of another 21,000 gas after them
}

// SlotReport is a slot replayed: what we promised for it, and what was in its
// block, as if all of that had been asked for in the block's order.
type SlotReport struct {
	Slot        phase0.Slot `json:"slot"`
	Number      uint64      `json:"block_number"`
	Missed      bool        `json:"missed"`
	BaseFee     uint256.Int `json:"base_fee_wei"`
	Limit       uint64      `json:"promisable_gas"`
	UsedPercent uint64      `json:"gas_used_percent"`     // of the block's limit
	Worth       uint256.Int `json:"mean_tip_wei_per_gas"` // of all the gas its block used: what floor and curve compete with
	Promised    Replayed    `json:"promised"`
	Market      Replayed    `json:"market"`
}

// Replay returns a function that says what the prices of a [modules.config] table
// would have made of a slot. Base fee, tips and gas are the block's; the horizon
// is not counted, since nobody knows when a request would have come.
func Replay(decode func(into any) error) (func(Past) SlotReport, error) {
	var c Config
	if decode != nil {
		if err := decode(&c); err != nil {
			return nil, err
		}
	}
	price, err := c.pricing()
	if err != nil {
		return nil, fmt.Errorf("prices: %w", err)
	}
	most := uint64(maxTxGas)
	if c.MaxGasPerTx != nil {
		most = min(most, *c.MaxGasPerTx)
	}
	r := replay{price, most}
	return r.slot, nil
}

type replay struct {
	price pricing
	most  uint64 // gas of one transaction
}

func (r *replay) slot(p Past) SlotReport {
	out := SlotReport{Slot: p.Slot, Number: p.Number, Missed: p.Number == 0, BaseFee: p.BaseFee, Limit: p.Limit}
	if p.GasLimit > 0 {
		out.UsedPercent = p.GasUsed * 100 / p.GasLimit
	}
	used, paid := map[phase0.Hash32]uint64{}, new(big.Int)
	for _, t := range p.Block {
		used[t.Hash] = t.GasUsed
		if tip := effectiveTip(t.tx(), p.BaseFee.ToBig()); tip.Sign() > 0 {
			paid.Add(paid, tip.Mul(tip, bigOf(t.GasUsed)))
		}
		r.ask(&out.Market, p, t.Offer, t.GasUsed)
	}
	if p.GasUsed > 0 {
		out.Worth = word(paid.Quo(paid, bigOf(p.GasUsed)))
	}
	for _, o := range p.Promised {
		r.ask(&out.Promised, p, o, used[o.Hash])
	}
	for _, side := range []*Replayed{&out.Promised, &out.Market} {
		side.Last = word(r.price.tip(load{used: side.Gas, limit: p.Limit, gas: txGas, least: txGas, ahead: 1}))
	}
	return out
}

// ask asks for one promise more.
func (r *replay) ask(to *Replayed, p Past, o Offer, gasUsed uint64) {
	to.Asked++
	tip := effectiveTip(o.tx(), p.BaseFee.ToBig())
	switch {
	case o.Gas > r.most:
		to.TooBig++
		return
	case o.Gas > p.Limit || to.Gas > p.Limit-o.Gas:
		to.Full++
		return
	case tip.Cmp(r.price.tip(load{used: to.Gas, limit: p.Limit, gas: o.Gas, least: o.Least, blobs: o.Blobs, ahead: 1})) < 0:
		to.TooCheap++
		return
	}
	to.Accepted++
	to.Gas += o.Gas
	paid := word(new(big.Int).Mul(tip, bigOf(gasUsed)))
	to.Tips.Add(&to.Tips, &paid)
}
