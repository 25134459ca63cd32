package gateway

import (
	"context"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"sidecar/chain"
)

const (
	probeTimeout = time.Second
	probeAgain   = time.Second // after an error, when somebody asks
)

// paths remembers which constraint types each relay honours. A promise is made
// only if some relay, asked lately, honours all it needs.
type paths struct {
	clock  *chain.Clock
	every  time.Duration // between two probes by Run
	spawn  func(func(context.Context)) bool
	flight singleflight.Group

	mu    sync.Mutex
	known map[string]capability // by relay name
}

type capability struct {
	types []uint64
	at    time.Time
	ok    bool // the relay answered
}

func newPaths(clock *chain.Clock, slot time.Duration) *paths {
	return &paths{clock: clock, every: max(slot, time.Second), known: map[string]capability{}}
}

// exist says whether a relay honours every one of types. It asks the relays that
// nobody has asked lately, all at once.
func (p *paths) exist(ctx context.Context, relays []Relay, types []uint64) bool {
	var ask []Relay
	for _, r := range relays {
		if !r.HonoursConstraints() {
			continue
		}
		c, fresh := p.cached(r.Name())
		if fresh && covers(c, types) {
			return true
		}
		if !fresh {
			ask = append(ask, r)
		}
	}
	found := make(chan bool, len(ask))
	for _, r := range ask { // a probe outlives the caller who began it: its answer serves the next
		if !p.spawn(func(ctx context.Context) { found <- covers(p.probe(ctx, r, false), types) }) {
			return false
		}
	}
	for range ask {
		select {
		case <-ctx.Done():
			return false
		case ok := <-found:
			if ok {
				return true
			}
		}
	}
	return false
}

func covers(c capability, types []uint64) bool {
	return c.ok && !slices.ContainsFunc(types, func(t uint64) bool { return !slices.Contains(c.types, t) })
}

func (p *paths) cached(name string) (capability, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c, ok := p.known[name]
	age := p.clock.Now().Sub(c.at)
	return c, ok && (c.ok && age < 4*p.every || !c.ok && age < probeAgain)
}

// probe asks one relay; callers at the same time share the question. Without
// again, an answer that came meanwhile will do.
func (p *paths) probe(ctx context.Context, r Relay, again bool) capability {
	v, _, _ := p.flight.Do(r.Name(), func() (any, error) {
		if c, fresh := p.cached(r.Name()); fresh && !again {
			return c, nil
		}
		ctx, cancel := context.WithTimeout(ctx, probeTimeout)
		defer cancel()
		types, err := r.Capabilities(ctx)
		c := capability{types, p.clock.Now(), err == nil}
		p.mu.Lock()
		p.known[r.Name()] = c
		p.mu.Unlock()
		return c, nil
	})
	c, _ := v.(capability)
	return c
}

// run probes the relays now and then, until ctx ends.
func (p *paths) run(ctx context.Context, relays func() []Relay, count func(int)) {
	for ctx.Err() == nil {
		var wg sync.WaitGroup
		var mu sync.Mutex
		usable, names := 0, map[string]bool{}
		for _, r := range relays() {
			if !r.HonoursConstraints() {
				continue
			}
			names[r.Name()] = true
			wg.Go(func() {
				if c := p.probe(ctx, r, true); c.ok && len(c.types) > 0 {
					mu.Lock()
					usable++
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		count(usable)
		p.forget(names)
		pause(ctx, p.every)
	}
}

// forget drops relays that are no longer configured.
func (p *paths) forget(keep map[string]bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name := range p.known {
		if !keep[name] {
			delete(p.known, name)
		}
	}
}
