package builderapi

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/deneb"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/holiman/uint256"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/internal/relay"
	"sidecar/internal/wire"
)

// run starts f in a bubble and ends the service after it.
func run(t *testing.T, relays int, change func(*Config), f func(*bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, relays, change)
		defer b.service.Close()
		f(b)
	})
}

func TestHeader_BestBidAsSoonAsAllAnswered(t *testing.T) {
	run(t, 3, nil, func(b *bench) {
		b.offer(0, 50*time.Millisecond, 5, nil, nil)
		b.offer(1, 80*time.Millisecond, 9, nil, nil)
		b.offer(2, 20*time.Millisecond, 7, nil, nil)
		resp, took := b.header(0, nil)
		if got := b.winner(resp); got == nil || got.Value.Uint64() != 9 {
			t.Fatalf("got %v, want the bid of 9 wei", got)
		}
		if took != 80*time.Millisecond {
			t.Fatalf("took %v, want 80 ms: the slowest relay and nothing else", took)
		}
		want := [2]string{"Eth-Consensus-Version", "fulu"}
		if len(resp.Header) == 0 || resp.Header[0] != want {
			t.Fatalf("headers: got %v, want %v also for JSON", resp.Header, want)
		}
	})
}

// TestHeader_HangingRelay: the others' best is answered before the beacon node
// gives up, however long a relay hangs.
func TestHeader_HangingRelay(t *testing.T) {
	for _, tt := range []struct {
		name    string
		into    time.Duration
		headers map[string]string
		within  time.Duration
	}{
		{"by default", 0, nil, 950 * time.Millisecond},
		{"caller in a hurry", 0, map[string]string{"X-Timeout-Ms": "300"}, 300 * time.Millisecond},
		{"late in the slot", 1500 * time.Millisecond, nil, 500 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run(t, 2, nil, func(b *bench) {
				time.Sleep(tt.into)
				b.offer(0, time.Hour, 99, nil, nil)
				b.offer(1, 10*time.Millisecond, 5, nil, nil)
				resp, took := b.header(0, tt.headers)
				if got := b.winner(resp); got == nil || got.Value.Uint64() != 5 {
					t.Fatalf("got %v, want the bid of 5 wei", got)
				}
				if took > tt.within || took < tt.within-reserve(tt.within)-time.Millisecond {
					t.Fatalf("took %v, want just under %v", took, tt.within)
				}
			})
		})
	}
}

func TestHeader_LateInSlot(t *testing.T) {
	run(t, 1, nil, func(b *bench) {
		b.offer(0, 0, 5, nil, nil)
		time.Sleep(2 * time.Second)
		if resp, took := b.header(0, nil); resp.Status != 204 || took != 0 {
			t.Fatalf("got %d after %v, want 204 at once", resp.Status, took)
		}
		if b.relays[0].asked != 0 {
			t.Fatal("a relay was asked")
		}
	})
}

// TestHeader_BeforeSlot: a call 1 ms before the slot starts is on time.
func TestHeader_BeforeSlot(t *testing.T) {
	run(t, 1, nil, func(b *bench) {
		time.Sleep(12*time.Second - time.Millisecond)
		b.offer(0, 0, 5, nil, nil)
		if resp, _ := b.header(1, nil); resp.Status == 204 {
			t.Fatal("got 204")
		}
	})
}

// TestHeader_LastMillisecond: a bid counts until the relays' time is over.
func TestHeader_LastMillisecond(t *testing.T) {
	run(t, 2, nil, func(b *bench) {
		b.offer(0, 100*time.Millisecond, 5, nil, nil)
		b.offer(1, 929*time.Millisecond, 9, nil, nil)
		resp, took := b.header(0, nil)
		if got := b.winner(resp); got == nil || got.Value.Uint64() != 9 || took > 950*time.Millisecond {
			t.Fatalf("got %v after %v, want 9 wei", got, took)
		}
	})
}

