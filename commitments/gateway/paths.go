package gateway

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"golang.org/x/sync/singleflight"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/fault"
)

const (
	probeTimeout = time.Second
	probeAgain   = time.Second // after an error, when somebody asks
	fixedSlots   = 2           // before its slot a page's path is probed once more
	probesAtOnce = 16
	glance       = probeTimeout / 2 // what a list of slots waits for answers that are not at hand
)

// paths remembers what each target said of itself: which constraint types it
// honours, whether its bids come with proofs, and that it was asked who holds a
// slot. A promise is made only on a target that said all of it lately.
type paths struct {
	clock  *chain.Clock
	slot   time.Duration
	every  time.Duration // between two probes by Run
	flight singleflight.Group

	mu     sync.Mutex
	known  map[string]capability // by the relay's name
	proofs map[string]capability // by the name of the relay that bids; types is unused
	read   map[slotOf]capability // who holds a slot was read
}

// capability is the outcome of one probe.
type capability struct {
	types []uint64
	yes   bool // it has what was asked for
	at    time.Time
	ok    bool // it answered
}

func newPaths(clock *chain.Clock, slot time.Duration) *paths {
	return &paths{
		clock: clock, slot: slot, every: max(slot, time.Second),
		known: map[string]capability{}, proofs: map[string]capability{}, read: map[slotOf]capability{},
	}
}

// fresh says whether a probe still tells of a page. From two slots before the
// page's own on, only one made since then does.
func (p *paths) fresh(c capability, id commitments.PageID) bool {
	now := p.clock.Now()
	age := now.Sub(c.at)
	if !c.ok {
		return age < probeAgain && !c.at.IsZero()
	}
	fix := p.clock.Start(id.Slot).Add(-fixedSlots * p.slot)
	return age < 4*p.every && (now.Before(fix) || !c.at.Before(fix))
}

// answered says whether who holds a slot was read lately.
func (p *paths) answered(c capability) bool {
	age := p.clock.Now().Sub(c.at)
	if !c.ok {
		return age < probeAgain && !c.at.IsZero()
	}
	return age < fixedSlots*p.every
}

type slotOf struct {
	relay string
	slot  phase0.Slot
}

// why says what keeps a target from being a path for a page, as far as probes
// tell, or whyOK.
func (p *paths) why(t *Target, id commitments.PageID, types []uint64) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.known[t.Name()]
	switch {
	case !p.fresh(c, id):
		return whyUnasked
	case !c.ok:
		return whyUnreachable
	case len(types) > 0 && len(c.types) == 0:
		return whyNone
	case slices.ContainsFunc(types, func(t uint64) bool { return !slices.Contains(c.types, t) }):
		return whyType
	}
	if why := p.whyProofs(t, id); why != whyOK && len(types) > 0 {
		return why
	}
	if !p.read[slotOf{t.Name(), id.Slot}].ok {
		return whyUnread
	}
	return whyOK
}

// whyProofs says what keeps the bids of a target from being proven. The lock is held.
func (p *paths) whyProofs(t *Target, id commitments.PageID) string {
	why := whyNoProofs
	for _, r := range t.bids() {
		switch c := p.proofs[r.Name()]; {
		case !p.fresh(c, id):
			why = whyUnasked
		case !c.ok:
			why = whyUnreachable
		case c.yes:
			return whyOK
		}
	}
	return why
}

// ask begins to probe the targets of which nothing fresh is known, and returns how
// many it asks; each sends on news when it is through. A probe outlives the caller
// who began it: its answer serves the next.
func (g *Gateway) ask(targets []Target, id commitments.PageID) (n int, news <-chan struct{}) {
	through := make(chan struct{}, len(targets))
	for i := range targets {
		t := targets[i]
		if g.paths.settled(&t, id) {
			continue
		}
		if !g.spawn(func(ctx context.Context) { g.probe(ctx, &t, id); through <- struct{}{} }) {
			break
		}
		n++
	}
	return n, through
}

// settled says whether nothing need be asked of a target for a page.
func (p *paths) settled(t *Target, id commitments.PageID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fresh(p.known[t.Name()], id) && p.answered(p.read[slotOf{t.Name(), id.Slot}]) &&
		!slices.ContainsFunc(t.bids(), func(r Relay) bool { return !p.fresh(p.proofs[r.Name()], id) })
}

// probe asks one target all that is not known of it for a page. Callers at the same
// time share the questions.
func (g *Gateway) probe(ctx context.Context, t *Target, id commitments.PageID) {
	p := g.paths
	var wg sync.WaitGroup
	wg.Go(func() {
		c := once(p, p.known, t.Name(), t.Name(), func(c capability) bool { return p.fresh(c, id) }, func() (c capability) {
			return capabilities(ctx, t)
		})
		if c.ok { // one that is down need not be asked about every slot
			g.readDelegations(ctx, t.Relay, id.Slot)
		}
	})
	for _, r := range t.bids() {
		wg.Go(func() {
			once(p, p.proofs, r.Name(), "proofs/"+r.Name(), func(c capability) bool { return p.fresh(c, id) }, func() (c capability) {
				ctx, cancel := context.WithTimeout(ctx, probeTimeout)
				defer cancel()
				yes, err := r.ServesProofs(ctx, id)
				return capability{yes: yes, ok: err == nil}
			})
		})
	}
	wg.Wait()
}

func capabilities(ctx context.Context, t *Target) capability {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	types, err := t.Capabilities(ctx)
	return capability{types: types, yes: len(types) > 0, ok: err == nil}
}

