package modules

import (
	"context"
	"fmt"
	"slices"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/fault"
)

// Faults of a set of modules.
var (
	ErrFullBlobs   = fault.Define("slot_full_blobs", fault.Rejected, "The slot has no blobs left for this request.")
	ErrUnknownType = fault.Define("unknown_commitment_type", fault.Invalid, "No configured module serves this commitment type.")
	ErrDraft       = fault.Define("module_draft_invalid", fault.Upstream, "A module drafted another commitment than was requested.")
	ErrProofCount  = fault.Define("proof_count", fault.Rejected, "A block comes with another number of proofs than there are promises.")
)

// Set is many modules as one. Each sees, to verify and to audit, the promises of
// its own commitment types only; all must agree to a block.
type Set []Module

var (
	_ Module = Set(nil)
	_ Pricer = Set(nil)
)

// Check refuses two modules of one id, and two that serve one commitment type.
func (s Set) Check() error {
	ids, types := map[string]bool{}, map[uint64]string{}
	for _, m := range s {
		i := m.Info()
		if ids[i.ID] {
			return fmt.Errorf("two modules are called %q", i.ID)
		}
		ids[i.ID] = true
		for _, t := range i.CommitmentTypes {
			if other, ok := types[t]; ok {
				return fmt.Errorf("modules %q and %q both serve commitment type %d", other, i.ID, t)
			}
			types[t] = i.ID
		}
	}
	return nil
}

// Info joins the types of all modules.
func (s Set) Info() Info {
	var all Info
	for _, m := range s {
		i := m.Info()
		all.CommitmentTypes = append(all.CommitmentTypes, i.CommitmentTypes...)
		all.ConstraintTypes = append(all.ConstraintTypes, i.ConstraintTypes...)
	}
	return all
}

// Owner returns the module that serves a commitment type. Fault: ErrUnknownType.
func (s Set) Owner(commitmentType uint64) (Module, error) {
	for _, m := range s {
		if slices.Contains(m.Info().CommitmentTypes, commitmentType) {
			return m, nil
		}
	}
	return nil, ErrUnknownType.With("type %d", commitmentType)
}

// Slot asks the owner. Faults: its own, ErrUnknownType.
func (s Set) Slot(ctx context.Context, req commitments.Request) (phase0.Slot, error) {
	m, err := s.Owner(req.Type)
	if err != nil {
		return 0, err
	}
	return m.Slot(ctx, req)
}

// Commit asks the owner, whose draft must answer this very request.
// Faults: its own, ErrUnknownType, ErrDraft.
func (s Set) Commit(ctx context.Context, view commitments.View, req commitments.Request) (commitments.Draft, error) {
	m, err := s.Owner(req.Type)
	if err != nil {
		return commitments.Draft{}, err
	}
	d, err := m.Commit(ctx, view, req)
	if err != nil {
		return commitments.Draft{}, err
	}
	if c := &d.Commitment; c.Type != req.Type || c.RequestHash != req.Hash() || c.Slasher != req.Slasher {
		return commitments.Draft{}, ErrDraft.With("module %s", m.Info().ID)
	}
	return d, nil
}

// Price asks the owner. Faults: its own, ErrUnknownType, ErrUnpriced.
func (s Set) Price(ctx context.Context, view commitments.View, req commitments.Request) (commitments.Price, error) {
	m, err := s.Owner(req.Type)
	if err != nil {
		return commitments.Price{}, err
	}
	if p, ok := m.(Pricer); ok {
		return p.Price(ctx, view, req)
	}
	return commitments.Price{}, ErrUnpriced.With("module %s", m.Info().ID)
}

// Verify asks every module that has promises on the page. A promise that no
// configured module serves fails the block: nobody can say that it keeps it.
// Faults: the modules', ErrUnknownType, ErrProofCount.
func (s Set) Verify(ctx context.Context, page commitments.Page, cand commitments.Candidate) error {
	for i := range page.Promises {
		if _, err := s.Owner(page.Promises[i].Commitment.Type); err != nil {
			return err
		}
	}
	for _, m := range s {
		own, at := share(m, page)
		switch {
		case len(at) == 0:
			continue
		case len(at) == len(page.Promises):
			own = page
		case len(cand.Proofs) != len(page.Promises):
			return ErrProofCount.With("%d proofs of %d promises", len(cand.Proofs), len(page.Promises))
		}
		if err := m.Verify(ctx, own, proofsAt(cand, at, len(page.Promises))); err != nil {
			return err
		}
	}
	return nil
}

// Audit collects the verdicts of every module that has promises on the page. A
// promise without a module gets Unknown. Faults: the modules'.
func (s Set) Audit(ctx context.Context, page commitments.Page, block commitments.Block) ([]commitments.Verdict, error) {
	verdicts := make([]commitments.Verdict, 0, len(page.Promises))
	for _, m := range s {
		own, at := share(m, page)
		if len(at) == 0 {
			continue
		}
		v, err := m.Audit(ctx, own, block)
		if err != nil {
			return nil, err
		}
		verdicts = append(verdicts, v...)
	}
	for i := range page.Promises {
		if c := &page.Promises[i].Commitment; !slices.Contains(s.Info().CommitmentTypes, c.Type) {
			verdicts = append(verdicts, commitments.Verdict{RequestHash: c.RequestHash, Outcome: commitments.Unknown, Reason: "no_module"})
		}
	}
	return verdicts, nil
}

// share returns the page with the promises of m only, and where they stood.
func share(m Module, page commitments.Page) (own commitments.Page, at []int) {
	types := m.Info().CommitmentTypes
	own = page
	own.Promises = nil
	for i := range page.Promises {
		if slices.Contains(types, page.Promises[i].Commitment.Type) {
			own.Promises = append(own.Promises, page.Promises[i])
			at = append(at, i)
		}
	}
	return own, at
}

// proofsAt returns the candidate with the proofs of the promises at the given
// places, out of so many.
func proofsAt(cand commitments.Candidate, at []int, of int) commitments.Candidate {
	if len(at) == of {
		return cand
	}
	all := cand.Proofs
	cand.Proofs = make([]commitments.Constraint, len(at))
	for i, p := range at {
		cand.Proofs[i] = all[p]
	}
	return cand
}
