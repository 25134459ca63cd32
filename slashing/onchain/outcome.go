package onchain

import (
	"context"
	"errors"
	"fmt"
	"math/big"

	"github.com/ethereum/go-ethereum/common"

	"sidecar/contracts/eigenlayer"
)

// outcome reads what was slashed, from the chain and the receipt.
func (p *Prover) outcome(ctx context.Context, r *Result) error {
	allocation, err := r.manager.Read(ctx, Latest, "allocationManager")
	if err != nil {
		return err
	}
	core := Contract{p.Node, allocation[0].(common.Address), eigenlayer.ABI(), p.Sender.from}
	set := eigenlayer.OperatorSet{Avs: r.Manager}
	recipient, err := core.Read(ctx, Latest, "getRedistributionRecipient", set)
	if err != nil {
		return err
	}
	r.To, _ = recipient[0].(common.Address)
	if r.Execute == nil {
		return nil // somebody else's transaction: its events are not ours to look for
	}
	executed, slashed := r.manager.ABI.Events["FaultExecuted"], core.ABI.Events["OperatorSlashed"]
	for _, l := range r.Execute.Logs {
		switch {
		case l.Address == r.Manager && len(l.Topics) > 1 && l.Topics[0] == executed.ID && l.Topics[1] == r.ID:
			r.SlashID = &Amount{new(big.Int).SetBytes(l.Data)}
		case l.Address == core.At && len(l.Topics) == 1 && l.Topics[0] == slashed.ID:
			if values, err := slashed.Inputs.Unpack(l.Data); err == nil {
				for _, wad := range values[3].([]*big.Int) {
					r.Wads = append(r.Wads, Amount{wad})
				}
			}
		}
	}
	if r.SlashID == nil {
		return ErrNoContract.With("the execution left no event")
	}
	return p.taken(ctx, core, set, r)
}

// taken reads how many shares wait to be burnt.
func (p *Prover) taken(ctx context.Context, core Contract, set eigenlayer.OperatorSet, r *Result) error {
	strategies, err := p.strategyManager(ctx, core)
	if err != nil {
		return err
	}
	values, err := strategies.Read(ctx, AtBlock(r.Execute.Block), "getBurnOrRedistributableShares", set, r.SlashID.Int)
	if errors.Is(err, ErrRefused) { // of so long ago that the node forgot: what is left now
		values, err = strategies.Read(ctx, Latest, "getBurnOrRedistributableShares", set, r.SlashID.Int)
	}
	if err != nil {
		return err
	}
	names, _ := values[0].([]common.Address)
	shares, _ := values[1].([]*big.Int)
	for i := range min(len(names), len(shares)) {
		r.Taken = append(r.Taken, Taken{names[i], Amount{shares[i]}})
	}
	return nil
}

func (p *Prover) strategyManager(ctx context.Context, core Contract) (Contract, error) {
	delegation, err := core.Read(ctx, Latest, "delegation")
	if err != nil {
		return core, err
	}
	core.At = delegation[0].(common.Address)
	strategies, err := core.Read(ctx, Latest, "strategyManager")
	if err != nil {
		return core, err
	}
	core.At = strategies[0].(common.Address)
	return core, nil
}

// Burn moves what Run slashed to where it goes. Anybody may, any time.
func (p *Prover) Burn(ctx context.Context, r *Result) (err error) {
	if r.SlashID == nil || len(r.Taken) == 0 {
		return nil
	}
	allocation, err := r.manager.Read(ctx, Latest, "allocationManager")
	if err != nil {
		return err
	}
	core, err := p.strategyManager(ctx, Contract{p.Node, allocation[0].(common.Address), eigenlayer.ABI(), p.Sender.from})
	if err != nil {
		return err
	}
	set := eigenlayer.OperatorSet{Avs: r.Manager}
	input, err := core.ABI.Pack("clearBurnOrRedistributableShares", set, r.SlashID.Int)
	if err != nil {
		return err
	}
	receipt, err := p.Sender.Do(ctx, Action{
		Name: fmt.Sprintf("burn:%s:%s", r.Manager, r.SlashID), To: core.At, Input: input, MaxGas: proofGas,
		Done: func(ctx context.Context, at string) (bool, error) {
			values, err := core.Read(ctx, at, "getBurnOrRedistributableShares", set, r.SlashID.Int)
			if err != nil {
				return false, err
			}
			shares, _ := values[1].([]*big.Int)
			for _, n := range shares {
				if n.Sign() != 0 {
					return false, nil
				}
			}
			return true, nil
		},
	})
	if receipt != nil && receipt.OK {
		r.Burn = receipt
	}
	return err
}
