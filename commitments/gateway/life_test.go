package gateway

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/modules"
)

// story builds facts: a signed promise of slot 104, and what happened to it.
type story struct{ facts }

var storyHash = phase0.Hash32{0xaa}

func newStory(now phase0.Slot) *story {
	p := commitments.Promise{SignedCommitment: commitments.SignedCommitment{
		Commitment: commitments.Commitment{RequestHash: storyHash}, Signature: make([]byte, 96),
	}}
	return &story{facts{page: commitments.Page{PageID: commitments.PageID{Slot: 104}, Promises: []commitments.Promise{{}, p}}, index: 1, now: now}}
}

func (s *story) sealed() *story {
	s.page.Closed, s.page.Constraints = true, &commitments.SignedConstraints{}
	return s
}

func (s *story) note(kind string, what ...string) *story {
	m := map[string]string{"at_ms": "1700000000123"}
	for i := 0; i < len(what); i += 2 {
		m[what[i]] = what[i+1]
	}
	s.page.Notes = append(s.page.Notes, commitments.Note{Kind: kind, What: m})
	return s
}

func (s *story) posted(relay, outcome string) *story {
	return s.note(commitments.NoteReceipt, "relay", relay, "outcome", outcome, "reason", "", "attempts", "1")
}

func (s *story) served(hash byte) *story {
	return s.note(commitments.NoteHeaderServed, "relay", "r1", "block_hash", phase0.Hash32{hash}.String())
}

func (s *story) event(kind modules.EventKind, hash byte, relay string) *story {
	e := modules.Event{Kind: kind, Slot: 104, At: time.UnixMilli(1700000001000), Relay: relay}
	if hash != 0 {
		e.BlockHash = phase0.Hash32{hash}
	}
	s.events = append(s.events, e)
	return s
}

func (s *story) verdict(o commitments.Outcome, reason string) *story {
	s.page.Verdicts = append(s.page.Verdicts, commitments.Verdict{RequestHash: phase0.Hash32{1}, Outcome: commitments.Broken},
		commitments.Verdict{RequestHash: storyHash, Outcome: o, Reason: reason})
	return s
}

