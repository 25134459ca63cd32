package signer

import (
	"context"
	"encoding/binary"
	"sync/atomic"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/internal/ledger"
)

func BenchmarkSign(b *testing.B) {
	r := newRoad(b)
	var n atomic.Uint64
	entry := r.commitment(b, 1)
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			e := entry
			draft := *entry.Draft
			binary.BigEndian.PutUint64(draft.Commitment.RequestHash[:], n.Add(1))
			e.Draft = &draft
			e = r.rooted(b, e)
			id := commitments.PageID{Slot: phase0.Slot(n.Load() / 64), Proposer: r.proposer}
			if _, err := r.Sign(context.Background(), id, func(commitments.View) (ledger.Entry, error) { return e, nil }); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkKey is what the key operation alone costs: a signature and its verification.
func BenchmarkKey(b *testing.B) {
	r := newRoad(b)
	entry := r.commitment(b, 1)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := r.ink(context.Background(), entry); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
