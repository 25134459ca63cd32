package signer

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"runtime"
	"sync"
	"testing"
	"time"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/internal/bls"
	"sidecar/internal/ecdsa"
	"sidecar/internal/ledger"
)

// duo is a road on which commitments have a committer and a delegate.
type duo struct {
	*road
	secret    *ecdsa.SecretKey
	committer commitments.Key

	mu     sync.Mutex
	calls  map[commitments.Key]int
	before func(commitments.Key, commitments.Message) error // may wait, or fail
}

func newDuo(t testing.TB) *duo {
	t.Helper()
	secret, err := ecdsa.NewSecretKey()
	if err != nil {
		t.Fatal(err)
	}
	d := &duo{road: newRoad(t), secret: secret, committer: commitments.ECDSAKey(secret.Address()), calls: map[commitments.Key]int{}}
	d.arm()
	return d
}

// arm makes the road's signer that of both keys.
func (d *duo) arm() {
	d.Keys = d
	d.Policy = Grants{
		{"inclusion", ledger.KindCommitment, d.committer}, {"inclusion", ledger.KindCommitment, commitments.BLSKey(d.proxy)},
		{"inclusion", ledger.KindDelegation, commitments.BLSKey(d.proposer)},
	}
}

func (d *duo) reopen(t testing.TB) {
	t.Helper()
	d.open(t)
	d.arm()
}

// Sign is a keystore's; the signer's is d.Signer.Sign.
func (d *duo) Sign(_ context.Context, key commitments.Key, m commitments.Message) ([]byte, error) {
	d.mu.Lock()
	d.calls[key]++
	before := d.before
	d.mu.Unlock()
	if before != nil {
		if err := before(key, m); err != nil {
			return nil, err
		}
	}
	if key == d.committer {
		sig, err := d.secret.Sign(m.Root())
		return sig[:], err
	}
	sig := d.keys.keys[key.BLS].Sign(m.Root())
	return sig[:], nil
}

func (d *duo) knob(before func(commitments.Key, commitments.Message) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.before = before
}

func (d *duo) called(key commitments.Key) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.calls[key]
}

func (d *duo) promise(t testing.TB, n byte) ledger.Entry {
	t.Helper()
	e := d.commitment(t, n)
	e.Key, e.Delegate, e.Nonce = d.committer, d.proxy, uint64(100+int(n))
	return d.rooted(t, e)
}

func (d *duo) ask(ctx context.Context, e ledger.Entry) (ledger.Receipt, error) {
	return d.Signer.Sign(ctx, d.id, func(commitments.View) (ledger.Entry, error) { return e, nil })
}

// together has entries signed at once, of one batch.
func (d *duo) together(ctx context.Context, entries []ledger.Entry) ([]ledger.Receipt, []error) {
	d.Ledger = &gathering{Ledger: d.book, want: len(entries), full: make(chan struct{})}
	receipts, errs := make([]ledger.Receipt, len(entries)), make([]error, len(entries))
	var group sync.WaitGroup
	for i := range entries {
		group.Go(func() { receipts[i], errs[i] = d.ask(ctx, entries[i]) })
	}
	group.Wait()
	d.Ledger = d.book
	return receipts, errs
}

// gathering is a book whose entries become durable one by one and are shown as
// one batch.
type gathering struct {
	*ledger.Ledger
	mu    sync.Mutex
	want  int
	batch ledger.Batch
	full  chan struct{}
}

func (g *gathering) Append(ctx context.Context, id commitments.PageID, decide func(commitments.View) (ledger.Entry, error)) (ledger.Receipt, error) {
	g.mu.Lock()
	r, err := g.Ledger.Append(ctx, id, decide)
	if err == nil {
		g.batch.Receipts = append(g.batch.Receipts, r)
	}
	if len(g.batch.Receipts) == g.want {
		close(g.full)
	}
	g.mu.Unlock()
	<-g.full
	r.Batch = &g.batch
	return r, err
}

