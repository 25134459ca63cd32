package builderapi

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/internal/relay"
	"sidecar/internal/wire"
)

// TestHeader_SameBlockTwice: two relays offer one block and only one of the bids
// is verified. Both are known to have it: either's word is a delivery.
func TestHeader_SameBlockTwice(t *testing.T) {
	run(t, 3, nil, func(b *bench) {
		one := func(bid *wire.Bid) { bid.Header.BlockHash = phase0.Hash32{9} }
		b.offer(0, 10*time.Millisecond, 5, one, nil)
		b.offer(1, 10*time.Millisecond, 5, one, nil)
		b.offer(2, 10*time.Millisecond, 4, nil, nil)
		if got := b.winner(first(b.header(0, nil))); got == nil || got.Header.BlockHash != (phase0.Hash32{9}) {
			t.Fatalf("got %v", got)
		}
		offer, ok := b.service.offered.of(phase0.Hash32{9})
		if !ok || len(offer.relays) != 2 {
			t.Fatalf("offered by %v, want a and b", offer.relays)
		}
		b.relays[0].submit, b.relays[1].submit = refuses(relay.Err5xx), takes(nil)
		b.relays[2].submit = refuses(relay.Err4xx)
		start := time.Now()
		if _, err := b.hand(b.block(0, 9), true); err != nil || time.Since(start) != 0 {
			t.Fatalf("got %v after %v", err, time.Since(start))
		}
	})
}

func first[T, U any](v T, _ U) T { return v }

// TestBlock_RefusedByItsRelay: a relay that refuses in good time what it offered
// has withheld it. Late in the slot relays refuse every block.
func TestBlock_RefusedByItsRelay(t *testing.T) {
	for _, tt := range []struct {
		into  time.Duration
		boxed bool
	}{{100 * time.Millisecond, true}, {5 * time.Second, false}} {
		run(t, 2, func(c *Config) { c.Penalty = Penalty{Misses: 1, Slots: 4} }, func(b *bench) {
			time.Sleep(tt.into)
			b.offeredBy(9, 0)
			b.relays[0].submit, b.relays[1].submit = refuses(relay.Err4xx), refuses(relay.Err4xx)
			if _, err := b.hand(b.block(0, 9), false); err == nil {
				t.Fatal("delivered by nobody")
			}
			synctest.Wait()
			if got := b.service.box.holds("a", 1); got != tt.boxed {
				t.Errorf("%v into the slot: in the box %v, want %v", tt.into, got, tt.boxed)
			}
			if b.service.box.holds("b", 1) {
				t.Error("a relay that offered nothing is in the box")
			}
		})
	}
}

// TestBlock_RefusedAfterDelivery: once a block is delivered, another relay that
// offered it may refuse it, as one that is out already: that is no miss.
func TestBlock_RefusedAfterDelivery(t *testing.T) {
	run(t, 2, func(c *Config) { c.Penalty = Penalty{Misses: 1, Slots: 4} }, func(b *bench) {
		b.offeredBy(9, 0, 1)
		b.relays[0].submit = takes(nil)
		b.relays[1].submit = func(ctx context.Context, _ int) (*wire.Payload, error) {
			sleep(ctx, 200*time.Millisecond)
			return nil, relay.Err4xx
		}
		if _, err := b.hand(b.block(0, 9), true); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if b.service.box.holds("b", 1) {
			t.Error("a relay is in the box for a block that was out already")
		}
	})
}
