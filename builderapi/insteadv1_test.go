package builderapi

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
	"sidecar/internal/relay"
	"sidecar/internal/wire"
)

// TestBlock_V2ByV1: a relay that refuses a v2 block, or does not serve v2, is
// given it over v1, whose relay publishes it too. Otherwise the slot is lost.
func TestBlock_V2ByV1(t *testing.T) {
	good := &wire.Payload{Fork: chain.Fulu, BlockHash: phase0.Hash32{9}}
	for name, refusal := range map[string]error{"404": relay.ErrNoV2, "400": relay.Err4xx, "500": relay.Err5xx} {
		t.Run(name, func(t *testing.T) {
			run(t, 1, nil, func(b *bench) {
				b.offeredBy(9, 0)
				r := b.relays[0]
				r.submit, r.submitV1 = refuses(refusal), takes(good)
				d, err := b.hand(b.block(0, 9), true)
				if err != nil || d.payload != nil {
					t.Fatalf("got %v, %v; want a delivery and no payload", err, d.payload)
				}
				if r.submitted != 2 || r.v1s != 1 {
					t.Errorf("asked %d times, %d of them over v1", r.submitted, r.v1s)
				}
			})
		})
	}
}

// TestBlock_V2ByV1Fails: v1 vouches for the block only with its payload; what may
// pass there is tried again; and who never offered the block is not asked twice.
func TestBlock_V2ByV1Fails(t *testing.T) {
	t.Run("another payload", func(t *testing.T) {
		run(t, 1, nil, func(b *bench) {
			b.offeredBy(9, 0)
			b.relays[0].submit, b.relays[0].submitV1 = refuses(relay.ErrNoV2), takes(&wire.Payload{Fork: chain.Fulu, BlockHash: phase0.Hash32{8}})
			if _, err := b.hand(b.block(0, 9), true); !errors.Is(err, ErrNoPayload) {
				t.Fatalf("got %v", err)
			}
		})
	})
	t.Run("passes", func(t *testing.T) {
		run(t, 1, nil, func(b *bench) {
			b.offeredBy(9, 0)
			b.relays[0].submit = refuses(relay.ErrNoV2)
			b.relays[0].submitV1 = func(_ context.Context, try int) (*wire.Payload, error) {
				if try < 4 {
					return nil, relay.ErrReset
				}
				return &wire.Payload{Fork: chain.Fulu, BlockHash: phase0.Hash32{9}}, nil
			}
			if _, err := b.hand(b.block(0, 9), true); err != nil {
				t.Fatal(err)
			}
		})
	})
	t.Run("not its block", func(t *testing.T) {
		run(t, 2, nil, func(b *bench) {
			b.offeredBy(9, 0)
			b.relays[0].submit, b.relays[1].submit = takes(nil), refuses(relay.Err4xx)
			if _, err := b.hand(b.block(0, 9), true); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if b.relays[1].v1s != 0 {
				t.Error("v1 was called at a relay that never offered the block")
			}
		})
	})
}
