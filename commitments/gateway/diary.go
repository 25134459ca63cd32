package gateway

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/modules"
)

const (
	maxRemembered = 1 << 14 // requests whose times are kept
	maxSlotEvents = 64      // of one slot
	eventSlots    = 2048    // behind the newest are kept
)

// diary is what this process saw and the ledger does not tell: when requests
// came and answers left, and what the log of events says of our slots. It may
// be lost: then that is unknown.
type diary struct {
	clock *chain.Clock

	mu     sync.Mutex
	times  map[phase0.Hash32]times
	order  []phase0.Hash32 // of times, oldest first; a ring once it is full
	next   int             // in order
	inside map[phase0.Hash32]int
	events map[phase0.Slot][]modules.Event
	newest phase0.Slot // of events
	risks  map[phase0.Slot]map[phase0.Hash32][]commitments.Step
	edits  uint64 // of times and risks
}

func newDiary(clock *chain.Clock) *diary {
	return &diary{clock: clock, times: map[phase0.Hash32]times{}, inside: map[phase0.Hash32]int{}, events: map[phase0.Slot][]modules.Event{}, risks: map[phase0.Slot]map[phase0.Hash32][]commitments.Step{}}
}

// enter notes a request that is being worked on, until leave.
func (d *diary) enter(hash phase0.Hash32) {
	now := d.clock.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.inside[hash]++
	d.edit(hash, func(t *times) {
		if t.received.IsZero() {
			t.received = now
		}
	})
}

func (d *diary) leave(hash phase0.Hash32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.inside[hash]--; d.inside[hash] <= 0 {
		delete(d.inside, hash)
	}
}

// released notes that an answer was handed to the network; the first counts.
func (d *diary) released(hash phase0.Hash32) {
	now := d.clock.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.edit(hash, func(t *times) {
		if t.released.IsZero() {
			t.released = now
		}
	})
}

// edit changes the times of a request. The caller holds mu.
func (d *diary) edit(hash phase0.Hash32, change func(*times)) {
	d.edits++
	t, known := d.times[hash]
	change(&t)
	d.times[hash] = t
	switch {
	case known:
	case len(d.order) < maxRemembered:
		d.order = append(d.order, hash)
	default:
		delete(d.times, d.order[d.next])
		d.order[d.next] = hash
		d.next = (d.next + 1) % maxRemembered
	}
}

// version grows with every change of times and risks.
func (d *diary) version() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.edits
}

// of returns what is known of a request; inside says whether it is being worked on.
func (d *diary) of(hash phase0.Hash32) (t times, inside bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.times[hash], d.inside[hash] > 0
}

// about returns what happened in a slot of a proposer, in order.
func (d *diary) about(id commitments.PageID) (out []modules.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range d.events[id.Slot] {
		if e.Proposer == id.Proposer || e.Proposer.IsZero() { // a duty that was forgotten
			out = append(out, e)
		}
	}
	return out
}

// add keeps events of our slots.
func (d *diary) add(all []modules.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range all {
		if e.Kind == modules.EventDuty || len(d.events[e.Slot]) >= maxSlotEvents {
			continue
		}
		d.events[e.Slot] = append(d.events[e.Slot], e)
		d.newest = max(d.newest, e.Slot)
	}
	for slot := range d.events {
		if slot+eventSlots < d.newest {
			delete(d.events, slot)
		}
	}
}

// forget drops all events: they come once more.
func (d *diary) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.events)
}

// follow reads the log of events until ctx ends.
func (g *Gateway) follow(ctx context.Context) {
	if g.Events == nil {
		return
	}
	for seq := uint64(0); ctx.Err() == nil; {
		all, err := g.Events.After(ctx, seq)
		switch {
		case err == nil && len(all) > 0:
			g.diary.add(all)
			seq = all[len(all)-1].Seq
			g.hub.look()
		case errors.Is(err, modules.ErrCursor): // the log is another: begin again
			g.diary.forget()
			seq = 0
			pause(ctx, time.Second)
		default:
			pause(ctx, time.Second)
		}
	}
}
