package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
	"sidecar/commitments"
)

var holesky = phase0.Version{0x01, 0x01, 0x70, 0x00}

// testSpec is a chain that began long ago.
var testSpec = chain.Spec{Name: "holesky", GenesisForkVersion: holesky, GenesisTime: time.Unix(1_700_000_000, 0), SlotDuration: 12 * time.Second, SlotsPerEpoch: 32}

// config opens a ledger of new keys that nobody watches.
func config(path string) Config {
	return Config{Path: path, Network: "holesky", GenesisForkVersion: holesky, Clock: chain.NewClock(testSpec, nil), NewKeys: true}
}

// createWith is Create with steps of its own.
func createWith(path string, do steps) error {
	c := config(path)
	return create(path, newMeta(&c), "", do)
}

func page(slot phase0.Slot) commitments.PageID {
	return commitments.PageID{Slot: slot, Proposer: phase0.BLSPubKey{0xaa, byte(slot)}}
}

func hashOf(n int) (h phase0.Hash32) {
	copy(h[:], fmt.Sprintf("request %d", n))
	return h
}

func rootOf(n int) (r phase0.Root) {
	copy(r[:], fmt.Sprintf("root %d", n))
	return r
}

func names(resource string) []string {
	if resource == "" {
		return nil
	}
	return []string{resource}
}

// promise is a commitment entry that fills every field.
func promise(n int, resource string) Entry {
	return Entry{
		Kind: KindCommitment, Module: "inclusion", Key: commitments.BLSKey(phase0.BLSPubKey{1}), Root: rootOf(n),
		Resources: names(resource), Nonce: 7, SigningID: phase0.Root{9},
		Draft: &commitments.Draft{
			Commitment:  commitments.Commitment{Type: 1, Payload: []byte{byte(n)}, RequestHash: hashOf(n), Slasher: [20]byte{3}},
			Constraints: []commitments.Constraint{{Type: 1, Payload: []byte("c")}},
			Cost:        commitments.Cost{Gas: 21000, Blobs: 1, Bytes: 110},
			Touches:     []string{"sender/0x01"},
			Claims:      []string{"sender/0x01/5"},
		},
	}
}

func verdict(n int, o commitments.Outcome) Entry {
	return Entry{Kind: KindVerdict, Verdict: &commitments.Verdict{RequestHash: hashOf(n), Outcome: o, Reason: "included", Evidence: []byte{1}}}
}

func constant(e Entry) func(commitments.View) (Entry, error) {
	return func(commitments.View) (Entry, error) { return e, nil }
}

