package signer

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/internal/ecdsa"
	"sidecar/internal/ledger"
)

// benchRoad is a road whose proxy key signs, BLS or ECDSA.
type benchRoad struct {
	*road
	key      commitments.Key
	delegate phase0.BLSPubKey // zero unless both sign
	n        atomic.Uint64
}

// bothKeys is a holder of BLS keys and one ECDSA key, without the counting.
type bothKeys struct {
	*holder
	address commitments.Key
	secret  *ecdsa.SecretKey
}

func (b bothKeys) Sign(_ context.Context, key commitments.Key, m commitments.Message) ([]byte, error) {
	if key == b.address {
		sig, err := b.secret.Sign(m.Root())
		return sig[:], err
	}
	sig := b.keys[key.BLS].Sign(m.Root())
	return sig[:], nil
}

func newBenchRoad(t testing.TB, kind string) *benchRoad {
	t.Helper()
	b := &benchRoad{road: newRoad(t)}
	secret, err := ecdsa.NewSecretKey()
	if err != nil {
		t.Fatal(err)
	}
	b.Keys = bothKeys{b.keys, commitments.ECDSAKey(secret.Address()), secret}
	if b.key = commitments.BLSKey(b.proxy); kind != "bls" {
		b.key = commitments.ECDSAKey(secret.Address())
	}
	if kind == "both" {
		b.delegate = b.proxy
	}
	b.Policy = Grants{{"inclusion", ledger.KindCommitment, b.key}, {"inclusion", ledger.KindCommitment, commitments.BLSKey(b.proxy)}}
	return b
}

// next is a commitment that was never made.
func (b *benchRoad) next(t testing.TB) (commitments.PageID, ledger.Entry) {
	n := b.n.Add(1)
	e := b.commitment(t, 1)
	e.Key, e.Delegate = b.key, b.delegate
	binary.BigEndian.PutUint64(e.Draft.Commitment.RequestHash[:], n)
	return commitments.PageID{Slot: 10 + phase0.Slot(n/512%60), Proposer: b.proposer}, b.rooted(t, e)
}

// signOne goes the whole road; keyOne is what the key operation alone costs: a
// signature and its verification, of the same kind of entry.
func (b *benchRoad) signOne(t testing.TB) {
	id, e := b.next(t)
	if _, err := b.Sign(context.Background(), id, func(commitments.View) (ledger.Entry, error) { return e, nil }); err != nil {
		t.Error(err)
	}
}

func (b *benchRoad) keyOne(t testing.TB) {
	_, e := b.next(t)
	if _, err := b.ink(context.Background(), e); err != nil {
		t.Error(err)
	}
}

var clientCounts = []int{1, 8, 64}

// BenchmarkSign: "both" is a promise: the committer signs each, the delegate once
// for all that became durable together.
func BenchmarkSign(b *testing.B) { benchmarkBoth(b, (*benchRoad).signOne) }

// BenchmarkKey is BenchmarkSign without the ledger.
func BenchmarkKey(b *testing.B) { benchmarkBoth(b, (*benchRoad).keyOne) }

func benchmarkBoth(b *testing.B, one func(*benchRoad, testing.TB)) {
	for _, kind := range []string{"bls", "ecdsa", "both"} {
		for _, clients := range clientCounts {
			b.Run(fmt.Sprintf("%s/%d", kind, clients), func(b *testing.B) {
				r := newBenchRoad(b, kind)
				b.ResetTimer()
				var left atomic.Int64
				left.Store(int64(b.N))
				var group sync.WaitGroup
				for range clients {
					group.Go(func() {
						for left.Add(-1) >= 0 {
							one(r, b)
						}
					})
				}
				group.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "signatures/s")
			})
		}
	}
}

// rate is how many a second many clients get done within a while.
func rate(t testing.TB, clients int, while time.Duration, one func(testing.TB)) float64 {
	t.Helper()
	begin := time.Now()
	end := begin.Add(while)
	var done atomic.Int64
	var group sync.WaitGroup
	for range clients {
		group.Go(func() {
			for time.Now().Before(end) {
				one(t)
				done.Add(1)
			}
		})
	}
	group.Wait()
	return float64(done.Load()) / time.Since(begin).Seconds()
}

// TestRatio prints what of the key operation's rate is left with the ledger and
// its durability, at 64 clients: the target is 70 %. Rounds are interleaved, and
// the medians of `make bench-signer` are quoted in docs/performance.md.
func TestRatio(t *testing.T) {
	if os.Getenv("SIGNER_RATIO") == "" {
		t.Skip("a measurement: make bench-signer runs it")
	}
	for _, kind := range []string{"bls", "ecdsa"} {
		for _, clients := range clientCounts {
			if only, err := strconv.Atoi(os.Getenv("SIGNER_RATIO")); err == nil && only != clients {
				continue
			}
			var keys, signs, ratios []float64
			for range 7 {
				r := newBenchRoad(t, kind)
				key := rate(t, clients, time.Second, r.keyOne)
				sign := rate(t, clients, time.Second, r.signOne)
				keys, signs, ratios = append(keys, key), append(signs, sign), append(ratios, sign/key)
			}
			t.Logf("%-5s %2d clients: key alone %6.0f/s, with the ledger %6.0f/s, ratio %.2f (medians of 7)", kind, clients, median(keys), median(signs), median(ratios))
		}
	}
}

func median(x []float64) float64 {
	slices.Sort(x)
	return x[len(x)/2]
}
