// Package moduletest holds the one suite that every module passes, wherever it
// runs: what the sidecar relies on and the compiler cannot check.
package moduletest

import (
	"context"
	"encoding/json"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/fault"
	"sidecar/modules"
)

// patience is how long a call may take whose context is cancelled.
const patience = 2 * time.Second

// Fixture is a module with something for it to promise.
type Fixture struct {
	Module  modules.Module
	View    commitments.View    // a page that takes Request
	Request commitments.Request // what Module promises on View
	Slot    phase0.Slot         // what Request names; 0 if it names none

	// Keep returns a bid and a canonical block that keep every promise of page.
	Keep func(t *testing.T, page commitments.Page) (commitments.Candidate, commitments.Block)

	// Break returns a canonical block that keeps none of them.
	Break func(t *testing.T, page commitments.Page) commitments.Block
}

// Run runs the suite.
func Run(t *testing.T, f Fixture) {
	t.Helper()
	f.View.PageID.Slot = max(f.View.PageID.Slot, f.Slot)
	t.Run("info", f.info)
	t.Run("slot", f.slot)
	t.Run("commit", f.commit)
	t.Run("verify", f.verify)
	t.Run("audit", f.audit)
	t.Run("read_only", f.readOnly)
	t.Run("cancelled", f.cancelled)
	t.Run("concurrent", f.concurrent)
}

func (f Fixture) info(t *testing.T) {
	a, b := f.Module.Info(), f.Module.Info()
	if !reflect.DeepEqual(a, b) {
		t.Errorf("Info changes: %+v, then %+v", a, b)
	}
	if a.ID == "" || len(a.CommitmentTypes) == 0 {
		t.Errorf("Info names no id or no commitment type: %+v", a)
	}
	if !slices.Contains(a.CommitmentTypes, f.Request.Type) {
		t.Errorf("Info does not name the fixture's type %d: %v", f.Request.Type, a.CommitmentTypes)
	}
}

func (f Fixture) slot(t *testing.T) {
	if got, err := f.Module.Slot(t.Context(), f.Request); err != nil || got != f.Slot {
		t.Errorf("Slot: got %d, %v, want %d", got, err, f.Slot)
	}
	junk := commitments.Request{Type: f.Request.Type, Payload: []byte("\xff\x00junk"), Slasher: f.Request.Slasher}
	if _, err := f.Module.Slot(t.Context(), junk); err != nil {
		f.named(t, "Slot of junk", err)
	}
	if _, err := f.Module.Commit(t.Context(), f.View, junk); err != nil {
		f.named(t, "Commit to junk", err)
	}
}

// named wants a refusal that the caller understands.
func (f Fixture) named(t *testing.T, what string, err error) {
	t.Helper()
	if x := fault.Of(err); x == nil || (x.Kind != fault.Invalid && x.Kind != fault.Rejected) {
		t.Errorf("%s: %v is no fault of kind Invalid or Rejected", what, err)
	}
}

// draft is what the module promises on the fixture's view.
func (f Fixture) draft(t *testing.T) commitments.Draft {
	t.Helper()
	d, err := f.Module.Commit(t.Context(), f.View, f.Request)
	if err != nil {
		t.Fatalf("Commit: %v", err)
	}
	return d
}

func (f Fixture) commit(t *testing.T) {
	a, b := f.draft(t), f.draft(t)
	if !reflect.DeepEqual(a, b) {
		t.Errorf("Commit is not deterministic: %+v, then %+v", a, b)
	}
	if c := a.Commitment; c.Type != f.Request.Type || c.RequestHash != f.Request.Hash() || c.Slasher != f.Request.Slasher {
		t.Errorf("the draft answers another request: %+v", c)
	}
	types := f.Module.Info().ConstraintTypes
	for _, c := range a.Constraints {
		if !slices.Contains(types, c.Type) {
			t.Errorf("constraint type %d is not in Info: %v", c.Type, types)
		}
	}
}

// page is the fixture's page with the promise on it.
func (f Fixture) page(t *testing.T) commitments.Page {
	t.Helper()
	d, p := f.draft(t), f.View.Page
	p.Promises = append(slices.Clone(p.Promises), commitments.Promise{
		SignedCommitment: commitments.SignedCommitment{Commitment: d.Commitment, Signature: make([]byte, 96)},
		Constraints:      d.Constraints, Cost: d.Cost, Touches: d.Touches, Seq: f.View.Seq + 1,
	})
	return p
}

