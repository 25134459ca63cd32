package gateway

import (
	"slices"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
)

// Status tells what became of a request, by its hash: an addition to the
// Commitments API. A request that was refused leaves no trace, for nothing is
// owed. Fault: ErrNoPromise.
func (g *Gateway) Status(hash phase0.Hash32) (commitments.Status, error) {
	seen, inside := g.diary.of(hash)
	_, id, ok := g.Views.Recent(hash) // a page that left memory has no story to tell
	if ok {
		page := g.Views.Page(id)
		if i := slices.IndexFunc(page.Promises, func(p commitments.Promise) bool { return p.Commitment.RequestHash == hash }); i >= 0 {
			return life(facts{page: page, index: i, events: g.diary.about(id), risks: g.diary.risksOf(id.Slot, hash), times: seen, now: g.Clock.Slot()}), nil
		}
	}
	if !inside {
		return commitments.Status{}, ErrNoPromise
	}
	return commitments.Status{
		RequestHash: hash, State: commitments.StateReceived, Unknown: []commitments.State{},
		Steps: []commitments.Step{{State: commitments.StateReceived, AtMS: seen.received.UnixMilli()}},
	}, nil
}
