package app

import (
	"context"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
	"sidecar/internal/beacon"
	"sidecar/internal/events"
	"sidecar/modules"
)

// makeEvents makes the log of events and the watcher that fills it, together
// with the Builder API.
func (p *promises) makeEvents(a *App) (err error) {
	p.events, err = events.New(events.Config{
		Dir: filepath.Join(a.config.Data.Path, "events"), Clock: a.clock, Log: a.log.With("part", "events"),
		Lost: events.NewMetrics(a.metrics),
	})
	p.watcher = &watcher{
		clock: a.clock, spec: a.spec, duties: p.schedule.Duties, block: a.beacon.Block, log: a.log.With("part", "events"),
		told: map[phase0.Slot]phase0.BLSPubKey{}, open: map[phase0.Slot]*watched{},
	}
	if err == nil {
		p.watcher.publish = p.events.Publish
	}
	return err
}

// Duties implements modules.Schedule.
func (s schedule) Duties() (out []modules.Duty) {
	for _, d := range s.Upcoming() {
		out = append(out, modules.Duty{Slot: d.Slot, Proposer: d.Pubkey, Index: d.Index})
	}
	return out
}

// delivered notes a block that a relay took.
func (p *promises) delivered(slot phase0.Slot, index phase0.ValidatorIndex, hash phase0.Hash32, relay string) {
	proposer, _ := p.schedule.Pubkey(index) // zero if the duty is forgotten
	p.events.Publish(modules.Event{Kind: modules.EventPayloadDelivered, Slot: slot, Proposer: proposer, BlockHash: hash, Relay: relay})
}

// watcher tells of our duties, and of what became of them. After a restart it
// tells of the duties to come once more; what became of earlier ones is then
// not told.
type watcher struct {
	clock   *chain.Clock
	spec    chain.Spec
	duties  func() []modules.Duty
	block   func(ctx context.Context, slot phase0.Slot) (beacon.BlockInfo, error)
	publish func(modules.Event)
	log     *slog.Logger

	told map[phase0.Slot]phase0.BLSPubKey // duties told; Run's own
	open map[phase0.Slot]*watched         // slots whose block may still change; Run's own
}

// watched is one of our slots.
type watched struct {
	proposer phase0.BLSPubKey
	looked   int // times, of lookAfter
	said     modules.EventKind
	hash     phase0.Hash32
}

// lookAfter says how many slots later a slot's block is looked at: a change
// between two looks is a reorganisation. After the last, an epoch on, none is
// looked for.
var lookAfter = []phase0.Slot{1, 2, 4, 8, 32}

// forget is how old a slot is when its duty, and a look that failed, are forgotten.
const forget = 64

// Run looks once a slot, in its middle, until ctx ends.
func (w *watcher) Run(ctx context.Context) error {
	for {
		next := w.clock.Start(w.clock.Slot() + 1).Add(w.spec.SlotDuration / 2)
		t := time.NewTimer(w.clock.Until(next))
		select {
		case <-t.C:
			w.look(ctx, w.clock.Slot())
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
	}
}

func (w *watcher) look(ctx context.Context, now phase0.Slot) {
	for _, d := range w.duties() {
		if w.told[d.Slot] != d.Proposer {
			w.told[d.Slot] = d.Proposer
			w.open[d.Slot] = &watched{proposer: d.Proposer}
			w.publish(modules.Event{Kind: modules.EventDuty, Slot: d.Slot, Proposer: d.Proposer})
		}
	}
	for slot := range w.told {
		if slot+forget < now {
			delete(w.told, slot)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, w.spec.SlotDuration)
	defer cancel()
	for slot, one := range w.open {
		if now >= slot+lookAfter[one.looked] {
			w.became(ctx, slot, one)
		}
		if one.looked == len(lookAfter) || slot+forget < now {
			delete(w.open, slot)
		}
	}
}

// became asks what became of a slot. Without an answer it is asked again.
func (w *watcher) became(ctx context.Context, slot phase0.Slot, one *watched) {
	b, err := w.block(ctx, slot)
	if err != nil || b.Optimistic {
		w.log.Debug("A slot's block is not known yet", "slot", uint64(slot), "error", err)
		return
	}
	one.looked++
	kind := modules.EventBlockSeen
	if b.Missed {
		kind = modules.EventBlockMissed
	}
	if kind == one.said && b.ExecutionHash == one.hash {
		return
	}
	if one.said != "" {
		w.publish(modules.Event{Kind: modules.EventReorg, Slot: slot, Proposer: one.proposer, BlockHash: one.hash})
	}
	one.said, one.hash = kind, b.ExecutionHash
	w.publish(modules.Event{Kind: kind, Slot: slot, Proposer: one.proposer, BlockHash: b.ExecutionHash})
}
