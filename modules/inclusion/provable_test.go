package inclusion

import (
	"bytes"
	"errors"
	"math/big"
	"slices"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"

	"sidecar/commitments"
	"sidecar/modules"
	"sidecar/slashing/evidence"
)

// schedule is what the beacon node told.
type schedule []modules.Duty

func (s schedule) Duties() []modules.Duty { return s }

const proposerIndex phase0.ValidatorIndex = 4567

func provableOf(slot phase0.Slot, index phase0.ValidatorIndex, raw []byte) commitments.Request {
	r := requestOf(slot, raw)
	r.Type, r.Payload = commitments.TypeProvableInclusion, commitments.EncodeProvableInclusion(slot, index, raw)
	return r
}

func newProvable(t testing.TB) (*world, commitments.View) {
	w := newWorld(t)
	id := commitments.PageID{Slot: slot, Proposer: phase0.BLSPubKey{7}}
	w.duties = schedule{{Slot: slot, Proposer: phase0.BLSPubKey{8}, Index: 1}, {Slot: slot + 1, Proposer: id.Proposer, Index: 2}, {Slot: slot, Proposer: id.Proposer, Index: proposerIndex}}
	return w, commitments.View{Page: commitments.Page{PageID: id}, Seq: 3}
}

// TestProvable: builders are told of a promise that contracts can judge as of any
// other, and its transaction is verified, audited and claimed like any other.
func TestProvable(t *testing.T) {
	w, view := newProvable(t)
	raw := w.from.sign(t, plain())
	req := provableOf(slot, proposerIndex, raw)
	d, err := w.Commit(t.Context(), view, req)
	if err != nil {
		t.Fatal(err)
	}
	if d.Commitment.Type != req.Type || !bytes.Equal(d.Commitment.Payload, req.Payload) || d.Commitment.RequestHash != req.Hash() {
		t.Errorf("commitment %+v", d.Commitment)
	}
	if len(d.Constraints) != 1 || d.Constraints[0].Type != commitments.TypeInclusion || !bytes.Equal(d.Constraints[0].Payload, commitments.EncodeInclusion(slot, raw)) {
		t.Errorf("constraints %+v, want one of type 1", d.Constraints)
	}
	plainDraft, err := w.Commit(t.Context(), view, requestOf(slot, raw))
	if err != nil || plainDraft.Claims[0] != d.Claims[0] {
		t.Errorf("the types claim %v and %v, %v; want the same", plainDraft.Claims, d.Claims, err)
	}
	view.Promises = []commitments.Promise{{SignedCommitment: commitments.SignedCommitment{Commitment: d.Commitment}}}
	if _, err := w.Commit(t.Context(), view, requestOf(slot, raw)); !errors.Is(err, ErrPromised) {
		t.Errorf("the same transaction as type 1: got %v", err)
	}
	cand, block := build(t, append(blockOf(t, 5), raw), 5)
	if err := w.Verify(t.Context(), view.Page, cand); err != nil {
		t.Errorf("verify: %v", err)
	}
	if err := w.Verify(t.Context(), view.Page, commitments.Candidate{Slot: slot, Header: cand.Header}); !errors.Is(err, ErrProofMissing) {
		t.Errorf("verify without a proof: %v", err)
	}
	for want, b := range map[commitments.Outcome]commitments.Block{
		commitments.Kept: block, commitments.Broken: {Slot: slot, Txs: blockOf(t, 5)}, commitments.Excused: {Slot: slot, Missed: true},
	} {
		if v, err := w.Audit(t.Context(), view.Page, b); err != nil || len(v) != 1 || v[0].Outcome != want {
			t.Errorf("audit: got %+v, %v, want %s", v, err, want)
		}
	}
}

func TestProvable_Proposer(t *testing.T) {
	w, view := newProvable(t)
	raw := w.from.sign(t, plain())
	if _, err := w.Commit(t.Context(), view, provableOf(slot, proposerIndex+1, raw)); !errors.Is(err, ErrProposerIndex) {
		t.Errorf("another index: got %v", err)
	}
	for _, duties := range []modules.Schedule{nil, schedule{}} {
		w.duties = duties
		if _, err := w.Commit(t.Context(), view, provableOf(slot, proposerIndex, raw)); !errors.Is(err, ErrProposerIndex) {
			t.Errorf("no duties: got %v", err)
		}
	}
}

// TestProvable_AsTheContract: what is promised, the contract's rules can read; and
// what they refuse for its form is refused.
func TestProvable_AsTheContract(t *testing.T) {
	w, view := newProvable(t)
	to, tip, fee := &common.Address{0xaa}, big.NewInt(2*params.GWei), big.NewInt(30*params.GWei)
	of := func(change func(*types.DynamicFeeTx)) types.TxData {
		tx := plain()
		change(tx)
		return tx
	}
	for name, c := range map[string]struct {
		tx types.TxData
		ok bool
	}{
		"plain":         {plain(), true},
		"input":         {of(func(tx *types.DynamicFeeTx) { tx.Data, tx.Gas = make([]byte, 100), 27_400 }), true},
		"too little":    {of(func(tx *types.DynamicFeeTx) { tx.Data, tx.Gas = make([]byte, 100), 27_399 }), false},
		"gas at cap":    {of(func(tx *types.DynamicFeeTx) { tx.Gas = 5_000_000 }), true},
		"gas above cap": {of(func(tx *types.DynamicFeeTx) { tx.Gas = 5_000_001 }), false},
		"access list": {of(func(tx *types.DynamicFeeTx) {
			tx.Gas, tx.AccessList = 100_000, types.AccessList{{Address: common.Address{1}}}
		}), false},
		"type 0": {&types.LegacyTx{Nonce: 5, GasPrice: fee, Gas: 21_000, To: to}, false},
		"type 1": {&types.AccessListTx{ChainID: big.NewInt(chainID), Nonce: 5, GasPrice: fee, Gas: 21_000, To: to}, false},
		"type 2": {&types.DynamicFeeTx{ChainID: big.NewInt(chainID), Nonce: 5, GasTipCap: tip, GasFeeCap: fee, Gas: 21_000, To: to}, true},
	} {
		req := provableOf(slot, proposerIndex, w.from.sign(t, c.tx))
		_, err := w.Commit(t.Context(), view, req)
		p, excuse := evidence.ReadPayload(req.Payload, chainID)
		if (excuse == nil) != c.ok || (err == nil) != c.ok || err != nil && !errors.Is(err, ErrUnprovable) {
			t.Errorf("%s: got %v, the contract says %v", name, err, excuse)
		}
		if c.ok && (p.Slot != slot || p.ProposerIndex != uint64(proposerIndex) || p.Sender != common.Address(w.from.addr) || p.Nonce != 5) {
			t.Errorf("%s: the contract reads %+v", name, p)
		}
	}
}

// TestExcuses: what searchers are told are the names that verdicts have.
func TestExcuses(t *testing.T) {
	for _, e := range []evidence.Excuse{evidence.NonceUsed, evidence.NonceSpentInBlock, evidence.FundsTooLow, evidence.SenderHasCode, evidence.BaseFeeAboveCap, evidence.GasAboveBlock} {
		if !slices.Contains(excuses, string(e)) {
			t.Errorf("%s is not told", e)
		}
	}
}
