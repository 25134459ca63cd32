package inclusion

import (
	"context"
	"fmt"
	"math/big"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/modules"
)

// admit decides whether t may be promised for slot, beside what is promised
// already, and how much gas those may use before its price would be another; 0
// for any. Faults: the reasons to refuse, the state's.
func (m *Module) admit(ctx context.Context, view commitments.View, slot phase0.Slot, t *tx) (usedBelow uint64, err error) {
	if t.gas > m.maxGas {
		return 0, ErrGasAboveCap.With("%d gas, at most %d", t.gas, m.maxGas)
	}
	account, head, err := m.state.Account(ctx, t.sender)
	if err != nil {
		return 0, err
	}
	if slot <= head.Slot {
		return 0, ErrSlotPassed.With("the head is at slot %d", head.Slot)
	}
	if t.gas > head.GasLimit {
		return 0, ErrGasAboveCap.With("%d gas, blocks have %d", t.gas, head.GasLimit)
	}
	if usedBelow, err = m.charge(t, view, slot, head); err != nil {
		return 0, err
	}
	if account.HasCode {
		return 0, ErrSenderHasCode.With("%s", t.addressOf())
	}
	open, err := m.open(view, head.Slot, t.sender)
	if err != nil {
		return 0, err
	}
	return usedBelow, follows(t, slot, account, open)
}

// worstBaseFee is the highest base fee after a number of blocks: an eighth more
// each, rounded up, and a wei for the least step. It stops above enough. [EIP-1559]
func worstBaseFee(base *big.Int, blocks uint64, enough *big.Int) *big.Int {
	b := new(big.Int).Set(base)
	for ; blocks > 0 && b.Cmp(enough) <= 0; blocks-- {
		b.Add(b, new(big.Int).Rsh(b, 3)).Add(b, big.NewInt(1))
	}
	return b
}

// promised is a transaction on a page that is still to come.
type promised struct {
	*tx
	slot phase0.Slot
}

// open returns the sender's transactions on pages after the head. A slot at or
// before the head is decided: its transactions are in the account, or never will be.
func (m *Module) open(view commitments.View, head phase0.Slot, sender [20]byte) (all []promised, err error) {
	collect := func(p *commitments.Page) error {
		if p.Slot <= head {
			return nil
		}
		for i := range p.Promises {
			c := &p.Promises[i].Commitment
			if !serves(c.Type) {
				continue
			}
			_, raw, err := payload(commitments.Request{Type: c.Type, Payload: c.Payload})
			if err != nil {
				return fmt.Errorf("promise %d of slot %d: %v", i, p.Slot, err) // no fault: it is not the caller's
			}
			t, err := m.decode(raw)
			if err != nil {
				return fmt.Errorf("promise %d of slot %d: %v", i, p.Slot, err)
			}
			if t.sender == sender {
				all = append(all, promised{t, p.Slot})
			}
		}
		return nil
	}
	if err := collect(&view.Page); err != nil {
		return nil, err
	}
	for i := range view.Open {
		if view.Open[i].PageID == view.PageID {
			continue
		}
		if err := collect(&view.Open[i]); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// follows decides whether t comes next after what its sender has on chain and
// was promised. Nonces must follow each other within one slot: a promise that
// hangs on an earlier slot could be broken by that slot being missed.
func follows(t *tx, slot phase0.Slot, account modules.Account, open []promised) error {
	if t.nonce < account.Nonce {
		return ErrNonceTooLow.With("the account is at %d", account.Nonce)
	}
	due := new(big.Int).Set(t.cost)
	here, elsewhere := map[uint64]bool{}, map[uint64]phase0.Slot{}
	for _, p := range open {
		switch {
		case p.hash == t.hash:
			return ErrPromised.With("for slot %d", p.slot)
		case p.nonce == t.nonce:
			return ErrNonceConflict.With("in slot %d", p.slot)
		case p.slot == slot:
			here[p.nonce] = true
		default:
			elsewhere[p.nonce] = p.slot
		}
		if p.nonce >= account.Nonce {
			due.Add(due, p.cost)
		}
	}
	for n := account.Nonce; n < t.nonce; n++ {
		if here[n] {
			continue
		}
		if s, ok := elsewhere[n]; ok {
			return ErrNonceGap.With("nonce %d is promised for slot %d, which may be missed", n, s)
		}
		return ErrNonceGap.With("nonce %d comes first", n)
	}
	if balance := account.Balance.ToBig(); balance.Cmp(due) < 0 {
		return ErrBalance.With("%s wei, the promises may take %s", balance, due)
	}
	return nil
}
