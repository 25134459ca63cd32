package slashing

import (
	"math/big"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/holiman/uint256"

	"sidecar/commitments"
	"sidecar/modules"
	"sidecar/slashing/evidence"
)

// missPage is a page of one provable promise of the sample: nonce 5, 30,000 gas,
// fee cap 30 gwei, from an account of 1 ETH in a block of base fee 7 gwei.
func missPage(t *testing.T) (commitments.Page, *Capture, evidence.File) {
	t.Helper()
	_, f := sampleFile(t, "absent")
	c := &Capture{Slot: 1_000_000, Block: phase0.Hash32{1}, Headers: f.Absence.Headers, Accounts: []Account{{Address: f.Derived.Sender, Proofs: f.Absence.AccountProofs}}}
	p := commitments.Page{
		PageID:   commitments.PageID{Slot: 1_000_000},
		Promises: []commitments.Promise{{SignedCommitment: commitments.SignedCommitment{Commitment: f.Promises[0].Commitment}}},
	}
	return p, c, f
}

func conditions(all []NearMiss) (names []string) {
	for _, m := range all {
		names = append(names, m.Condition)
	}
	return names
}

func TestPast(t *testing.T) {
	start := time.Unix(1_700_000_000, 0)
	ms := func(before time.Duration) string { return strconv.FormatInt(start.Add(-before).UnixMilli(), 10) }
	ack := func(before time.Duration) commitments.Note {
		return commitments.Note{Kind: commitments.NoteReceipt, What: map[string]string{"message": "constraints", "relay": "r", "outcome": "accepted", "at_ms": ms(before)}}
	}
	served := commitments.Note{Kind: commitments.NoteHeaderServed, What: map[string]string{"block_hash": phase0.Hash32{1}.String()}}
	kept := commitments.Verdict{Outcome: commitments.Kept, Stage: commitments.Provisional, Block: phase0.Hash32{1}}
	for name, c := range map[string]struct {
		change  func(*commitments.Page, *Capture)
		notes   []commitments.Note
		refused int
		want    []string
	}{
		"nothing":                   {func(*commitments.Page, *Capture) {}, []commitments.Note{ack(4 * time.Second), served}, 0, nil},
		"the constraints came late": {func(*commitments.Page, *Capture) {}, []commitments.Note{ack(4 * time.Second), ack(300 * time.Millisecond), served}, 0, []string{MissAckLate}},
		"nobody took them":          {func(*commitments.Page, *Capture) {}, []commitments.Note{served}, 0, []string{MissNoAck}},
		"one refused, bids did not prove": {func(*commitments.Page, *Capture) {}, []commitments.Note{
			ack(4 * time.Second), served, {Kind: commitments.NoteReceipt, What: map[string]string{"message": "constraints", "relay": "x", "outcome": "refused"}},
		}, 2, []string{MissRefused, MissUnproven}},
		"the local block": {func(*commitments.Page, *Capture) {}, []commitments.Note{
			ack(4 * time.Second), {Kind: commitments.NoteReceipt, What: map[string]string{"outcome": "no_safe_block"}},
		}, 0, []string{MissNoHeader, MissOtherBlock}},
		"excused": {func(p *commitments.Page, _ *Capture) {
			p.Verdicts[0].Outcome, p.Verdicts[0].Reason = commitments.Excused, "NonceSpentInBlock"
		}, []commitments.Note{ack(4 * time.Second), served}, 0, []string{MissExcused}},
		"broken": {func(p *commitments.Page, _ *Capture) { p.Verdicts[0].Outcome = commitments.Broken }, []commitments.Note{ack(4 * time.Second), served}, 0, []string{MissBroken}},
		"too late": {func(p *commitments.Page, _ *Capture) {
			p.Verdicts[0].Outcome, p.Verdicts[0].Reason = commitments.Unknown, reasonTooLate
		}, []commitments.Note{ack(4 * time.Second), served}, 0, []string{MissUnknown}},
		"reorg": {func(p *commitments.Page, _ *Capture) {
			p.Verdicts[0].Outcome, p.Verdicts[0].Reason = commitments.Unknown, reasonReorg
		}, []commitments.Note{ack(4 * time.Second), served}, 0, []string{MissReorg}},
		"another block, which the chain left": {func(p *commitments.Page, _ *Capture) {
			p.Verdicts = append([]commitments.Verdict{{RequestHash: p.Verdicts[0].RequestHash, Outcome: commitments.Broken, Block: phase0.Hash32{2}}}, p.Verdicts...)
		}, []commitments.Note{ack(4 * time.Second), served}, 0, nil},
		"the chain left what was served": {func(p *commitments.Page, _ *Capture) {
			p.Verdicts = append(p.Verdicts, commitments.Verdict{RequestHash: p.Verdicts[0].RequestHash, Outcome: commitments.Kept, Block: phase0.Hash32{2}})
		}, []commitments.Note{ack(4 * time.Second), served}, 0, []string{MissOtherBlock}},
		"no page": {func(p *commitments.Page, _ *Capture) { p.Promises = nil }, nil, 3, nil},
	} {
		p, captured, f := missPage(t)
		v := kept
		v.RequestHash = p.Promises[0].Commitment.RequestHash
		p.Verdicts, p.Notes = []commitments.Verdict{v}, c.notes
		c.change(&p, captured)
		if got := conditions(Past(&p, start, f.Rules.ChainID, captured, c.refused)); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

func TestAhead(t *testing.T) {
	rich := modules.Account{Nonce: 5, Balance: *uint256.NewInt(1e18)}
	for name, c := range map[string]struct {
		baseFee uint64 // wei
		blocks  phase0.Slot
		account modules.Account
		want    []string
	}{
		"fine":                  {7e9, 1, rich, nil},
		"the base fee is close": {25e9, 1, rich, []string{MissFeeCap}},
		"it may pass the cap":   {29e9, 4, rich, []string{MissNotKeepable}},
		"the nonce is spent":    {7e9, 1, modules.Account{Nonce: 6, Balance: *uint256.NewInt(1e18)}, []string{MissNonceSpent}},
		"the sender has code":   {7e9, 1, modules.Account{Nonce: 5, Balance: *uint256.NewInt(1e18), HasCode: true}, []string{MissSenderCode}},
		"the funds are gone":    {7e9, 1, modules.Account{Nonce: 5}, []string{MissNotKeepable}},
		"they nearly are":       {7e9, 1, modules.Account{Nonce: 5, Balance: *uint256.NewInt(19e14 + 1e13)}, []string{MissBalance}},
	} {
		p, _, f := missPage(t)
		head := modules.Head{Slot: p.Slot - c.blocks, BaseFee: *uint256.NewInt(c.baseFee)}
		got := Ahead(&p, f.Rules.ChainID, head, func(evidence.Promised) (modules.Account, bool) { return c.account, true })
		if !slices.Equal(conditions(got), c.want) {
			t.Errorf("%s: got %+v, want %q", name, got, c.want)
		}
		for _, m := range got {
			if m.RequestHash != nil || !m.Ahead {
				t.Errorf("%s names a promise to come: %+v", name, m)
			}
		}
	}
	if near(big.NewInt(89), big.NewInt(100)) || !near(big.NewInt(90), big.NewInt(100)) {
		t.Error("a tenth")
	}
}
