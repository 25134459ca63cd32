package modules

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
)

// fake serves some types and notes what it sees.
type fake struct {
	id    string
	types []uint64
	do    func(ctx context.Context) error
	draft func(*commitments.Draft)

	mu       sync.Mutex
	promises []uint64 // payload bytes, of the last Verify or Audit
	proofs   []uint64
}

func (f *fake) Info() Info { return Info{ID: f.id, CommitmentTypes: f.types, ConstraintTypes: f.types} }

func (f *fake) act(ctx context.Context) error {
	if f.do == nil {
		return nil
	}
	return f.do(ctx)
}

func (f *fake) Slot(ctx context.Context, r commitments.Request) (phase0.Slot, error) {
	return phase0.Slot(r.Type), f.act(ctx)
}

func (f *fake) Commit(ctx context.Context, _ commitments.View, r commitments.Request) (commitments.Draft, error) {
	d := commitments.Draft{Commitment: commitments.Commitment{Type: r.Type, Payload: r.Payload, RequestHash: r.Hash(), Slasher: r.Slasher}}
	if f.draft != nil {
		f.draft(&d)
	}
	return d, f.act(ctx)
}

func (f *fake) Verify(ctx context.Context, p commitments.Page, c commitments.Candidate) error {
	f.mu.Lock()
	f.promises, f.proofs = nil, nil
	for _, p := range p.Promises {
		f.promises = append(f.promises, uint64(p.Commitment.Payload[0]))
	}
	for _, p := range c.Proofs {
		f.proofs = append(f.proofs, uint64(p.Payload[0]))
	}
	f.mu.Unlock()
	return f.act(ctx)
}

func (f *fake) Audit(ctx context.Context, p commitments.Page, _ commitments.Block) (v []commitments.Verdict, err error) {
	for _, p := range p.Promises {
		v = append(v, commitments.Verdict{RequestHash: p.Commitment.RequestHash, Outcome: commitments.Kept})
	}
	return v, f.act(ctx)
}

// pageOf has promises of the given types; payload and request hash count from 1.
func pageOf(types ...uint64) (p commitments.Page, c commitments.Candidate) {
	for i, t := range types {
		n := byte(i + 1)
		p.Promises = append(p.Promises, commitments.Promise{SignedCommitment: commitments.SignedCommitment{
			Commitment: commitments.Commitment{Type: t, Payload: []byte{n}, RequestHash: phase0.Hash32{n}},
		}})
		c.Proofs = append(c.Proofs, commitments.Constraint{Type: t, Payload: []byte{n}})
	}
	return p, c
}

func TestSet_EachSeesItsOwn(t *testing.T) {
	a, b, idle := &fake{id: "a", types: []uint64{1, 3}}, &fake{id: "b", types: []uint64{2}}, &fake{id: "c", types: []uint64{9}}
	idle.do = func(context.Context) error { return errors.New("asked without a promise") }
	set := Set{a, b, idle}
	if err := set.Check(); err != nil {
		t.Fatal(err)
	}
	page, cand := pageOf(1, 2, 3, 1)
	if err := set.Verify(t.Context(), page, cand); err != nil {
		t.Fatal(err)
	}
	if want := []uint64{1, 3, 4}; !slices.Equal(a.promises, want) || !slices.Equal(a.proofs, want) {
		t.Errorf("a saw %v with %v, want %v", a.promises, a.proofs, want)
	}
	if want := []uint64{2}; !slices.Equal(b.promises, want) || !slices.Equal(b.proofs, want) {
		t.Errorf("b saw %v with %v, want %v", b.promises, b.proofs, want)
	}
	verdicts, err := set.Audit(t.Context(), page, commitments.Block{})
	if err != nil || len(verdicts) != 4 {
		t.Errorf("verdicts: got %v, %v", verdicts, err)
	}
	if len(page.Promises) != 4 || len(cand.Proofs) != 4 || page.Promises[2].Commitment.Type != 3 {
		t.Error("the page was changed")
	}
}

