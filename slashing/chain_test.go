package slashing

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/internal/beacon"
	"sidecar/internal/bls"
	"sidecar/internal/execution"
	"sidecar/internal/ledger"
	"sidecar/internal/simnet"
	"sidecar/modules"
	"sidecar/modules/inclusion"
	"sidecar/signer"
	"sidecar/slashing/evidence"
)

// trial is an auditor beside a whole chain: real geth, a real Beacon API, real
// keys, a real ledger. Between it and geth is a relay of JSON-RPC with knobs.
type trial struct {
	*testing.T
	ctx      context.Context
	net      *simnet.Net
	ledger   *ledger.Ledger
	delegate *bls.SecretKey
	relay    *rpcRelay
	audit    *Auditor
	dir      string
	log      *syncBuffer
}

// rpcRelay passes JSON-RPC on; its knobs make an old node of a good one.
type rpcRelay struct {
	*httptest.Server
	to string

	mu     sync.Mutex
	pruned bool   // eth_getProof fails as geth's does
	head   string // what "latest" is; empty: the latest
}

func (r *rpcRelay) set(turn func(*rpcRelay)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	turn(r)
}

func (r *rpcRelay) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(io.LimitReader(req.Body, 1<<20))
	r.mu.Lock()
	pruned, head := r.pruned, r.head
	r.mu.Unlock()
	if pruned && bytes.Contains(body, []byte("eth_getProof")) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":0,"error":{"code":-32000,"message":"historical state 00 is not available"}}`)
		return
	}
	if head != "" {
		body = bytes.ReplaceAll(body, []byte(`"latest"`), []byte(`"`+head+`"`))
	}
	res, err := http.Post(r.to, "application/json", bytes.NewReader(body))
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer res.Body.Close()
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.Copy(w, res.Body)
}

// syncBuffer is a log that can be read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func newTrial(t *testing.T) *trial {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	n, err := simnet.Start(ctx, simnet.Options{
		Seed: t.Name(), SlotDuration: time.Second, SlotsPerEpoch: 3, Accounts: 12, Relays: []simnet.RelayOptions{}, Builders: []simnet.BuilderOptions{},
	})
	t.Cleanup(cancel)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Stop() })
	c := &trial{T: t, ctx: ctx, net: n, dir: t.TempDir(), log: &syncBuffer{}, relay: &rpcRelay{to: n.Execution.URL}}
	c.relay.Server = httptest.NewServer(c.relay)
	t.Cleanup(c.relay.Close)
	secret := [32]byte{31: 77}
	if c.delegate, err = bls.ParseSecretKey(secret[:]); err != nil {
		t.Fatal(err)
	}
	c.open()
	c.start()
	return c
}

func (c *trial) open() {
	c.Helper()
	book := ledger.Config{
		Path: filepath.Join(c.TempDir(), "ledger.db"), Network: c.net.Spec.Name, GenesisForkVersion: c.net.Spec.GenesisForkVersion, Clock: c.net.Clock, NewKeys: true,
	}
	if err := ledger.Create(book); err != nil {
		c.Fatal(err)
	}
	l, err := ledger.Open(book)
	if err != nil {
		c.Fatal(err)
	}
	c.Cleanup(func() { _ = l.Close() })
	c.ledger = l
}

// start runs an auditor with the real module over real clients.
func (c *trial) start() {
	c.Helper()
	el, err := execution.New(execution.Config{URL: c.relay.URL, Spec: c.net.Spec, Clock: c.net.Clock})
	if err != nil {
		c.Fatal(err)
	}
	c.Cleanup(el.Close)
	cl, err := beacon.New(beacon.Config{URL: c.net.Beacon.URL, Spec: c.net.Spec, Clock: c.net.Clock})
	if err != nil {
		c.Fatal(err)
	}
	c.Cleanup(cl.Close)
	module, err := inclusion.New(modules.Host{ID: "INCLUSION", Spec: c.net.Spec, State: el}, nil)
	if err != nil {
		c.Fatal(err)
	}
	c.audit, err = New(Config{
		Clock: c.net.Clock, Spec: c.net.Spec, Book: c.ledger, Signer: &signer.Signer{Ledger: c.ledger}, Module: module, Beacon: cl, Execution: el,
		After: 1, Store: NewStore(c.dir), Log: slog.New(slog.NewTextHandler(c.log, nil)),
	})
	if err != nil {
		c.Fatal(err)
	}
	ctx, cancel := context.WithCancel(c.ctx)
	done := make(chan struct{})
	go func() { defer close(done); _ = c.audit.Run(ctx) }()
	c.Cleanup(func() { cancel(); <-done })
}

// transfer is a signed transfer of a funded account.
func (c *trial) transfer(account int, nonce, wei uint64) []byte {
	c.Helper()
	return c.sign(c.net.Accounts[account].Key, &types.DynamicFeeTx{
		Nonce: nonce, GasTipCap: big.NewInt(2e9), GasFeeCap: big.NewInt(100e9), Gas: 21_000, To: &common.Address{0xbe}, Value: new(big.Int).SetUint64(wei),
	})
}

func (c *trial) sign(key *ecdsa.PrivateKey, tx *types.DynamicFeeTx) []byte {
	c.Helper()
	tx.ChainID = new(big.Int).SetUint64(c.net.Spec.ChainID)
	signed, err := types.SignNewTx(key, types.LatestSignerForChainID(tx.ChainID), tx)
	if err != nil {
		c.Fatal(err)
	}
	raw, err := signed.MarshalBinary()
	if err != nil {
		c.Fatal(err)
	}
	return raw
}

