package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/holiman/uint256"

	"sidecar/commitments"
	"sidecar/modules"
)

// view is what the ledger knows of a page, with how full it is.
func (g *Gateway) view(id commitments.PageID) commitments.View {
	v := g.Views.View(id)
	v.Used, v.Limit = usedBy(v.Page), g.limit(id.Slot)
	return v
}

// usedBy is what the promises of a page cost together.
func usedBy(p commitments.Page) (sum commitments.Cost) {
	for i := range p.Promises {
		c := &p.Promises[i].Cost
		sum.Gas, sum.Blobs, sum.Bytes = add(sum.Gas, c.Gas), add(sum.Blobs, c.Blobs), add(sum.Bytes, c.Bytes)
	}
	return sum
}

// Price says what the promise that r asks for would cost now, and on which page
// it would stand. Faults: this package's, the module's, the schedule's;
// modules.ErrUnpriced.
func (g *Gateway) Price(ctx context.Context, r commitments.Request) (commitments.PageID, commitments.Price, error) {
	m, info, err := g.module(r.Type)
	if err != nil {
		return commitments.PageID{}, commitments.Price{}, err
	}
	pricer, ok := m.(modules.Pricer)
	if !ok {
		return commitments.PageID{}, commitments.Price{}, modules.ErrUnpriced.With("module %s", info.ID)
	}
	if g.draining.Load() {
		return commitments.PageID{}, commitments.Price{}, ErrDraining
	}
	id, err := g.placed(ctx, m, info, r, 0)
	if err != nil {
		return id, commitments.Price{}, err
	}
	if g.Holds != nil && g.Holds(id.Slot) {
		return id, commitments.Price{}, ErrHolding.With("slot %d", id.Slot)
	}
	p, err := pricer.Price(ctx, g.view(id), r)
	return id, p, err
}

// placed finds the page that a request is for; quoted, unless 0, is the slot to
// take if the request leaves it to us.
func (g *Gateway) placed(ctx context.Context, m modules.Module, info modules.Info, r commitments.Request, quoted phase0.Slot) (commitments.PageID, error) {
	if len(g.Slashers) > 0 && r.Slasher != (bellatrix.ExecutionAddress{}) && !slices.Contains(g.Slashers, r.Slasher) {
		return commitments.PageID{}, ErrSlasher.With("%s", r.Slasher)
	}
	if err := g.Schedule.Ready(); err != nil {
		return commitments.PageID{}, err
	}
	slot, err := m.Slot(ctx, r)
	if err != nil {
		return commitments.PageID{}, err
	}
	if slot == 0 {
		slot = quoted
	}
	return g.place(ctx, slot, info.ConstraintTypes)
}

// feeJSON is the payload of a FeeInfo: fabric's two fields, and ours. What a
// promise costs is all in the tip; price_gwei is the tip of all the gas that it
// reserves, as fabric's is the gas price times the gas.
type feeJSON struct {
	RequestHash string `json:"request_hash"`
	PriceGwei   uint64 `json:"price_gwei"`
	*feeMoreJSON
}

type feeMoreJSON struct {
	Slot       uint64 `json:"slot"`
	Mode       string `json:"mode"`
	PaidTo     string `json:"paid_to,omitempty"`
	TipWei     string `json:"tip_wei_per_gas"`
	TotalWei   string `json:"total_wei"`
	BaseFeeWei string `json:"worst_base_fee_wei"`
	FeeCapWei  string `json:"max_fee_per_gas_wei"` // that is enough
	Binding    bool   `json:"binding"`             // false: a quote is binding, see preconf_quote
	ValidUntil uint64 `json:"valid_until_ms"`      // unless somebody is promised something before
}

// fee tells the price of a promise. A module without prices promises for
// nothing. [Commitments API: fee]
func (g *Gateway) fee(ctx context.Context, r commitments.Request) (commitments.FeeInfo, error) {
	hash := r.Hash()
	out := feeJSON{RequestHash: fmt.Sprintf("%#x", hash[:])}
	id, p, err := g.Price(ctx, r)
	if err != nil && !errors.Is(err, modules.ErrUnpriced) {
		return commitments.FeeInfo{}, err
	}
	if err == nil {
		enough := new(uint256.Int)
		if _, over := enough.AddOverflow(&p.BaseFee, &p.Tip); over {
			enough.SetAllOne()
		}
		out.PriceGwei = gweiOf(p.Total)
		out.feeMoreJSON = &feeMoreJSON{
			Slot: uint64(id.Slot), Mode: p.Mode, TipWei: p.Tip.Dec(), TotalWei: p.Total.Dec(), BaseFeeWei: p.BaseFee.Dec(), FeeCapWei: enough.Dec(),
			// The horizon and the worst base fee are others in the next slot.
			ValidUntil: uint64(max(g.Clock.Start(g.Clock.Slot()+1).UnixMilli(), 0)), // #nosec G115 -- not negative
		}
		if p.Mode == commitments.PaidByTip {
			out.PaidTo = "fee_recipient_of_the_block"
		}
	}
	payload, err := json.Marshal(out)
	return commitments.FeeInfo{Type: r.Type, Payload: payload}, err
}

// gweiOf is an amount of wei in gwei, rounded up, or the greatest number.
func gweiOf(wei uint256.Int) uint64 {
	var rest uint256.Int
	gwei, _ := new(uint256.Int).DivMod(&wei, uint256.NewInt(1e9), &rest)
	if !gwei.IsUint64() || gwei.Uint64() == math.MaxUint64 {
		return math.MaxUint64
	}
	if rest.IsZero() {
		return gwei.Uint64()
	}
	return gwei.Uint64() + 1
}