// check verifies both signatures as a searcher would, by nothing of the signer's.
func (d *duo) check(t testing.TB, e ledger.Entry, ink ledger.Ink) {
	t.Helper()
	domain, object := spec.Domain(chain.DomainCommitBoost), e.Draft.Commitment.Root()
	root := commitments.SigningRoot(domain, spec.ChainID, object, e.SigningID, e.Nonce)
	if len(ink.Signature) != 65 {
		t.Fatalf("signature of %d bytes", len(ink.Signature))
	}
	if who, err := ecdsa.Recover(root, [65]byte(ink.Signature)); err != nil || who != d.committer.Address {
		t.Errorf("the committer's signature is of %s, %v", who, err)
	}
	group := commitments.SigningRoot(domain, spec.ChainID, commitments.GroupRoot(object, ink.Proxy.Branch), e.SigningID, ink.Proxy.Nonce)
	if !bls.Verify(d.proxy, group, ink.Proxy.Signature) {
		t.Errorf("the delegate's signature does not verify, with a branch of %d", len(ink.Proxy.Branch))
	}
}

// inkOf is what a page shows for a promise.
func (d *duo) inkOf(t testing.TB, e ledger.Entry) ledger.Ink {
	t.Helper()
	p, _, ok := d.book.Find(e.Draft.Commitment.RequestHash)
	if !ok {
		t.Fatal("the promise is not on its page")
	}
	return ledger.Ink{Signature: p.Signature, Proxy: p.Proxy}
}

