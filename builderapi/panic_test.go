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

// A bug that a node's answer sets off costs a check, not the bid.
type brokenNode struct{}

func (brokenNode) Parent(context.Context, phase0.Hash32) (Parent, error) { panic("parent") }
func (brokenNode) Missed(context.Context, phase0.Slot) (bool, error)     { panic("missed") }

func TestPanic_OfANode(t *testing.T) {
	run(t, 1, func(c *Config) { c.Parents, c.Slots = brokenNode{}, brokenNode{} }, func(b *bench) {
		b.offer(0, 10*time.Millisecond, 7, nil, nil)
		resp, took := b.header(0, nil)
		if got := b.winner(resp); got == nil || got.Value.Uint64() != 7 || took > parentTimeout {
			t.Fatalf("header: got %v after %v, want the bid of 7 wei", got, took)
		}
		b.relays[0].submit = takes(nil)
		b.offeredBy(9, 0)
		if _, err := b.hand(b.block(0, 9), true); err != nil {
			t.Fatalf("block: %v", err)
		}
		time.Sleep(5 * b.spec.SlotDuration)
		synctest.Wait()
	})
}
