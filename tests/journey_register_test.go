package tests

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	builderv1 "github.com/attestantio/go-builder-client/api/v1"
	apielectra "github.com/attestantio/go-eth2-client/api/v1/electra"
	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/internal/devnet"
	"sidecar/internal/simnet"
)

// journeyMux gives one of three validators a relay of its own. That relay hears
// of nobody else, and the default relays never hear of that validator: neither
// its registration, nor its requests, nor its blocks.
func journeyMux(ssz bool) func(*testing.T) {
	return func(t *testing.T) {
		j := journeyChain(t, simnet.Options{SSZ: ssz, Validators: 3, Relays: make([]simnet.RelayOptions, 3)})
		for _, r := range j.net.Relays {
			r.Set(func(k *simnet.RelayKnobs) { k.CheckKeys = true })
		}
		muxed, private := j.net.Validators[1].Pubkey, j.net.Relays[2]
		j.start(devnet.Options{
			ProposeOnly: true, DefaultOnly: []int{0, 1},
			Mux: fmt.Sprintf("[[mux]]\nid = \"own\"\nvalidator_pubkeys = [%q]\n[[mux.relays]]\nid = %q\nurl = %q", muxed.String(), private.Name, private.ConfigURL()),
		})
		tap := j.tap()
		for _, want := range []struct {
			relay string
			mine  bool
		}{{"relay-2", true}, {"relay-0", false}} {
			_, err := j.net.WaitOutcome(j.ctx, func(o simnet.Outcome) bool {
				return o.Source == simnet.FromBuilder && o.Err == nil && o.Relay == want.relay && (o.Proposer == muxed) == want.mine
			})
			if err != nil {
				t.Fatalf("no block of relay %s, own %v: %v %+v", want.relay, want.mine, err, j.net.Outcomes())
			}
		}
		sent := tap.exchanges(http.MethodPost, "/eth/v1/builder/validators")
		if len(sent) == 0 {
			t.Fatal("no registration came by")
		}
		for i, r := range j.net.Relays {
			for _, c := range r.Calls("register") {
				j.checkScope(r, c, sent[0], ssz, i == 2, muxed)
			}
			for _, c := range r.Calls("header") {
				if strings.Contains(c.Path, muxed.String()) != (i == 2) {
					t.Errorf("%s was asked for %s", r.Name, c.Path)
				}
			}
			for _, c := range r.Calls("submit_v2") {
				if b := journeyBlock(t, c.Header, c.Body); (b.Message.ProposerIndex == 1) != (i == 2) {
					t.Errorf("%s was given a block of validator %d", r.Name, b.Message.ProposerIndex)
				}
			}
		}
	}
}

// checkScope holds a registration call against who may be in it. The bytes of
// each are those that were sent.
func (j *journey) checkScope(r *simnet.Relay, c simnet.Call, sent journeyExchange, ssz, own bool, muxed phase0.BLSPubKey) {
	j.Helper()
	got := journeyRegistrations(j.T, c.Header, c.Body)
	want := 2
	if own {
		want = 1
	}
	if len(got) != want || c.Status != http.StatusOK {
		j.Errorf("%s was given %d registrations, want %d (%d)", r.Name, len(got), want, c.Status)
	}
	for _, one := range got {
		if (one.Message.Pubkey == muxed) != own {
			j.Errorf("%s was told of %s", r.Name, one.Message.Pubkey)
		}
	}
	parts := [][]byte{}
	if !ssz {
		var raw []json.RawMessage
		if err := json.Unmarshal(c.Body, &raw); err != nil {
			j.Fatal(err)
		}
		for _, one := range raw {
			parts = append(parts, one)
		}
	} else {
		for part := range slices.Chunk(c.Body, len(c.Body)/max(len(got), 1)) {
			parts = append(parts, part)
		}
	}
	for _, one := range parts {
		// The first registration, before the tap, may be of another second.
		if c.At.Unix() == got[0].Message.Timestamp.Unix() && bytes.Contains(sent.body, []byte(got[0].Signature.String())) && !bytes.Contains(sent.body, one) {
			j.Errorf("%s was given other bytes than the validator signed", r.Name)
		}
	}
}

// journeyRegistrations decodes a body by its content type.
func journeyRegistrations(t *testing.T, h http.Header, body []byte) []*builderv1.SignedValidatorRegistration {
	t.Helper()
	var all builderv1.SignedValidatorRegistrations
	var err error
	if h.Get("Content-Type") == "application/octet-stream" {
		err = all.UnmarshalSSZ(body)
	} else {
		err = json.Unmarshal(body, &all.Registrations)
	}
	if err != nil {
		t.Fatal(err)
	}
	return all.Registrations
}

