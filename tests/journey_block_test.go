package tests

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/holiman/uint256"

	"sidecar/chain"
	"sidecar/internal/devnet"
	"sidecar/internal/simnet"
)

const (
	journeyV1 = "/eth/v1/builder/blinded_blocks"
	journeyV2 = "/eth/v2/builder/blinded_blocks"
)

// journeyDeliver has two relays with the same block, of which the first does not
// deliver, in every way there is: the second does.
func journeyDeliver(fork chain.Fork) func(*testing.T) {
	return func(t *testing.T) {
		j := journeyStart(t, simnet.Options{Fork: fork, SSZ: fork >= chain.Fulu, Relays: make([]simnet.RelayOptions, 2)},
			devnet.Options{ProposeOnly: true, PBS: "[pbs.penalty]\nmisses = 0"})
		j.ready()
		scenes := []struct {
			name  string
			knobs simnet.RelayKnobs
			fault simnet.Fault
		}{
			{"fails", simnet.RelayKnobs{}, simnet.Fault{Status: 500}},
			{"refuses", simnet.RelayKnobs{}, simnet.Fault{Status: 400}},
			{"hangs up", simnet.RelayKnobs{}, simnet.Fault{Drop: true}},
			{"is silent", simnet.RelayKnobs{}, simnet.Fault{Silent: true}},
			{"withholds", simnet.RelayKnobs{Withhold: true}, simnet.Fault{}},
			{"delivers another block", simnet.RelayKnobs{WrongPayload: true}, simnet.Fault{}},
		}
		if fork >= chain.Fulu {
			scenes = scenes[:4] // in v2 a lie shows on the chain only
		}
		for _, scene := range scenes {
			j.play("relay-0 "+scene.name, func(slot phase0.Slot) error {
				before := j.metric("sidecar_relay_undelivered_total", `relay="relay-0"`)
				j.net.Relays[0].Set(func(k *simnet.RelayKnobs) { *k = scene.knobs })
				journeyBreakBlocks(j.net.Relays[0], scene.fault)
				defer journeyBreakBlocks(j.net.Relays[0], simnet.Fault{})
				o, err := j.outcome(slot, simnet.FromBuilder, "")
				if err != nil {
					return err
				}
				if o.BlockTook > journeySlot/2 {
					return fmt.Errorf("the block took %v", o.BlockTook)
				}
				j.eventually("relay-0 counts as having failed", func() bool {
					return j.metric("sidecar_relay_undelivered_total", `relay="relay-0"`) > before
				})
				return nil
			})
		}
		if n := j.metric("sidecar_relay_undelivered_total", `relay="relay-1"`); n != 0 {
			t.Errorf("relay-1 has not delivered %v blocks", n)
		}
	}
}

// journeyBreakBlocks breaks both routes for blocks: what a relay does not take over
// v2 it is given over v1.
func journeyBreakBlocks(r *simnet.Relay, f simnet.Fault) {
	r.Break("submit_v1", f)
	r.Break("submit_v2", f)
}

