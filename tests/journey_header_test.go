package tests

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	builderv1 "github.com/attestantio/go-builder-client/api/v1"
	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/holiman/uint256"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/internal/devnet"
	"sidecar/internal/simnet"
)

// journeyBudget is what relays have for a bid in these journeys, and
// journeySlack what a busy machine may add to it.
const (
	journeyBudget = 300 * time.Millisecond
	journeySlack  = 150 * time.Millisecond
)

var journeyBudgetLine = fmt.Sprintf("timeout_get_header_ms = %d", journeyBudget.Milliseconds())

// wait waits until a time into a slot.
func (j *journey) wait(slot phase0.Slot, into time.Duration) error {
	t := time.NewTimer(max(0, into-j.net.Clock.Into(slot)))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-j.ctx.Done():
		return j.ctx.Err()
	}
}

// journeyHeaderCalls are the calls of getHeader at a relay for one slot.
func journeyHeaderCalls(r *simnet.Relay, slot phase0.Slot) (out []simnet.Call) {
	for _, c := range r.Calls("header") {
		if strings.Contains(c.Path, "/header/"+strconv.FormatUint(uint64(slot), 10)+"/") {
			out = append(out, c)
		}
	}
	return out
}

// journeyHeaderFaults breaks relays in every way a network can. What is broken
// costs its own bid and never the time, and without any bid the node's own
// block goes out in the same slot.
func journeyHeaderFaults(t *testing.T) {
	j := journeyStart(t, simnet.Options{SSZ: true, Relays: make([]simnet.RelayOptions, 3)}, devnet.Options{ProposeOnly: true, PBS: journeyBudgetLine})
	j.ready()
	silent, slow := simnet.Fault{Silent: true}, simnet.Fault{Delay: 100 * time.Millisecond}
	for _, scene := range []struct {
		name   string
		on     string          // the broken endpoint
		faults [3]simnet.Fault // of each relay
		source simnet.Source
		relay  string
		within time.Duration
	}{
		{"one is silent", "header", [3]simnet.Fault{silent}, simnet.FromBuilder, "relay-1", journeyBudget},
		{"one is slow, in time", "header", [3]simnet.Fault{slow}, simnet.FromBuilder, "relay-0", journeyBudget},
		{"two are too slow", "header", [3]simnet.Fault{{Delay: 2 * journeyBudget}, {Delay: time.Hour}}, simnet.FromBuilder, "relay-2", journeyBudget},
		{"one hangs up, one fails", "header", [3]simnet.Fault{{Drop: true}, {Status: 500}}, simnet.FromBuilder, "relay-2", 0},
		{"all are silent", "header", [3]simnet.Fault{silent, silent, silent}, simnet.FromLocal, "", journeyBudget},
		{"all hang up, whatever is asked", "", [3]simnet.Fault{{Drop: true}, {Drop: true}, {Drop: true}}, simnet.FromLocal, "", 0},
		{"no relay has a bid", "header", [3]simnet.Fault{{Status: 204}, {Status: 204}, {Status: 204}}, simnet.FromLocal, "", 0},
		{"all are well again", "", [3]simnet.Fault{}, simnet.FromBuilder, "relay-0", 0},
	} {
		j.play(scene.name, func(slot phase0.Slot) error {
			for i, r := range j.net.Relays {
				r.Break(scene.on, scene.faults[i])
				defer r.Break(scene.on, simnet.Fault{})
			}
			o, err := j.outcome(slot, scene.source, scene.relay)
			if err == nil && o.HeaderTook > scene.within+journeySlack {
				err = fmt.Errorf("the header took %v, want at most %v", o.HeaderTook, scene.within)
			}
			return err
		})
	}
	if got := j.metric("sidecar_headers_total", `outcome="no_bid"`); got < 3 {
		t.Errorf("%v headers without a bid in the metrics, want 3", got)
	}
	if got := j.metric("sidecar_bids_total", `relay="relay-0"`, `verdict="relay_timeout"`); got < 2 {
		t.Errorf("%v timeouts of relay-0 in the metrics, want 2", got)
	}
}

// journeyGames plays timing games with one relay: its first request is late, it
// is asked again and again, and its latest bid counts.
func journeyGames(t *testing.T) {
	const first, every = 100 * time.Millisecond, 40 * time.Millisecond
	j := journeyStart(t, simnet.Options{SSZ: true, Relays: make([]simnet.RelayOptions, 2)}, devnet.Options{
		ProposeOnly: true, PBS: "timeout_get_header_ms = 400",
		RelayLines: func(i int, _ *simnet.Relay) string {
			if i > 0 {
				return ""
			}
			return fmt.Sprintf("enable_timing_games = true\ntarget_first_request_ms = %d\nfrequency_get_header_ms = %d", first.Milliseconds(), every.Milliseconds())
		},
	})
	j.ready()
	early, late := uint256.NewInt(2e16), uint256.NewInt(5e16)
	set := func(v *uint256.Int) { j.net.Relays[0].Set(func(k *simnet.RelayKnobs) { k.Value = v }) }
	j.play("the latest bid wins", func(slot phase0.Slot) error {
		set(early)
		if err := j.wait(slot, 250*time.Millisecond); err != nil {
			return err
		}
		set(late)
		o, err := j.outcome(slot, simnet.FromBuilder, "relay-0")
		if err != nil {
			return err
		}
		calls := journeyHeaderCalls(j.net.Relays[0], slot)
		switch {
		case !o.Value.Eq(late):
			return fmt.Errorf("value %s, want the later bid's", o.Value)
		case len(calls) < 4:
			return fmt.Errorf("relay-0 was asked %d times", len(calls))
		case o.HeaderTook > 400*time.Millisecond+journeySlack:
			return fmt.Errorf("the header took %v", o.HeaderTook)
		}
		if at := calls[0].At.Sub(j.net.Clock.Start(slot)); at < first-time.Millisecond {
			return fmt.Errorf("relay-0 was asked %v into the slot", at)
		}
		if n := len(journeyHeaderCalls(j.net.Relays[1], slot)); n != 1 {
			return fmt.Errorf("relay-1 was asked %d times", n)
		}
		return nil
	})
}

