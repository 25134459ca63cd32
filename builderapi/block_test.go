package builderapi

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/attestantio/go-eth2-client/spec/deneb"
	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
	"sidecar/fault"
	"sidecar/internal/httpd"
	"sidecar/internal/relay"
	"sidecar/internal/wire"
)

// block is a signed blinded block as the service would decode it.
func (b *bench) block(slot phase0.Slot, hash byte) *wire.BlindedBlock {
	return &wire.BlindedBlock{Fork: chain.Fulu, Slot: slot, BlockHash: phase0.Hash32{hash}, Signature: phase0.BLSSignature{hash}}
}

// hand sends the block down journey c, below the decoding.
func (b *bench) hand(block *wire.BlindedBlock, v2 bool) (*delivery, error) {
	d, first, err := b.service.blocks.join(block, v2)
	if err != nil {
		return nil, err
	}
	if first {
		b.service.detach(func(work context.Context) { b.service.deliver(work, d, block, v2, "", b.service.Log) })
	}
	<-d.done
	return d, d.err
}

func (b *bench) offeredBy(hash byte, relays ...int) {
	for _, i := range relays {
		bid := &wire.Bid{}
		bid.Header.BlockHash = phase0.Hash32{hash}
		b.service.offered.add(query{slot: 0, validator: b.key}, &lot{relay: b.relays[i], bid: bid})
	}
}

func takes(payload *wire.Payload) func(context.Context, int) (*wire.Payload, error) {
	return func(context.Context, int) (*wire.Payload, error) { return payload, nil }
}

func refuses(err error) func(context.Context, int) (*wire.Payload, error) {
	return func(context.Context, int) (*wire.Payload, error) { return nil, err }
}