// TestGroup_OfOne is the plain form: both keys sign the same root.
func TestGroup_OfOne(t *testing.T) {
	d := newDuo(t)
	e := d.promise(t, 1)
	got, err := d.ask(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	d.check(t, e, got.Ink)
	if len(got.Proxy.Branch) != 0 || got.Proxy.Nonce != e.Nonce || !bls.Verify(d.proxy, e.Root, got.Proxy.Signature) {
		t.Errorf("proxy %+v, want the plain form under nonce %d", got.Proxy, e.Nonce)
	}
	for range 2 { // in memory, and after a restart
		again, err := d.ask(t.Context(), e)
		if err != nil || !reflect.DeepEqual(again.Ink, got.Ink) || !reflect.DeepEqual(d.inkOf(t, e), got.Ink) {
			t.Errorf("again: got %+v, %v, want %+v", again.Ink, err, got.Ink)
		}
		if n := d.called(d.committer) + d.called(commitments.BLSKey(d.proxy)); n != 2 {
			t.Errorf("the keys signed %d times, want 2", n)
		}
		d.reopen(t)
	}
}

// TestGroup: one signature of the delegate for a batch, one of the committer for
// each commitment, and everybody's answer verifies by itself.
func TestGroup(t *testing.T) {
	for _, n := range []int{2, 3, 7} {
		d := newDuo(t)
		var entries []ledger.Entry
		for i := range n {
			entries = append(entries, d.promise(t, byte(i+1)))
		}
		receipts, errs := d.together(t.Context(), entries)
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		for i, r := range receipts {
			d.check(t, entries[i], r.Ink)
			if r.Proxy.Signature != receipts[0].Proxy.Signature || r.Proxy.Nonce != receipts[0].Proxy.Nonce || len(r.Proxy.Branch) == 0 {
				t.Errorf("%d of %d: proxy %+v", i, n, r.Proxy)
			}
			if len(r.Proxy.Branch) > 0 && r.Seq == 1 && r.Proxy.Nonce != r.Entry.Nonce {
				t.Errorf("the group's nonce is %d, that of its first %d", r.Proxy.Nonce, r.Entry.Nonce)
			}
		}
		if c, p := d.called(d.committer), d.called(commitments.BLSKey(d.proxy)); c != n || p != 1 {
			t.Errorf("%d: the committer signed %d times, the delegate %d; want %d and 1", n, c, p, n)
		}
		d.reopen(t)
		for i, r := range receipts {
			again, err := d.ask(t.Context(), entries[i])
			if err != nil || !reflect.DeepEqual(again.Ink, r.Ink) {
				t.Errorf("after a restart: got %+v, %v, want %+v", again.Ink, err, r.Ink)
			}
		}
	}
}

var errKey = errors.New("the key does not sign")

// TestGroup_OneFails: what goes wrong for one commitment is lost for no other, and
// it is signed later, alone.
func TestGroup_OneFails(t *testing.T) {
	d := newDuo(t)
	entries := []ledger.Entry{d.promise(t, 1), d.promise(t, 2), d.promise(t, 3)}
	d.knob(func(key commitments.Key, m commitments.Message) error {
		if key == d.committer && m.Root() == entries[1].Root {
			return errKey
		}
		return nil
	})
	receipts, errs := d.together(t.Context(), entries)
	for i, want := range []error{nil, errKey, nil} {
		if !errors.Is(errs[i], want) || want == nil && errs[i] != nil {
			t.Errorf("%d: got %v, want %v", i, errs[i], want)
		}
	}
	if ink := d.inkOf(t, entries[1]); len(ink.Signature) > 0 || !ink.Proxy.IsZero() {
		t.Errorf("half signed: %+v", ink)
	}
	d.knob(nil)
	d.reopen(t)
	late, err := d.ask(t.Context(), entries[1])
	if err != nil || len(late.Proxy.Branch) != 0 {
		t.Fatalf("later: %+v, %v, want the plain form", late.Ink, err)
	}
	d.check(t, entries[1], late.Ink)
	d.check(t, entries[0], receipts[0].Ink)
	d.check(t, entries[2], receipts[2].Ink)
}

// TestGroup_DelegateFails: nobody has half an answer, every entry stands, and each
// is signed when it is asked for again.
func TestGroup_DelegateFails(t *testing.T) {
	for name, fail := range map[string]error{"down": errKey, "lies": nil} {
		t.Run(name, func(t *testing.T) {
			d := newDuo(t)
			entries := []ledger.Entry{d.promise(t, 1), d.promise(t, 2), d.promise(t, 3)}
			good := d.keys.keys[d.proxy]
			if fail == nil {
				d.keys.keys[d.proxy] = d.keys.keys[d.proposer]
			} else {
				d.knob(func(key commitments.Key, _ commitments.Message) error {
					if key.IsBLS() {
						return fail
					}
					return nil
				})
			}
			receipts, errs := d.together(t.Context(), entries)
			for i := range entries {
				if errs[i] == nil || fail != nil && !errors.Is(errs[i], fail) || fail == nil && !errors.Is(errs[i], ErrBadSignature) || receipts[i].Signature != nil {
					t.Errorf("%d: got %+v, %v", i, receipts[i].Ink, errs[i])
				}
				if ink := d.inkOf(t, entries[i]); len(ink.Signature) > 0 {
					t.Errorf("%d: sealed with %+v", i, ink)
				}
			}
			d.keys.keys[d.proxy] = good
			d.knob(nil)
			for _, e := range entries {
				r, err := d.ask(t.Context(), e)
				if err != nil {
					t.Fatal(err)
				}
				d.check(t, e, r.Ink)
			}
		})
	}
}

// TestGroup_CallersLeave: a caller whose time is up takes nobody's signature with
// him, not even when he led.
func TestGroup_CallersLeave(t *testing.T) {
	d := newDuo(t)
	entries := []ledger.Entry{d.promise(t, 1), d.promise(t, 2), d.promise(t, 3)}
	ctx, cancel := context.WithCancel(t.Context())
	reached, release := make(chan struct{}), make(chan struct{})
	d.knob(func(key commitments.Key, _ commitments.Message) error {
		if key.IsBLS() {
			close(reached)
			<-release
		}
		return nil
	})
	go func() {
		<-reached
		cancel()
		close(release)
	}()
	_, errs := d.together(ctx, entries)
	gone := 0
	for i := range entries {
		if errs[i] != nil {
			gone++
		}
		if errs[i] != nil && !errors.Is(errs[i], context.Canceled) {
			t.Errorf("%d: got %v", i, errs[i])
		}
	}
	if gone == 0 {
		t.Error("nobody noticed that his time was up")
	}
	d.knob(nil)
	for _, e := range entries {
		r, err := d.ask(t.Context(), e)
		if err != nil {
			t.Fatal(err)
		}
		d.check(t, e, r.Ink)
	}
}

// TestGroup_SameRequestAtOnce: whoever wins, all have the one answer that is sealed.
func TestGroup_SameRequestAtOnce(t *testing.T) {
	d := newDuo(t)
	e := d.promise(t, 1)
	receipts := make([]ledger.Receipt, 16)
	var group sync.WaitGroup
	for i := range receipts {
		group.Go(func() {
			var err error
			if receipts[i], err = d.ask(t.Context(), e); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	for _, r := range receipts {
		if !reflect.DeepEqual(r.Ink, receipts[0].Ink) {
			t.Fatalf("two answers: %+v and %+v", r.Ink, receipts[0].Ink)
		}
	}
	d.check(t, e, receipts[0].Ink)
	if !reflect.DeepEqual(d.inkOf(t, e), receipts[0].Ink) {
		t.Error("another answer is on the page")
	}
}

func TestGroup_Refuses(t *testing.T) {
	d := newDuo(t)
	e := d.promise(t, 1)
	d.Policy = Grants{{"inclusion", ledger.KindCommitment, d.committer}}
	if _, err := d.ask(t.Context(), e); !errors.Is(err, ErrNotAllowed) {
		t.Errorf("a delegate that was not granted: got %v", err)
	}
	d.arm()
	other := e
	other.Key = commitments.BLSKey(d.proxy)
	if _, err := d.ask(t.Context(), other); !errors.Is(err, ledger.ErrEntry) {
		t.Errorf("a delegate beside itself: got %v", err)
	}
	for name, committer := range map[string]byte{"another committer": 1} {
		if _, err := d.sign(t, d.delegation(t, committer)); err != nil {
			t.Fatal(err)
		}
		if _, err := d.ask(t.Context(), e); !errors.Is(err, ErrIncoherent) {
			t.Errorf("%s in the slot's delegation: got %v", name, err)
		}
	}
	if n := d.called(d.committer); n != 0 {
		t.Errorf("the committer signed %d times", n)
	}
}

// TestGroup_Imported: another ledger's signatures are given out as they are, if
// both verify; a proxy that does not, or is missing, is made again.
func TestGroup_Imported(t *testing.T) {
	d := newDuo(t)
	entries := []ledger.Entry{d.promise(t, 1), d.promise(t, 2)}
	receipts, errs := d.together(t.Context(), entries)
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*ledger.InterchangeProxy) *ledger.InterchangeProxy
		same   bool
	}{
		"as it is":  {func(p *ledger.InterchangeProxy) *ledger.InterchangeProxy { return p }, true},
		"no proxy":  {func(*ledger.InterchangeProxy) *ledger.InterchangeProxy { return nil }, false},
		"a lie":     {func(p *ledger.InterchangeProxy) *ledger.InterchangeProxy { p.Signature[95] ^= 1; return p }, false},
		"no branch": {func(p *ledger.InterchangeProxy) *ledger.InterchangeProxy { p.Branch = nil; return p }, false},
	} {
		t.Run(name, func(t *testing.T) {
			var collect ledger.Collect
			if err := d.book.Records(func(r ledger.Record) error { collect.Add(r); return nil }); err != nil {
				t.Fatal(err)
			}
			file := collect.Interchange(spec.Name, spec.GenesisForkVersion)
			if file.Metadata.Format != ledger.InterchangeFormatProxy {
				t.Errorf("format %q", file.Metadata.Format)
			}
			for i := range file.Data {
				for j := range file.Data[i].Signed {
					file.Data[i].Signed[j].Proxy = c.change(file.Data[i].Signed[j].Proxy)
				}
			}
			var text bytes.Buffer
			if err := file.Write(&text); err != nil {
				t.Fatal(err)
			}
			read, err := ledger.ReadInterchange(&text)
			if err != nil {
				t.Fatal(err)
			}
			other := newDuo(t)
			other.secret, other.committer = d.secret, d.committer
			other.arm()
			if _, err := other.book.Merge(t.Context(), read); err != nil {
				t.Fatal(err)
			}
			for i, e := range entries {
				for range 2 {
					got, err := other.ask(t.Context(), e)
					if err != nil {
						t.Fatal(err)
					}
					other.check(t, e, got.Ink)
					if same := reflect.DeepEqual(got.Ink, receipts[i].Ink); same != c.same || !bytes.Equal(got.Signature, receipts[i].Signature) {
						t.Errorf("got %+v, want %+v: %v", got.Ink, receipts[i].Ink, c.same)
					}
				}
			}
			if n := other.called(other.committer); n != 0 {
				t.Errorf("the committer signed %d times", n)
			}
			contrary := e2(t, other, entries[0])
			if _, err := other.ask(t.Context(), contrary); !errors.Is(err, ledger.ErrSlashable) {
				t.Errorf("another answer to an imported request: got %v", err)
			}
		})
	}
}

// e2 is another answer to the same request.
func e2(t testing.TB, d *duo, e ledger.Entry) ledger.Entry {
	t.Helper()
	draft := *e.Draft
	draft.Commitment.Payload = []byte{0xff}
	e.Draft = &draft
	return d.rooted(t, e)
}

// TestGroup_Waiting: what becomes durable while the delegate signs is signed
// together when it has done, with one signature more.
func TestGroup_Waiting(t *testing.T) {
	d := newDuo(t)
	busy, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	d.knob(func(key commitments.Key, _ commitments.Message) error {
		if key.IsBLS() {
			once.Do(func() { close(busy); <-release })
		}
		return nil
	})
	entries := []ledger.Entry{d.promise(t, 1), d.promise(t, 2), d.promise(t, 3), d.promise(t, 4)}
	receipts := make([]ledger.Receipt, len(entries))
	var group sync.WaitGroup
	ask := func(i int) {
		group.Go(func() {
			var err error
			if receipts[i], err = d.ask(t.Context(), entries[i]); err != nil {
				t.Error(err)
			}
		})
	}
	ask(0)
	<-busy
	turns := d.turnsOf(groupOf{d.proxy, entries[0].SigningID})
	waiting := func() (n int) {
		turns.mu.Lock()
		defer turns.mu.Unlock()
		for _, g := range turns.waiting {
			n += len(g.entries)
		}
		return n
	}
	for i := 1; i < len(entries); i++ {
		ask(i)
	}
	for deadline := time.Now().Add(30 * time.Second); waiting() < 3; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("they do not wait for their turn")
		}
	}
	close(release)
	group.Wait()
	for i, r := range receipts {
		d.check(t, entries[i], r.Ink)
		if alone := len(r.Proxy.Branch) == 0; alone != (i == 0) {
			t.Errorf("%d: a branch of %d", i, len(r.Proxy.Branch))
		}
	}
	if n := d.called(commitments.BLSKey(d.proxy)); n != 2 {
		t.Errorf("the delegate signed %d times, want 2", n)
	}
}

// TestGroup_KeyPanics: a holder of keys that panics once does not keep the delegate's
// turn: who asks afterwards is signed for.
func TestGroup_KeyPanics(t *testing.T) {
	d := newDuo(t)
	d.knob(func(key commitments.Key, _ commitments.Message) error {
		if key != d.committer {
			panic("a key went wrong")
		}
		return nil
	})
	func() {
		defer func() { _ = recover() }()
		_, _ = d.ask(t.Context(), d.promise(t, 1))
	}()
	d.knob(nil)
	done := make(chan error, 1)
	go func() {
		_, err := d.ask(context.Background(), d.promise(t, 2))
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("the turn is held for ever")
	}
}