// send puts a transaction into geth's pool, from where it comes into the next block.
func (c *trial) send(raw []byte) {
	c.Helper()
	var tx types.Transaction
	if err := errors.Join(tx.UnmarshalBinary(raw), c.net.Execution.Send(c.ctx, &tx)); err != nil {
		c.Fatal(err)
	}
}

var trialSigningID = phase0.Root{0x5c}

// promise writes a promise of type "incl", and the slot's delegation, into the
// ledger, signed by the keys that would.
func (c *trial) promise(slot phase0.Slot, raw []byte) phase0.Hash32 {
	c.Helper()
	who := c.net.ProposerOf(slot)
	id := commitments.PageID{Slot: slot, Proposer: who.Pubkey}
	sign := func(k *bls.SecretKey, object phase0.Root, nonce uint64) []byte {
		s := k.Sign(commitments.SigningRoot(c.net.Spec.Domain(chain.DomainCommitBoost), c.net.Spec.ChainID, object, trialSigningID, nonce))
		return s[:]
	}
	write := func(e ledger.Entry, ink ledger.Ink) {
		r, err := c.ledger.Append(c.ctx, id, func(commitments.View) (ledger.Entry, error) { return e, nil })
		if err == nil && len(r.Signature) == 0 {
			_, err = c.ledger.Seal(c.ctx, r, ink)
		}
		if err != nil {
			c.Fatal(err)
		}
	}
	d := commitments.Delegation{Proposer: who.Pubkey, Delegate: c.delegate.PublicKey(), Committer: bellatrix.ExecutionAddress{0xc0}, Slot: slot}
	object, err := d.Root()
	if err != nil {
		c.Fatal(err)
	}
	write(ledger.Entry{
		Kind: ledger.KindDelegation, Module: "gateway", Key: commitments.BLSKey(who.Pubkey), Root: object, Nonce: 1, SigningID: trialSigningID,
		Resources: []string{commitments.ResourceDelegation(slot, who.Pubkey)}, Delegation: &d,
	}, ledger.Ink{Signature: sign(who.Key, object, 1)})
	req := commitments.Request{Type: commitments.TypeProvableInclusion, Payload: commitments.EncodeProvableInclusion(slot, who.Index, raw)}
	draft := commitments.Commitment{Type: req.Type, Payload: req.Payload, RequestHash: req.Hash(), Slasher: bellatrix.ExecutionAddress{0xaa}}
	// The delegate signs a group of two; the committer's signature no contract of
	// ours looks at.
	group, branches := commitments.Group([]phase0.Root{draft.Root(), {1}})
	proxy := commitments.ProxySignature{Signature: phase0.BLSSignature(sign(c.delegate, group, 7)), Nonce: 7, Branch: branches[0]}
	write(ledger.Entry{
		Kind: ledger.KindCommitment, Module: "INCLUSION", Key: commitments.ECDSAKey(d.Committer), Delegate: d.Delegate, Root: draft.Root(), Nonce: 7, SigningID: trialSigningID,
		Resources: []string{req.Hash().String()}, Draft: &commitments.Draft{Commitment: draft},
	}, ledger.Ink{Signature: make([]byte, 65), Proxy: proxy})
	return req.Hash()
}

// until waits for a verdict that reads so, and returns it.
func (c *trial) until(hash phase0.Hash32, want string) (v commitments.Verdict) {
	c.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if v, ok := c.audit.Result(hash); ok && strings.HasPrefix(said(v), want) {
			return v
		}
		select {
		case <-tick.C:
		case <-c.ctx.Done():
			v, ok := c.audit.Result(hash)
			c.Fatalf("got %q (%t), want %q\n%s", said(v), ok, want, c.log)
		}
	}
}

// history is all the ledger ever had on a promise.
func (c *trial) history(hash phase0.Hash32) (all []string) {
	_ = c.ledger.Records(func(r ledger.Record) error {
		if r.Entry != nil && r.Entry.Verdict != nil && r.Entry.Verdict.RequestHash == hash {
			all = append(all, said(*r.Entry.Verdict))
		}
		return nil
	})
	return all
}

// next waits for the beginning of the next slot and returns the one after it.
func (c *trial) next() phase0.Slot {
	c.Helper()
	slot := c.net.Clock.Slot() + 1
	if err := c.net.WaitSlot(c.ctx, slot); err != nil {
		c.Fatal(err)
	}
	return slot + 1
}

// evidenceFiles are the files kept, by kind.
func (c *trial) evidenceFiles() (files []evidence.File) {
	c.Helper()
	paths, _ := filepath.Glob(filepath.Join(c.dir, "evidence", "*.json"))
	for _, path := range paths {
		text, err := os.ReadFile(path) // #nosec G304 -- a test's own
		if err != nil {
			c.Fatal(err)
		}
		f, err := evidence.Parse(text)
		if err != nil {
			c.Fatal(err)
		}
		files = append(files, f)
	}
	return files
}

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
		if v := Verify(c.ctx, text, VerifyOptions{Dial: Dial(c.net.Execution.URL)}); v.Verdict != Guilty || v.VouchedBy == ByNobody {
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
		fault, err := evidence.Judge(f, usualRules(c.net.Spec, common.Hash(trialSigningID)), common.Address{0xaa}, f.ChildHash())
		child := c.net.Execution.Block(f.ChildHash())
		switch {
		case err != nil:
			c.Errorf("the file proves nothing: %v", err)
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