// TestBlock_EveryRelayGetsIt: the first success answers, the others still get the block.
func TestBlock_EveryRelayGetsIt(t *testing.T) {
	run(t, 3, nil, func(b *bench) {
		b.offeredBy(9, 0, 1, 2)
		for i, r := range b.relays {
			r.submit = func(ctx context.Context, _ int) (*wire.Payload, error) {
				sleep(ctx, time.Duration(i)*time.Second)
				return nil, ctx.Err()
			}
		}
		start := time.Now()
		if _, err := b.hand(b.block(0, 9), true); err != nil || time.Since(start) != 0 {
			t.Fatalf("got %v after %v", err, time.Since(start))
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		for _, r := range b.relays {
			if r.read(&r.submitted) != 1 {
				t.Errorf("relay %s got the block %d times", r.name, r.submitted)
			}
		}
	})
}

// TestBlock_Retries: a relay that breaks off twice is asked a third time, inside
// one budget that ends with the slot.
func TestBlock_Retries(t *testing.T) {
	run(t, 1, nil, func(b *bench) {
		b.offeredBy(9, 0)
		b.relays[0].submit = func(_ context.Context, try int) (*wire.Payload, error) {
			if try < 3 {
				return nil, relay.ErrReset
			}
			return nil, nil
		}
		if _, err := b.hand(b.block(0, 9), true); err != nil || b.relays[0].submitted != 3 {
			t.Fatalf("got %v after %d tries", err, b.relays[0].submitted)
		}
	})
}

// TestBlock_OneBudget: a relay that fails at once, always, is given up at the
// end of the slot and not a multiple of it later; and that is never a 502.
func TestBlock_OneBudget(t *testing.T) {
	run(t, 1, nil, func(b *bench) {
		time.Sleep(1500 * time.Millisecond)
		b.offeredBy(9, 0)
		b.relays[0].submit = refuses(relay.Err5xx)
		_, err := b.hand(b.block(0, 9), true)
		if at := b.clock.Into(0); at > 12*time.Second || at < 11*time.Second {
			t.Fatalf("given up %v into the slot", at)
		}
		if f := fault.Of(err); f == nil || f.Kind == fault.Upstream {
			t.Fatalf("got %v: a client takes 502 for a success", err)
		}
	})
}

// TestBlock_FinalRefusal: an answer that asking again cannot change ends it.
func TestBlock_FinalRefusal(t *testing.T) {
	run(t, 2, nil, func(b *bench) {
		b.offeredBy(9, 0, 1)
		b.relays[0].submit, b.relays[1].submit = refuses(relay.Err4xx), refuses(relay.Err4xx)
		start := time.Now()
		if _, err := b.hand(b.block(0, 9), false); !errors.Is(err, ErrNoPayload) || time.Since(start) > time.Second {
			t.Fatalf("got %v after %v", err, time.Since(start))
		}
		if b.relays[0].submitted != 1 {
			t.Fatalf("asked %d times", b.relays[0].submitted)
		}
	})
}

// TestBlock_OfferersFirst: the relays that offered get a head start; the rest of
// the set gets the block once they fail, and a bare 202 of theirs proves nothing.
func TestBlock_OfferersFirst(t *testing.T) {
	run(t, 2, nil, func(b *bench) {
		b.offeredBy(9, 0)
		b.relays[0].submit = refuses(relay.Err4xx)
		b.relays[1].submit = takes(nil)
		if _, err := b.hand(b.block(0, 9), true); !errors.Is(err, ErrNoPayload) {
			t.Fatalf("got %v: a relay that never offered the block vouched for it", err)
		}
		if b.relays[1].submitted != 1 {
			t.Fatal("the other relay was never asked")
		}
	})
}

// TestBlock_Unknown: after a restart nobody knows who offered; every relay is
// asked and the first to take it counts.
func TestBlock_Unknown(t *testing.T) {
	run(t, 2, nil, func(b *bench) {
		b.relays[0].submit, b.relays[1].submit = refuses(relay.Err4xx), takes(nil)
		if _, err := b.hand(b.block(0, 9), true); err != nil {
			t.Fatal(err)
		}
	})
}

// TestBlock_WrongPayload: a payload of another block is no delivery; the next
// relay's is, and the liar goes into the box.
func TestBlock_WrongPayload(t *testing.T) {
	run(t, 2, func(c *Config) { c.Penalty = Penalty{Misses: 1, Slots: 4} }, func(b *bench) {
		b.offeredBy(9, 0, 1)
		b.relays[0].submit = takes(&wire.Payload{Fork: chain.Fulu, BlockHash: phase0.Hash32{8}})
		good := &wire.Payload{Fork: chain.Fulu, BlockHash: phase0.Hash32{9}}
		b.relays[1].submit = func(ctx context.Context, _ int) (*wire.Payload, error) {
			sleep(ctx, time.Second)
			return good, nil
		}
		d, err := b.hand(b.block(0, 9), false)
		if err != nil || d.payload != good {
			t.Fatalf("got %v, %v", d, err)
		}
		synctest.Wait()
		for _, slot := range []phase0.Slot{1, 4, 5} {
			if got, want := b.service.box.holds("a", slot), slot < 5; got != want {
				t.Errorf("slot %d: in the box %v, want %v", slot, got, want)
			}
		}
		if b.service.box.holds("b", 1) {
			t.Error("the relay that delivered is in the box")
		}
	})
}

// TestBlock_WrongBlobs: commitments are compared one by one.
func TestBlock_WrongBlobs(t *testing.T) {
	run(t, 1, nil, func(b *bench) {
		b.offeredBy(9, 0)
		block := b.block(0, 9)
		block.Commitments = []deneb.KZGCommitment{{1}}
		b.relays[0].submit = takes(&wire.Payload{Fork: chain.Fulu, BlockHash: block.BlockHash, Commitments: []deneb.KZGCommitment{{2}}, Blobs: 1, Proofs: 128})
		if _, err := b.hand(block, false); !errors.Is(err, ErrNoPayload) {
			t.Fatalf("got %v", err)
		}
	})
}

// TestBlock_CallerHangsUp: the block goes on.
func TestBlock_CallerHangsUp(t *testing.T) {
	run(t, 1, nil, func(b *bench) {
		b.relays[0].submit = func(ctx context.Context, _ int) (*wire.Payload, error) {
			if !sleep(ctx, time.Second) {
				t.Error("the submission was cut")
			}
			return nil, nil
		}
		ctx, cancel := context.WithCancel(b.t.Context())
		time.AfterFunc(100*time.Millisecond, cancel)
		body := sszBlock(0)
		_, err := b.service.submit(ctx, httpd.Request{
			Body: body, Header: func(n string) string { return map[string]string{"Content-Type": "application/octet-stream"}[n] },
		}, true)
		if err == nil {
			t.Fatal("the caller was gone and got a success")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if b.relays[0].submitted != 1 {
			t.Fatal("the relay never got the block")
		}
	})
}

// sszBlock is the smallest Fulu SignedBlindedBeaconBlock with empty lists.
func sszBlock(slot uint64) []byte {
	const fixed, header = 396, 584 // BlindedBeaconBlockBody from Electra on; ExecutionPayloadHeader
	body := make([]byte, fixed)
	at := func(offset int, v uint32) { binary.LittleEndian.PutUint32(body[offset:], v) }
	for _, o := range []int{200, 204, 208, 212, 216} { // slashings, attestations, deposits, exits
		at(o, fixed)
	}
	at(380, fixed)        // execution_payload_header
	at(384, fixed+header) // bls_to_execution_changes
	at(388, fixed+header) // blob_kzg_commitments
	at(392, fixed+header) // execution_requests
	h := make([]byte, header)
	binary.LittleEndian.PutUint32(h[436:], header)
	body = append(append(body, h...), 12, 0, 0, 0, 12, 0, 0, 0, 12, 0, 0, 0)
	block := make([]byte, 100+84)
	block[0] = 100
	binary.LittleEndian.PutUint64(block[100:], slot)
	block[100+80] = 84
	return append(block, body...)
}

func TestDrain_WaitsForTheBlock(t *testing.T) {
	run(t, 1, nil, func(b *bench) {
		b.service.offered.served(query{slot: 0})
		b.relays[0].submit = takes(nil)
		time.AfterFunc(3*time.Second, func() { _, _ = b.hand(b.block(0, 9), true) })
		start := time.Now()
		b.service.Drain(b.t.Context())
		if took := time.Since(start); took != 3*time.Second {
			t.Fatalf("drained after %v, want 3 s: when the block came", took)
		}
		b.service.offered.served(query{slot: 0})
		b.service.Drain(b.t.Context())
		if into := b.clock.Into(0); into != 12*time.Second {
			t.Fatalf("drained %v into the slot, want its end", into)
		}
	})
}

// TestBlock_PayloadIsLetGo: a payload may have 20 MiB, and most validators
// propose once in months. Once its slot is over it is not kept; the same block
// sent again is delivered again, and another one is still refused.
func TestBlock_PayloadIsLetGo(t *testing.T) {
	run(t, 1, nil, func(b *bench) {
		b.offeredBy(9, 0)
		r := b.relays[0]
		r.submit = takes(&wire.Payload{Fork: chain.Fulu, BlockHash: phase0.Hash32{9}})
		for n := 1; n <= 2; n++ { // the second joins the first
			if _, err := b.hand(b.block(0, 9), false); err != nil || r.read(&r.submitted) != 1 {
				t.Fatalf("time %d: got %v after %d submissions", n, err, r.submitted)
			}
		}
		time.Sleep(b.clock.Until(b.clock.Start(2)))
		synctest.Wait()
		if d := b.service.blocks.bySlot[0][0].versions[0]; d != nil {
			t.Error("the payload is kept")
		}
		if d, err := b.hand(b.block(0, 9), false); err != nil || d.payload == nil || r.read(&r.submitted) != 2 {
			t.Errorf("again: got %v after %d submissions", err, r.submitted)
		}
		if _, err := b.hand(b.block(0, 8), false); !errors.Is(err, ErrEquivocation) {
			t.Errorf("another block: got %v", err)
		}
	})
}
