package inclusion

import (
	"fmt"
	"math/big"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/core/types"

	"sidecar/commitments"
)

// fullView is a page that takes one more promise, and full pages of other slots,
// all of different senders.
func (w *world) fullView(b testing.TB, pages int) commitments.View {
	view := commitments.View{Page: pageOf(slot)}
	n := 0
	for i := range pages {
		page := pageOf(slot + phase0.Slot(i))
		for range 127 {
			n++
			raw := newWideAccount(b, n).sign(b, plain())
			page.Promises = append(page.Promises, promiseOf(page.Slot, raw))
		}
		if i == 0 {
			view.Page = page
		}
		view.Open = append(view.Open, page)
	}
	return view
}

func newWideAccount(b testing.TB, n int) account {
	b.Helper()
	return newAccount(b, 1, byte(n>>16), byte(n>>8), byte(n))
}

// BenchmarkCommit admits a plain transaction of a sender whose account is known,
// beside full pages: ≤ 200 µs on these cores, signature recovered by libsecp256k1,
// and no more with 32 full pages than with one. "again" is a draft made anew.
func BenchmarkCommit(b *testing.B) {
	for _, pages := range []int{0, 1, 32} {
		w := newWorld(b)
		view := w.fullView(b, pages)
		raws := make([][]byte, 4096)
		for i := range raws {
			d := plain()
			d.Value = big.NewInt(int64(i))
			raws[i] = w.from.sign(b, d)
		}
		if _, err := w.commit(b, view, raws[0]); err != nil { // reads the pages, as after a restart: 70 µs a promise, once
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("first/pages=%d", pages), func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				if i%len(raws) == 0 {
					w.txs = cache{} // none was seen before
				}
				if _, err := w.commit(b, view, raws[i%len(raws)]); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("again/pages=%d", pages), func(b *testing.B) {
			for b.Loop() {
				if _, err := w.commit(b, view, raws[0]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkCommit_Blob is dear: which is why it has a queue of its own.
func BenchmarkCommit_Blob(b *testing.B) {
	w := newBlobWorld(b)
	for n := 1; n <= 2; n++ {
		raw := w.from.sign(b, blobTx(n, types.BlobSidecarVersion1))
		b.Run(fmt.Sprintf("blobs=%d", n), func(b *testing.B) {
			for b.Loop() {
				clear(w.proofs.proven)
				if _, err := w.ask(b, fuluSlot, commitments.View{}, raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