// journeyBlock decodes a signed blinded block since Electra.
func journeyBlock(t *testing.T, h http.Header, body []byte) *apielectra.SignedBlindedBeaconBlock {
	t.Helper()
	b := new(apielectra.SignedBlindedBeaconBlock)
	var err error
	if h.Get("Content-Type") == "application/octet-stream" {
		err = b.UnmarshalSSZ(body)
	} else {
		err = json.Unmarshal(body, b)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// journeyEncodings has one relay that speaks JSON only and one that speaks SSZ
// only. Each gets everything in its own way, with the same content; the one
// whose way is the proposer's gets the bytes.
func journeyEncodings(ssz bool) func(*testing.T) {
	return func(t *testing.T) {
		j := journeyStart(t, simnet.Options{SSZ: ssz, SlotsPerEpoch: 2, Validators: 2, Relays: []simnet.RelayOptions{
			{Knobs: simnet.RelayKnobs{NoSSZ: true, CheckKeys: true}}, {Knobs: simnet.RelayKnobs{NoJSON: true, CheckKeys: true}},
		}}, devnet.Options{ProposeOnly: true})
		tap := j.tap()
		j.play("the relay of JSON wins", func(slot phase0.Slot) error {
			_, err := j.outcome(slot, simnet.FromBuilder, "relay-0")
			return err
		})
		j.net.Relays[0].Break("header", simnet.Fault{Drop: true})
		j.play("the relay of SSZ wins", func(slot phase0.Slot) error {
			_, err := j.outcome(slot, simnet.FromBuilder, "relay-1")
			return err
		})
		blocks, registrations := tap.exchanges(http.MethodPost, "/eth/v2/"), tap.exchanges(http.MethodPost, "/eth/v1/builder/validators")
		if len(blocks) == 0 || len(registrations) == 0 {
			t.Fatalf("%d blocks and %d registrations came by", len(blocks), len(registrations))
		}
		for i, r := range j.net.Relays {
			own := (i == 1) == ssz
			for _, e := range blocks {
				want := journeyRoot(t, journeyBlock(t, e.header, e.body))
				j.eventually(r.Name+" has the block", func() bool {
					return slices.ContainsFunc(r.Calls("submit_v2"), func(c simnet.Call) bool {
						return c.Status == http.StatusAccepted && (!own || bytes.Equal(c.Body, e.body)) && journeyRoot(t, journeyBlock(t, c.Header, c.Body)) == want
					})
				})
			}
			for _, e := range registrations {
				j.eventually(r.Name+" has the registrations", func() bool {
					return slices.ContainsFunc(r.Calls("register"), func(c simnet.Call) bool {
						return c.Status == http.StatusOK && (!own || bytes.Equal(c.Body, e.body)) &&
							journeySame(journeyRegistrations(t, c.Header, c.Body), journeyRegistrations(t, e.header, e.body))
					})
				})
			}
		}
		refused := 0
		for _, c := range j.net.Relays[0].Calls("register") {
			if c.Status == http.StatusUnsupportedMediaType {
				refused++
			}
		}
		// The first registrations may come together with the first epoch's: both
		// are then on their way before the relay has said no.
		if ssz && (refused < 1 || refused > 2) {
			t.Errorf("relay-0 refused SSZ %d times of %d; once tells enough", refused, len(registrations))
		}
	}
}

// journeyRoot names a block with its signature.
func journeyRoot(t *testing.T, b *apielectra.SignedBlindedBeaconBlock) phase0.Root {
	t.Helper()
	root, err := b.HashTreeRoot()
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func journeySame(a, b []*builderv1.SignedValidatorRegistration) bool {
	return slices.EqualFunc(a, b, func(a, b *builderv1.SignedValidatorRegistration) bool {
		x, errX := a.HashTreeRoot()
		y, errY := b.HashTreeRoot()
		return errX == nil && errY == nil && x == y
	})
}

// journeyAllDown begins with no relay at all. The node is told so, goes on with
// blocks of its own, and is served once the relays come back.
func journeyAllDown(t *testing.T) {
	j := journeyChain(t, simnet.Options{Relays: make([]simnet.RelayOptions, 2), SlotsPerEpoch: 2})
	down := func(f simnet.Fault) {
		for _, r := range j.net.Relays {
			r.Break("", f)
		}
	}
	down(simnet.Fault{Drop: true})
	j.start(devnet.Options{ProposeOnly: true})
	tap := j.tap()
	j.eventually("the node is told that no relay took its registrations", func() bool {
		return slices.ContainsFunc(tap.exchanges(http.MethodPost, "/eth/v1/builder/validators"), func(e journeyExchange) bool {
			return e.status == http.StatusBadGateway && strings.Contains(string(e.answer), `"reason":"no_relay"`)
		})
	})
	if status, answer, err := journeyCall(http.MethodGet, tap.URL+"/eth/v1/builder/status", "", nil); err != nil || status != http.StatusServiceUnavailable {
		t.Errorf("status: %d %s %v", status, answer, err)
	}
	j.play("no relay", func(slot phase0.Slot) error {
		_, err := j.outcome(slot, simnet.FromLocal, "")
		return err
	})
	down(simnet.Fault{})
	j.ready()
}
