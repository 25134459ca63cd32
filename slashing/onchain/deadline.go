package onchain

import (
	"context"
	"fmt"
	"time"

	"sidecar/slashing/evidence"
)

// Deadline says until when evidence can be submitted.
type Deadline struct {
	// Block is the last block that can hold the submission, 0 for two promises.
	Block uint64 `json:"block,omitempty"`
	// Slot is the last slot in which two promises can be submitted, 0 for absence.
	Slot uint64 `json:"slot,omitempty"`
	Left uint64 `json:"left"` // blocks or slots until then
	// Used is how much of the window is over, in per cent.
	Used int       `json:"used_percent"`
	At   time.Time `json:"at"` // about, if no slot is missed
}

// Over says whether it is too late.
func (d Deadline) Over() bool { return d.Used > 100 }

// String is one line for the operator.
func (d Deadline) String() string {
	unit, last := "block", d.Block
	if d.Slot != 0 {
		unit, last = "slot", d.Slot
	}
	if d.Over() {
		return fmt.Sprintf("too late: the last %s was %d", unit, last)
	}
	return fmt.Sprintf("submit until %s %d, about %s: %d left, %d %% of the window used", unit, last, d.At.UTC().Format("2006-01-02 15:04 MST"), d.Left, d.Used)
}

// NewDeadline says it for a file, seen from a head. What is sent now is in the
// next block at the earliest.
func NewDeadline(f evidence.File, p evidence.Promised, head Block) Deadline {
	slot := time.Duration(f.Rules.SlotMillis) * time.Millisecond // #nosec G115 -- a slot
	now := time.Unix(int64(head.Time), 0)                        // #nosec G115 -- a header's time
	next, first := head.Number+1, uint64(0)
	var d Deadline
	if f.Absence != nil {
		first = f.Absence.ChildNumber
		d.Block = first + evidence.Window
	} else {
		first = p.Slot
		d.Slot = first + evidence.Window
		next = 1
		if head.Time > f.Rules.GenesisTime && f.Rules.SlotMillis > 0 {
			next += (head.Time - f.Rules.GenesisTime) * 1000 / f.Rules.SlotMillis
		}
	}
	used := next - min(next, first)
	d.Left = evidence.Window + 1 - min(used, evidence.Window+1)
	d.Used = int(min(used, 10*evidence.Window) * 100 / evidence.Window) // #nosec G115 -- at most 1000
	if used > evidence.Window {
		d.Used = max(d.Used, 101)
	}
	d.At = now.Add(slot * time.Duration(d.Left)) // #nosec G115 -- at most the window
	return d
}

// alarms tells once when half, and when nine tenths, of the window are used.
type alarms struct {
	report func(Event)
	told   int
}

func (a *alarms) look(action string, d Deadline) {
	for _, limit := range []int{90, 50} {
		if d.Used >= limit && a.told < limit {
			a.told = limit
			a.report(Event{Kind: "deadline", Action: action, Text: d.String(), Alarm: true})
			return
		}
	}
}

// late is the Check of a submission.
func (p *Prover) late(f evidence.File, promised evidence.Promised) func(context.Context, Block) error {
	a := alarms{report: p.Sender.Report}
	return func(_ context.Context, head Block) error {
		d := NewDeadline(f, promised, head)
		a.look(string(f.Kind), d)
		if d.Over() {
			return ErrTooLate.With("%s", d)
		}
		return nil
	}
}
