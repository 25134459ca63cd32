package moduletest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"sidecar/commitments"
	"sidecar/fault"
	"sidecar/modules"
)

// patience is how long a call may take whose context is cancelled.
const patience = 2 * time.Second

func (f Fixture) info(context.Context) error {
	var p problems
	a, b := f.Module.Info(), f.Module.Info()
	if !reflect.DeepEqual(a, b) {
		p.addf("Info changes: %+v, then %+v", a, b)
	}
	if a.ID == "" || len(a.CommitmentTypes) == 0 {
		p.addf("Info names no id or no commitment type: %+v", a)
	}
	if f.Request.Type != 0 && !slices.Contains(a.CommitmentTypes, f.Request.Type) {
		p.addf("Info does not name the fixture's type %d: %v", f.Request.Type, a.CommitmentTypes)
	}
	return p.err()
}

// junk wants refusals by name, or none.
func (f Fixture) junk(ctx context.Context) error {
	var p problems
	for _, t := range f.Module.Info().CommitmentTypes {
		for _, payload := range [][]byte{nil, []byte("\xff\x00junk"), make([]byte, 4<<10)} {
			req := commitments.Request{Type: t, Payload: payload, Slasher: f.Request.Slasher}
			if _, err := f.Module.Slot(ctx, req); err != nil {
				p.named(fmt.Sprintf("Slot of %d bytes of junk", len(payload)), err)
			}
			if _, err := f.Module.Commit(ctx, f.View, req); err != nil {
				p.named(fmt.Sprintf("Commit to %d bytes of junk", len(payload)), err)
			}
		}
	}
	return p.err()
}

// named wants a refusal that the caller understands.
func (p *problems) named(what string, err error) {
	if x := fault.Of(err); x == nil || (x.Kind != fault.Invalid && x.Kind != fault.Rejected) {
		p.addf("%s: %v is no fault of kind Invalid or Rejected", what, err)
	}
}

func (f Fixture) slot(ctx context.Context) error {
	if got, err := f.Module.Slot(ctx, f.Request); err != nil || got != f.Slot {
		return fmt.Errorf("slot: got %d, %v, want %d", got, err, f.Slot)
	}
	return nil
}

// draft is what the module promises on the fixture's view.
func (f Fixture) draft(ctx context.Context) (commitments.Draft, error) {
	d, err := f.Module.Commit(ctx, f.View, f.Request)
	if err != nil {
		err = fmt.Errorf("commit: %w", err)
	}
	return d, err
}

func (f Fixture) commit(ctx context.Context) error {
	a, err := f.draft(ctx)
	b, again := f.draft(ctx)
	if err := errors.Join(err, again); err != nil {
		return err
	}
	var p problems
	if !reflect.DeepEqual(a, b) {
		p.addf("Commit is not deterministic: %+v, then %+v", a, b)
	}
	if c := a.Commitment; c.Type != f.Request.Type || c.RequestHash != f.Request.Hash() || c.Slasher != f.Request.Slasher {
		p.addf("the draft answers another request: %+v", c)
	}
	types := f.Module.Info().ConstraintTypes
	for _, c := range a.Constraints {
		if !slices.Contains(types, c.Type) {
			p.addf("constraint type %d is not in Info: %v", c.Type, types)
		}
	}
	return p.err()
}

// price wants a price that does not change by itself, and a promise at a price
// that was quoted. A module without prices says so.
func (f Fixture) price(ctx context.Context) error {
	pricer, ok := f.Module.(modules.Pricer)
	if !ok {
		return nil
	}
	a, err := pricer.Price(ctx, f.View, f.Request)
	if errors.Is(err, modules.ErrUnpriced) {
		return nil
	}
	b, again := pricer.Price(ctx, f.View, f.Request)
	if err := errors.Join(err, again); err != nil {
		return fmt.Errorf("price: %w", err)
	}
	var p problems
	if a != b {
		p.addf("Price is not deterministic: %+v, then %+v", a, b)
	}
	if a.Mode == "" || a.Total.Lt(&a.Tip) {
		p.addf("a price without a mode, or below its tip of one gas: %+v", a)
	}
	quoted := f.View
	quoted.Quoted = &a
	if _, err := f.Module.Commit(ctx, quoted, f.Request); err != nil {
		p.addf("Commit at its own price, quoted: %w", err)
	}
	return p.err()
}

// page is the fixture's page with the promise on it.
func (f Fixture) page(ctx context.Context) (commitments.Page, error) {
	d, err := f.draft(ctx)
	p := f.View.Page
	p.Promises = append(slices.Clone(p.Promises), commitments.Promise{
		SignedCommitment: commitments.SignedCommitment{Commitment: d.Commitment, Signature: make([]byte, 96)},
		Constraints:      d.Constraints, Cost: d.Cost, Touches: d.Touches, Seq: f.View.Seq + 1,
	})
	return p, err
}

// kept is a page with a bid and a block that keep its promises.
func (f Fixture) kept(ctx context.Context) (commitments.Page, commitments.Candidate, commitments.Block, error) {
	page, err := f.page(ctx)
	if err != nil {
		return page, commitments.Candidate{}, commitments.Block{}, err
	}
	cand, block, err := f.Keep(page)
	return page, cand, block, err
}

