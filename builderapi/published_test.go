package builderapi

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/internal/relay"
	"sidecar/internal/wire"
)

// slots is a beacon node that says of each slot in turn what it is told to.
type slots func(try int) (missed bool, err error)

type counted struct {
	say  slots
	asks *[]time.Duration // into the slot asked for
	b    **bench
}

func (c counted) Missed(_ context.Context, slot phase0.Slot) (bool, error) {
	*c.asks = append(*c.asks, (*c.b).clock.Into(slot))
	return c.say(len(*c.asks))
}

// TestBlock_TakenAndNotPublished: a relay whose 202 nothing comes of goes into
// the box like one that fails, once the beacon node knows that the slot is empty.
func TestBlock_TakenAndNotPublished(t *testing.T) {
	always := func(missed bool, err error) slots { return func(int) (bool, error) { return missed, err } }
	for _, tt := range []struct {
		name  string
		late  time.Duration
		v2    bool
		say   slots
		boxed bool
		asks  int
	}{
		{"published", 0, true, always(false, nil), false, 1},
		{"not published", 0, true, always(true, nil), true, 1},
		{"the node knows later", 0, true, func(try int) (bool, error) {
			if try < 3 {
				return false, errors.New("syncing")
			}
			return true, nil
		}, true, 3},
		{"the node never knows", 0, true, always(false, errors.New("down")), false, 4},
		{"the block came late", 5 * time.Second, true, always(true, nil), false, 0},
		{"v1: the beacon node publishes", 0, false, always(true, nil), false, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var asks []time.Duration
			var bb *bench
			run(t, 2, func(c *Config) {
				c.Penalty, c.Slots = Penalty{Misses: 1, Slots: 4}, counted{tt.say, &asks, &bb}
			}, func(b *bench) {
				bb = b
				time.Sleep(tt.late)
				b.offeredBy(9, 0)
				b.relays[0].submit, b.relays[1].submit = takes(&wire.Payload{Fork: chain.Fulu, BlockHash: phase0.Hash32{9}}), refuses(relay.Err4xx)
				if _, err := b.hand(b.block(0, 9), tt.v2); err != nil {
					t.Fatal(err)
				}
				b.service.Drain(b.t.Context())
				if b.clock.Slot() != 0 {
					t.Errorf("drained in slot %d: nobody waits for the verdict", b.clock.Slot())
				}
				time.Sleep(5 * b.spec.SlotDuration)
				synctest.Wait()
				if len(asks) != tt.asks || len(asks) > 0 && asks[0] < 2*b.spec.SlotDuration {
					t.Errorf("asked %v into the slot, want %d times, not before a later block can be there", asks, tt.asks)
				}
				if got := b.service.box.holds("a", b.clock.Slot()); got != tt.boxed {
					t.Errorf("in the box: %v, want %v", got, tt.boxed)
				}
				if b.service.box.holds("b", 3) {
					t.Error("a relay that refused what it never offered is in the box")
				}
			})
		})
	}
}

// TestBlock_CloseEndsTheWatch: a stopping sidecar does not wait for verdicts.
func TestBlock_CloseEndsTheWatch(t *testing.T) {
	var asks []time.Duration
	var bb *bench
	run(t, 1, func(c *Config) {
		c.Slots = counted{func(int) (bool, error) { return true, nil }, &asks, &bb}
	}, func(b *bench) {
		bb = b
		b.offeredBy(9, 0)
		b.relays[0].submit = takes(nil)
		if _, err := b.hand(b.block(0, 9), true); err != nil {
			t.Fatal(err)
		}
		b.service.Close()
		if b.clock.Slot() != 0 || len(asks) != 0 {
			t.Errorf("closed in slot %d after %d questions", b.clock.Slot(), len(asks))
		}
	})
}

type knows struct{ key phase0.BLSPubKey }

func (k knows) Pubkey(phase0.ValidatorIndex) (phase0.BLSPubKey, bool) { return k.key, true }

// TestBlock_Unproven: a block on a page with promises whose header was not proven
// here goes out all the same, with an alarm: it is signed, and holding it back
// would lose the block and cure nothing. (S-14)
func TestBlock_Unproven(t *testing.T) {
	for _, tt := range []struct {
		name   string
		made   int
		proven bool
		alarm  bool
	}{{"promises and an unknown header", 1, false, true}, {"no promises", 0, false, false}, {"a header from here", 1, true, false}} {
		t.Run(tt.name, func(t *testing.T) {
			var text bytes.Buffer
			run(t, 1, func(c *Config) {
				c.Pages, c.Validators = promised{commitments.Page{Promises: make([]commitments.Promise, tt.made)}}, knows{phase0.BLSPubKey{0x99}}
				c.Modules = verifier(func(context.Context, commitments.Candidate) error { return nil })
				c.Log = slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{Level: slog.LevelError}))
			}, func(b *bench) {
				if tt.proven {
					b.offeredBy(9, 0)
				}
				b.relays[0].submit = takes(nil)
				if _, err := b.hand(b.block(0, 9), true); err != nil || b.relays[0].submitted != 1 {
					t.Fatalf("got %v, %d handed over", err, b.relays[0].submitted)
				}
			})
			if got := strings.Contains(text.String(), "was not proven here"); got != tt.alarm {
				t.Errorf("alarm %v, want %v: %s", got, tt.alarm, &text)
			}
		})
	}
}