// TestHeader_BadBids: whatever is wrong with the highest bid, the best valid one
// wins. (security R-30…R-45)
func TestHeader_BadBids(t *testing.T) {
	stranger := newBench(t, 9, nil).relays[8].secret
	for _, tt := range []struct {
		name          string
		change, spoil func(*wire.Bid)
	}{
		{"zero hash", func(b *wire.Bid) { b.Header.BlockHash = phase0.Hash32{} }, nil},
		{"parent", func(b *wire.Bid) { b.Header.ParentHash[0]++ }, nil},
		{"empty block", func(b *wire.Bid) { b.Header.TransactionsRoot = emptyTransactions }, nil},
		{"timestamp", func(b *wire.Bid) { b.Header.Timestamp++ }, nil},
		{"insane value", func(b *wire.Bid) { b.Value.SetAllOne() }, nil},
		{"too many blobs", func(b *wire.Bid) {
			b.Commitments = make([]deneb.KZGCommitment, 10)
			b.Header.BlobGasUsed = 10 * gasPerBlob
		}, nil},
		{"blob gas without blobs", func(b *wire.Bid) { b.Header.BlobGasUsed = gasPerBlob }, nil},
		{"another key", func(b *wire.Bid) { b.Pubkey = stranger.PublicKey() }, nil},
		{"block number", func(b *wire.Bid) { b.Header.BlockNumber++ }, nil},
		{"gas limit too far", func(b *wire.Bid) { b.Header.GasLimit += 30_000_000 / 1024 }, nil},
		{"gas limit off target", func(b *wire.Bid) { b.Header.GasLimit -= 5 }, nil},
		{"value changed after signing", nil, func(b *wire.Bid) { b.Value.AddUint64(&b.Value, 1) }},
		{"signature of a stranger", nil, func(b *wire.Bid) { b.Signature = stranger.Sign(b.Root()) }},
		{"infinite signature", nil, func(b *wire.Bid) { b.Signature = phase0.BLSSignature{0xc0} }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run(t, 3, func(c *Config) { c.Parents = fixedParent{99, 30_000_000} }, func(b *bench) {
				b.service.registrations.remember([]wire.Registration{{Pubkey: b.key, GasLimit: 30_000_000}})
				b.offer(0, 10*time.Millisecond, 1000, tt.change, tt.spoil)
				b.offer(1, 20*time.Millisecond, 500, nil, nil)
				b.offer(2, 30*time.Millisecond, 400, nil, nil)
				resp, _ := b.header(0, nil)
				if got := b.winner(resp); got == nil || got.Value.Uint64() != 500 {
					t.Fatalf("got %v, want the valid bid of 500 wei", got)
				}
			})
		})
	}
}

type fixedParent Parent

func (p fixedParent) Parent(context.Context, phase0.Hash32) (Parent, error) { return Parent(p), nil }

type deadParent struct{}

func (deadParent) Parent(ctx context.Context, _ phase0.Hash32) (Parent, error) {
	<-ctx.Done()
	return Parent{}, ctx.Err()
}

// TestHeader_DeadExecutionNode: it costs the check and a moment, not the bid.
func TestHeader_DeadExecutionNode(t *testing.T) {
	run(t, 1, func(c *Config) { c.Parents = deadParent{} }, func(b *bench) {
		b.offer(0, 10*time.Millisecond, 5, nil, nil)
		if resp, took := b.header(0, nil); resp.Status == 204 || took > parentTimeout {
			t.Fatalf("got %d after %v", resp.Status, took)
		}
	})
}

func TestHeader_MinimumBid(t *testing.T) {
	minimum := uint256.NewInt(1_000_000_007)
	for wei, want := range map[uint64]bool{0: false, 1_000_000_006: false, 1_000_000_007: true, 1_000_000_008: true} {
		run(t, 1, func(c *Config) { c.MinBid = *minimum }, func(b *bench) {
			b.offer(0, 0, wei, nil, nil)
			if resp, _ := b.header(0, nil); (resp.Status != 204) != want {
				t.Errorf("%d wei: got status %d, accepted should be %v", wei, resp.Status, want)
			}
		})
	}
}

