package ledger

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
)

// proxied makes a commitment one that a committer and a delegate sign.
func proxied(e Entry) Entry {
	e.Key, e.Delegate = commitments.ECDSAKey([20]byte{5}), phase0.BLSPubKey{6}
	return e
}

// inkFor is what a receipt is sealed with: made of its root alone.
func inkFor(r Receipt) Ink {
	root := r.Entry.Root
	if r.Entry.Delegate.IsZero() {
		return Ink{Signature: append(root[:], make([]byte, 64)...)}
	}
	ink := Ink{Signature: append(root[:], make([]byte, 33)...), Proxy: commitments.ProxySignature{Nonce: 4, Branch: []phase0.Root{{1}, root}}}
	copy(ink.Proxy.Signature[:], root[:])
	return ink
}

// TestInk: both signatures are on the page, in the answer to a repeat and in the
// records, before and after a restart.
func TestInk(t *testing.T) { forEngines(t, testInk) }

func testInk(t *testing.T, e engineCase) {
	l, path := e.fresh(t)
	entry := proxied(promise(1, "a"))
	r := must(t, l, page(1), entry)
	want := inkFor(r)
	if got, err := l.Seal(t.Context(), r, want); err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("sealed with %+v, %v", got, err)
	}
	for range 2 {
		again := must(t, l, page(1), entry)
		p, _, ok := l.Find(hashOf(1))
		if !reflect.DeepEqual(again.Ink, want) || again.Entry.Delegate != entry.Delegate || again.Batch != nil {
			t.Errorf("repeat: %+v", again)
		}
		if !ok || !bytes.Equal(p.Signature, want.Signature) || !reflect.DeepEqual(p.Proxy, want.Proxy) {
			t.Errorf("page: %+v", p)
		}
		l = e.reopen(t, l, path)
	}
	var seals []Ink
	if err := l.Records(func(r Record) error {
		if r.Entry == nil {
			seals = append(seals, Ink{r.Seal, r.Proxy})
		}
		return nil
	}); err != nil || !reflect.DeepEqual(seals, []Ink{want}) {
		t.Errorf("records: %+v, %v", seals, err)
	}
}

// TestInk_FirstGroupStands: the delegate may have signed the commitment in two
// groups; whoever comes second has what is sealed. The committer's is one.
func TestInk_FirstGroupStands(t *testing.T) {
	l, path := fresh(t)
	r := must(t, l, page(1), proxied(promise(1, "a")))
	first, second := inkFor(r), inkFor(r)
	second.Proxy = commitments.ProxySignature{Signature: phase0.BLSSignature{7}}
	if _, err := l.Seal(t.Context(), r, first); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got, err := l.Seal(t.Context(), r, second); err != nil || !reflect.DeepEqual(got, first) {
			t.Errorf("got %+v, %v, want the first", got, err)
		}
		l = reopen(t, l, path)
	}
	second.Signature = bytes.Repeat([]byte{1}, 65)
	if _, err := l.Seal(t.Context(), r, second); !errors.Is(err, ErrSlashable) {
		t.Errorf("another signature of the committer: got %v", err)
	}
}

