package slashing

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/internal/execution"
	"sidecar/internal/simnet"
	"sidecar/slashing/evidence"
)

// TestTrial plays what can become of a promise on one chain: kept, broken,
// excused, missed, orphaned, and the chain changing its mind in both directions.
func TestTrial(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 15 seconds")
	}
	t.Parallel()
	c := newTrial(t)
	if _, err := c.net.WaitOutcome(c.ctx, func(o simnet.Outcome) bool { return o.Source == simnet.FromLocal }); err != nil {
		t.Fatal(err)
	}
	c.deploy()
	// Three promises for one slot: one kept, one left out, one overtaken by
	// another transaction of the same nonce.
	slot := c.next()
	kept, broken, overtaken := c.promise(slot, c.transfer(0, 0, 1)), c.promise(slot, c.transfer(1, 0, 1)), c.promise(slot, c.transfer(2, 0, 1))
	if err := c.net.WaitSlot(c.ctx, slot-1); err != nil {
		t.Fatal(err)
	}
	c.orderedIn(slot, c.transfer(0, 0, 1), c.transfer(2, 0, 2))
	c.until(kept, "kept provisional")
	c.until(broken, "broken provisional absent")
	c.until(overtaken, "excused provisional NonceSpentInBlock")

	// A slot nobody proposes in, and one whose block the chain leaves.
	missedSlot := c.next()
	c.net.Proposer.Skip(missedSlot)
	missed := c.promise(missedSlot, c.transfer(3, 0, 1))
	c.until(missed, "excused provisional slot_missed")
	c.net.Beacon.StallFinality(true)
	c.flips()
	c.net.Beacon.StallFinality(false)

	// All of it, final, and the broken one proven.
	c.until(kept, "kept final")
	v := c.until(broken, "broken final absent")
	c.until(overtaken, "excused final NonceSpentInBlock")
	c.until(missed, "excused final slot_missed")
	if got, want := c.history(kept), []string{"kept provisional", "kept justified", "kept final"}; !slices.Equal(got, want) && !slices.Equal(got, []string{want[0], want[2]}) {
		t.Errorf("history of what was kept: %q", got)
	}
	c.proven(v, slot)
	c.captured(slot, kept)
	c.watched(slot)
}

// watched hands the promises of a slot to a watch, as files, with one that was
// never in the ledger: another transaction for the nonce of the first.
func (c *trial) watched(slot phase0.Slot) {
	c.Helper()
	page := c.ledger.Page(commitments.PageID{Slot: slot, Proposer: c.net.ProposerOf(slot).Pubkey})
	twin := page.Promises[0].SignedCommitment
	twin.Commitment.Payload = commitments.EncodeProvableInclusion(slot, c.net.ProposerOf(slot).Index, c.transfer(0, 0, 9))
	twin.Commitment.RequestHash, twin.Nonce = phase0.Hash32{9}, 99
	twin.Proxy = commitments.ProxySignature{Nonce: 99, Signature: c.delegate.Sign(commitments.SigningRoot(
		c.net.Spec.Domain(chain.DomainCommitBoost), c.net.Spec.ChainID, twin.Commitment.Root(), trialSigningID, 99))}
	forged := page.Promises[1].SignedCommitment
	forged.Commitment.RequestHash = phase0.Hash32{8}
	ch, err := DialChain(c.ctx, c.net.Beacon.URL, c.relay.URL)
	if err != nil {
		c.Fatal(err)
	}
	defer ch.Close()
	out := c.TempDir()
	w := NewWatch(WatchConfig{Clock: ch.Clock, Spec: ch.Spec, Beacon: ch.Beacon, Execution: ch.Execution, Store: NewStore(out), Log: slog.New(slog.DiscardHandler)})
	for i, s := range []commitments.SignedCommitment{page.Promises[0].SignedCommitment, page.Promises[1].SignedCommitment, page.Promises[2].SignedCommitment, twin, forged} {
		text, err := json.Marshal(Handed{s, page.Delegation})
		path := filepath.Join(out, string(rune('a'+i))+".json")
		if err == nil {
			err = os.WriteFile(path, text, 0o600)
		}
		if err != nil {
			c.Fatal(err)
		}
		h, err := ReadHanded(path)
		if err == nil {
			err = errors.Join(w.Add(h), w.Add(h)) // the second time it is known
		}
		if err != nil {
			c.Fatal(err)
		}
	}
	all, done := w.Round(c.ctx)
	if len(all) != 5 || !done {
		c.Fatalf("%d of 5 watched, done %t: %+v", len(all), done, all)
	}
	for i, want := range []string{"kept", "broken absent", "excused NonceSpentInBlock", "excused NonceSpentInBlock", "excused PromiseSignature"} {
		if got := strings.TrimSpace(all[i].Outcome + " " + all[i].Reason); got != want || all[i].Stage != "final" {
			c.Errorf("watched promise %d: %s %s (%s), want %s", i, all[i].Stage, got, all[i].Trouble, want)
		}
	}
	if all[1].Evidence == "" || all[1].Deadline == nil || all[1].Deadline.Left == 0 || len(all[0].Twins) != 1 || len(all[3].Twins) != 1 || all[0].Twins[0] != all[3].Twins[0] {
		c.Errorf("evidence %q, deadline %+v, twins %q and %q", all[1].Evidence, all[1].Deadline, all[0].Twins, all[3].Twins)
	}
	for _, path := range append([]string{all[1].Evidence}, all[0].Twins...) {
		text, err := os.ReadFile(path) // #nosec G304 -- a test's own
		if err != nil {
			c.Fatal(err)
		}
		if v := Verify(c.ctx, text, VerifyOptions{Dial: Dial(c.net.Execution.URL)}); v.Verdict != Guilty || v.VouchedBy == ByNobody || !v.OnChain {
			c.Errorf("%s: %s", path, v.String())
		}
	}
}

