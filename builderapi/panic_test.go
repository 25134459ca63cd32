package builderapi

import (
	"context"
	"testing"
	"time"

	"sidecar/internal/relay"
	"sidecar/internal/wire"
)

// A bug that one relay's answer sets off costs that answer, not the process and
// with it the other relays' bids and blocks.
func TestPanic_OfOneRelay(t *testing.T) {
	run(t, 2, nil, func(b *bench) {
		b.relays[0].offers = func(context.Context, relay.HeaderRequest, func(relay.Offer)) error { panic("offers") }
		b.relays[0].registers = func(context.Context, int) error { panic("registers") }
		b.relays[0].submit = func(context.Context, int) (*wire.Payload, error) { panic("submit") }
		b.offer(1, 10*time.Millisecond, 7, nil, nil)
		b.relays[1].submit = takes(nil)

		resp, took := b.header(0, nil)
		if got := b.winner(resp); got == nil || got.Value.Uint64() != 7 || took != 10*time.Millisecond {
			t.Fatalf("header: got %v after %v, want the bid of 7 wei after 10 ms", got, took)
		}
		if _, err := b.register(registrationSSZ(1, 5)); err != nil {
			t.Fatalf("register: %v", err)
		}
		if _, err := b.hand(b.block(0, 9), true); err != nil {
			t.Fatalf("block: %v", err)
		}
	})
}
