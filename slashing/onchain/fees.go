package onchain

import (
	"context"
	"fmt"
	"math/big"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/core/types"
)

var (
	gwei    = big.NewInt(1e9)
	maxTip  = big.NewInt(5e9)  // wei per gas, whatever the node suggests
	leastBy = big.NewInt(1125) // per mille: nodes ask for 10 % more of a replacement, and round
	mille   = big.NewInt(1000)
)

// fees are those of one EIP-1559 transaction, in wei per gas.
type fees struct{ tip, cap *big.Int }

// fees returns today's: room for the base fee to double, a tip that the node
// suggests, and no more than the sender's cap. Fault: ErrFee.
func (s *Sender) fees(ctx context.Context, head Block) (fees, error) {
	if head.BaseFee.Cmp(s.MaxFee) >= 0 {
		return fees{}, ErrFee.With("the base fee is %s wei, the cap %s", head.BaseFee, s.MaxFee)
	}
	tip, err := s.Node.tip(ctx)
	if err != nil {
		return fees{}, err
	}
	tip = least(most(tip, big.NewInt(1)), maxTip)
	most := new(big.Int).Add(new(big.Int).Lsh(head.BaseFee, 1), tip)
	most = least(most, s.MaxFee)
	return fees{least(tip, most), most}, nil
}

// over returns f raised so far that nodes take it in place of old; false if that
// is above the cap.
func (f fees) over(old, atMost *big.Int, oldTip *big.Int) (fees, bool) {
	raise := func(n *big.Int) *big.Int {
		n = new(big.Int).Mul(n, leastBy)
		return n.Div(n, mille).Add(n, big.NewInt(1))
	}
	out := fees{most(f.tip, raise(oldTip)), most(f.cap, raise(old))}
	return out, out.cap.Cmp(atMost) <= 0 && out.tip.Cmp(out.cap) <= 0
}

func least(a, b *big.Int) *big.Int {
	if a.Cmp(b) < 0 {
		return a
	}
	return b
}

func most(a, b *big.Int) *big.Int {
	if a.Cmp(b) > 0 {
		return a
	}
	return b
}

// begin signs and sends the first transaction of an action. Faults: those of
// Check, ErrReverted, ErrFunds, ErrFee, ErrJournal.
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
	gas = min(gas+gas/4, txGasCap)
	f, err := w.fees(ctx, head)
	if err != nil {
		return err
	}
	// 2. A nonce of its own: above the chain's, the pool's and the journal's.
	nonce, err := w.Node.Nonce(ctx, w.from, pending)
	if err != nil {
		return err
	}
	confirmed, err := w.Node.Nonce(ctx, w.from, Latest)
	if err != nil {
		return err
	}
	ours := confirmed
	for _, records := range w.ordered() {
		ours = max(ours, records[len(records)-1].Nonce+1)
	}
	if nonce > ours {
		w.Report(Event{Kind: "foreign_pending", Action: w.Name, Text: "transactions of this key wait that are not in the journal; ours goes after them", Alarm: true})
	}
	return w.write(ctx, head, &types.DynamicFeeTx{
		ChainID: new(big.Int).SetUint64(w.ChainID), Nonce: max(nonce, ours), GasTipCap: f.tip, GasFeeCap: f.cap, Gas: gas, To: &w.To, Data: w.Input,
	})
}

// nurse raises the fee of a transaction that blocks pass by.
func (w *work) nurse(ctx context.Context, head Block, mine []Record) error {
	last := mine[len(mine)-1]
	for _, r := range mine {
		if receipt, err := w.Node.receipt(ctx, r.Hash); err != nil || receipt != nil {
			return err // in a block: its effect is looked at from there
		}
	}
	if head.Number < last.At+w.BumpAfter {
		return nil
	}
	var old types.Transaction
	if err := old.UnmarshalBinary(last.Raw); err != nil {
		return ErrJournal.Wrap(err)
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
	w.Report(Event{Kind: "fee_raised", Action: w.Name, Text: fmt.Sprintf("nonce %d: to %s wei per gas at most", last.Nonce, f.cap)})
	return w.write(ctx, head, &types.DynamicFeeTx{
		ChainID: old.ChainId(), Nonce: old.Nonce(), GasTipCap: f.tip, GasFeeCap: f.cap, Gas: old.Gas(), To: old.To(), Data: old.Data(),
	})
}

// write signs a transaction, puts it on disk and sends it. A crash after the
// disk is repaired by push, a crash before it never happened.
func (w *work) write(ctx context.Context, head Block, content *types.DynamicFeeTx) error {
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
		State: Written, Action: w.Name, ChainID: w.ChainID, From: w.from, Nonce: tx.Nonce(), Hash: tx.Hash(), Raw: raw, At: head.Number,
	}); err != nil {
		return err
	}
	w.Report(Event{Kind: "sent", Action: w.Name, Text: fmt.Sprintf("transaction %s, nonce %d", tx.Hash(), tx.Nonce())})
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

// Cost is what so much gas costs at most, in wei.
func Cost(gas uint64, feeCap *big.Int) *big.Int {
	return new(big.Int).Mul(new(big.Int).SetUint64(gas), feeCap)
}
