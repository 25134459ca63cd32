package gateway

import (
	"slices"
	"strconv"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/modules"
)

// OutcomeNoSafeBlock is the outcome of a note that says that no bid kept a
// page's promises.
const OutcomeNoSafeBlock = "no_safe_block"

// facts are all that is known of one promise.
type facts struct {
	page   commitments.Page
	index  int                // of the promise
	events []modules.Event    // of the page's slot and proposer, in order
	risks  []commitments.Step // that this process saw, in order
	times  times              // of this process
	now    phase0.Slot
}

// times are zero if this process did not see it.
type times struct{ received, released time.Time }

// life is what became of a promise. It is a pure function: the same facts tell
// the same story before and after a restart.
func life(f facts) commitments.Status {
	p := &f.page.Promises[f.index]
	position := f.index
	s := commitments.Status{
		RequestHash: p.Commitment.RequestHash, Slot: uint64(f.page.Slot), Proposer: f.page.Proposer.String(), Position: &position,
		Unknown: []commitments.State{},
	}
	s.Steps = f.promised(p)
	s.Steps = append(s.Steps, f.sent()...)
	s.Steps = append(s.Steps, f.risks...)
	chain := f.proposed()
	s.Steps = append(s.Steps, chain...)
	judged, v := f.judged(p.Commitment.RequestHash)
	s.Steps = append(s.Steps, judged...)

	s.State = furthest(s.Steps[:len(s.Steps)-len(chain)-len(judged)])
	if at := f.risk(); at != "" && s.State != commitments.StateBidVerified && len(chain) == 0 && len(judged) == 0 {
		s.State, s.Reason = commitments.StateAtRisk, at
	}
	if len(chain) > 0 { // a reorganisation takes back what was said before
		s.State, s.BlockHash = chain[len(chain)-1].State, chain[len(chain)-1].BlockHash
	}
	if len(judged) > 0 {
		last := judged[len(judged)-1]
		s.State, s.Final, s.Outcome, s.Reason = last.State, last.State == commitments.StateFinal, v.Outcome.String(), v.Reason
		if last.BlockHash != "" {
			s.BlockHash = last.BlockHash
		}
	}
	s.Unknown = append(s.Unknown, f.untold(p, s.Steps)...)
	return s
}

// promised is the story up to the answer.
func (f *facts) promised(p *commitments.Promise) (steps []commitments.Step) {
	add := func(state commitments.State, at time.Time) {
		step := commitments.Step{State: state}
		if !at.IsZero() {
			step.AtMS = at.UnixMilli()
		}
		steps = append(steps, step)
	}
	if !f.times.received.IsZero() {
		add(commitments.StateReceived, f.times.received)
	}
	add(commitments.StateJournaled, time.Time{})
	if len(p.Signature) > 0 {
		add(commitments.StateSigned, time.Time{})
	}
	if !f.times.released.IsZero() {
		add(commitments.StateReleased, f.times.released)
	}
	return steps
}

// sent is what became of the slot's constraints and bids, by the ledger's notes.
func (f *facts) sent() (steps []commitments.Step) {
	if f.page.Constraints != nil {
		steps = append(steps, commitments.Step{State: commitments.StateSealed})
	}
	for _, n := range f.page.Notes {
		at, _ := strconv.ParseInt(n.What["at_ms"], 10, 64) // 0: an older ledger
		step := commitments.Step{AtMS: at, Relay: n.What["relay"], Reason: n.What["reason"]}
		switch {
		case n.Kind == commitments.NoteHeaderServed:
			step.State, step.BlockHash = commitments.StateBidVerified, n.What["block_hash"]
		case n.What["outcome"] == OutcomeNoSafeBlock:
			step.State = commitments.StateNoSafeBlock
		case n.Kind == commitments.NoteReceipt && n.What["relay"] != "" && n.What["message"] != messageDelegation:
			step.State, step.Outcome = commitments.StatePosted, n.What["outcome"]
		default:
			continue
		}
		steps = append(steps, step)
	}
	return steps
}

// risk is why the promise is at risk, "" if it is not.
func (f *facts) risk() string {
	if n := len(f.risks); n > 0 && f.risks[n-1].Outcome != outcomeCured {
		return f.risks[n-1].Reason
	}
	return ""
}

