package builderapi

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"pgregory.net/rapid"

	"sidecar/internal/wire"
)

// TestHeader_BestValidWins: with any number of valid bids among any number of
// invalid ones, arriving in any order, the answer is the highest valid one,
// always in time, and 204 only if there is none.
func TestHeader_BestValidWins(t *testing.T) {
	spoils := []func(*wire.Bid){
		func(b *wire.Bid) { b.Header.ParentHash[3]++ },
		func(b *wire.Bid) { b.Header.Timestamp += 12 },
		func(b *wire.Bid) { b.Header.BlockHash = phase0.Hash32{} },
		func(b *wire.Bid) { b.Header.TransactionsRoot = emptyTransactions },
		func(b *wire.Bid) { b.Value.Clear() },
		func(b *wire.Bid) { b.Header.BlobGasUsed = 1 },
	}
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 6).Draw(rt, "relays")
		type plan struct {
			wei   uint64
			ms    int
			spoil int // 0: valid, else spoils[spoil-1], or beyond: a bad signature
		}
		plans := make([]plan, n)
		var best uint64
		for i := range plans {
			plans[i] = plan{
				rapid.Uint64Range(1, 50).Draw(rt, "wei"), rapid.IntRange(0, 1200).Draw(rt, "ms"),
				rapid.IntRange(-4, len(spoils)+1).Draw(rt, "spoil"),
			}
			if plans[i].spoil <= 0 && plans[i].ms < 925 {
				best = max(best, plans[i].wei)
			}
		}
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, n, nil)
			defer b.service.Close()
			for i, p := range plans {
				switch {
				case p.spoil <= 0:
					b.offer(i, time.Duration(p.ms)*time.Millisecond, p.wei, nil, nil)
				case p.spoil <= len(spoils):
					b.offer(i, time.Duration(p.ms)*time.Millisecond, p.wei+100, spoils[p.spoil-1], nil)
				default:
					b.offer(i, time.Duration(p.ms)*time.Millisecond, p.wei+100, nil, func(b *wire.Bid) { b.Header.GasUsed++ })
				}
			}
			resp, took := b.header(0, nil)
			if took > 950*time.Millisecond {
				rt.Fatalf("took %v", took)
			}
			got := b.winner(resp)
			switch {
			case got == nil && best != 0:
				rt.Fatalf("204, want %d wei", best)
			case got != nil && got.Value.Uint64() < best:
				rt.Fatalf("got %d wei, want %d", got.Value.Uint64(), best)
			case got != nil && got.Value.Uint64() > 50:
				rt.Fatalf("an invalid bid of %d wei won", got.Value.Uint64())
			}
		})
	})
}