// TestLife: every state of the machine, in the words of a searcher, and what is
// not known is said to be unknown.
func TestLife(t *testing.T) {
	all := func(now phase0.Slot) *story { return newStory(now).sealed().posted("r1", "accepted") }
	unsigned := newStory(101)
	unsigned.page.Promises[1].Signature = nil
	seen := newStory(101)
	seen.times = times{time.UnixMilli(1), time.UnixMilli(2)}
	for _, tt := range []struct {
		name    string
		facts   *story
		steps   string
		state   commitments.State
		unknown string
	}{
		{"crash before the ink", unsigned, "journaled", "journaled", ""},
		{"signed by an earlier process", newStory(101), "journaled signed", "signed", "released"},
		{"released", seen, "received journaled signed released", "released", ""},
		{"sealed", newStory(103).sealed(), "journaled signed sealed", "sealed", "released"},
		{"posted", all(103), "journaled signed sealed posted", "posted", "released"},
		{"refused", newStory(103).sealed().posted("r1", "refused"), "journaled signed sealed posted", "sealed", "released"},
		{"one of two took it", newStory(103).sealed().posted("r1", "accepted").posted("r2", "refused"), "journaled signed sealed posted posted", "posted", "released"},
		{"a header", all(104).served(7), "journaled signed sealed posted bid_verified", "bid_verified", "released"},
		{"no safe block", all(104).note("receipt", "outcome", OutcomeNoSafeBlock, "reason", "no_bid"), "journaled signed sealed posted no_safe_block", "no_safe_block", "released"},
		{"a second call had a bid", all(104).note("receipt", "outcome", OutcomeNoSafeBlock).served(7), "journaled signed sealed posted no_safe_block bid_verified", "bid_verified", "released"},
		{"a receipt that came late", newStory(104).sealed().served(7).posted("r1", "accepted"), "journaled signed sealed bid_verified posted", "bid_verified", "released"},
		{"delivered", all(104).served(7).event(modules.EventPayloadDelivered, 7, "r1"), "journaled signed sealed posted bid_verified proposed", "proposed", "released"},
		{"delivered and seen", all(105).served(7).event(modules.EventPayloadDelivered, 7, "r1").event(modules.EventBlockSeen, 7, ""), "journaled signed sealed posted bid_verified proposed", "proposed", "released"},
		{"missed", all(105).served(7).event(modules.EventBlockMissed, 0, ""), "journaled signed sealed posted bid_verified slot_missed", "slot_missed", "released"},
		{"orphaned", all(106).served(7).event(modules.EventBlockSeen, 7, "").event(modules.EventReorg, 7, "").event(modules.EventBlockMissed, 0, ""), "journaled signed sealed posted bid_verified proposed orphaned slot_missed", "slot_missed", "released"},
		{"orphaned, nothing yet", all(106).served(7).event(modules.EventBlockSeen, 7, "").event(modules.EventReorg, 7, ""), "journaled signed sealed posted bid_verified proposed orphaned", "orphaned", "released"},
		{"back again", all(106).served(7).event(modules.EventBlockMissed, 0, "").event(modules.EventReorg, 0, "").event(modules.EventBlockSeen, 7, ""), "journaled signed sealed posted bid_verified slot_missed proposed", "proposed", "released"},
		{"kept", all(200).served(7).event(modules.EventBlockSeen, 7, "").verdict(commitments.Kept, ""), "journaled signed sealed posted bid_verified proposed included final", "final", "released"},
		{"broken", all(200).verdict(commitments.Broken, "absent"), "journaled signed sealed posted absent final", "final", "released bid_verified"},
		{"excused", all(200).verdict(commitments.Excused, "slot_missed"), "journaled signed sealed posted slot_missed final", "final", "released bid_verified"},
		{"no verdict yet", all(200).verdict(commitments.Unknown, ""), "journaled signed sealed posted", "posted", "released bid_verified proposed"},
		{"sealed, and nobody says whether it was sent", newStory(105).sealed(), "journaled signed sealed", "sealed", "released posted bid_verified proposed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := life(tt.facts.facts)
			var steps, unknown []string
			for _, one := range s.Steps {
				steps = append(steps, string(one.State))
			}
			for _, one := range s.Unknown {
				unknown = append(unknown, string(one))
			}
			if got := strings.Join(steps, " "); got != tt.steps {
				t.Errorf("steps:\n got %s\nwant %s", got, tt.steps)
			}
			if got := strings.Join(unknown, " "); s.State != tt.state || got != tt.unknown {
				t.Errorf("got %s, unknown %q; want %s, %q", s.State, got, tt.state, tt.unknown)
			}
			if s.Final != (tt.state == commitments.StateFinal) || *s.Position != 1 || s.Slot != 104 || s.RequestHash != storyHash {
				t.Errorf("got %+v", s)
			}
		})
	}
}

// TestLife_Details: who, when, which block, and why.
func TestLife_Details(t *testing.T) {
	s := life(newStory(200).sealed().posted("r1", "accepted").served(7).event(modules.EventBlockSeen, 8, "").verdict(commitments.Broken, "absent").facts)
	want := []commitments.Step{
		{State: "journaled"}, {State: "signed"}, {State: "sealed"},
		{State: "posted", AtMS: 1700000000123, Relay: "r1", Outcome: "accepted"},
		{State: "bid_verified", AtMS: 1700000000123, Relay: "r1", BlockHash: phase0.Hash32{7}.String()},
		{State: "proposed", AtMS: 1700000001000, BlockHash: phase0.Hash32{8}.String(), Reason: "another_block"},
		{State: "absent", Outcome: "broken", Reason: "absent", Stage: "final"},
		{State: "final", Outcome: "broken", Reason: "absent", Stage: "final"},
	}
	if !slices.Equal(s.Steps, want) {
		t.Errorf("got  %+v\nwant %+v", s.Steps, want)
	}
	if s.Outcome != "broken" || s.Reason != "absent" || s.BlockHash != (phase0.Hash32{8}).String() {
		t.Errorf("got %+v", s)
	}
}
