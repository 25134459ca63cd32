package gateway

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
)

// Path is how the promises of a page would be kept.
type Path struct {
	Strength Strength
	Lead     time.Duration // the page closes so long before its slot
	Targets  []string      // that are proven for it now
}

// Why a target is no path. They are labels of metrics, and what no_path says.
const (
	whyOK          = "ok"
	whyUnasked     = "unasked"              // no probe has come back
	whyUnreachable = "unreachable"          // the last probe failed
	whyNone        = "no_constraints"       // it does not take constraints
	whyType        = "type_not_honoured"    // nor those of this type
	whyNoProofs    = "no_proofs"            // its bids prove nothing
	whyUnread      = "delegations_unread"   // it did not say who holds the slot
	whyUnproven    = "unproven_bids"        // it returned bids that proved nothing, again and again
	whyRefused     = "constraints_refused"  // it refused those of this very slot
	whyNoTarget    = "no_constraints_relay" // there is none
	whyOffered     = "offered"              // of a slot
)

// path finds a path for a page that keeps constraints of these types. It asks the
// targets that nobody has asked lately, all at once, and waits for no more of them
// than it needs. Without a path nothing is promised: the beacon node would build
// a block that breaks it. Faults: ErrExclusive, ErrForeign, ErrNoPath.
func (g *Gateway) path(ctx context.Context, id commitments.PageID, types []uint64) (Path, error) {
	if protocol := g.exclusive(id.Proposer); protocol != "" {
		return Path{}, ErrExclusive.With("%s", protocol)
	}
	targets := g.TargetsFor(id.Proposer)
	var asked int
	var news <-chan struct{}
	if ctx.Err() == nil { // whoever lists many slots waits for the first of them only
		asked, news = g.ask(targets, id)
	}
	for {
		if err := g.stopped(id); err != nil {
			return Path{}, err
		}
		p := g.judge(targets, id, types)
		switch {
		case len(p.Targets) >= g.MinAcks:
			return p, nil
		case asked == 0 || ctx.Err() != nil:
			return Path{}, g.noPath(targets, id, types)
		}
		select {
		case <-ctx.Done():
		case <-news:
			asked--
		}
	}
}

// judge looks at what is known of the targets and waits for nothing. Without a path
// it names no target.
func (g *Gateway) judge(targets []Target, id commitments.PageID, types []uint64) Path {
	p := Path{Strength: PathRelay}
	leads := make([]time.Duration, 0, 8) // of what is a path
	for i := range targets {
		t := &targets[i]
		if g.why(t, id, types) != whyOK {
			continue
		}
		if t.Strength == PathBuilder {
			p.Strength = PathBuilder
		}
		p.Targets = append(p.Targets, t.Name())
		leads = append(leads, g.leadOf(t))
	}
	if len(p.Targets) < g.MinAcks {
		return Path{}
	}
	// As many must have the constraints in time as must take them: the page is
	// open for as long as that many allow.
	slices.Sort(leads)
	p.Lead = leads[g.MinAcks-1]
	return p
}

// why says what keeps a target from being a path for a page, or whyOK.
func (g *Gateway) why(t *Target, id commitments.PageID, types []uint64) string {
	if g.standing.barred(id, t.Name()) {
		return whyRefused
	}
	if why := g.paths.why(t, id, types); why != whyOK {
		return why
	}
	if slices.ContainsFunc(t.bids(), func(r Relay) bool { return !g.standing.off(r.Name(), g.Clock.Slot()) }) {
		return whyOK
	}
	return whyUnproven
}

// noPath says what keeps the targets from being a path for a page.
func (g *Gateway) noPath(targets []Target, id commitments.PageID, types []uint64) error {
	var reasons []string
	for i := range targets {
		if why := g.why(&targets[i], id, types); why != whyOK && len(reasons) < 4 {
			reasons = append(reasons, targets[i].Name()+" "+why)
		}
	}
	if len(targets) == 0 {
		reasons = []string{whyNoTarget}
	}
	return ErrNoPath.With("%s", strings.Join(reasons, ", "))
}

func (g *Gateway) exclusive(proposer phase0.BLSPubKey) string {
	if g.Exclusive == nil {
		return ""
	}
	return g.Exclusive(proposer)
}

// leadOf is when a target wants the constraints, never less than the least lead
// there was at the start: headers may be served from half of that on.
func (g *Gateway) leadOf(t *Target) time.Duration {
	if t.Lead <= 0 {
		return g.Lead
	}
	return max(t.Lead, g.leastLead)
}

// lead is how long before its slot a page closes: as its path wants it. Without a
// path it is the longest of any target, so that what was promised while there was
// one goes out at once.
func (g *Gateway) lead(id commitments.PageID) time.Duration {
	targets := g.TargetsFor(id.Proposer)
	longest, best := time.Duration(0), time.Duration(0)
	for i := range targets {
		longest = max(longest, g.leadOf(&targets[i]))
	}
	for _, m := range g.Modules() {
		if p := g.judge(targets, id, m.Info().ConstraintTypes); p.Lead > 0 && (best == 0 || p.Lead < best) {
			best = p.Lead
		}
	}
	return cmp.Or(best, longest, g.Lead)
}

// closed says whether a page takes no more promises. Once it is closed it stays
// so, whatever becomes of its path.
func (g *Gateway) closed(id commitments.PageID) bool {
	into := g.Clock.Into(id.Slot)
	if into < -g.longestLead() {
		return false
	}
	g.mu.Lock()
	shut := g.shut[id]
	g.mu.Unlock()
	if shut {
		return true
	}
	if into < -g.lead(id) {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut[id] = true
	return true
}

func (g *Gateway) longestLead() time.Duration {
	longest := g.Lead
	for _, t := range g.Targets() {
		longest = max(longest, g.leadOf(&t))
	}
	return longest
}

// nextCutoff is the next moment at which a page could close.
func (g *Gateway) nextCutoff() time.Time {
	leads := map[time.Duration]bool{g.Lead: true}
	for _, t := range g.Targets() {
		leads[g.leadOf(&t)] = true
	}
	now := g.Clock.Now()
	var next time.Time
	for lead := range leads {
		slot := g.Clock.Slot() + 1
		for !g.Clock.Start(slot).Add(-lead).After(now) {
			slot++
		}
		if at := g.Clock.Start(slot).Add(-lead); next.IsZero() || at.Before(next) {
			next = at
		}
	}
	return next
}
