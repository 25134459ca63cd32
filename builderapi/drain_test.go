package builderapi

import (
	"context"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
)

// A header that is being asked for when the stop begins is served, and then its
// block is awaited: a beacon node that has a header has nobody else to give the
// signed block to.
func TestDrain_WaitsForTheHeaderUnderWay(t *testing.T) {
	run(t, 1, nil, func(b *bench) {
		b.offer(0, 500*time.Millisecond, 1e18, nil, nil)
		b.relays[0].submit = takes(nil)
		served, done := false, make(chan struct{})
		go func() {
			defer close(done)
			resp, _ := b.header(0, nil)
			served = b.winner(resp) != nil
			time.Sleep(time.Second) // the validator signs
			_, _ = b.hand(b.block(0, 9), true)
		}()
		time.Sleep(100 * time.Millisecond)
		start := time.Now()
		b.service.Drain(b.t.Context())
		took := time.Since(start)
		<-done
		if !served || took != 1400*time.Millisecond || b.relays[0].read(&b.relays[0].submitted) != 1 {
			t.Fatalf("drained after %v (served %v), want 1.4 s: when the block came", took, served)
		}
	})
}

// A stopping service hands out no new header: nobody would be there to take the
// block.
func TestDrain_ServesNoNewHeader(t *testing.T) {
	run(t, 1, nil, func(b *bench) {
		b.offer(0, time.Millisecond, 1e18, nil, nil)
		b.service.Drain(b.t.Context())
		if resp, _ := b.header(0, nil); resp.Status != 204 {
			t.Fatalf("a header was served after the stop: status %d", resp.Status)
		}
		if b.relays[0].read(&b.relays[0].asked) != 0 {
			t.Fatal("a relay was asked after the stop")
		}
	})
}

// A service that stops just before a slot with promises serves its header all the
// same, and waits for its block: the beacon node's own would break them.
func TestDrain_KeepsItsWord(t *testing.T) {
	for name, asks := range map[string]bool{"the node asks": true, "it never does": false} {
		t.Run(name, func(t *testing.T) {
			run(t, 1, func(c *Config) {
				c.PageSettles = 2 * time.Second
				c.Pages = promised{commitments.Page{Promises: make([]commitments.Promise, 1)}}
				c.Modules = verifier(func(context.Context, commitments.Candidate) error { return nil })
				c.Owed = func(slot phase0.Slot) bool { return slot == 1 }
			}, func(b *bench) {
				time.Sleep(11 * time.Second)
				b.offer(0, time.Millisecond, 1e18, nil, nil)
				b.relays[0].constraints, b.relays[0].submit = true, takes(nil)
				served, done := false, make(chan struct{})
				go func() {
					defer close(done)
					if time.Sleep(1500 * time.Millisecond); asks {
						resp, _ := b.header(1, nil)
						served = b.winner(resp) != nil
						time.Sleep(time.Second) // the validator signs
						_, _ = b.hand(b.block(1, 9), true)
					}
				}()
				start := time.Now()
				b.service.Drain(b.t.Context())
				took := time.Since(start)
				<-done
				if served != asks || took > 5*time.Second+keepWordLook || asks && (took < 2500*time.Millisecond || b.relays[0].read(&b.relays[0].submitted) != 1) {
					t.Errorf("drained after %v (served %v)", took, served)
				}
			})
		})
	}
}
