package onchain

import (
	"context"
	"errors"
	"fmt"
	"math/big"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/core/types"
)

// maxNonces is how many nonces an action gets until it is done: the others were
// used up by somebody else, or by transactions that reverted. An honest node
// makes that rare; a lying one would have it go on until the account is empty.
const maxNonces = 4

// begin signs and sends the first transaction of an action. Faults: those of
// Check, ErrReverted, ErrFunds, ErrFee, ErrGas, ErrWasted, ErrJournal.
func (w *work) begin(ctx context.Context, head Block) error {
	if w.Check != nil {
		if err := w.Check(ctx, head); err != nil {
			return err
		}
	}
	// 1. Only what works is sent, and only what can be paid.
	if _, err := w.Node.Call(ctx, w.from, w.To, w.Input, Latest); err != nil {
		return err
	}
	gas, err := w.Node.Gas(ctx, w.from, w.To, w.Input)
	if err != nil {
		return err
	}
	if gas > w.MaxGas {
		return ErrGas.With("%s: %d, at most %d", w.Name, gas, w.MaxGas)
	}
	f, err := w.fees(ctx, head)
	if err != nil {
		return err
	}
	// 2. A nonce of its own, or the one it had.
	nonce, old, err := w.nonce(ctx)
	if err != nil {
		return err
	}
	if old != nil {
		return w.again(ctx, head, *old)
	}
	if n := w.Journal.spent(w.ChainID, w.from, w.Name); n >= maxNonces {
		return ErrWasted.With("%s: %d nonces", w.Name, n)
	}
	return w.write(ctx, head, w.Name, &types.DynamicFeeTx{
		ChainID: new(big.Int).SetUint64(w.ChainID), Nonce: nonce, GasTipCap: f.tip, GasFeeCap: f.cap, Gas: min(gas+gas/4, w.MaxGas), To: &w.To, Data: w.Input,
	})
}

// nonce is the next: above the chain's, the pool's and the journal's. If the
// chain took a transaction of this action back, deeper than was waited for, it
// may come again by itself: old is that one, and none takes its place.
func (w *work) nonce(ctx context.Context) (next uint64, old *Record, err error) {
	waiting, err := w.Node.Nonce(ctx, w.from, pending)
	if err != nil {
		return 0, nil, err
	}
	confirmed, err := w.Node.Nonce(ctx, w.from, Latest)
	if err != nil {
		return 0, nil, err
	}
	ours := confirmed
	for _, records := range w.ordered() {
		ours = max(ours, records[len(records)-1].Nonce+1)
	}
	next = max(waiting, ours)
	for _, r := range w.Journal.written(w.ChainID, w.from, w.Name) {
		if r.Nonce >= confirmed && r.Nonce <= next && !r.Void {
			old = &r
		}
	}
	if old == nil && waiting > ours {
		w.Report(Event{Kind: "foreign_pending", Action: w.Name, Text: "transactions of this key wait that are not in the journal; ours goes after them", Alarm: true})
	}
	return next, old, nil
}

// again opens a transaction once more.
func (w *work) again(ctx context.Context, head Block, r Record) error {
	r.At = head.Number
	if err := w.Journal.append(r); err != nil {
		return err
	}
	w.Report(Event{Kind: "sent", Action: r.Action, Text: fmt.Sprintf("transaction %s, nonce %d, again", r.Hash, r.Nonce)})
	return w.Node.send(ctx, r.Raw)
}

// nurse raises the fee of a transaction that blocks pass by. One that its
// contract would refuse by now gives its place to one that does nothing: later
// nonces wait for it, and a revert costs more.
func (w *work) nurse(ctx context.Context, head Block, records []Record) error {
	last := records[len(records)-1]
	for _, r := range records {
		if receipt, err := w.Node.receipt(ctx, r.Hash); err != nil || receipt != nil {
			return err // in a block: its effect is looked at from there
		}
	}
	// A head far above this one, as it was once told, is no reason to wait for ever.
	if head.Number-min(head.Number, last.At) < w.BumpAfter && last.At-min(last.At, head.Number) <= MaxConfirmations {
		return nil
	}
	var old types.Transaction
	if err := old.UnmarshalBinary(last.Raw); err != nil {
		return ErrJournal.Wrap(err)
	}
	next := &types.DynamicFeeTx{ChainID: old.ChainId(), Nonce: old.Nonce(), Gas: old.Gas(), To: old.To(), Data: old.Data()}
	text := "raised"
	if !last.Void {
		_, err := w.Node.Call(ctx, w.from, *next.To, next.Data, Latest)
		var refused *Revert
		if errors.As(err, &refused) {
			next.To, next.Data, next.Gas = &w.from, nil, gasOfNothing
			text = fmt.Sprintf("%s by now; replaced by nothing", refused.Name())
		} else if err != nil {
			return err
		}
	}
	now, err := w.fees(ctx, head)
	if err != nil {
		w.tell("fee_cap", err.Error())
		return nil
	}
	f, ok := now.over(old.GasFeeCap(), w.MaxFee, old.GasTipCap())
	if !ok {
		w.tell("fee_cap", "the transaction waits, and its fee is at the cap")
		return nil
	}
	next.GasTipCap, next.GasFeeCap = f.tip, f.cap
	w.Report(Event{Kind: "fee_raised", Action: last.Action, Text: fmt.Sprintf("nonce %d, %s: to %s wei per gas at most", last.Nonce, text, f.cap)})
	if err = w.write(ctx, head, last.Action, next); errors.Is(err, ErrFunds) {
		w.tell("funds", err.Error()) // what was sent before is there still
		return nil
	}
	return err
}

// gasOfNothing is what a transfer needs. [EIP-2028: TxGas]
const gasOfNothing = 21_000

// write signs a transaction, puts it on disk and sends it. A crash after the
// disk is repaired by push, a crash before it never happened.
func (w *work) write(ctx context.Context, head Block, action string, content *types.DynamicFeeTx) error {
	if err := w.affordable(ctx, content); err != nil {
		return err
	}
	signer := types.LatestSignerForChainID(content.ChainID)
	unsigned := types.NewTx(content)
	signature, err := w.Key.Sign(phase0.Root(signer.Hash(unsigned)))
	if err != nil {
		return err
	}
	signature[64] -= 27 // a parity
	tx, err := unsigned.WithSignature(signer, signature[:])
	if err != nil {
		return fmt.Errorf("sign transaction: %w", err)
	}
	raw, err := tx.MarshalBinary()
	if err != nil {
		return fmt.Errorf("encode transaction: %w", err)
	}
	if err := w.Journal.append(Record{
		State: Written, Action: action, ChainID: w.ChainID, From: w.from, Nonce: tx.Nonce(), Hash: tx.Hash(), Raw: raw, At: head.Number,
		Void: len(content.Data) == 0,
	}); err != nil {
		return err
	}
	w.Report(Event{Kind: "sent", Action: action, Text: fmt.Sprintf("transaction %s, nonce %d", tx.Hash(), tx.Nonce())})
	return w.Node.send(ctx, raw)
}

// affordable says whether the account has what the transaction may cost.
func (w *work) affordable(ctx context.Context, content *types.DynamicFeeTx) error {
	balance, err := w.Node.Balance(ctx, w.from)
	if err != nil {
		return err
	}
	if cost := Cost(content.Gas, content.GasFeeCap); balance.Cmp(cost) < 0 {
		return ErrFunds.With("%s has %s wei, and the transaction may cost %s", w.from, balance, cost)
	}
	return nil
}
