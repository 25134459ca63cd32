package builderapi

import (
	"context"
	"testing"

	"sidecar/commitments"
)

// A bid whose proof takes all the time there is costs itself, and not the good
// bid below it: on a page with promises a 204 would break them.
func TestHeader_SlowProofOnTop(t *testing.T) {
	run(t, 3, func(c *Config) {
		c.Pages = promised{commitments.Page{Promises: make([]commitments.Promise, 1)}}
		c.Modules = verifier(func(ctx context.Context, cand commitments.Candidate) error {
			if cand.Source == "c" {
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		})
	}, func(b *bench) {
		for i := range b.relays {
			b.relays[i].constraints = true
			b.offer(i, 0, uint64(9-i), nil, nil)
		}
		resp, took := b.header(0, map[string]string{"X-Timeout-Ms": "100"})
		if got := b.winner(resp); got == nil || got.Value.Uint64() != 7 {
			t.Fatalf("got %v after %v, want the bid of 7 wei", got, took)
		}
	})
}
