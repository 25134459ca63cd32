package tests

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/internal/devnet"
	"sidecar/internal/simnet"
)

// refuses asks for one promise in a slot and wants it refused for a reason, in
// both forms of the API.
func (j *journey) refuses(slot phase0.Slot, reasons ...string) error {
	p, err := j.want(slot, 1)
	if err != nil {
		return err
	}
	_, rest := j.net.Searcher.AskREST(j.ctx, p[0].req)
	_, rpc := j.net.Searcher.AskRPC(j.ctx, p[0].req)
	for _, err := range []error{rest, rpc} {
		var no *simnet.Refusal
		is := func(reason string) bool { return strings.Contains(no.Body, `"reason":"`+reason+`"`) }
		if !errors.As(err, &no) || !slices.ContainsFunc(reasons, is) {
			return fmt.Errorf("slot %d: got %v, want one of %v", slot, err, reasons)
		}
	}
	return nil
}

// next is the first slot from one on that a validator proposes in.
func (j *journey) next(from phase0.Slot, who phase0.BLSPubKey) phase0.Slot {
	for j.net.ProposerOf(from).Pubkey != who {
		from++
	}
	return from
}

// journeyRefused asks for what cannot be promised. One of two validators is not
// ours: it proposes through the sidecar and is never promised for.
func journeyRefused(t *testing.T) {
	j := journeyStart(t, simnet.Options{SSZ: true, Validators: 2}, devnet.Options{PBS: journeyBudgetLine, Holds: []int{0}})
	j.ready()
	ours, others := j.net.Validators[0].Pubkey, j.net.Validators[1].Pubkey
	next := j.next
	for _, scene := range []struct {
		reason string
		slot   func(now phase0.Slot) phase0.Slot
		into   time.Duration // the slot, when it is asked
	}{
		{"not_our_slot", func(now phase0.Slot) phase0.Slot { return next(now+2, others) }, 0},
		{"too_late", func(now phase0.Slot) phase0.Slot { return now }, 0},
		{"too_late", func(now phase0.Slot) phase0.Slot { return now + 1 }, journeySlot * 6 / 10},
		{"too_early", func(now phase0.Slot) phase0.Slot { return next(now+40, ours) }, 0},
		{"inclusion_payload", func(phase0.Slot) phase0.Slot { return 0 }, 0},
	} {
		j.play(scene.reason, func(slot phase0.Slot) error {
			if err := j.wait(slot, scene.into); err != nil {
				return err
			}
			return j.refuses(scene.slot(slot), scene.reason)
		})
		if j.metric("sidecar_commitment_requests_total", `reason="`+scene.reason+`"`) == 0 {
			t.Errorf("%s is not in the metrics", scene.reason)
		}
	}
	j.play("beacon_syncing", func(slot phase0.Slot) error {
		j.net.Beacon.SetSyncing(true)
		defer j.net.Beacon.SetSyncing(false)
		if err := j.wait(slot+1, journeySlot/4); err != nil {
			return err
		}
		return j.refuses(next(slot+3, ours), "beacon_syncing")
	})
	for _, who := range []phase0.BLSPubKey{ours, others} {
		begun := j.net.Clock.Slot()
		if _, err := j.net.WaitOutcome(j.ctx, func(o simnet.Outcome) bool {
			return o.Slot >= begun && o.Proposer == who && o.Source == simnet.FromBuilder && o.Err == nil
		}); err != nil {
			t.Errorf("validator %#x does not propose: %v", who[:4], err)
		}
	}
	if n := j.car.App.Ledger().Len(); n != 0 {
		t.Errorf("%d entries in the ledger, and nothing was promised", n)
	}
}