func TestSet_Refuses(t *testing.T) {
	a, b := &fake{id: "a", types: []uint64{1}}, &fake{id: "b", types: []uint64{2}}
	set := Set{a, b}
	page, cand := pageOf(1, 2)
	short := cand
	short.Proofs = cand.Proofs[:1]
	if err := set.Verify(t.Context(), page, short); !errors.Is(err, ErrProofCount) {
		t.Errorf("a proof too few: got %v", err)
	}
	page, cand = pageOf(1, 7)
	if err := set.Verify(t.Context(), page, cand); !errors.Is(err, ErrUnknownType) {
		t.Errorf("a promise without a module: got %v", err)
	}
	verdicts, err := set.Audit(t.Context(), page, commitments.Block{})
	if err != nil || len(verdicts) != 2 || verdicts[1].Outcome != commitments.Unknown || verdicts[1].Reason != "no_module" {
		t.Errorf("its verdict: got %+v, %v", verdicts, err)
	}
	sick := errors.New("sick")
	b.do = func(context.Context) error { return sick }
	page, cand = pageOf(1, 2)
	if err := set.Verify(t.Context(), page, cand); !errors.Is(err, sick) {
		t.Errorf("one module refuses: got %v", err)
	}
	if _, err := set.Audit(t.Context(), page, commitments.Block{}); !errors.Is(err, sick) {
		t.Errorf("one module cannot judge: got %v", err)
	}
	for name, s := range map[string]Set{
		"one id":   {a, &fake{id: "a", types: []uint64{5}}},
		"one type": {a, &fake{id: "b", types: []uint64{1}}},
	} {
		if s.Check() == nil {
			t.Errorf("%s twice: no error", name)
		}
	}
}

func TestSet_Commit(t *testing.T) {
	a := &fake{id: "a", types: []uint64{1}}
	set := Set{&fake{id: "b", types: []uint64{2}}, a}
	req := commitments.Request{Type: 1, Payload: []byte{5}, Slasher: bellatrix.ExecutionAddress{1}}
	if d, err := set.Commit(t.Context(), commitments.View{}, req); err != nil || d.Commitment.RequestHash != req.Hash() {
		t.Errorf("got %+v, %v", d, err)
	}
	if slot, err := set.Slot(t.Context(), req); err != nil || slot != 1 {
		t.Errorf("slot: got %d, %v", slot, err)
	}
	for name, spoil := range map[string]func(*commitments.Draft){
		"type":         func(d *commitments.Draft) { d.Commitment.Type = 2 },
		"request hash": func(d *commitments.Draft) { d.Commitment.RequestHash[0]++ },
		"slasher":      func(d *commitments.Draft) { d.Commitment.Slasher[0]++ },
	} {
		a.draft = spoil
		if _, err := set.Commit(t.Context(), commitments.View{}, req); !errors.Is(err, ErrDraft) {
			t.Errorf("a draft of another %s: got %v", name, err)
		}
	}
	req.Type = 3
	if _, err := set.Commit(t.Context(), commitments.View{}, req); !errors.Is(err, ErrUnknownType) {
		t.Errorf("unknown type: got %v", err)
	}
	if _, err := set.Slot(t.Context(), req); !errors.Is(err, ErrUnknownType) {
		t.Errorf("slot of an unknown type: got %v", err)
	}
}

// calls are the four calls of a module.
func calls(m Module) map[string]func(context.Context) error {
	page, cand := pageOf(1)
	return map[string]func(context.Context) error{
		"slot": func(ctx context.Context) error { _, err := m.Slot(ctx, commitments.Request{Type: 1}); return err },
		"commit": func(ctx context.Context) error {
			_, err := m.Commit(ctx, commitments.View{}, commitments.Request{Type: 1})
			return err
		},
		"verify": func(ctx context.Context) error { return m.Verify(ctx, page, cand) },
		"audit":  func(ctx context.Context) error { _, err := m.Audit(ctx, page, commitments.Block{}); return err },
	}
}