// proposed is what the chain had in the slot, by the log of events.
func (f *facts) proposed() (steps []commitments.Step) {
	ours := map[string]bool{} // blocks that the beacon node had of us
	for _, n := range f.page.Notes {
		if n.Kind == commitments.NoteHeaderServed {
			ours[n.What["block_hash"]] = true
		}
	}
	last := func() commitments.Step {
		if len(steps) == 0 {
			return commitments.Step{}
		}
		return steps[len(steps)-1]
	}
	for _, e := range f.events {
		step := commitments.Step{AtMS: e.At.UnixMilli(), Relay: e.Relay, BlockHash: e.BlockHash.String()}
		switch e.Kind {
		case modules.EventPayloadDelivered:
			ours[step.BlockHash] = true
			step.State = commitments.StateProposed
		case modules.EventBlockSeen:
			step.State = commitments.StateProposed
			if len(ours) > 0 && !ours[step.BlockHash] {
				step.Reason = "another_block"
			}
			if l := last(); l.State == commitments.StateProposed && l.BlockHash == step.BlockHash {
				continue // told already, by the relay that took it
			}
		case modules.EventBlockMissed:
			step.State, step.BlockHash = commitments.StateSlotMissed, ""
		case modules.EventReorg:
			if (e.BlockHash == phase0.Hash32{}) { // it was missed, and is no more: the block follows
				continue
			}
			step.State = commitments.StateOrphaned
		default:
			continue
		}
		steps = append(steps, step)
	}
	return steps
}

// judged is the latest verdict.
func (f *facts) judged(hash phase0.Hash32) (steps []commitments.Step, v commitments.Verdict) {
	i := slices.IndexFunc(f.page.Verdicts, func(v commitments.Verdict) bool { return v.RequestHash == hash })
	if i < 0 {
		return nil, v
	}
	v = f.page.Verdicts[i]
	if v.Outcome == commitments.Unknown { // nobody can tell; for good, if the verdict is settled
		if v.Settled() {
			steps = append(steps, commitments.Step{State: commitments.StateFinal, Outcome: v.Outcome.String(), Reason: v.Reason, Stage: v.Stage.String()})
		}
		return steps, v
	}
	step := commitments.Step{State: found(v), Outcome: v.Outcome.String(), Reason: v.Reason, Stage: v.Stage.String(), BlockHash: blockOf(v)}
	steps = append(steps, step)
	if v.Settled() {
		step.State = commitments.StateFinal
		steps = append(steps, step)
	}
	return steps, v
}

// found says what the judge saw in the slot.
func found(v commitments.Verdict) commitments.State {
	switch {
	case v.Outcome == commitments.Kept:
		return commitments.StateIncluded
	case v.Outcome == commitments.Excused && v.Reason == "slot_missed":
		return commitments.StateSlotMissed
	case v.Outcome == commitments.Excused && v.Reason == "slot_orphaned":
		return commitments.StateOrphaned
	}
	return commitments.StateAbsent
}

// untold are the states that may have been, and that no fact tells of.
func (f *facts) untold(p *commitments.Promise, steps []commitments.Step) (out []commitments.State) {
	told := func(states ...commitments.State) bool {
		return slices.ContainsFunc(steps, func(s commitments.Step) bool { return slices.Contains(states, s.State) })
	}
	if len(p.Signature) > 0 && !told(commitments.StateReleased) {
		out = append(out, commitments.StateReleased)
	}
	if f.now >= f.page.Slot && told(commitments.StateSealed) && !told(commitments.StatePosted) {
		out = append(out, commitments.StatePosted)
	}
	if f.now > f.page.Slot && !told(commitments.StateBidVerified, commitments.StateNoSafeBlock) {
		out = append(out, commitments.StateBidVerified)
	}
	if f.now > f.page.Slot && !told(commitments.StateProposed, commitments.StateSlotMissed, commitments.StateOrphaned, commitments.StateIncluded, commitments.StateAbsent) {
		out = append(out, commitments.StateProposed)
	}
	return out
}

// furthest is the state that the steps before the chain's have reached.
func furthest(steps []commitments.Step) (state commitments.State) {
	order := []commitments.State{
		commitments.StateReceived, commitments.StateJournaled, commitments.StateSigned, commitments.StateReleased, commitments.StateSealed, commitments.StatePosted,
	}
	best := -1
	for _, s := range steps {
		rank := slices.Index(order, s.State)
		switch {
		case s.State == commitments.StatePosted && s.Outcome != "accepted":
			continue // refused: sealed is as far as it came
		case s.State == commitments.StateAtRisk:
			continue // beside the road, not on it
		case rank < 0: // a bid, or none: the latter word counts
			rank = len(order)
		}
		if rank >= best {
			best, state = rank, s.State
		}
	}
	return state
}

// blockOf is the execution block that was judged, "" if the slot had none.
func blockOf(v commitments.Verdict) string {
	if v.Block == (phase0.Hash32{}) {
		return ""
	}
	return v.Block.String()
}
