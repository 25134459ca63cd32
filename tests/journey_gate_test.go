package tests

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"

	"sidecar/commitments"
	"sidecar/internal/devnet"
	"sidecar/internal/simnet"
)

// wantOf is want for one transaction of another searcher.
func (j *journey) wantOf(account int, slot phase0.Slot) (p journeyPromise, err error) {
	s := j.net.SearcherOf(account)
	p.slot = slot
	if p.tx, err = s.Transaction(common.Address{0x5e, 0xa6}, big.NewInt(1e15)); err == nil {
		p.req, err = s.Request(slot, p.tx)
	}
	return p, err
}

// promise wants one transaction in a slot and has it promised.
func (j *journey) promise(slot phase0.Slot) (journeyPromise, error) {
	p, err := j.want(slot, 1)
	if err == nil {
		err = p[0].ask(j.car.GatewayURL)
	}
	if err != nil {
		return journeyPromise{}, err
	}
	return p[0], nil
}

// withheld is why a slot is not offered, by the gateway's capabilities; "" if it is.
func (j *journey) withheld(slot phase0.Slot) (reason, detail, path string, err error) {
	status, text, err := journeyCall(http.MethodGet, j.car.GatewayURL+"/commitments/v0/gateway/capabilities", "", nil)
	var c commitments.Capabilities
	if err == nil && status == http.StatusOK {
		err = json.Unmarshal(text, &c)
	}
	if err != nil || status != http.StatusOK {
		return "", "", "", fmt.Errorf("capabilities: %d %s %w", status, text, err)
	}
	for _, w := range c.Withheld {
		if w.Slot == uint64(slot) {
			reason, detail = w.Reason, w.Detail
		}
	}
	for _, s := range c.Slots {
		if s.Slot == uint64(slot) {
			path = s.Path
		}
	}
	return reason, detail, path, nil
}

// proofCalls counts the requests for a slot's bid with proofs. A probe, long before
// the slot, names no parent.
func proofCalls(r *simnet.Relay, slot phase0.Slot) (n int) {
	for _, c := range r.Calls("header_with_proofs") {
		if strings.Contains(c.Path, "/"+strconv.FormatUint(uint64(slot), 10)+"/") && !strings.Contains(c.Path, "/0x"+strings.Repeat("00", 32)+"/") {
			n++
		}
	}
	return n
}

// until waits for something to be true before a slot begins.
func (j *journey) until(slot phase0.Slot, is func() bool) error {
	for j.net.Clock.Slot() < slot {
		if is() {
			return nil
		}
		if err := j.net.WaitSlot(j.ctx, j.net.Clock.Slot()+1); err != nil {
			return err
		}
	}
	return fmt.Errorf("not before slot %d", slot)
}

// journeyForeign has a second machine with our validator's key delegate a slot: it
// is stopped with an alarm, and ours never delegates it. What a relay made up stops
// nothing.
func journeyForeign(t *testing.T) {
	j := journeyStart(t, simnet.Options{SSZ: true}, devnet.Options{PBS: journeyBudgetLine})
	j.ready()
	relay, stranger := j.net.Relays[0], j.net.Relays[0].Pubkey
	foreign := func(result string) float64 {
		return j.metric("sidecar_foreign_delegations_total", `result="`+result+`"`)
	}
	j.play("a forged delegation", func(slot phase0.Slot) error {
		slot += 6
		d, err := j.net.Delegate(slot, stranger, [20]byte{1}, true)
		if err == nil {
			err = relay.PlantDelegation(d)
		}
		if err != nil {
			return err
		}
		if err := j.until(slot, func() bool { return foreign("forged") > 0 }); err != nil {
			return err
		}
		_, err = j.promise(j.net.Clock.Slot() + 2)
		return err
	})
	j.play("another delegate", func(slot phase0.Slot) error {
		slot += 6
		d, err := j.net.Delegate(slot, stranger, [20]byte{1}, false)
		if err == nil {
			err = relay.PlantDelegation(d)
		}
		if err != nil {
			return err
		}
		before := foreign("stopped")
		if err := j.until(slot, func() bool { return foreign("stopped") > before }); err != nil {
			return err
		}
		if err := j.refuses(slot, "foreign_delegation"); err != nil {
			return err
		}
		if reason, _, _, err := j.withheld(slot); err != nil || reason != "foreign_delegation" {
			return fmt.Errorf("capabilities: withheld for %q, %w", reason, err)
		}
		if _, err := j.outcome(slot, simnet.FromBuilder, ""); err != nil { // proposals go on
			return err
		}
		if n := len(journeyBodiesOf(relay, "delegate", slot)); n != 0 {
			return fmt.Errorf("%d delegations of ours for the stopped slot", n)
		}
		return nil
	})
}