func (f Fixture) verify(t *testing.T) {
	page := f.page(t)
	cand, _ := f.Keep(t, page)
	if err := f.Module.Verify(t.Context(), page, cand); err != nil {
		t.Errorf("Verify of a bid that keeps the promises: %v", err)
	}
	if len(cand.Proofs) == 0 {
		return // a module without proofs
	}
	for name, proofs := range map[string][]commitments.Constraint{
		"no proofs": nil, "a proof too few": cand.Proofs[1:], "a proof too many": append(slices.Clone(cand.Proofs), cand.Proofs[0]),
		"an empty proof": append(slices.Clone(cand.Proofs[1:]), commitments.Constraint{Type: cand.Proofs[0].Type}),
	} {
		bad := cand
		bad.Proofs = proofs
		err := f.Module.Verify(t.Context(), page, bad)
		if err == nil {
			t.Errorf("Verify with %s: no error", name)
			continue
		}
		f.named(t, "Verify with "+name, err)
	}
}

func (f Fixture) audit(t *testing.T) {
	page := f.page(t)
	_, kept := f.Keep(t, page)
	for name, c := range map[string]struct {
		block commitments.Block
		want  func(commitments.Outcome) bool
	}{
		"kept":   {kept, func(o commitments.Outcome) bool { return o == commitments.Kept }},
		"broken": {f.Break(t, page), func(o commitments.Outcome) bool { return o == commitments.Broken || o == commitments.Excused }},
		"missed": {commitments.Block{Slot: page.Slot, Missed: true}, func(o commitments.Outcome) bool { return o != commitments.Kept && o != commitments.Unknown }},
	} {
		verdicts, err := f.Module.Audit(t.Context(), page, c.block)
		if err != nil || len(verdicts) != len(page.Promises) {
			t.Errorf("Audit, %s: %d verdicts of %d promises, %v", name, len(verdicts), len(page.Promises), err)
			continue
		}
		for i, v := range verdicts {
			if v.RequestHash != page.Promises[i].Commitment.RequestHash || !c.want(v.Outcome) {
				t.Errorf("Audit, %s: promise %d is %s", name, i, v.Outcome)
			}
			if (v.Outcome != commitments.Kept) != (v.Reason != "") {
				t.Errorf("Audit, %s: promise %d is %s because of %q", name, i, v.Outcome, v.Reason)
			}
		}
	}
}

// text is a value in JSON, to see whether it changed.
func text(t *testing.T, values ...any) string {
	t.Helper()
	b, err := json.Marshal(values)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func (f Fixture) readOnly(t *testing.T) {
	page := f.page(t)
	cand, block := f.Keep(t, page)
	before := text(t, f.View, f.Request, page, cand, block)
	_, _ = f.Module.Slot(t.Context(), f.Request)
	_, _ = f.Module.Commit(t.Context(), f.View, f.Request)
	_ = f.Module.Verify(t.Context(), page, cand)
	_, _ = f.Module.Audit(t.Context(), page, block)
	if after := text(t, f.View, f.Request, page, cand, block); after != before {
		t.Errorf("the module changed what it was lent:\nbefore %s\nafter  %s", before, after)
	}
}

// cancelled wants every call back soon after its context ends.
func (f Fixture) cancelled(t *testing.T) {
	page := f.page(t)
	cand, block := f.Keep(t, page)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = f.Module.Slot(ctx, f.Request)
		_, _ = f.Module.Commit(ctx, f.View, f.Request)
		_ = f.Module.Verify(ctx, page, cand)
		_, _ = f.Module.Audit(ctx, page, block)
	}()
	select {
	case <-done:
	case <-time.After(patience):
		t.Error("the module goes on after its context ended")
	}
}

// concurrent runs every call side by side, for the race detector.
func (f Fixture) concurrent(t *testing.T) {
	page := f.page(t)
	cand, block := f.Keep(t, page)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if _, err := f.Module.Commit(t.Context(), f.View, f.Request); err != nil {
				t.Errorf("Commit: %v", err)
			}
			if err := f.Module.Verify(t.Context(), page, cand); err != nil {
				t.Errorf("Verify: %v", err)
			}
			if _, err := f.Module.Audit(t.Context(), page, block); err != nil {
				t.Errorf("Audit: %v", err)
			}
		})
	}
	all.Wait()
}
