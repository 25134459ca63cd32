package ledger

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
)

// TestVouch_OutlastsALook: sidecar check opens the ledger and closes it again. The
// operator's statement is for the start after that; what was written ends it.
func TestVouch_OutlastsALook(t *testing.T) {
	for name, c := range map[string]struct {
		between func(t *testing.T, l *Ledger)
		look    time.Duration // after the statement
		start   time.Duration // after the look
		hold    bool
		run     bool // it is no look
	}{
		"a look":           {nil, time.Minute, 5 * time.Minute, false, false},
		"a start":          {nil, time.Minute, 5 * time.Minute, true, true},
		"a look, too late": {nil, time.Minute, 10 * time.Minute, true, false},
		"a late look":      {nil, 11 * time.Minute, time.Second, true, false},
		"a promise": {func(t *testing.T, l *Ledger) { seal(t, l, must(t, l, page(1010), promise(1, "r1")), 1) },
			time.Minute, time.Minute, true, false},
		"a promise, and a short pause": {func(t *testing.T, l *Ledger) { seal(t, l, must(t, l, page(1010), promise(1, "r1")), 1) },
			time.Minute, time.Second, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			h := housed(t)
			h.now.Add(c.look.Milliseconds())
			h.Look = !c.run
			l := h.open(t)
			if c.between != nil {
				c.between(t, l)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			h.now.Add(c.start.Milliseconds())
			if got := h.open(t).Hold(); (got.Until > 0) != c.hold {
				t.Errorf("got %s", got)
			}
		})
	}
}

// TestHold_LongWalk: how long a ledger takes to verify is no pause: its locks are ours.
func TestHold_LongWalk(t *testing.T) {
	h := lived(t)
	g := &watch{Config: h.Config}
	sum, err := Walk(h.Path, func(r Record) error { g.saw(r); return nil })
	if err != nil {
		t.Fatal(err)
	}
	h.now.Add(20 * time.Second.Milliseconds())
	if err := g.look(); err != nil {
		t.Fatal(err)
	}
	if _, err := Walk(h.Path, func(r Record) error { g.saw(r); return nil }); err != nil {
		t.Fatal(err)
	}
	h.now.Add(time.Hour.Milliseconds())
	g.sum = sum
	if got, err := judge(g.evidence, h.Clock, 64); err != nil || got != (Hold{}) {
		t.Errorf("got %s, %v", got, err)
	}
}

// TestHold_SaysWhatIsNotCarried: promises that stand inside a hold are an error in the
// log, until their constraints are signed.
func TestHold_SaysWhatIsNotCarried(t *testing.T) {
	for name, c := range map[string]struct {
		slot phase0.Slot
		sent bool
		says bool
	}{"stands": {1050, false, true}, "carried": {1050, true, false}, "behind the hold": {1090, false, false}, "over": {1001, false, false}} {
		h := housed(t)
		l := h.open(t)
		seal(t, l, must(t, l, page(c.slot), promise(1, "r1")), 1)
		if c.sent {
			m := &commitments.ConstraintsMessage{Slot: c.slot, Delegate: phase0.BLSPubKey{1}}
			seal(t, l, must(t, l, page(c.slot), Entry{Kind: KindConstraints, Key: commitments.BLSKey(phase0.BLSPubKey{1}), Root: rootOf(3), Resources: names("c"), Constraints: m}), 2)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		h.at(1010, 0)
		var log bytes.Buffer
		h.Log = slog.New(slog.NewTextHandler(&log, nil))
		if got := h.open(t).Hold(); got.Until != 1074 {
			t.Fatalf("%s: hold %s", name, got)
		}
		if says := strings.Contains(log.String(), "level=ERROR") && strings.Contains(log.String(), "promises=1 first_slot=1050"); says != c.says {
			t.Errorf("%s: the log says %s", name, log.String())
		}
	}
}

// TestVouch: the operator's statement, made once more for what is there.
func TestVouch(t *testing.T) {
	h := lived(t)
	h.now.Add(time.Minute.Milliseconds())
	if err := Vouch(h.Config); err != nil {
		t.Fatal(err)
	}
	h.now.Add(9 * time.Minute.Milliseconds())
	if got := h.open(t).Hold(); got != (Hold{}) {
		t.Errorf("got %s", got)
	}
}