// journeyRefusal has one of two relays refuse a promise's constraints. It is not
// asked for a bid of that slot, however much it would pay, and the other's wins.
func journeyRefusal(t *testing.T) {
	j := journeyStart(t, simnet.Options{
		SSZ: true, Relays: []simnet.RelayOptions{{Constraints: true}, {Constraints: true}},
		Builders: []simnet.BuilderOptions{{Relays: []int{0}}, {Relays: []int{1}}},
	}, devnet.Options{PBS: journeyBudgetLine})
	j.ready()
	refuser := j.net.Relays[0]
	var kept journeyPromise
	j.play("the other's bid wins", func(slot phase0.Slot) (err error) {
		refuser.Break("constraints", simnet.Fault{Status: 400})
		if kept, err = j.promise(slot + 1); err != nil {
			return err
		}
		if _, err := j.outcome(slot+1, simnet.FromBuilder, "relay-1"); err != nil {
			return err
		}
		switch {
		case j.index(kept) < 0:
			return errors.New("the transaction is not in the block")
		case refuser.BestValue(slot+1) == nil:
			return errors.New("the refuser had no bid")
		case proofCalls(refuser, slot+1) != 0:
			return fmt.Errorf("the refuser was asked for %d bids", proofCalls(refuser, slot+1))
		case len(journeyBodiesOf(refuser, "constraints", slot+1)) != 1:
			return errors.New("the refuser was sent other bytes, or none")
		}
		return nil
	})
	if t.Failed() {
		return
	}
	page := j.car.App.Ledger().Page(commitments.PageID{Slot: kept.slot, Proposer: j.net.ProposerOf(kept.slot).Pubkey})
	said := map[string]string{}
	for _, n := range page.Notes {
		if n.Kind == commitments.NoteReceipt && n.What["message"] == "constraints" {
			said[n.What["relay"]] = n.What["outcome"] + " " + n.What["reason"]
		}
	}
	if said["relay-0"] != "refused relay_http_4xx" || said["relay-1"] != "accepted " {
		t.Errorf("receipts: %v", said)
	}
	j.verdict(kept, "kept")
	refuser.Break("constraints", simnet.Fault{})
	j.play("the refuser is asked again in another slot", func(slot phase0.Slot) error {
		if _, err := j.promise(slot + 1); err != nil {
			return err
		}
		if _, err := j.outcome(slot+1, simnet.FromBuilder, ""); err != nil {
			return err
		}
		if proofCalls(refuser, slot+1) == 0 {
			return errors.New("it was not asked")
		}
		return nil
	})
}