func TestWithRecovery(t *testing.T) {
	var text strings.Builder
	m := WithRecovery(&fake{id: "a", types: []uint64{1}, do: func(context.Context) error { panic("boom") }}, slog.New(slog.NewTextHandler(&text, nil)))
	for name, call := range calls(m) {
		if err := call(t.Context()); !errors.Is(err, ErrPanic) || strings.Contains(err.Error(), "boom") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if got := strings.Count(text.String(), "boom"); got < 4 {
		t.Errorf("logged %d panics of 4", got)
	}
	for name, call := range calls(WithRecovery(&fake{types: []uint64{1}}, slog.New(slog.DiscardHandler))) {
		if err := call(t.Context()); err != nil {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestWithTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wait := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		budgets := Budgets{Slot: time.Second, Commit: 2 * time.Second, Verify: 3 * time.Second, Audit: 4 * time.Second}
		want := map[string]time.Duration{"slot": budgets.Slot, "commit": budgets.Commit, "verify": budgets.Verify, "audit": budgets.Audit}
		for name, call := range calls(WithTimeout(&fake{do: wait}, budgets)) {
			start := time.Now()
			if err := call(t.Context()); !errors.Is(err, ErrTimeout) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: got %v", name, err)
			}
			if got := time.Since(start); got != want[name] {
				t.Errorf("%s: took %v, want %v", name, got, want[name])
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if err := call(ctx); !errors.Is(err, context.Canceled) || errors.Is(err, ErrTimeout) {
				t.Errorf("%s, cancelled: got %v", name, err)
			}
			short, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			if err := call(short); !errors.Is(err, ErrTimeout) {
				t.Errorf("%s, the caller's deadline: got %v", name, err)
			}
			cancel()
		}
		refused := errors.New("refused")
		for name, call := range calls(WithTimeout(&fake{do: func(context.Context) error { return refused }}, Budgets{})) {
			if err := call(t.Context()); err != refused {
				t.Errorf("%s: got %v", name, err)
			}
		}
	})
}

type runner struct{ fake }

func (*runner) Run(context.Context) error { return nil }

func TestRunnerOf(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	if _, ok := RunnerOf(WithTimeout(WithRecovery(&runner{}, log), Budgets{})); !ok {
		t.Error("lost a runner")
	}
	if _, ok := RunnerOf(WithTimeout(&fake{}, Budgets{})); ok {
		t.Error("found a runner where there is none")
	}
}

// TestWithTimeout_Stuck: a module that ignores its context keeps nobody waiting.
// With too many calls that do not end it is asked nothing more, until one ends; a
// panic of a call that somebody waits for comes out in the caller's goroutine.
func TestWithTimeout_Stuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release, asked := make(chan struct{}), 0
		deaf := &fake{do: func(context.Context) error { asked++; <-release; return nil }}
		m := WithTimeout(deaf, Budgets{Slot: time.Second})
		ask := func() error {
			_, err := m.Slot(t.Context(), commitments.Request{})
			synctest.Wait()
			return err
		}
		for n := range maxStuck {
			if err := ask(); !errors.Is(err, ErrTimeout) {
				t.Fatalf("call %d: got %v, want %v", n, err, ErrTimeout)
			}
		}
		if err := ask(); !errors.Is(err, ErrStuck) || asked != maxStuck {
			t.Errorf("one too many: got %v after %d calls, want %v", err, asked, ErrStuck)
		}
		release <- struct{}{}
		synctest.Wait()
		if err := ask(); !errors.Is(err, ErrTimeout) {
			t.Errorf("after one ended: got %v, want %v", err, ErrTimeout)
		}
		close(release)
		synctest.Wait()
		if err := ask(); err != nil {
			t.Errorf("after all ended: %v", err)
		}
		var log strings.Builder
		rogue := WithRecovery(WithTimeout(&fake{do: func(context.Context) error { panic("boom") }}, Budgets{Slot: time.Second}), slog.New(slog.NewTextHandler(&log, nil)))
		if _, err := rogue.Slot(t.Context(), commitments.Request{}); !errors.Is(err, ErrPanic) || !strings.Contains(log.String(), "boom") {
			t.Errorf("a panic: %v, log %q", err, log.String())
		}
	})
}

// TestWithTimeout_StuckApart: requests that do not end, because an execution node
// hangs, do not keep a bid from being verified: without a header the promises that
// stand would be broken.
func TestWithTimeout_StuckApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var hears atomic.Bool
		m := WithTimeout(&fake{do: func(context.Context) error {
			if !hears.Load() {
				<-release
			}
			return nil
		}}, Budgets{Commit: time.Second, Verify: time.Second})
		for range maxStuck + 1 {
			_, _ = m.Commit(t.Context(), commitments.View{}, commitments.Request{})
		}
		if _, err := m.Commit(t.Context(), commitments.View{}, commitments.Request{}); !errors.Is(err, ErrStuck) {
			t.Errorf("commit: got %v, want %v", err, ErrStuck)
		}
		hears.Store(true)
		if err := m.Verify(t.Context(), commitments.Page{}, commitments.Candidate{}); err != nil {
			t.Errorf("verify, while requests are stuck: %v", err)
		}
		close(release)
		synctest.Wait()
	})
}
