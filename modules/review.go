package modules

import (
	"context"
	"errors"
	"slices"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
)

// Risk is a promise of a slot to come that the slot's block may not be able to
// keep, as the chain stands.
type Risk struct {
	RequestHash phase0.Hash32
	Reason      string // a fault's code, stable: what a request for it would be refused for now
}

// Reviewer is implemented by modules that look again, at every head, at what they
// have promised. Its answer is told to searchers and to the operator and changes no
// promise: what is promised is sent to builders, and wanted of bids, all the same.
type Reviewer interface {
	// Review returns every promise of this module on pages, which show those of other
	// modules as well, that is at risk now. What it does not return is not. It is asked about twice a second while promises are
	// open, and asks for state in bulk. Faults: the state's; nothing is known then.
	Review(ctx context.Context, pages []commitments.Page) ([]Risk, error)
}

var (
	_ Reviewer = Set(nil)
	_ Reviewer = (*around)(nil)
)

// Review asks the module, if it is a Reviewer; one that is not sees no risk.
func (a *around) Review(ctx context.Context, pages []commitments.Page) ([]Risk, error) {
	inner, ok := a.inner.(Reviewer)
	if !ok {
		return nil, nil
	}
	return answer(ctx, a, opReview, func(ctx context.Context) ([]Risk, error) { return inner.Review(ctx, pages) })
}

// Review asks every module about the pages that have promises of its own. What the
// others said comes with the error of one. Faults: the modules'.
func (s Set) Review(ctx context.Context, pages []commitments.Page) (all []Risk, err error) {
	for _, m := range s {
		r, ok := m.(Reviewer)
		if !ok {
			continue
		}
		types := m.Info().CommitmentTypes
		var its []commitments.Page
		for i := range pages {
			if slices.ContainsFunc(pages[i].Promises, func(p commitments.Promise) bool { return slices.Contains(types, p.Commitment.Type) }) {
				its = append(its, pages[i])
			}
		}
		if len(its) == 0 {
			continue
		}
		risks, wrong := r.Review(ctx, its)
		all, err = append(all, risks...), errors.Join(err, wrong)
	}
	return all, err
}
