package tests

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/holiman/uint256"

	"sidecar/internal/devnet"
	"sidecar/internal/simnet"
)

// journeyMuxPromise has validators with relays of their own. A promise travels
// with its validator: only the relays that its bids come from hear of it, and
// without one among them that honours constraints none is made.
func journeyMuxPromise(t *testing.T) {
	j := journeyChain(t, simnet.Options{SSZ: true, Validators: 3, Relays: []simnet.RelayOptions{{Constraints: true}, {Constraints: true}, {}}})
	table := func(i int) string {
		r := j.net.Relays[i]
		return fmt.Sprintf("[[mux]]\nid = \"of-%d\"\nvalidator_pubkeys = [%q]\n[[mux.relays]]\nid = %q\nurl = %q\nconstraints = %v\nconstraints_dialect = \"spec\"\n",
			i, j.net.Validators[i].Pubkey.String(), r.Name, r.ConfigURL(), r.Constraints)
	}
	j.start(devnet.Options{PBS: journeyBudgetLine, DefaultOnly: []int{0}, Mux: table(1) + table(2)})
	j.ready()
	for _, i := range []int{1, 0} {
		relay, other := j.net.Relays[i], j.net.Relays[1-i]
		j.play("a promise through "+relay.Name, func(slot phase0.Slot) error {
			slot = j.next(slot+1, j.net.Validators[i].Pubkey)
			if err := j.wait(slot-2, 0); err != nil { // its epoch is known by then
				return err
			}
			p, err := j.wantOf(i, slot) // a searcher without a promise that is still open
			if err == nil {
				err = p.ask(j.car.GatewayURL)
			}
			if err != nil {
				return err
			}
			if _, err := j.outcome(slot, simnet.FromBuilder, relay.Name); err != nil {
				return err
			}
			if j.index(p) < 0 {
				return fmt.Errorf("the transaction is not in the block of slot %d", slot)
			}
			for _, endpoint := range []string{"delegate", "constraints"} {
				if a, b := len(journeyBodiesOf(relay, endpoint, slot)), len(journeyBodiesOf(other, endpoint, slot)); a != 1 || b != 0 {
					t.Errorf("%s: %d messages at %s and %d at %s", endpoint, a, relay.Name, b, other.Name)
				}
			}
			return nil
		})
	}
	j.play("no path", func(slot phase0.Slot) error {
		return j.refuses(j.next(slot+1, j.net.Validators[2].Pubkey), "no_path")
	})
}

// journeySoak lets relays and builders misbehave at random, slot after slot,
// with a promise in most of them. Whatever they do: no slot is lost, a bid that
// breaks a promise is never taken, and every verdict is what the chain says.
// JOURNEY_SEED plays another story, JOURNEY_SLOTS a longer one.
func journeySoak(t *testing.T) {
	number := func(name string, otherwise uint64) uint64 {
		if n, err := strconv.ParseUint(os.Getenv(name), 10, 64); err == nil {
			return n
		}
		return otherwise
	}
	seed := number("JOURNEY_SEED", 1)
	random := rand.New(rand.NewPCG(seed, seed)) // #nosec G404 -- a story
	t.Logf("seed %d", seed)
	j := journeyStart(t, simnet.Options{
		SSZ: true, SlotsPerEpoch: 4, Validators: 3, Relays: []simnet.RelayOptions{{Constraints: true}, {Constraints: true}, {}},
		Builders: []simnet.BuilderOptions{{Relays: []int{0, 1, 2}}, {Relays: []int{1, 2}}},
	}, devnet.Options{PBS: journeyBudgetLine})
	j.ready()
	promised := map[phase0.Slot]journeyPromise{}
	slots := number("JOURNEY_SLOTS", 14)
	for first := j.net.Clock.Slot() + 1; j.net.Clock.Slot() < first+phase0.Slot(slots); {
		slot := j.net.Clock.Slot() + 1
		if err := j.wait(slot, 0); err != nil {
			t.Fatal(err)
		}
		j.misbehave(random)
		if random.IntN(4) > 0 {
			// One open promise at a time: the next has the nonce of a broken one.
			if p, err := j.want(slot+1, 1); err == nil && p[0].ask(j.car.GatewayURL) == nil {
				promised[slot+1] = p[0]
			}
		}
	}
	j.mend()
	if _, err := j.net.OutcomeOf(j.ctx, j.net.Clock.Slot()+1); err != nil {
		t.Fatal(err)
	}
	sources := map[simnet.Source]int{}
	for _, o := range j.net.Outcomes() {
		p, ok := promised[o.Slot]
		if !ok {
			continue
		}
		sources[o.Source]++
		in := j.index(p) >= 0
		if o.Source == simnet.FromBuilder && !in {
			t.Errorf("slot %d: the block of relay %s breaks a promise", o.Slot, o.Relay)
		}
		want := "broken"
		if in {
			want = "kept"
		} else if o.Source == simnet.Missed {
			continue // the machine was too slow
		}
		j.verdict(p, want)
	}
	t.Logf("%d promises: %v", len(promised), sources)
	if sources[simnet.FromBuilder] == 0 {
		t.Error("no promise was kept: there was nothing to see")
	}
}

// misbehave turns every relay and builder to something, honesty being likeliest.
func (j *journey) misbehave(r *rand.Rand) {
	for i, relay := range j.net.Relays {
		k := simnet.RelayKnobs{}
		if i > 0 { // relay-0 is silent or slow at worst: one path is honest
			switch r.IntN(8) {
			case 0:
				k.BadSignature, k.Value = true, uint256.NewInt(9e16)
			case 1:
				k.FalseProofs = true
			case 2:
				k.NoProofs = true
			case 3:
				k.WrongParent = true
			}
		}
		relay.Set(func(to *simnet.RelayKnobs) { *to = k })
		f := [...]simnet.Fault{{}, {}, {}, {Silent: true}, {Drop: true}, {Status: 500}, {Delay: 100 * time.Millisecond}, {Status: 200, ContentType: "application/json", Body: []byte(`{"data":`)}}[r.IntN(8)]
		relay.Break("header", f)
		relay.Break("header_with_proofs", f)
	}
	lie := [...]simnet.Lie{simnet.Honest, simnet.NoProofs, simnet.OtherTransaction, simnet.OtherHeader}[r.IntN(4)]
	j.net.Builders[1].Set(func(k *simnet.BuilderKnobs) { k.Lie = lie })
}

// mend ends all misbehaviour.
func (j *journey) mend() {
	for _, relay := range j.net.Relays {
		relay.Set(func(k *simnet.RelayKnobs) { *k = simnet.RelayKnobs{} })
		relay.Break("header", simnet.Fault{})
		relay.Break("header_with_proofs", simnet.Fault{})
	}
	j.net.Builders[1].Set(func(k *simnet.BuilderKnobs) { k.Lie = simnet.Honest })
}