// journeyNoPath begins without a relay that says it honours constraints; then
// nothing is promised. Once one does, promises are made.
func journeyNoPath(t *testing.T) {
	j := journeyChain(t, simnet.Options{Relays: []simnet.RelayOptions{{Constraints: true}, {}}})
	keeper := j.net.Relays[0]
	keeper.Break("capabilities", simnet.Fault{Status: 500})
	j.start(devnet.Options{PBS: journeyBudgetLine})
	j.ready()
	j.play("no path", func(slot phase0.Slot) error { return j.refuses(slot+1, "no_path") })
	keeper.Break("capabilities", simnet.Fault{})
	keeper.Set(func(k *simnet.RelayKnobs) { k.NoProofRoute = true })
	j.play("constraints, and no proofs", func(slot phase0.Slot) error {
		if err := j.refuses(slot+1, "no_path"); err != nil {
			return err
		}
		reason, detail, _, err := j.withheld(slot + 2)
		if err != nil || reason != "no_path" || !strings.Contains(detail, "relay-0 no_proofs") {
			return fmt.Errorf("withheld for %q (%s), %w", reason, detail, err)
		}
		return nil
	})
	j.eventually("the metrics say why", func() bool { return j.metric("sidecar_promise_slots", `reason="no_path"`) > 0 })
	keeper.Set(func(k *simnet.RelayKnobs) { k.NoProofRoute = false })
	var kept journeyPromise
	j.play("a path", func(slot phase0.Slot) error {
		p, err := j.want(slot+1, 1)
		if err == nil {
			err = p[0].ask(j.car.GatewayURL)
		}
		if err == nil {
			kept = p[0]
			_, err = j.outcome(slot+1, simnet.FromBuilder, "relay-0")
		}
		return err
	})
	j.verdict(kept, "kept")
}

// journeyNodesDown cuts the sidecar off from the execution node and then from
// the beacon node. Nothing new is promised, what was promised is judged later,
// and proposals go on.
func journeyNodesDown(t *testing.T) {
	j := journeyChain(t, simnet.Options{SSZ: true})
	execution, beacon := journeyTapTo(t, j.net.Execution.URL), journeyTapTo(t, j.net.Beacon.URL)
	j.start(devnet.Options{PBS: journeyBudgetLine, Execution: execution.URL, Beacon: beacon.URL})
	j.ready()
	var kept journeyPromise
	j.play("a promise before the cut", func(slot phase0.Slot) error {
		p, err := j.want(slot+1, 1)
		if err == nil {
			err = p[0].ask(j.car.GatewayURL)
		}
		if err != nil {
			return err
		}
		execution.set(func(p *journeyTap) { p.cut = true }) // before the cut-off: nothing of what follows needs the node
		if _, err = j.outcome(slot+1, simnet.FromBuilder, ""); err != nil {
			execution.set(func(p *journeyTap) { p.cut = false })
			return err
		}
		kept = p[0]
		return nil
	})
	j.play("no execution node", func(slot phase0.Slot) error { return j.refuses(slot+1, "execution_unavailable") })
	j.play("no execution node, and a block", func(slot phase0.Slot) error {
		_, err := j.outcome(slot, simnet.FromBuilder, "")
		return err
	})
	j.eventually("the audit cannot judge", func() bool { return j.metric("sidecar_audit_failures_total") > 0 })
	if n := j.metric("sidecar_promises_total"); n != 0 {
		t.Errorf("%v promises judged without a node", n)
	}
	execution.set(func(p *journeyTap) { p.cut = false })
	j.verdict(kept, "kept")

	beacon.set(func(p *journeyTap) { p.cut = true })
	beacon.CloseClientConnections()
	j.play("no beacon node", func(slot phase0.Slot) error {
		if err := j.wait(slot, 0); err != nil {
			return err
		}
		return j.refuses(slot+2, "beacon_unavailable")
	})
	j.play("no beacon node, and a block", func(slot phase0.Slot) error {
		_, err := j.outcome(slot, simnet.FromBuilder, "")
		return err
	})
	beacon.set(func(p *journeyTap) { p.cut = false })
	j.play("all is well again", func(slot phase0.Slot) error {
		p, err := j.want(slot+1, 1)
		if err == nil {
			err = p[0].ask(j.car.GatewayURL)
		}
		if err == nil {
			_, err = j.outcome(slot+1, simnet.FromBuilder, "")
		}
		return err
	})
}
