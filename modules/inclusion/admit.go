package inclusion

import (
	"context"
	"math/big"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/core/types"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/modules"
)

// admit decides whether what is asked may be promised for slot, beside what is
// promised already, and how much gas those may use before its price would be
// another; 0 for any. Cheapest first, the proofs of blobs last; what the slot has
// left is the host's to say, under the ledger's lock. Faults: the reasons to
// refuse, the state's.
func (m *Module) admit(ctx context.Context, view commitments.View, slot phase0.Slot, t asked) (usedBelow uint64, err error) {
	// 1. The transaction, the rules of its slot, and whom we serve.
	if t.gas > m.maxGas {
		return 0, ErrGasAboveCap.With("%d gas, at most %d", t.gas, m.maxGas)
	}
	if t.typ == types.BlobTxType && t.blobs == nil {
		return 0, m.blobless(ctx, view, t)
	}
	if err := m.rules(t, slot); err != nil {
		return 0, err
	}
	if err := m.policy.serves(t.sender); err != nil {
		return 0, err
	}
	if left := view.Limit; left != (commitments.Cost{}) && view.Used.Blobs+t.tx.blobs() > left.Blobs { // before blobs are checked in vain
		return 0, modules.ErrFullBlobs.With("blobs %d of %d", view.Used.Blobs+t.tx.blobs(), left.Blobs)
	}
	if view.Limit.Blobs > 0 {
		m.proofs.want()
	}
	// 2. Fees.
	account, head, err := m.state.Account(ctx, t.sender)
	if err != nil {
		return 0, err
	}
	if slot <= head.Slot {
		return 0, ErrSlotPassed.With("the head is at slot %d", head.Slot)
	}
	if limit := leastGasLimit(head.GasLimit, uint64(slot-head.Slot)); t.gas > limit {
		return 0, ErrGasAboveCap.With("%d gas, the slot's block may have %d", t.gas, limit)
	}
	if usedBelow, err = m.charge(t.tx, view, slot, head); err != nil {
		return 0, err
	}
	if err := m.blobFees(t.tx, slot, head); err != nil {
		return 0, err
	}
	// 3. The sender.
	if account.HasCode && !(account.Delegated && m.policy.delegated) {
		return 0, ErrSenderHasCode.With("%s", t.addressOf())
	}
	open, err := m.open(view, head.Slot, t.tx)
	if err != nil {
		return 0, err
	}
	if err := follows(t.tx, slot, account, open); err != nil {
		return 0, err
	}
	if n := uint64(len(open)); n >= m.policy.maxOpen {
		return 0, ErrSenderCap.With("%d promises of %d", n, m.policy.maxOpen)
	}
	// 4. Blobs.
	if t.blobs != nil {
		return usedBelow, m.proofs.verify(ctx, t.whole, t.blobs)
	}
	return usedBelow, nil
}

// blobless says what is wrong with a blob transaction in its canonical form: nobody
// has its blobs, unless it is one that is promised, as the answer showed it.
// Faults: ErrPromised, ErrBlobProof, the state's.
func (m *Module) blobless(ctx context.Context, view commitments.View, t asked) error {
	head, err := m.state.Head(ctx)
	if err != nil {
		return err
	}
	open, err := m.open(view, head.Slot, t.tx)
	if err != nil {
		return err
	}
	for _, p := range open {
		if p.hash == t.hash {
			return ErrPromised.With("for slot %d", p.slot)
		}
	}
	return errBlobless()
}

// rules holds t to the fork of its slot. Faults: ErrFork, ErrTxType, ErrBlobProof.
func (m *Module) rules(t asked, slot phase0.Slot) error {
	fork := m.spec.Fork(slot)
	switch {
	case !fork.Served():
		return ErrFork.With("slot %d is of %s", slot, fork)
	case t.typ == types.SetCodeTxType && fork < chain.Electra:
		return ErrTxType.With("type 4 in %s", fork)
	case t.typ == types.BlobTxType:
		return checkSidecar(t.blobs, t.blobHashes, fork)
	}
	return nil
}

// blobFees compares t with the worst blob base fee, and with the most blobs a block
// of its slot may have. Faults: ErrBlobFee, ErrBlobCount, ErrBlobSchedule.
func (m *Module) blobFees(t *tx, slot phase0.Slot, head modules.Head) error {
	if t.blobs() == 0 {
		return nil
	}
	p, err := m.blobParams(head, slot)
	if err != nil {
		return err
	}
	most := uint64(p.Max) // #nosec G115 -- Known
	if t.blobs() > most {
		return ErrBlobCount.With("%d, a block has %d", t.blobs(), most)
	}
	worst, err := m.worstBlobFee(head, slot, t.blobCap)
	if err != nil {
		return err
	}
	if worst.Cmp(t.blobCap) > 0 {
		return ErrBlobFee.With("the blob base fee may rise to %s wei", clip(worst))
	}
	return nil
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
		case p.nonce >= account.Nonce && (p.blobs() > 0) != (t.blobs() > 0):
			return ErrBlobChain.With("beside nonce %d in slot %d", p.nonce, p.slot)
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