// journeyUnproven has a relay take constraints and return bids without proofs, in
// two slots: it is no path any more. When it proves a bid that was promised before,
// it is one again.
func journeyUnproven(t *testing.T) {
	j := journeyStart(t, simnet.Options{SSZ: true, Accounts: 32}, devnet.Options{PBS: journeyBudgetLine})
	j.ready()
	account := 0
	fresh := func(slot phase0.Slot) error { // an account whose promises are not still open
		account++
		p, err := j.wantOf(account, slot)
		if err == nil {
			err = p.ask(j.car.GatewayURL)
		}
		return err
	}
	off := func() bool { return j.metric("sidecar_relay_unproven", `relay="relay-0"`) == 1 }
	j.play("two unproven bids", func(slot phase0.Slot) error {
		j.net.Builders[0].Set(func(k *simnet.BuilderKnobs) { k.Lie = simnet.NoProofs })
		err := fresh(slot + 5)
		for s := slot + 1; err == nil && s <= slot+3 && !off(); s++ { // one to spare, for a busy machine
			if err = fresh(s); err == nil {
				_, err = j.outcome(s, simnet.FromLocal, "")
			}
		}
		switch {
		case err != nil:
			return err
		case !off():
			return errors.New("the relay is not off")
		}
		if err := j.refuses(j.net.Clock.Slot()+3, "no_path"); err != nil {
			return err
		}
		if _, detail, _, err := j.withheld(j.net.Clock.Slot() + 3); err != nil || !strings.Contains(detail, "relay-0 unproven_bids") {
			return fmt.Errorf("capabilities: withheld for %q, %w", detail, err)
		}
		j.net.Builders[0].Set(func(k *simnet.BuilderKnobs) { k.Lie = simnet.Honest })
		if _, err := j.outcome(slot+5, simnet.FromBuilder, "relay-0"); err != nil {
			return err
		}
		if off() {
			return errors.New("a proven bid, and the relay is still off")
		}
		return fresh(j.net.Clock.Slot() + 2)
	})
}

// journeyTwo has two validators of ours propose in consecutive slots: each has its
// own page, delegation and constraints, and both promises are kept. A third one is
// sold through another protocol and never offered.
func journeyTwo(t *testing.T) {
	j := journeyChain(t, simnet.Options{SSZ: true, Validators: 3})
	sold := j.net.Validators[2].Pubkey
	j.start(devnet.Options{PBS: journeyBudgetLine, Gateway: fmt.Sprintf("[[gateway.exclusive]]\nprotocol = \"mev-commit\"\nvalidators = [%q]", sold.String())})
	j.ready()
	var kept []journeyPromise
	j.play("consecutive slots", func(slot phase0.Slot) error {
		who := func(s phase0.Slot) phase0.BLSPubKey { return j.net.ProposerOf(s).Pubkey }
		for slot++; who(slot) == who(slot+1) || who(slot) == sold || who(slot+1) == sold; slot++ {
		}
		if err := j.wait(slot-1, 0); err != nil { // the epoch is known by then
			return err
		}
		kept = nil
		for i := range 2 {
			p, err := j.wantOf(i, slot+phase0.Slot(i))
			if err == nil {
				err = p.ask(j.car.GatewayURL)
			}
			if err != nil {
				return err
			}
			kept = append(kept, p)
		}
		for _, p := range kept {
			if _, err := j.outcome(p.slot, simnet.FromBuilder, ""); err != nil {
				return err
			}
			if j.index(p) < 0 {
				return fmt.Errorf("the transaction is not in the block of slot %d", p.slot)
			}
			page := j.car.App.Ledger().Page(commitments.PageID{Slot: p.slot, Proposer: who(p.slot)})
			if page.Delegation == nil || page.Delegation.Message.Proposer != who(p.slot) || page.Constraints == nil || len(page.Constraints.Message.Constraints) != 1 {
				return fmt.Errorf("page of slot %d: %+v", p.slot, page)
			}
		}
		return nil
	})
	for _, p := range kept {
		j.verdict(p, "kept")
	}
	j.play("a validator that is sold elsewhere", func(slot phase0.Slot) error {
		slot = j.next(slot+1, sold)
		if err := j.refuses(slot, "sold_elsewhere", "too_early"); err != nil {
			return err
		}
		if reason, detail, _, err := j.withheld(slot); err != nil || reason != "sold_elsewhere" || !strings.Contains(detail, "mev-commit") {
			return fmt.Errorf("withheld for %q (%s), %w", reason, detail, err)
		}
		if _, err := j.outcome(slot, simnet.FromBuilder, ""); err != nil {
			return err
		}
		if n := len(journeyBodiesOf(j.net.Relays[0], "delegate", slot)); n != 0 {
			return fmt.Errorf("%d delegations of a slot that is sold elsewhere", n)
		}
		return nil
	})
}