// journeyPenalty has a relay that alone has the best block, and does not deliver
// it. The slot is lost, which no sidecar can change; the next ones are not that
// relay's, until its time in the box is over.
func journeyPenalty(name string, fork chain.Fork, knobs simnet.RelayKnobs, fault simnet.Fault) journeyOf {
	return journeyOf{"block/penalty for " + name, func(t *testing.T) {
		const slots = 2
		path := journeyV1
		if fork >= chain.Fulu {
			path = journeyV2
		}
		j := journeyStart(t, simnet.Options{
			Fork: fork, SlotDuration: 2 * time.Second, // a block is tried until the end of its slot, and for a second at least
			Relays:   make([]simnet.RelayOptions, 2),
			Builders: []simnet.BuilderOptions{{Relays: []int{0}, Knobs: simnet.BuilderKnobs{Payment: uint256.NewInt(5e16)}}, {Relays: []int{1}}},
		}, devnet.Options{ProposeOnly: true, PBS: fmt.Sprintf("[pbs.penalty]\nmisses = 1\nslots = %d", slots)})
		j.mayLose = true
		tap := j.tap()
		relay := j.net.Relays[0]
		relay.Set(func(k *simnet.RelayKnobs) { *k = knobs })
		journeyBreakBlocks(relay, fault)
		lost, err := j.net.WaitOutcome(j.ctx, func(o simnet.Outcome) bool { return o.Relay == "relay-0" })
		if err != nil {
			t.Fatal(err)
		}
		if lost.Source != simnet.Missed {
			t.Errorf("slot %d is %s, want it lost", lost.Slot, lost.Source)
		}
		j.eventually("relay-0 is in the box", func() bool { return j.metric("sidecar_relay_penalised", `relay="relay-0"`) == 1 })
		relay.Set(func(k *simnet.RelayKnobs) { *k = simnet.RelayKnobs{} })
		journeyBreakBlocks(relay, simnet.Fault{})
		// 500 and not 502, which one client takes for a success.
		if e := tap.exchanges(http.MethodPost, path); lost.BlockStatus != 0 && (len(e) != 1 || e[0].status != http.StatusInternalServerError || !strings.Contains(string(e[0].answer), `"reason":"no_payload"`)) {
			t.Errorf("the node was told %+v", e)
		}
		back, err := j.net.WaitOutcome(j.ctx, func(o simnet.Outcome) bool { return o.Slot > lost.Slot && o.Relay == "relay-0" })
		if err != nil {
			t.Fatal(err)
		}
		if back.Slot <= lost.Slot+slots || back.Source != simnet.FromBuilder {
			t.Errorf("relay-0 lost slot %d and was back in slot %d (%s)", lost.Slot, back.Slot, back.Source)
		}
		others := 0
		for slot := lost.Slot + 1; slot <= lost.Slot+slots; slot++ {
			if n := len(journeyHeaderCalls(relay, slot)); n != 0 {
				t.Errorf("relay-0 was asked %d times in slot %d, from the box", n, slot)
			}
			if o, err := j.outcome(slot, simnet.FromBuilder, "relay-1"); err == nil {
				others++
			} else {
				t.Logf("slot %d: %v, %v", slot, o.Source, err)
			}
		}
		if others == 0 {
			t.Error("relay-1 has not stood in for relay-0")
		}
		if n := j.metric("sidecar_relay_undelivered_total", `relay="relay-0"`); n != 1 {
			t.Errorf("%v blocks of relay-0 undelivered in the metrics, want 1", n)
		}
		if n := j.metric("sidecar_relay_penalised", `relay="relay-0"`); n != 0 {
			t.Error("relay-0 is still in the box in the metrics")
		}
	}}
}

// journeyWithheld has a relay that takes a block with 202 and publishes nothing.
// Nobody can see that in its answer; the beacon node's empty slot tells.
func journeyWithheld(t *testing.T) {
	j := journeyChain(t, simnet.Options{
		SlotDuration: time.Second, Relays: make([]simnet.RelayOptions, 2),
		Builders: []simnet.BuilderOptions{{Relays: []int{0}, Knobs: simnet.BuilderKnobs{Payment: uint256.NewInt(5e16)}}, {Relays: []int{1}}},
	})
	j.mayLose = true
	j.write(devnet.Options{ProposeOnly: true, PBS: "[pbs.penalty]\nmisses = 1\nslots = 4", Extra: fmt.Sprintf("[beacon]\nurl = %q", j.net.Beacon.URL)})
	j.run()
	relay := j.net.Relays[0]
	relay.Set(func(k *simnet.RelayKnobs) { k.Withhold = true })
	lost, err := j.net.WaitOutcome(j.ctx, func(o simnet.Outcome) bool { return o.Relay == "relay-0" && o.Source == simnet.Missed })
	if err != nil {
		t.Fatal(err)
	}
	relay.Set(func(k *simnet.RelayKnobs) { k.Withhold = false }) // a later block shows that the slot stayed empty
	if lost.BlockStatus != http.StatusAccepted {
		t.Errorf("the node was told %d, want 202: the relay said so", lost.BlockStatus)
	}
	j.eventually("relay-0 is in the box", func() bool { return j.metric("sidecar_relay_penalised", `relay="relay-0"`) == 1 })
	if _, err := j.net.WaitOutcome(j.ctx, func(o simnet.Outcome) bool {
		return o.Slot > lost.Slot && o.Relay == "relay-1" && o.Source == simnet.FromBuilder
	}); err != nil {
		t.Errorf("relay-1 has not stood in for relay-0: %v", err)
	}
}