func must(t testing.TB, l *Ledger, id commitments.PageID, e Entry) Receipt {
	t.Helper()
	r, err := l.Append(context.Background(), id, constant(e))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func seal(t testing.TB, l *Ledger, r Receipt, fill byte) []byte {
	t.Helper()
	signature := bytes.Repeat([]byte{fill}, 96)
	if err := sealed(l, context.Background(), r, signature); err != nil {
		t.Fatal(err)
	}
	return signature
}

func TestCreateAndOpen(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "ledger.db")
	if _, err := Open(config(path)); !errors.Is(err, ErrMissing) {
		t.Errorf("open nothing: got %v, want %v", err, ErrMissing)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("Open created something: %v", err)
	}
	if err := Create(config(path)); err != nil {
		t.Fatal(err)
	}
	if err := Create(config(path)); !errors.Is(err, ErrExists) {
		t.Errorf("create twice: got %v, want %v", err, ErrExists)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := info.Mode(), os.FileMode(0o600); got != want {
		t.Errorf("mode: got %v, want %v", got, want)
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("got %d files, want the ledger alone", len(files))
	}
	mainnet, otherFork := config(path), config(path)
	mainnet.Network, otherFork.GenesisForkVersion = "mainnet", phase0.Version{}
	if _, err := Open(mainnet); !errors.Is(err, ErrChain) {
		t.Errorf("other network: got %v, want %v", err, ErrChain)
	}
	if _, err := Open(otherFork); !errors.Is(err, ErrChain) {
		t.Errorf("other fork version: got %v, want %v", err, ErrChain)
	}
	l := reopen(t, nil, path)
	if _, err := Open(config(path)); !errors.Is(err, ErrLocked) {
		t.Errorf("second opening: got %v, want %v", err, ErrLocked)
	}
	if _, err := Verify(path); !errors.Is(err, ErrLocked) {
		t.Errorf("verify an open ledger: got %v, want %v", err, ErrLocked)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(context.Background(), page(1), constant(promise(1, "r"))); !errors.Is(err, ErrClosed) {
		t.Errorf("append after close: got %v, want %v", err, ErrClosed)
	}
	sum, err := Verify(path)
	if err != nil || sum.Network != "holesky" || sum.GenesisForkVersion != holesky || len(sum.Instance) != 32 {
		t.Errorf("verify: %+v, %v", sum, err)
	}
}

// shown is what the page shows of promise(n).
func shown(n int, seq uint64, signature []byte) commitments.Promise {
	e := promise(n, "")
	return commitments.Promise{
		SignedCommitment: commitments.SignedCommitment{Commitment: e.Draft.Commitment, Nonce: e.Nonce, SigningID: e.SigningID, Signature: signature},
		Constraints:      e.Draft.Constraints, Cost: e.Draft.Cost, Touches: e.Draft.Touches, Seq: seq,
	}
}

func TestPage_ShowsEveryKind(t *testing.T) { forEngines(t, testPage_ShowsEveryKind) }

func testPage_ShowsEveryKind(t *testing.T, e engineCase) {
	l, path := e.fresh(t)
	id := page(100)
	must(t, l, page(99), promise(50, ""))

	d := &commitments.Delegation{Proposer: id.Proposer, Delegate: phase0.BLSPubKey{1}, Committer: [20]byte{5}, Slot: 100, Metadata: []byte{1}}
	delegation := must(t, l, id, Entry{Kind: KindDelegation, Key: commitments.BLSKey(id.Proposer), Root: rootOf(1), Resources: names("d"), Delegation: d})
	if p := l.Page(id); p.Delegation != nil {
		t.Error("an unsigned delegation is shown")
	}
	delegationSig := seal(t, l, delegation, 0xd0)

	first := must(t, l, id, promise(1, "r1"))
	second := must(t, l, id, promise(2, "r2"))
	firstSig := seal(t, l, first, 0xf1)
	must(t, l, id, Entry{Kind: KindHeaderServed, Note: map[string]string{"hash": "0x01", "relay": "a"}})
	c := &commitments.ConstraintsMessage{Proposer: id.Proposer, Delegate: phase0.BLSPubKey{1}, Slot: 100,
		Constraints: []commitments.Constraint{{Type: 1, Payload: []byte("c")}}, Receivers: []phase0.BLSPubKey{{4}}}
	message := must(t, l, id, Entry{Kind: KindConstraints, Key: commitments.BLSKey(phase0.BLSPubKey{1}), Root: rootOf(3), Resources: names("c"), Constraints: c})
	if p := l.Page(id); !p.Closed || p.Constraints != nil {
		t.Errorf("between entry and ink: closed %v, constraints %v; want true, nil", p.Closed, p.Constraints)
	}
	if _, err := l.Append(context.Background(), id, constant(promise(3, "r3"))); !errors.Is(err, ErrPageClosed) {
		t.Errorf("promise on a closed page: got %v, want %v", err, ErrPageClosed)
	}
	if r, err := l.Append(context.Background(), id, constant(promise(1, "r1"))); err != nil || !bytes.Equal(r.Signature, firstSig) {
		t.Errorf("repeat on a closed page: %v, %v; want the stored signature", r.Signature, err)
	}
	messageSig := seal(t, l, message, 0xc0)
	must(t, l, id, verdict(1, commitments.Unknown))
	must(t, l, id, verdict(1, commitments.Kept))
	must(t, l, page(101), Entry{Kind: KindClose})

	check := func(l *Ledger) {
		t.Helper()
		want := commitments.Page{
			PageID: id, Closed: true,
			Delegation:  &commitments.SignedDelegation{Message: *d, Signature: phase0.BLSSignature(delegationSig)},
			Constraints: &commitments.SignedConstraints{Message: *c, Signature: phase0.BLSSignature(messageSig)},
			Promises:    []commitments.Promise{shown(1, first.Seq, firstSig), shown(2, second.Seq, nil)},
			Verdicts:    []commitments.Verdict{*verdict(1, commitments.Kept).Verdict},
			Notes:       []commitments.Note{{Kind: commitments.NoteHeaderServed, What: map[string]string{"hash": "0x01", "relay": "a"}}},
		}
		if got := l.Page(id); !reflect.DeepEqual(got, want) {
			t.Errorf("page:\n got %+v\nwant %+v", got, want)
		}
		if v := l.View(id); len(v.Open) != 1 || v.Open[0].Slot != 99 || v.Seq != l.Len() || !reflect.DeepEqual(v.Page, want) {
			t.Errorf("view: %d open, seq %d; want slot 99 alone, seq %d", len(v.Open), v.Seq, l.Len())
		}
		if got := l.Pages(100); len(got) != 2 || !reflect.DeepEqual(got[0], want) || got[1].Slot != 101 || !got[1].Closed {
			t.Errorf("pages: %v", got)
		}
		if found, where, ok := l.Find(hashOf(2)); !ok || where != id || found.Seq != second.Seq {
			t.Errorf("find: %+v on %v, %v", found, where, ok)
		}
		if _, _, ok := l.Find(hashOf(77)); ok {
			t.Error("found a promise nobody made")
		}
	}
	check(l)
	check(e.reopen(t, l, path))
}

func TestAppend_SeqIsTheViewsPlusOne(t *testing.T) { forEngines(t, testAppend_SeqIsTheViewsPlusOne) }

func testAppend_SeqIsTheViewsPlusOne(t *testing.T, e engineCase) {
	l, _ := e.fresh(t)
	for n := range 5 {
		var seen uint64
		r, err := l.Append(context.Background(), page(1), func(v commitments.View) (Entry, error) {
			seen = v.Seq
			if len(v.Promises) != n {
				t.Errorf("view has %d promises, want %d", len(v.Promises), n)
			}
			return promise(n, ""), nil
		})
		if err != nil || r.Seq != seen+1 || r.Seq != uint64(n+1) {
			t.Errorf("append %d: seq %d after %d, %v", n, r.Seq, seen, err)
		}
		seal(t, l, r, byte(n)) // seals do not move the position
	}
}

func TestAppend_OneRootPerResource(t *testing.T) { forEngines(t, testAppend_OneRootPerResource) }

func testAppend_OneRootPerResource(t *testing.T, e engineCase) {
	l, path := e.fresh(t)
	ctx := context.Background()
	r := must(t, l, page(1), promise(1, "once"))
	again := must(t, l, page(2), promise(1, "once")) // another page: the same promise
	if again.Seq != r.Seq || again.Page != page(1) || again.Signature != nil {
		t.Errorf("repeat before the seal: %+v", again)
	}
	signature := seal(t, l, r, 1)
	seal(t, l, r, 1) // the same bytes
	if err := sealed(l, ctx, r, bytes.Repeat([]byte{2}, 96)); !errors.Is(err, ErrSlashable) {
		t.Errorf("other signature: got %v, want %v", err, ErrSlashable)
	}
	otherKey := promise(1, "once")
	otherKey.Key.BLS[0]++
	for range 2 {
		for name, e := range map[string]Entry{"root": promise(2, "once"), "key": otherKey} {
			if _, err := l.Append(ctx, page(1), constant(e)); !errors.Is(err, ErrSlashable) {
				t.Errorf("other %s: got %v, want %v", name, err, ErrSlashable)
			}
		}
		again := must(t, l, page(2), promise(1, "once"))
		if again.Seq != r.Seq || !bytes.Equal(again.Signature, signature) || !reflect.DeepEqual(again.Entry, r.Entry) {
			t.Errorf("repeat: %+v", again)
		}
		if got, want := l.Len(), uint64(1); got != want {
			t.Errorf("len: got %d, want %d", got, want)
		}
		l = e.reopen(t, l, path)
	}
}

func TestAppend_WritesNothing(t *testing.T) { forEngines(t, testAppend_WritesNothing) }

func testAppend_WritesNothing(t *testing.T, e engineCase) {
	l, _ := e.fresh(t)
	refused := errors.New("refused")
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	rootless, noted := promise(1, ""), Entry{Kind: KindClose, Root: rootOf(1)}
	rootless.Root = phase0.Root{}
	long := promise(1, string(make([]byte, 513)))
	cases := map[string]struct {
		ctx    context.Context
		decide func(commitments.View) (Entry, error)
		want   error
	}{
		"decide refuses":  {context.Background(), func(commitments.View) (Entry, error) { return promise(1, ""), refused }, refused},
		"decide panics":   {context.Background(), func(commitments.View) (Entry, error) { panic("boom") }, nil},
		"context ended":   {ended, constant(promise(1, "")), context.Canceled},
		"unknown kind":    {context.Background(), constant(Entry{Kind: 99}), ErrEntry},
		"no object":       {context.Background(), constant(Entry{Kind: KindVerdict}), ErrEntry},
		"no root":         {context.Background(), constant(rootless), ErrEntry},
		"root for a note": {context.Background(), constant(noted), ErrEntry},
		"long resource":   {context.Background(), constant(long), ErrEntry},
		"huge":            {context.Background(), constant(Entry{Kind: KindReceipt, Note: map[string]string{"x": string(make([]byte, maxBody))}}), ErrEntry},
		"no decide":       {context.Background(), nil, ErrEntry},
	}
	for name, c := range cases {
		_, err := l.Append(c.ctx, page(1), c.decide)
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	if got := l.Len(); got != 0 {
		t.Errorf("len: got %d, want 0", got)
	}
	r := must(t, l, page(1), promise(1, ""))
	note := must(t, l, page(1), Entry{Kind: KindReceipt})
	forged := r
	forged.Entry.Root[0]++
	for name, c := range map[string]struct {
		r    Receipt
		size int
	}{"empty": {r, 0}, "long": {r, maxSignature + 1}, "note": {note, 96}, "forged": {forged, 96}, "unknown": {Receipt{Seq: 9}, 96}} {
		if err := sealed(l, context.Background(), c.r, make([]byte, c.size)); !errors.Is(err, ErrEntry) {
			t.Errorf("seal %s: got %v, want %v", name, err, ErrEntry)
		}
	}
	if p := l.Page(page(1)); len(p.Promises[0].Signature) != 0 {
		t.Error("a refused seal is shown")
	}
}

func TestPage_IsNotTheCallers(t *testing.T) { forEngines(t, testPage_IsNotTheCallers) }

func testPage_IsNotTheCallers(t *testing.T, e engineCase) {
	l, _ := e.fresh(t)
	mine := promise(1, "")
	must(t, l, page(1), mine)
	mine.Draft.Commitment.Payload[0] = 99 // the caller's object after the fact
	p := l.Page(page(1))
	_ = append(p.Promises, commitments.Promise{Seq: 666})
	must(t, l, page(1), promise(2, ""))
	got := l.Page(page(1))
	if got.Promises[0].Commitment.Payload[0] != 1 || got.Promises[1].Seq != 2 || len(p.Promises) != 1 {
		t.Errorf("page changed under its readers: %+v", got.Promises)
	}
}

func TestMemory_ForgetsJudgedPages(t *testing.T) { forEngines(t, testMemory_ForgetsJudgedPages) }

func testMemory_ForgetsJudgedPages(t *testing.T, e engineCase) {
	l, path := e.fresh(t)
	must(t, l, page(1), promise(1, "r1"))
	kept := must(t, l, page(2), promise(2, "r2"))
	signature := seal(t, l, kept, 2)
	must(t, l, page(2), verdict(2, commitments.Kept))
	must(t, l, page(2), Entry{Kind: KindClose})
	must(t, l, page(5000), Entry{Kind: KindHeaderServed})
	for range 2 {
		if got := l.Pages(0); len(got) != 2 || got[0].Slot != 1 || got[1].Slot != 5000 {
			t.Fatalf("pages in memory: %v; want the unjudged and the new", got)
		}
		found, id, ok := l.Find(hashOf(2))
		if !ok || id != page(2) || found.Seq != kept.Seq || !bytes.Equal(found.Signature, signature) {
			t.Errorf("find on disk: %+v, %v, %v", found, id, ok)
		}
		if _, err := l.Append(context.Background(), page(2), constant(promise(3, "r2"))); !errors.Is(err, ErrSlashable) {
			t.Errorf("resource of a forgotten page: got %v, want %v", err, ErrSlashable)
		}
		l = e.reopen(t, l, path)
	}
	// The writer still knows that the page is closed.
	if _, err := l.Append(context.Background(), page(2), constant(promise(4, "r4"))); !errors.Is(err, ErrPageClosed) {
		t.Errorf("forgotten page: got %v, want %v", err, ErrPageClosed)
	}
	must(t, l, page(2), verdict(2, commitments.Broken))
	if p := l.Page(page(2)); len(p.Promises) != 1 || p.Verdicts[0].Outcome != commitments.Broken || !bytes.Equal(p.Promises[0].Signature, signature) {
		t.Errorf("recalled page: %+v", p)
	}
}