// orderedIn makes the block of a slot hold these transactions, and no others.
func (c *trial) orderedIn(slot phase0.Slot, txs ...[]byte) {
	c.Helper()
	if o, err := c.net.OutcomeOf(c.ctx, slot); err != nil || o.Source != simnet.FromLocal {
		c.Fatalf("slot %d: %+v, %v", slot, o, err)
	}
	if txs == nil {
		txs = [][]byte{}
	}
	if err := c.net.Reorg(c.ctx, slot, txs); err != nil {
		c.Fatal(err)
	}
}

// flips is a promise that is kept, then broken, then kept, then orphaned, as the
// chain would have it.
func (c *trial) flips() {
	c.Helper()
	slot := c.next()
	raw := c.transfer(4, 0, 1)
	hash := c.promise(slot, raw)
	c.orderedIn(slot, raw)
	c.until(hash, "kept provisional")
	c.orderedIn(slot)
	c.until(hash, "broken provisional absent")
	c.orderedIn(slot, raw)
	c.until(hash, "kept provisional")
	if err := c.net.Reorg(c.ctx, slot, nil); err != nil {
		c.Fatal(err)
	}
	c.until(hash, "excused provisional slot_orphaned")
	want := []string{
		"kept provisional", "unknown provisional reorganised", "broken provisional absent", "unknown provisional reorganised", "kept provisional",
		"unknown provisional reorganised", "excused provisional slot_orphaned",
	}
	if got := c.history(hash); !slices.Equal(got, want) {
		c.Errorf("the ledger has\n%q, want\n%q", got, want)
	}
}

// proven wants one file that proves the broken promise of a slot on this chain.
func (c *trial) proven(v commitments.Verdict, slot phase0.Slot) {
	c.Helper()
	for _, f := range c.evidenceFiles() {
		if f.Derived == nil || f.Derived.Slot != uint64(slot) {
			continue
		}
		fault, err := evidence.Judge(f, f.Rules, c.slasher, f.ChildHash())
		c.onChain(f, fault)
		child := c.net.Execution.Block(f.ChildHash())
		switch {
		case err != nil:
			c.Errorf("the file proves nothing: %v", err)
		case f.Rules.EndSlot != lastSlot || f.Slasher != c.slasher:
			c.Errorf("the rules are not the contract's: %+v", f.Rules)
		case child == nil || child.NumberU64() != f.Absence.ChildNumber:
			c.Error("the child is none of the chain's")
		case fault.Promised.Nonce != 0 || common.BytesToHash(v.Evidence) != f.Digest:
			c.Errorf("fault %+v, verdict with evidence %x, file %s", fault, v.Evidence, f.Digest)
		}
		return
	}
	c.Error("no evidence of the broken promise")
}

// captured wants the proof of what was kept.
func (c *trial) captured(slot phase0.Slot, kept phase0.Hash32) {
	c.Helper()
	v, _ := c.audit.Result(kept)
	got := c.audit.Store.get(slot, v.Block)
	if got == nil || got.ChildNumber == 0 || got.Beacon == nil || len(got.Accounts) != 3 || len(got.Included) != 1 || len(got.Transactions) != 2 {
		text, _ := json.Marshal(got)
		c.Fatalf("captured: %.2000s", text)
	}
	h, err := execution.DecodeHeader(got.Headers.Target)
	if err != nil {
		c.Fatal(err)
	}
	var path [][]byte
	for _, n := range got.Included[0].Nodes {
		path = append(path, n)
	}
	if raw, err := execution.VerifyTransaction(h.TransactionsRoot, got.Included[0].Index, path); err != nil || !bytes.Equal(raw, c.transfer(0, 0, 1)) {
		c.Errorf("the captured proof proves %x, %v", raw, err)
	}
}

// TestTrial_late: a node that lags gives no verdict until it has caught up; one
// that has pruned the state cannot excuse us, and that is said.
func TestTrial_late(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 10 seconds")
	}
	t.Parallel()
	c := newTrial(t)
	if _, err := c.net.WaitOutcome(c.ctx, func(o simnet.Outcome) bool { return o.Source == simnet.FromLocal }); err != nil {
		t.Fatal(err)
	}
	c.relay.set(func(r *rpcRelay) { r.head = "0x1"; r.pruned = true })
	slot := c.next()
	lagging, absent := c.promise(slot, c.transfer(0, 0, 1)), c.promise(slot, c.transfer(1, 0, 1))
	c.orderedIn(slot, c.transfer(0, 0, 1))
	if err := c.net.WaitSlot(c.ctx, slot+3); err != nil {
		t.Fatal(err)
	}
	if v, ok := c.audit.Result(lagging); ok {
		t.Fatalf("%s, while the execution node is at block 1", said(v))
	}
	c.relay.set(func(r *rpcRelay) { r.head = "" })
	c.until(lagging, "kept")
	c.until(absent, "unknown")
	v := c.until(absent, "unknown final proofs_too_late")
	if len(c.evidenceFiles()) != 0 || len(v.Evidence) != 0 || !strings.Contains(c.log.String(), "level=ERROR msg=\"Promise judged\" slot="+big.NewInt(int64(slot)).String()+" outcome=unknown reason=proofs_too_late") {
		t.Errorf("not said, or proven without proof:\n%s", c.log)
	}
	c.until(lagging, "kept final")
}
