package builderapi

import (
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
)

// TestHeader_Heard: whoever watches hears every relay's last bid after the answer,
// refused ones as such, also when no bid was good.
func TestHeader_Heard(t *testing.T) {
	for name, minimum := range map[string]uint64{"a winner": 6, "no bid": 100} {
		t.Run(name, func(t *testing.T) {
			var heard []Bid
			watch := func(c *Config) {
				c.MinBid.SetUint64(minimum)
				c.Heard = func(id commitments.PageID, bids []Bid) { heard = append(heard, bids...) }
			}
			run(t, 3, watch, func(b *bench) {
				b.offer(0, 10*time.Millisecond, 5, nil, nil)
				b.offer(1, 20*time.Millisecond, 9, nil, nil)
				resp, _ := b.header(0, nil)
				if len(heard) != 0 {
					t.Fatal("told before the answer left")
				}
				if resp.After == nil {
					t.Fatal("nobody is told")
				}
				resp.After()
				for _, h := range heard {
					if h.Relay == "" || h.BlockHash == (phase0.Hash32{}) || h.Refused != (h.Value.Uint64() < minimum) {
						t.Errorf("heard %+v", h)
					}
				}
				if len(heard) != 2 {
					t.Errorf("heard %d bids, want one of each relay that gave one", len(heard))
				}
			})
		})
	}
}
