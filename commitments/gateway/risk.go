package gateway

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/fault"
	"sidecar/modules"
)

const (
	reviewEvery   = 500 * time.Millisecond // as often as the execution node's head is asked
	reviewTimeout = 2 * time.Second        // of all modules together
	maxRiskSteps  = 8                      // of one promise; a sender that comes and goes loses the oldest
	outcomeCured  = "cured"
)

// watchRisks looks at open promises again at every head, until ctx ends. What it
// finds is told, and changes nothing: no promise is taken back, its constraints are
// sent and bids have to prove it, for the chain may yet be as it was.
func (g *Gateway) watchRisks(ctx context.Context) {
	every := min(reviewEvery, g.Spec.SlotDuration/4)
	var shown map[string]int
	for ctx.Err() == nil {
		_ = g.contain(func() error { shown = g.review(ctx, shown); return nil })
		pause(ctx, every)
	}
}

// review asks what is at risk and notes what has changed. It returns how many
// promises are, by reason; shown is what it returned before.
func (g *Gateway) review(ctx context.Context, shown map[string]int) map[string]int {
	pages := g.openPages()
	if len(pages) == 0 { // nothing is asked
		g.Metrics.risks(nil, shown)
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, reviewTimeout)
	defer cancel()
	risks, err := modules.Set(g.Modules()).Review(ctx, pages)
	if err != nil { // what was known stands
		g.Metrics.unreviewed()
		g.Log.Debug("Open promises could not be looked at again", "reason", fault.Code(err), "error", err)
		return shown
	}
	found := map[phase0.Hash32]string{}
	for _, r := range risks {
		found[r.RequestHash] = r.Reason
	}
	count := map[string]int{}
	for i := range pages {
		p := &pages[i]
		if g.lost(p.PageID) {
			for j := range p.Promises {
				found[p.Promises[j].Commitment.RequestHash] = ErrNotOurs.Code
			}
		}
		g.tellRisks(p, g.diary.assess(p, found), len(p.Promises))
		for j := range p.Promises {
			if reason := found[p.Promises[j].Commitment.RequestHash]; reason != "" {
				count[reason]++
			}
		}
	}
	g.Metrics.risks(count, shown)
	return count
}

// openPages are those with promises whose block is still to come.
func (g *Gateway) openPages() (out []commitments.Page) {
	for _, p := range g.Views.Pages(g.Clock.Slot() + 1) {
		if !p.Empty() {
			out = append(out, p)
		}
	}
	return out
}

// lost says whether a slot has another proposer than it was promised for, as after a
// reorganisation across an epoch. Of the running epoch the schedule knows all; of the
// next it may be asking.
func (g *Gateway) lost(id commitments.PageID) bool {
	if g.Schedule.Ready() != nil {
		return false
	}
	proposer, _, ours := g.Schedule.Proposer(id.Slot)
	if !ours {
		return g.Spec.Epoch(id.Slot) == g.Spec.Epoch(g.Clock.Slot())
	}
	return proposer != id.Proposer
}

// change is how many promises of a page went from one reason to another; "" is none.
type change struct {
	before, now string
	promises    int
}

// tellRisks writes one line for each change of a page.
func (g *Gateway) tellRisks(p *commitments.Page, changes []change, of int) {
	for _, c := range changes {
		line, reason := g.Log.Warn, c.now
		text := "Promises are at risk: as the chain stands their block may not be able to keep them"
		switch c.now {
		case "":
			line, reason, text = g.Log.Info, c.before, "Promises are no longer at risk"
		case ErrNotOurs.Code:
			line = g.Log.Error // no sender did this
		}
		line(text, "slot", uint64(p.Slot), "reason", reason, "promises", c.promises, "of", of)
	}
}

// assess notes which promises of a page are at risk, and why; what has changed is
// returned, by reason.
func (d *diary) assess(p *commitments.Page, found map[phase0.Hash32]string) (changes []change) {
	at := d.clock.Now().UnixMilli()
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range p.Promises {
		hash := p.Promises[i].Commitment.RequestHash
		steps := d.risks[p.Slot][hash]
		before, now := (&facts{risks: steps}).risk(), found[hash]
		if before == now {
			continue
		}
		step := commitments.Step{State: commitments.StateAtRisk, AtMS: at, Reason: now}
		if now == "" {
			step.Reason, step.Outcome = before, outcomeCured
		}
		if d.risks[p.Slot] == nil {
			d.risks[p.Slot] = map[phase0.Hash32][]commitments.Step{}
		}
		if len(steps) >= maxRiskSteps {
			steps = steps[1:]
		}
		d.risks[p.Slot][hash] = append(slices.Clone(steps), step) // the old one may be with a reader
		d.edits++
		n := slices.IndexFunc(changes, func(c change) bool { return c.before == before && c.now == now })
		if n < 0 {
			n, changes = len(changes), append(changes, change{before: before, now: now})
		}
		changes[n].promises++
	}
	for slot := range d.risks {
		if slot+eventSlots < p.Slot {
			delete(d.risks, slot)
		}
	}
	slices.SortFunc(changes, func(a, b change) int { return cmp.Or(cmp.Compare(a.now, b.now), cmp.Compare(a.before, b.before)) })
	return changes
}

// risksOf returns what was seen of a promise, oldest first; it is read-only.
func (d *diary) risksOf(slot phase0.Slot, hash phase0.Hash32) []commitments.Step {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.risks[slot][hash]
}
