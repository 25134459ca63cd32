package remote

import (
	"slices"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/modules"
)

// What a module answers. Every field is required, unless it may be empty by its
// nature, and no other is taken.

type (
	infoAnswer struct {
		Version         int      `json:"version"` // one of those asked for
		ID              string   `json:"id"`
		CommitmentTypes []uint64 `json:"commitment_types"`
		ConstraintTypes []uint64 `json:"constraint_types"`
	}
	slotAnswer struct {
		Slot *uint64 `json:"slot"`
	}
	draftAnswer struct {
		Commitment  *commitmentJSON  `json:"commitment"`
		Constraints []constraintJSON `json:"constraints"`
		Cost        *costJSON        `json:"cost"`
		Touches     []string         `json:"touches"`
		Claims      []string         `json:"claims"`
		UsedBelow   uint64           `json:"used_below,omitempty"`
	}
	priceAnswer struct {
		Price *commitments.Price `json:"price"`
	}
	auditAnswer struct {
		Verdicts []verdictJSON `json:"verdicts"`
	}
)

// commitmentJSON and constraintJSON are those of package commitments, which let
// unknown fields pass; here they are refused.
type commitmentJSON struct {
	Type        *uint64  `json:"commitment_type"`
	Payload     hexBytes `json:"payload"`
	RequestHash hexBytes `json:"request_hash"`
	Slasher     hexBytes `json:"slasher"`
}

type constraintJSON struct {
	Type    *uint64  `json:"constraint_type"`
	Payload hexBytes `json:"payload"`
}

type verdictJSON struct {
	RequestHash hexBytes `json:"request_hash"`
	Outcome     string   `json:"outcome"` // kept, broken, excused or unknown
	Reason      string   `json:"reason"`
	Evidence    hexBytes `json:"evidence,omitempty"`
}

// Bounds of an answer.
const (
	maxTypes    = 64      // types of a module
	maxID       = 64      // bytes of its name
	maxNames    = 64      // touches, and claims, of a draft
	maxName     = 256     // bytes of one
	maxReason   = 64      // bytes of a verdict's
	maxEvidence = 1 << 20 // bytes of a verdict's
)

func infoOf(i modules.Info) infoAnswer {
	return infoAnswer{Version, i.ID, orEmpty(i.CommitmentTypes), orEmpty(i.ConstraintTypes)}
}

func (a infoAnswer) info() (modules.Info, error) {
	switch {
	case a.Version != Version:
		return modules.Info{}, ErrVersion.With("version %d, want %d", a.Version, Version)
	case a.ID == "" || len(a.ID) > maxID:
		return modules.Info{}, ErrAnswer.With("id of %d bytes", len(a.ID))
	case len(a.CommitmentTypes) == 0 || len(a.CommitmentTypes) > maxTypes || a.ConstraintTypes == nil || len(a.ConstraintTypes) > maxTypes:
		return modules.Info{}, ErrAnswer.With("commitment_types or constraint_types are missing or too many")
	}
	return modules.Info{ID: clean(a.ID), CommitmentTypes: a.CommitmentTypes, ConstraintTypes: a.ConstraintTypes}, nil
}

func (a slotAnswer) slot() (phase0.Slot, error) {
	if a.Slot == nil {
		return 0, ErrAnswer.With("slot is missing")
	}
	return phase0.Slot(*a.Slot), nil
}

func draftOf(d commitments.Draft) draftAnswer {
	c, cost := &d.Commitment, costJSON(d.Cost)
	out := draftAnswer{
		Commitment: &commitmentJSON{&c.Type, c.Payload, c.RequestHash[:], c.Slasher[:]}, Constraints: []constraintJSON{},
		Cost: &cost, Touches: orEmpty(d.Touches), Claims: orEmpty(d.Claims), UsedBelow: d.UsedBelow,
	}
	for i := range d.Constraints {
		out.Constraints = append(out.Constraints, constraintJSON{&d.Constraints[i].Type, d.Constraints[i].Payload})
	}
	return out
}