// journeyBuilder has no relay that takes constraints. A builder does, and its bids
// come through a relay, with their proofs.
func journeyBuilder(t *testing.T) {
	j := journeyChain(t, simnet.Options{SSZ: true, Relays: []simnet.RelayOptions{{Constraints: true}, {Constraints: true, Name: "builder"}}})
	relay, builder := j.net.Relays[0], j.net.Relays[1]
	j.start(devnet.Options{
		PBS: journeyBudgetLine, DefaultOnly: []int{0}, Untold: []int{0},
		Gateway: fmt.Sprintf("[[gateway.builders]]\nid = \"trusted\"\nurl = %q\nrelays = [\"relay-0\"]", builder.ConfigURL()),
	})
	j.ready()
	var kept journeyPromise
	j.play("a promise through the builder", func(slot phase0.Slot) (err error) {
		if _, _, path, err := j.withheld(slot + 1); err != nil || path != "trusted_builder" {
			return fmt.Errorf("path %q, %w", path, err)
		}
		if kept, err = j.promise(slot + 1); err != nil {
			return err
		}
		if _, err := j.outcome(slot+1, simnet.FromBuilder, "relay-0"); err != nil {
			return err
		}
		for _, endpoint := range []string{"delegate", "constraints"} {
			if a, b := len(journeyBodiesOf(builder, endpoint, slot+1)), len(relay.Calls(endpoint)); a != 1 || b != 0 {
				return fmt.Errorf("%s: %d messages at the builder, %d at the relay", endpoint, a, b)
			}
		}
		if j.index(kept) < 0 {
			return errors.New("the transaction is not in the block")
		}
		return nil
	})
	j.verdict(kept, "kept")
	if n := builder.Counts()["register"] + builder.Counts()["header"]; n != 0 {
		t.Errorf("the builder was asked %d times as a relay is", n)
	}
}

// journeyFabric has one relay, which speaks fabric's dialect and keeps fabric's
// rules. As fabric has it, without proofs, it is no path; in front of a relay that
// proves its bids it is one.
func journeyFabric(t *testing.T) {
	j := journeyChain(t, simnet.Options{SSZ: true, Relays: []simnet.RelayOptions{{Name: "fabric", Fabric: true, Knobs: simnet.RelayKnobs{NoProofRoute: true}}}})
	j.start(devnet.Options{PBS: journeyBudgetLine, Gateway: "fabric_lead_ms = 1"})
	j.ready()
	relay := j.net.Relays[0]
	j.play("without proofs", func(slot phase0.Slot) error {
		if err := j.refuses(slot+1, "no_path"); err != nil {
			return err
		}
		if _, detail, _, err := j.withheld(slot + 2); err != nil || !strings.Contains(detail, "fabric no_proofs") {
			return fmt.Errorf("withheld for %q, %w", detail, err)
		}
		return nil
	})
	relay.Set(func(k *simnet.RelayKnobs) { k.NoProofRoute = false })
	var kept journeyPromise
	j.play("with proofs", func(slot phase0.Slot) (err error) {
		if kept, err = j.promise(slot + 1); err != nil {
			return err
		}
		if _, err := j.outcome(slot+1, simnet.FromBuilder, "fabric"); err != nil {
			return err
		}
		for endpoint, slots := range map[string]string{"delegate": `"slot":%d,"metadata"`, "constraints": `"slot":%d,"constraints"`} {
			n := 0
			for _, c := range relay.Calls(endpoint) {
				if strings.Contains(string(c.Body), fmt.Sprintf(slots, slot+1)) && c.Status == http.StatusOK {
					n++
				}
			}
			if n != 1 {
				return fmt.Errorf("%s: taken %d times", endpoint, n)
			}
		}
		if j.index(kept) < 0 {
			return errors.New("the transaction is not in the block")
		}
		return nil
	})
	j.verdict(kept, "kept")
}