// journeyMinimum holds bids against min_bid_eth, to the wei, and listens to a
// relay's header stream, which that relay does not have.
func journeyMinimum(t *testing.T) {
	j := journeyStart(t, simnet.Options{Relays: make([]simnet.RelayOptions, 1)}, devnet.Options{
		ProposeOnly: true, PBS: "min_bid_eth = 0.005", RelayLines: func(int, *simnet.Relay) string { return `get_header = "stream"` },
	})
	for _, scene := range []struct {
		wei    uint64
		source simnet.Source
	}{{5e15, simnet.FromBuilder}, {5e15 - 1, simnet.FromLocal}, {5e15 + 1, simnet.FromBuilder}} {
		j.play(fmt.Sprintf("a bid of %d wei", scene.wei), func(slot phase0.Slot) error {
			j.net.Relays[0].Set(func(k *simnet.RelayKnobs) { k.Value = uint256.NewInt(scene.wei) })
			_, err := j.outcome(slot, scene.source, "")
			return err
		})
	}
	if j.metric("sidecar_bids_total", `relay="relay-0"`, `verdict="bid_below_minimum"`) == 0 {
		t.Error("no bid was refused for its value")
	}
}

// journeyLate has a beacon node that asks too late for a builder's block to be
// safe: no relay is asked.
func journeyLate(t *testing.T) {
	j := journeyStart(t, simnet.Options{Offset: journeySlot / 2}, devnet.Options{ProposeOnly: true, PBS: "timeout_get_header_ms = 200\nlate_in_slot_time_ms = 400"})
	j.play("late", func(slot phase0.Slot) error {
		_, err := j.outcome(slot, simnet.FromLocal, "")
		return err
	})
	if n := j.net.Relays[0].Counts()["header"]; n != 0 {
		t.Errorf("the relay was asked %d times", n)
	}
	if j.metric("sidecar_headers_total", `outcome="late"`) == 0 {
		t.Error("no header counts as late")
	}
}

// journeyExtra compares bids with their parents on the execution node. A builder
// that does not move the gas limit where the proposer wants it is refused; an
// execution node that is gone costs the check and not the bid.
func journeyExtra(t *testing.T) {
	j := journeyChain(t, simnet.Options{SSZ: true})
	node := journeyTapTo(t, j.net.Execution.URL)
	j.start(devnet.Options{ProposeOnly: true, PBS: journeyBudgetLine + "\nextra_validation_enabled = true\nrpc_url = \"" + node.URL + "\""})
	j.play("an honest bid", func(slot phase0.Slot) error {
		_, err := j.outcome(slot, simnet.FromBuilder, "")
		return err
	})
	if n := j.metric("sidecar_parent_unknown_total"); n > 1 {
		t.Errorf("%v parents unknown while the node was there", n)
	}
	j.register(36_000_000)
	j.play("a bid of another gas limit", func(slot phase0.Slot) error {
		_, err := j.outcome(slot, simnet.FromLocal, "")
		return err
	})
	if j.metric("sidecar_bids_total", `verdict="bid_gas_limit"`) == 0 {
		t.Error("no bid was refused for its gas limit")
	}
	node.set(func(p *journeyTap) { p.cut = true })
	j.play("the execution node is gone", func(slot phase0.Slot) error {
		before := j.metric("sidecar_parent_unknown_total")
		if _, err := j.outcome(slot, simnet.FromBuilder, ""); err != nil {
			return err
		}
		if j.metric("sidecar_parent_unknown_total") == before {
			return errors.New("the parent was known")
		}
		return nil
	})
}

// register registers the first validator with another gas limit than the
// proposer does, and later than it ever will.
func (j *journey) register(gasLimit uint64) {
	j.Helper()
	v := j.net.Validators[0]
	m := &builderv1.ValidatorRegistration{
		FeeRecipient: bellatrix.ExecutionAddress(v.FeeRecipient), GasLimit: gasLimit,
		Timestamp: time.Unix(j.net.Clock.Now().Unix()+1_000_000, 0), Pubkey: v.Pubkey,
	}
	root, err := m.HashTreeRoot()
	if err != nil {
		j.Fatal(err)
	}
	all := builderv1.SignedValidatorRegistrations{Registrations: []*builderv1.SignedValidatorRegistration{{
		Message: m, Signature: v.Key.Sign(commitments.SigningData(root, j.net.Spec.Domain(chain.DomainBuilder))),
	}}}
	body, err := all.MarshalSSZ()
	if err != nil {
		j.Fatal(err)
	}
	status, answer, err := journeyCall(http.MethodPost, j.car.BuilderURL+"/eth/v1/builder/validators", "application/octet-stream", body)
	if err != nil || status != http.StatusOK {
		j.Fatalf("register: %d %s %v", status, answer, err)
	}
}
