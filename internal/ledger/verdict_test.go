package ledger

import (
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
)

// TestVerdict_Stages: a verdict comes back with its stage and block; one of a
// ledger from before stages is final.
func TestVerdict_Stages(t *testing.T) {
	id := commitments.PageID{Slot: 5}
	for _, stage := range []commitments.Stage{commitments.Final, commitments.Provisional, commitments.Justified} {
		e := verdict(1, commitments.Broken)
		e.Verdict.Stage, e.Verdict.Block, e.Verdict.Evidence = stage, phase0.Hash32{7}, []byte{1}
		text, err := encodeEntry(9, id, e)
		if err != nil {
			t.Fatal(err)
		}
		_, _, got, err := decodeEntry(text)
		if err != nil || got.Verdict.Stage != stage || got.Verdict.Block != (phase0.Hash32{7}) {
			t.Errorf("%s: %+v, %v", stage, got.Verdict, err)
		}
	}
	e := verdict(1, commitments.Kept)
	e.Verdict.Stage = commitments.Justified + 1
	if err := e.check(); err == nil {
		t.Error("a stage that is none")
	}
}

// TestVerdict_Open: a page is open for admission until it is judged at all, and
// stays in memory until every verdict stays.
func TestVerdict_Open(t *testing.T) {
	for name, c := range map[string]struct {
		v               commitments.Verdict
		judged, settled bool
	}{
		"provisional":        {commitments.Verdict{Outcome: commitments.Kept, Stage: commitments.Provisional}, true, false},
		"final":              {commitments.Verdict{Outcome: commitments.Broken}, true, true},
		"reorganised":        {commitments.Verdict{Reason: "reorganised", Stage: commitments.Provisional}, false, false},
		"too late, for good": {commitments.Verdict{Reason: "proofs_too_late"}, true, true},
		"nothing said":       {commitments.Verdict{}, false, false},
	} {
		c.v.RequestHash = phase0.Hash32{1}
		p := commitments.Page{Verdicts: []commitments.Verdict{c.v}, Promises: make([]commitments.Promise, 1)}
		p.Promises[0].Commitment.RequestHash = phase0.Hash32{1}
		if j, s := judged(&p), settled(&p); j != c.judged || s != c.settled {
			t.Errorf("%s: judged %t, settled %t", name, j, s)
		}
	}
}
