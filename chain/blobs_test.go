package chain

import (
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/params"
)

// TestSpec_BlobParams compares the rule with every schedule that execution
// clients have by name.
func TestSpec_BlobParams(t *testing.T) {
	s, _ := Named("mainnet")
	for name, c := range map[string]struct {
		epoch phase0.Epoch
		want  *params.BlobConfig
	}{
		"Deneb":   {269568, params.DefaultCancunBlobConfig},
		"Electra": {364032, params.DefaultPragueBlobConfig},
		"Fulu":    {411392, params.DefaultPragueBlobConfig},
		"BPO1":    {412672, params.DefaultBPO1BlobConfig},
		"BPO2":    {419072, params.DefaultBPO2BlobConfig},
	} {
		got := s.BlobParams(phase0.Slot(c.epoch * 32))
		if want := (BlobParams{c.want.Target, c.want.Max, c.want.UpdateFraction}); got != want || !got.Known() {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
	}
	for _, p := range []BlobParams{{}, {6, 9, 0}, {-1, 9, 1}, {10, 9, 1}, {6, maxBlobs + 1, 1}, {-9, -6, 1}} {
		if p.Known() {
			t.Errorf("%+v is known", p)
		}
	}
	if p := (Spec{SlotsPerEpoch: 32, Blobs: []BlobsAt{{0, 0}}}).BlobParams(5); p.Known() {
		t.Errorf("no blobs: got %+v", p)
	}
}