// TestHeader_FeeRecipient: builders may pay in the last transaction, so another
// recipient is let pass, unless the operator insists.
func TestHeader_FeeRecipient(t *testing.T) {
	for _, strict := range []bool{false, true} {
		run(t, 1, func(c *Config) { c.RequireFeeRecipient = strict }, func(b *bench) {
			b.service.registrations.remember([]wire.Registration{{Pubkey: b.key, FeeRecipient: bellatrix.ExecutionAddress{1}}})
			b.offer(0, 0, 5, nil, nil)
			if resp, _ := b.header(0, nil); (resp.Status == 204) != strict {
				t.Errorf("strict %v: got status %d", strict, resp.Status)
			}
		})
	}
}

type promised struct{ page commitments.Page }

func (p promised) Page(id commitments.PageID) commitments.Page {
	p.page.PageID = id
	return p.page
}

type verifier func(ctx context.Context, c commitments.Candidate) error

func (v verifier) Verify(ctx context.Context, _ commitments.Page, c commitments.Candidate) error {
	return v(ctx, c)
}

// TestHeader_Promises: on a page with a promise only relays that honour
// constraints are asked, only a bid that keeps the promise is served, and a
// module that hangs or panics costs the bid and never the deadline.
func TestHeader_Promises(t *testing.T) {
	keeps := func(_ context.Context, c commitments.Candidate) error {
		if c.Source == "b" {
			return nil
		}
		return errors.New("proves nothing")
	}
	for _, tt := range []struct {
		name   string
		module verifier
		want   uint64 // 0: 204
		within time.Duration
	}{
		{"the proving bid wins over a higher one", keeps, 5, 100 * time.Millisecond},
		{"hanging module", func(ctx context.Context, _ commitments.Candidate) error { <-ctx.Done(); return ctx.Err() }, 0, 950 * time.Millisecond},
		{"panicking module", func(context.Context, commitments.Candidate) error { panic("no") }, 0, 100 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run(t, 3, func(c *Config) {
				c.Pages, c.Modules = promised{commitments.Page{Promises: make([]commitments.Promise, 1)}}, tt.module
			}, func(b *bench) {
				b.relays[0].constraints, b.relays[1].constraints = true, true
				b.offer(0, 0, 9, nil, nil)
				b.offer(1, 0, 5, nil, nil)
				b.offer(2, 0, 99, nil, nil)
				resp, took := b.header(0, nil)
				got := b.winner(resp)
				if (got == nil) != (tt.want == 0) || got != nil && got.Value.Uint64() != tt.want {
					t.Fatalf("got %v, want %d wei", got, tt.want)
				}
				if took > tt.within {
					t.Fatalf("took %v, want at most %v", took, tt.within)
				}
				if b.relays[2].asked != 0 {
					t.Fatal("a relay that cannot prove anything was asked")
				}
			})
		})
	}
}

// TestHeader_NewestBidOfARelay: a later answer of the same relay replaces an
// earlier one, also a lower one; a later "none" or bad bid does not.
func TestHeader_NewestBidOfARelay(t *testing.T) {
	run(t, 1, nil, func(b *bench) {
		r := b.relays[0]
		r.offers = func(_ context.Context, q relay.HeaderRequest, emit func(relay.Offer)) error {
			at := b.clock.Now()
			emit(relay.Offer{Bid: b.bid(r, q.Slot, 9, nil), Started: at})
			time.Sleep(10 * time.Millisecond)
			emit(relay.Offer{Bid: b.bid(r, q.Slot, 4, nil), Started: at.Add(5)})
			bad := b.bid(r, q.Slot, 50, nil)
			bad.Signature[5]++
			emit(relay.Offer{Bid: bad, Started: at.Add(7)})
			return nil
		}
		resp, _ := b.header(0, nil)
		if got := b.winner(resp); got == nil || got.Value.Uint64() != 4 {
			t.Fatalf("got %v, want the newest valid bid of 4 wei", got)
		}
	})
}

func TestHeader_ForkNotServed(t *testing.T) {
	run(t, 1, func(c *Config) { c.Spec.Forks = []chain.ForkAt{{Fork: chain.Capella}} }, func(b *bench) {
		if resp, _ := b.header(0, nil); resp.Status != 204 {
			t.Fatalf("got %d, want 204", resp.Status)
		}
	})
}