func (a draftAnswer) draft() (d commitments.Draft, err error) {
	switch {
	case a.Commitment == nil || a.Commitment.Type == nil || a.Cost == nil:
		return d, ErrAnswer.With("commitment, its type or cost is missing")
	case len(a.Commitment.Payload) > commitments.MaxPayload || len(a.Constraints) > commitments.MaxConstraints:
		return d, ErrAnswer.With("payload of %d bytes, %d constraints", len(a.Commitment.Payload), len(a.Constraints))
	case !names(a.Touches) || !names(a.Claims):
		return d, ErrAnswer.With("touches or claims are more than %d, or one is empty or longer than %d bytes", maxNames, maxName)
	}
	d = commitments.Draft{
		Commitment: commitments.Commitment{Type: *a.Commitment.Type, Payload: a.Commitment.Payload},
		Cost:       commitments.Cost(*a.Cost), Touches: a.Touches, Claims: a.Claims, UsedBelow: a.UsedBelow,
	}
	if err := fixed("request_hash", d.Commitment.RequestHash[:], a.Commitment.RequestHash); err != nil {
		return d, ErrAnswer.Wrap(err)
	}
	if err := fixed("slasher", d.Commitment.Slasher[:], a.Commitment.Slasher); err != nil {
		return d, ErrAnswer.Wrap(err)
	}
	for _, c := range a.Constraints {
		if c.Type == nil || len(c.Payload) > commitments.MaxPayload {
			return d, ErrAnswer.With("a constraint without a type, or with a payload of %d bytes", len(c.Payload))
		}
		d.Constraints = append(d.Constraints, commitments.Constraint{Type: *c.Type, Payload: c.Payload})
	}
	return d, nil
}

func (a priceAnswer) price() (commitments.Price, error) {
	if a.Price == nil {
		return commitments.Price{}, ErrAnswer.With("price is missing")
	}
	return *a.Price, nil
}

func names(list []string) bool {
	return len(list) <= maxNames && !slices.ContainsFunc(list, func(s string) bool { return s == "" || len(s) > maxName })
}

func verdictOf(v commitments.Verdict) verdictJSON {
	return verdictJSON{v.RequestHash[:], v.Outcome.String(), v.Reason, v.Evidence}
}

func (j verdictJSON) verdict() (v commitments.Verdict, err error) {
	v = commitments.Verdict{Reason: clean(j.Reason), Evidence: j.Evidence}
	if err := fixed("request_hash", v.RequestHash[:], j.RequestHash); err != nil {
		return v, ErrAnswer.Wrap(err)
	}
	for _, o := range []commitments.Outcome{commitments.Unknown, commitments.Kept, commitments.Broken, commitments.Excused} {
		if o.String() == j.Outcome {
			v.Outcome = o
			return v, nil
		}
	}
	return v, ErrAnswer.With("outcome %.20q", j.Outcome)
}

// verdicts are those of promises on the page, each at most once.
func (a auditAnswer) verdicts(page commitments.Page) ([]commitments.Verdict, error) {
	open := map[phase0.Hash32]bool{}
	for i := range page.Promises {
		open[page.Promises[i].Commitment.RequestHash] = true
	}
	if a.Verdicts == nil || len(a.Verdicts) > len(page.Promises) {
		return nil, ErrAnswer.With("verdicts are missing, or more than promises")
	}
	out := make([]commitments.Verdict, 0, len(a.Verdicts))
	for _, j := range a.Verdicts {
		v, err := j.verdict()
		switch {
		case err != nil:
			return nil, err
		case len(j.Reason) > maxReason || len(j.Evidence) > maxEvidence:
			return nil, ErrAnswer.With("reason of %d bytes, evidence of %d", len(j.Reason), len(j.Evidence))
		case !open[v.RequestHash]:
			return nil, ErrAnswer.With("a verdict on what was not asked, or a second one")
		}
		delete(open, v.RequestHash)
		out = append(out, v)
	}
	return out, nil
}