// once puts a question whose last answer is not fresh any more, and keeps the
// answer. Callers at the same time share it.
func once[K comparable](p *paths, in map[K]capability, key K, flight string, fresh func(capability) bool, put func() capability) capability {
	v, _, _ := p.flight.Do(flight, func() (any, error) {
		p.mu.Lock()
		c := in[key]
		p.mu.Unlock()
		if fresh(c) {
			return c, nil
		}
		c = safely(put)
		c.at = p.clock.Now()
		p.mu.Lock()
		in[key] = c
		p.mu.Unlock()
		return c, nil
	})
	c, _ := v.(capability)
	return c
}

// safely puts a question. A panic is no answer.
func safely(put func() capability) (c capability) {
	defer func() {
		if recover() != nil {
			c = capability{}
		}
	}()
	return put()
}

// watchPaths keeps everything there is to know of the targets at hand: for the
// pages of every slot to come it reads who holds them, at the start and now and
// then, and the nearest are probed before anybody asks. It says how many slots are
// offered, and why the others are not. Each slot begins with it, so that a page's
// path is known anew two slots before it. It runs until ctx ends.
func (g *Gateway) watchPaths(ctx context.Context) {
	for ctx.Err() == nil {
		targets := g.Targets()
		usable := g.sweep(ctx, targets)
		g.Metrics.relays(usable)
		g.watchSlots(ctx)
		g.paths.forget(targets, g.Clock.Slot())
		g.standing.forget(g.Clock.Slot())
		next := g.Clock.Until(g.Clock.Start(g.Clock.Slot() + 1))
		pause(ctx, max(min(next, g.paths.every), time.Second/10))
	}
}

// sweep asks every target what it honours, and counts those that honour anything.
func (g *Gateway) sweep(ctx context.Context, targets []Target) (usable int) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	for i := range targets {
		t := &targets[i]
		wg.Go(func() {
			never := func(capability) bool { return false }
			if c := once(g.paths, g.paths.known, t.Name(), t.Name(), never, func() capability { return capabilities(ctx, t) }); c.ok && len(c.types) > 0 {
				mu.Lock()
				usable++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return usable
}

// watchSlots finds the path of every page of ours to come.
func (g *Gateway) watchSlots(ctx context.Context) {
	if g.Schedule.Ready() != nil {
		return
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	gate := make(chan struct{}, probesAtOnce)
	count := map[string]int{}
	for _, id := range g.upcoming() {
		gate <- struct{}{}
		wg.Go(func() {
			defer func() { <-gate }()
			ctx, cancel := context.WithTimeout(ctx, 2*probeTimeout)
			defer cancel()
			why := whyOffered
			if err := g.offered(ctx, id); err != nil {
				why = fault.Code(err)
			}
			mu.Lock()
			count[why]++
			mu.Unlock()
		})
	}
	wg.Wait()
	if ctx.Err() == nil {
		g.announce(count)
	}
}

// upcoming are the pages of ours that are still to come, near first.
func (g *Gateway) upcoming() (ids []commitments.PageID) {
	now := g.Clock.Slot()
	for s := now + 1; s <= now+phase0.Slot(g.MaxSlotsAhead); s++ {
		if id, ours := g.page(s); ours {
			ids = append(ids, id)
		}
	}
	return ids
}

// offered says what stands against a promise of any type on a page; nil if nothing does.
func (g *Gateway) offered(ctx context.Context, id commitments.PageID) (last error) {
	for _, m := range g.Modules() {
		if _, last = g.path(ctx, id, m.Info().ConstraintTypes); last == nil {
			return nil
		}
	}
	return last
}

// announce tells of the slots that are offered, and of every target that begins or
// ceases to be a path.
func (g *Gateway) announce(count map[string]int) {
	g.Metrics.slots(count)
	targets, now := g.Targets(), map[string]string{}
	for i := range targets {
		now[targets[i].Name()] = g.whyNow(&targets[i])
	}
	g.mu.Lock()
	before := g.states
	g.states = now
	g.mu.Unlock()
	for name, why := range now {
		if before[name] == why {
			continue
		}
		g.Metrics.path(name, before[name], why)
		if why == whyOK {
			g.Log.Info("A path for promises", "relay", name, "offered", count[whyOffered])
		} else {
			g.Log.Warn("No path for promises", "relay", name, "reason", why, "offered", count[whyOffered])
		}
	}
}

// whyNow says what keeps a target from being a path for the next page of ours that
// it serves; whyOK if there is none.
func (g *Gateway) whyNow(t *Target) (why string) {
	for _, id := range g.upcoming() {
		if !slices.ContainsFunc(g.TargetsFor(id.Proposer), func(o Target) bool { return o.Name() == t.Name() }) {
			continue
		}
		for _, m := range g.Modules() {
			if why = g.why(t, id, m.Info().ConstraintTypes); why == whyOK {
				return why
			}
		}
		return why
	}
	return whyOK
}

// forget drops what is known of relays that are no longer configured, and of slots
// that are over.
func (p *paths) forget(keep []Target, now phase0.Slot) {
	names, bids := map[string]bool{}, map[string]bool{}
	for i := range keep {
		names[keep[i].Name()] = true
		for _, r := range keep[i].bids() {
			bids[r.Name()] = true
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.known, func(name string, _ capability) bool { return !names[name] })
	maps.DeleteFunc(p.proofs, func(name string, _ capability) bool { return !bids[name] })
	maps.DeleteFunc(p.read, func(k slotOf, _ capability) bool { return !names[k.relay] || k.slot < now })
}
