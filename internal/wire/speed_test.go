package wire

import (
	"encoding/json"
	"testing"
	"time"

	builderelectra "github.com/attestantio/go-builder-client/api/electra"

	"sidecar/chain"
)

// The hot path allocates per message, never per field. (The race detector adds a few.)
func TestBid_Allocations(t *testing.T) {
	text := vector(t, "commit-boost/fulu_bid.json")
	ssz := mustBid(t, chain.Fulu, JSON, text).Encode(SSZ)
	regs := vector(t, "prysm/electra_registrations.json")
	dst := make([]Registration, 0, 128)
	bid := mustBid(t, chain.Fulu, SSZ, ssz)
	for _, tt := range []struct {
		name string
		want float64
		f    func()
	}{
		{"bid in json", 10, func() { _, _ = DecodeBid(chain.Fulu, JSON, text) }},
		{"bid in ssz", 5, func() { _, _ = DecodeBid(chain.Fulu, SSZ, ssz) }},
		{"root", 1, func() { bid.Root() }},
		{"pass on", 0, func() { bid.Encode(SSZ) }},
		{"64 registrations", 0, func() { _, _ = DecodeRegistrations(JSON, regs, dst) }},
	} {
		if got := testing.AllocsPerRun(20, tt.f); got > tt.want {
			t.Errorf("%s: got %v allocations, want %v", tt.name, got, tt.want)
		}
	}
}

// Decoding and hashing a bid takes a small part of what the spec's types take
// to decode it; the margin is wide, for the machine may be busy.
func TestBid_FasterThanSpecTypes(t *testing.T) {
	text := vector(t, "commit-boost/fulu_bid.json")
	now := chain.NewClock(chain.Spec{}, nil).Now
	least := func(d *time.Duration, f func()) {
		begin := now()
		f()
		if took := now().Sub(begin); *d == 0 || took < *d {
			*d = took
		}
	}
	var ours, spec time.Duration
	for range 40 {
		least(&ours, func() { mustBid(t, chain.Fulu, JSON, text).Root() })
		least(&spec, func() {
			var env struct {
				Data *builderelectra.SignedBuilderBid
			}
			if err := json.Unmarshal(text, &env); err != nil {
				t.Fatal(err)
			}
		})
	}
	t.Logf("ours %s, spec %s, ratio %.3f", ours, spec, float64(ours)/float64(spec))
	if ours*4 > spec {
		t.Errorf("got %s, want a quarter of %s", ours, spec)
	}
}
