package builderapi

import (
	"context"
	"testing"
	"time"

	"sidecar/commitments"
	"sidecar/internal/relay"
)

// TestHeader_PageStillOpen: while a page may still get a promise no header is
// served for it, for nothing would make its block keep that promise. Without
// promises a call may come as early as it likes.
func TestHeader_PageStillOpen(t *testing.T) {
	for _, tt := range []struct {
		name     string
		promises bool
		early    time.Duration
		served   bool
	}{
		{"no promises", false, 10 * time.Second, true},
		{"page may grow", true, 2001 * time.Millisecond, false},
		{"page has settled", true, 2 * time.Second, true},
		{"a moment before the slot", true, time.Millisecond, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run(t, 1, func(c *Config) {
				c.PageSettles = 2 * time.Second
				if tt.promises {
					c.Pages = promised{}
					c.Modules = verifier(func(context.Context, commitments.Candidate) error { return nil })
				}
			}, func(b *bench) {
				time.Sleep(12*time.Second - tt.early)
				b.offer(0, 0, 5, nil, nil)
				if resp, _ := b.header(1, nil); (resp.Status != 204) != tt.served {
					t.Errorf("got status %d, want served: %v", resp.Status, tt.served)
				}
			})
		})
	}
}

// TestHeader_BadBidOnTheHeels: a bad bid of a relay that comes right after its
// good one, before that was verified, does not take it out.
func TestHeader_BadBidOnTheHeels(t *testing.T) {
	run(t, 1, nil, func(b *bench) {
		r := b.relays[0]
		r.offers = func(_ context.Context, q relay.HeaderRequest, emit func(relay.Offer)) error {
			at := b.clock.Now()
			emit(relay.Offer{Bid: b.bid(r, q.Slot, 9, nil), Started: at})
			bad := b.bid(r, q.Slot, 50, nil)
			bad.Signature[5]++
			emit(relay.Offer{Bid: bad, Started: at.Add(time.Millisecond)})
			return nil
		}
		resp, _ := b.header(0, nil)
		if got := b.winner(resp); got == nil || got.Value.Uint64() != 9 {
			t.Fatalf("got %v, want the good bid of 9 wei", got)
		}
	})
}
