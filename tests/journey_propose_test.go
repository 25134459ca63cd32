package tests

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/holiman/uint256"

	"sidecar/chain"
	"sidecar/internal/devnet"
	"sidecar/internal/simnet"
)

// journeyPropose is journeys a, b and c in one fork and one encoding, with a
// tap between the node and the sidecar: what a validator signed reaches every
// relay byte for byte, the best valid bid wins, and its block is on the chain.
func journeyPropose(fork chain.Fork, ssz bool) func(*testing.T) {
	return func(t *testing.T) {
		j := journeyStart(t, simnet.Options{Fork: fork, SSZ: ssz, Relays: make([]simnet.RelayOptions, 2)}, devnet.Options{ProposeOnly: true})
		for _, r := range j.net.Relays {
			r.Set(func(k *simnet.RelayKnobs) { k.CheckKeys = true })
		}
		tap := j.tap()
		for _, scene := range []struct {
			name   string
			knobs  simnet.RelayKnobs // of relay-1, which claims the higher value
			winner string
			reason string // why relay-1's bid is refused
		}{
			{"the best bid wins", simnet.RelayKnobs{}, "relay-1", ""},
			{"a bad signature", simnet.RelayKnobs{BadSignature: true}, "relay-0", "bid_signature"},
			{"another parent", simnet.RelayKnobs{WrongParent: true}, "relay-0", "bid_parent"},
		} {
			j.play(scene.name, func(slot phase0.Slot) error {
				scene.knobs.Value = uint256.NewInt(5e16)
				j.net.Relays[1].Set(func(k *simnet.RelayKnobs) { *k = scene.knobs })
				o, err := j.outcome(slot, simnet.FromBuilder, scene.winner)
				if err != nil {
					return err
				}
				if want := scene.knobs.Value; scene.winner == "relay-1" && !o.Value.Eq(want) {
					return fmt.Errorf("value %s, want %s", o.Value, want)
				}
				return nil
			})
			if scene.reason != "" && j.metric("sidecar_bids_total", `relay="relay-1"`, `verdict="`+scene.reason+`"`) == 0 {
				t.Errorf("%s: no bid refused for %s", scene.name, scene.reason)
			}
		}
		j.checkForwarded(tap, fork)
	}
}

// checkForwarded compares what the proposer sent with what the relays got.
func (j *journey) checkForwarded(tap *journeyTap, fork chain.Fork) {
	j.Helper()
	path, endpoint, want := "/eth/v1/builder/blinded_blocks", "submit_v1", http.StatusOK
	if fork >= chain.Fulu {
		path, endpoint, want = "/eth/v2/builder/blinded_blocks", "submit_v2", http.StatusAccepted
	}
	blocks, registrations := tap.exchanges(http.MethodPost, path), tap.exchanges(http.MethodPost, "/eth/v1/builder/validators")
	if len(blocks) < 3 || len(registrations) == 0 {
		j.Fatalf("%d blocks and %d registrations came by", len(blocks), len(registrations))
	}
	for _, b := range blocks {
		if b.status != want || want == http.StatusAccepted && len(b.answer) != 0 {
			j.Errorf("block answered %d with %d bytes, want %d", b.status, len(b.answer), want)
		}
	}
	for _, r := range registrations {
		if r.status != http.StatusOK || len(r.answer) != 0 {
			j.Errorf("registrations answered %d %q", r.status, r.answer)
		}
	}
	for _, r := range j.net.Relays {
		all := func(sent []journeyExchange, endpoint string) func() bool {
			return func() bool {
				got := journeyBodies(r.Calls(endpoint))
				for _, e := range sent {
					if !journeyHas(got, e.body) {
						return false
					}
				}
				return true
			}
		}
		j.eventually(r.Name+" has every block as it was signed", all(blocks, endpoint))
		j.eventually(r.Name+" has every registration as it was signed", all(registrations, "register"))
		for _, v := range j.net.Validators {
			if !r.Registered(v.Pubkey) {
				j.Errorf("%s does not know validator %d", r.Name, v.Index)
			}
		}
	}
}