// journeyStop stops the sidecar after a header was served: it waits for the
// block, and not much longer.
func journeyStop(t *testing.T) {
	j := journeyStart(t, simnet.Options{SSZ: true, Relays: make([]simnet.RelayOptions, 2)}, devnet.Options{ProposeOnly: true})
	tap := j.tap()
	j.ready()
	type end struct {
		err    error
		waited bool
		at     time.Time
	}
	ended := make(chan end, 1)
	tap.set(func(p *journeyTap) {
		p.before = func(r *http.Request) {
			if r.Method != http.MethodPost || r.URL.Path != journeyV2 {
				return
			}
			p.set(func(p *journeyTap) { p.before = nil })
			stopped := make(chan error, 1)
			go func() { stopped <- j.car.Stop() }()
			pause := time.NewTimer(journeySlot / 4)
			defer pause.Stop()
			select {
			case err := <-stopped:
				ended <- end{err: err}
			case <-pause.C:
				go func() { ended <- end{<-stopped, true, j.net.Clock.Now()} }()
			}
		}
	})
	o, err := j.net.WaitOutcome(j.ctx, func(o simnet.Outcome) bool { return o.BlockTook > journeySlot/4 })
	if err != nil {
		t.Fatal(err)
	}
	if o.Source != simnet.FromBuilder || o.BlockStatus != http.StatusAccepted || o.Err != nil {
		t.Errorf("the block was lost: %+v", o)
	}
	e := <-ended
	if e.err != nil || !e.waited {
		t.Errorf("the sidecar ended with %v, waited %v", e.err, e.waited)
	}
	if late := e.at.Sub(j.net.Clock.Start(o.Slot + 1)); late > 0 {
		t.Errorf("the sidecar stopped %v after its slot", late)
	}
	j.car = nil
	j.play("the node builds alone", func(slot phase0.Slot) error {
		o, err := j.net.OutcomeOf(j.ctx, slot)
		if err == nil && o.Source != simnet.FromLocal {
			err = fmt.Errorf("got %s, %w", o.Source, o.Err)
		}
		return err
	})
	j.run()
	begun := j.net.Clock.Slot()
	if _, err := j.net.WaitOutcome(j.ctx, func(o simnet.Outcome) bool { return o.Slot > begun && o.Source == simnet.FromBuilder }); err != nil {
		t.Error(err)
	}
}

// journeyRestart kills the sidecar between the header and the block. The new
// one knows nothing of it, gives the block to every relay, and it is on chain.
func journeyRestart(fork chain.Fork) func(*testing.T) {
	return func(t *testing.T) {
		j := journeyChain(t, simnet.Options{Fork: fork, Relays: make([]simnet.RelayOptions, 2)})
		j.mayLose = true // if the new one is not there in time; then once more
		j.write(devnet.Options{ProposeOnly: true})
		car := j.spawn()
		tap := journeyTapTo(t, car.BuilderURL)
		j.net.SetBuilderURL(tap.URL)
		j.ready()
		j.play("killed before the block", func(phase0.Slot) error {
			killed := make(chan phase0.Slot, 1)
			tap.set(func(p *journeyTap) {
				p.before = func(r *http.Request) {
					if r.Method != http.MethodPost || r.URL.Path != journeyV1 && r.URL.Path != journeyV2 {
						return
					}
					slot := j.net.Clock.Slot()
					car.Kill()
					next, err := j.launch()
					if err != nil {
						t.Errorf("start again: %v", err)
						return
					}
					car = next
					p.set(func(p *journeyTap) { p.target, p.before = car.BuilderURL, nil })
					j.net.SetBuilderURL(p.URL)
					killed <- slot
				}
			})
			select {
			case slot := <-killed:
				_, err := j.outcome(slot, simnet.FromBuilder, "")
				return err
			case <-j.ctx.Done():
				return j.ctx.Err()
			}
		})
		j.eventually("both relays have taken the block", func() bool {
			return journeyMetric(t, car.AdminURL, "sidecar_block_handovers_total", `outcome=""`) == 2
		})
		if err := car.Stop(); err != nil {
			t.Errorf("the sidecar ended with %v", err)
		}
	}
}