func TestInk_Refuses(t *testing.T) {
	l, _ := fresh(t)
	duo, alone := must(t, l, page(1), proxied(promise(1, "a"))), must(t, l, page(1), promise(2, "b"))
	change := func(r Receipt, f func(*Ink)) Ink { ink := inkFor(r); f(&ink); return ink }
	for name, c := range map[string]struct {
		r   Receipt
		ink Ink
	}{
		"no proxy":            {duo, change(duo, func(i *Ink) { i.Proxy = commitments.ProxySignature{} })},
		"a proxy of nobody":   {alone, change(alone, func(i *Ink) { i.Proxy = inkFor(duo).Proxy })},
		"a branch alone":      {duo, change(duo, func(i *Ink) { i.Proxy.Signature = phase0.BLSSignature{} })},
		"a long branch":       {duo, change(duo, func(i *Ink) { i.Proxy.Branch = make([]phase0.Root, commitments.MaxBranch+1) })},
		"a BLS signature":     {duo, change(duo, func(i *Ink) { i.Signature = make([]byte, 96) })},
		"no signature at all": {duo, Ink{}},
	} {
		if _, err := l.Seal(t.Context(), c.r, c.ink); !errors.Is(err, ErrEntry) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	for name, f := range map[string]func(*Entry){
		"delegate beside a BLS key": func(e *Entry) { e.Key = commitments.BLSKey(phase0.BLSPubKey{1}) },
		"delegate of a request":     func(e *Entry) { e.Kind, e.Draft, e.Request = KindRequest, nil, &commitments.ModuleRequest{} },
	} {
		e := proxied(promise(3, "c"))
		f(&e)
		if _, err := l.Append(t.Context(), page(1), constant(e)); !errors.Is(err, ErrEntry) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestBatch: what becomes durable in one step is known to all of it, each entry is
// in one batch, and there is one of several before long.
func TestBatch(t *testing.T) { forEngines(t, testBatch) }

func testBatch(t *testing.T, e engineCase) {
	l, _ := e.fresh(t)
	const callers = 16
	for round, shared := 0, false; !shared; round++ {
		if round == 1000 {
			t.Fatal("never two entries in one step")
		}
		receipts := make([]Receipt, callers)
		var group sync.WaitGroup
		for i := range receipts {
			group.Go(func() {
				n := round*callers + i
				var err error
				if receipts[i], err = l.Append(context.Background(), page(1), constant(proxied(promise(n, fmt.Sprint(n))))); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		found := map[uint64]*Batch{}
		for _, r := range receipts {
			for i := range r.Batch.Receipts {
				m := &r.Batch.Receipts[i]
				if i > 0 && m.Seq <= r.Batch.Receipts[i-1].Seq {
					t.Error("a batch is out of order")
				}
				if found[m.Seq] != nil && found[m.Seq] != r.Batch {
					t.Errorf("entry %d is in two batches", m.Seq)
				}
				found[m.Seq] = r.Batch
			}
			shared = shared || len(r.Batch.Receipts) > 1
		}
		for _, r := range receipts {
			if found[r.Seq] != r.Batch {
				t.Errorf("entry %d is not in its own batch", r.Seq)
			}
		}
		if len(found) != callers {
			t.Errorf("%d entries in batches, want %d", len(found), callers)
		}
	}
	if r := must(t, l, page(1), promise(-1, "z")); r.Batch != nil {
		t.Error("an entry without a delegate is in a batch")
	}
}

// TestOldLedger opens what the version before proxies wrote: a signed promise, an
// unsigned one, and their delegation. It goes on in the new form.
func TestOldLedger(t *testing.T) {
	packed, err := os.Open("testdata/schema1/ledger.db.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	unpacked, err := gzip.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(unpacked)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "ledger.db")
	writeFile(t, path, string(body))
	l, err := Open(config(path))
	if err != nil {
		t.Fatal(err)
	}
	p := l.Page(page(1))
	if p.Delegation == nil || len(p.Promises) != 2 || len(p.Promises[0].Signature) != 96 || !p.Promises[0].Proxy.IsZero() || len(p.Promises[1].Signature) != 0 {
		t.Errorf("page: %+v", p)
	}
	if r := must(t, l, page(1), promise(1, "request/1")); r.Seq != 2 || len(r.Signature) != 96 {
		t.Errorf("repeat: %+v", r)
	}
	r := must(t, l, page(1), promise(2, "request/2"))
	if _, err := l.Seal(t.Context(), r, Ink{Signature: make([]byte, 96)}); err != nil || r.Seq != 3 {
		t.Errorf("the unsigned one: %v, entry %d", err, r.Seq)
	}
	fresh := must(t, l, page(2), proxied(promise(3, "request/3")))
	if _, err := l.Seal(t.Context(), fresh, inkFor(fresh)); err != nil {
		t.Fatal(err)
	}
	l = reopen(t, l, path)
	if p := l.Page(page(2)); len(p.Promises) != 1 || !reflect.DeepEqual(p.Promises[0].Proxy, inkFor(fresh).Proxy) {
		t.Errorf("new page: %+v", p)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if sum, err := Verify(path); err != nil || sum.Entries != 4 || sum.Seals != 4 {
		t.Errorf("%+v, %v", sum, err)
	}
}