func (f Fixture) verify(ctx context.Context) error {
	page, cand, _, err := f.kept(ctx)
	if err != nil {
		return err
	}
	var p problems
	if err := f.Module.Verify(ctx, page, cand); err != nil {
		p.addf("Verify of a bid that keeps the promises: %w", err)
	}
	lie, _, err := f.Break(page)
	if err != nil {
		return err
	}
	bad := map[string]commitments.Candidate{"a bid that keeps none": lie}
	if len(cand.Proofs) > 0 {
		for name, proofs := range map[string][]commitments.Constraint{
			"no proofs": nil, "a proof too few": cand.Proofs[1:], "a proof too many": append(slices.Clone(cand.Proofs), cand.Proofs[0]),
			"an empty proof": append(slices.Clone(cand.Proofs[1:]), commitments.Constraint{Type: cand.Proofs[0].Type}),
		} {
			c := cand
			c.Proofs = proofs
			bad[name] = c
		}
	}
	for name, c := range bad {
		if err := f.Module.Verify(ctx, page, c); err != nil {
			p.named("Verify with "+name, err)
		} else {
			p.addf("Verify with %s: no error", name)
		}
	}
	return p.err()
}

func (f Fixture) audit(ctx context.Context) error {
	page, _, kept, err := f.kept(ctx)
	if err != nil {
		return err
	}
	_, broken, err := f.Break(page)
	if err != nil {
		return err
	}
	var p problems
	for name, c := range map[string]struct {
		block commitments.Block
		want  func(commitments.Outcome) bool
	}{
		"kept":   {kept, func(o commitments.Outcome) bool { return o == commitments.Kept }},
		"broken": {broken, func(o commitments.Outcome) bool { return o == commitments.Broken || o == commitments.Excused }},
		"missed": {commitments.Block{Slot: page.Slot, Missed: true}, func(o commitments.Outcome) bool { return o != commitments.Kept && o != commitments.Unknown }},
	} {
		verdicts, err := f.Module.Audit(ctx, page, c.block)
		if err != nil || len(verdicts) != len(page.Promises) {
			p.addf("Audit, %s: %d verdicts of %d promises, %v", name, len(verdicts), len(page.Promises), err)
			continue
		}
		for i, v := range verdicts {
			if v.RequestHash != page.Promises[i].Commitment.RequestHash || !c.want(v.Outcome) {
				p.addf("Audit, %s: promise %d is %s", name, i, v.Outcome)
			}
			if (v.Outcome != commitments.Kept) != (v.Reason != "") {
				p.addf("Audit, %s: promise %d is %s because of %q", name, i, v.Outcome, v.Reason)
			}
		}
	}
	return p.err()
}

func (f Fixture) readOnly(ctx context.Context) error {
	page, cand, block, err := f.kept(ctx)
	if err != nil {
		return err
	}
	text := func() (string, error) {
		b, err := json.Marshal([]any{f.View, f.Request, page, cand, block})
		return string(b), err
	}
	before, err := text()
	if err != nil {
		return err
	}
	_, _ = f.Module.Slot(ctx, f.Request)
	_, _ = f.Module.Commit(ctx, f.View, f.Request)
	_ = f.Module.Verify(ctx, page, cand)
	_, _ = f.Module.Audit(ctx, page, block)
	if after, err := text(); err != nil || after != before {
		return fmt.Errorf("the module changed what it was lent: %w\nbefore %s\nafter  %s", err, before, after)
	}
	return nil
}

// cancelled wants every call back soon after its context ends.
func (f Fixture) cancelled(ctx context.Context) error {
	page, err := f.page(ctx)
	if err != nil {
		return err
	}
	var cand commitments.Candidate
	block := commitments.Block{Slot: page.Slot, Missed: true}
	if f.Keep != nil {
		if cand, block, err = f.Keep(page); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = f.Module.Slot(ctx, f.Request)
		_, _ = f.Module.Commit(ctx, f.View, f.Request)
		_ = f.Module.Verify(ctx, page, cand)
		_, _ = f.Module.Audit(ctx, page, block)
	}()
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-done:
		return nil
	case <-late.C:
		return errors.New("the module goes on after its context ended")
	}
}

// concurrent runs every call side by side, for the race detector.
func (f Fixture) concurrent(ctx context.Context) error {
	page, cand, block, err := f.kept(ctx)
	if err != nil {
		return err
	}
	var all sync.WaitGroup
	found := make(chan error, 12)
	for range 4 {
		all.Go(func() {
			_, err := f.Module.Commit(ctx, f.View, f.Request)
			found <- wrap("Commit", err)
			found <- wrap("Verify", f.Module.Verify(ctx, page, cand))
			_, err = f.Module.Audit(ctx, page, block)
			found <- wrap("Audit", err)
		})
	}
	all.Wait()
	close(found)
	var p problems
	for err := range found {
		if err != nil {
			p = append(p, err)
		}
	}
	return p.err()
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}
