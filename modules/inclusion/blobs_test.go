package inclusion

import (
	"bytes"
	"context"
	"errors"
	"math/big"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto/kzg4844"
	"github.com/ethereum/go-ethereum/params"
	"github.com/holiman/uint256"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/modules"
)

// fuluSlot is a slot of hoodi under BPO 2: 14 and 21 blobs.
const fuluSlot = phase0.Slot(54016*32 + 102)

// bundle makes blobs with commitments and proofs of both forms, once.
var bundle = sync.OnceValue(func() (b struct {
	blobs       []kzg4844.Blob
	commitments []kzg4844.Commitment
	proofs      []kzg4844.Proof
	cells       []kzg4844.Proof
}) {
	for i := range 2 {
		var blob kzg4844.Blob
		for j := 1; j < len(blob); j += 31 {
			blob[j-j%32+1] = byte(i + j) // below the modulus: the first byte of 32 is 0
		}
		c, err := kzg4844.BlobToCommitment(&blob)
		if err != nil {
			panic(err)
		}
		p, err := kzg4844.ComputeBlobProof(&blob, c)
		if err != nil {
			panic(err)
		}
		cells, err := kzg4844.ComputeCellProofs(&blob)
		if err != nil {
			panic(err)
		}
		b.blobs, b.commitments, b.proofs, b.cells = append(b.blobs, blob), append(b.commitments, c), append(b.proofs, p), append(b.cells, cells...)
	}
	return b
})

// blobTx is a transaction of n blobs in the form of a wrapper version.
func blobTx(n int, version byte) *types.BlobTx {
	b := bundle()
	s := types.NewBlobTxSidecar(version, b.blobs[:n], b.commitments[:n], b.proofs[:n])
	if version == types.BlobSidecarVersion1 {
		s.Proofs = b.cells[:n*kzg4844.CellProofsPerBlob]
	}
	gwei := func(n uint64) *uint256.Int { return uint256.NewInt(n * params.GWei) }
	return &types.BlobTx{
		ChainID: uint256.NewInt(chainID), Nonce: 5, GasTipCap: gwei(2), GasFeeCap: gwei(30), Gas: 21_000, To: common.Address{0xaa},
		Value: uint256.NewInt(1), BlobFeeCap: gwei(1), BlobHashes: s.BlobHashes(), Sidecar: s,
	}
}

// newBlobWorld is a world whose slot is of Fulu.
func newBlobWorld(t testing.TB) *world {
	w := newWorld(t)
	w.state.head.Slot, w.state.head.ExcessBlobGas = fuluSlot-2, 14*gasPerBlob*100
	w.price.blob = new(big.Int) // what blobs cost is price_test.go's
	return w
}

func (w *world) ask(t testing.TB, at phase0.Slot, view commitments.View, raw []byte) (commitments.Draft, error) {
	t.Helper()
	view.Slot = at
	return w.Commit(t.Context(), view, requestOf(at, raw))
}

// TestCommit_Blobs: what is promised is the transaction as a block has it; what
// builders are told comes with the blobs.
func TestCommit_Blobs(t *testing.T) {
	for name, c := range map[string]struct {
		at      phase0.Slot
		version byte
		blobs   int
	}{
		"Electra":          {slot + 2048*32, types.BlobSidecarVersion0, 1},
		"Fulu, one blob":   {fuluSlot, types.BlobSidecarVersion1, 1},
		"Fulu, two blobs":  {fuluSlot, types.BlobSidecarVersion1, 2},
		"the fork's start": {50688 * 32, types.BlobSidecarVersion1, 1},
		"a slot before":    {50688*32 - 1, types.BlobSidecarVersion0, 1},
	} {
		w := newBlobWorld(t)
		w.state.head.Slot, w.state.head.ExcessBlobGas = c.at-2, 0
		data := blobTx(c.blobs, c.version)
		whole := w.from.sign(t, data)
		d, err := w.ask(t, c.at, commitments.View{}, whole)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		data.Sidecar = nil
		raw := w.from.sign(t, data)
		req := requestOf(c.at, whole)
		if !bytes.Equal(commitments.PromisedPayload(req), d.Commitment.Payload) {
			t.Errorf("%s: a searcher expects another payload", name)
		}
		if d.Commitment.RequestHash != req.Hash() || !bytes.Equal(d.Commitment.Payload, commitments.EncodeInclusion(c.at, raw)) {
			t.Errorf("%s: the promise is not of the canonical form", name)
		}
		if len(d.Constraints) != 1 || !bytes.Equal(d.Constraints[0].Payload, req.Payload) {
			t.Errorf("%s: the constraint is not of the network form", name)
		}
		if want := (commitments.Cost{Gas: 21_000, Blobs: uint64(c.blobs), Bytes: uint64(len(raw))}); d.Cost != want {
			t.Errorf("%s: costs %+v, want %+v", name, d.Cost, want)
		}
		// It is known from the page by what is promised, and kept by a block that has that.
		page := pageOf(c.at)
		page.Promises = []commitments.Promise{{SignedCommitment: commitments.SignedCommitment{Commitment: d.Commitment}}}
		if _, err := w.ask(t, c.at, commitments.View{Page: page}, whole); !errors.Is(err, ErrPromised) {
			t.Errorf("%s: again: %v", name, err)
		}
		// As the answer shows it, for its slot or another, it has no blobs, and needs none.
		for _, other := range []phase0.Slot{c.at, c.at + 1} {
			view := commitments.View{Page: page}
			if other != c.at {
				view = commitments.View{Open: []commitments.Page{page}}
			}
			if _, err := w.ask(t, other, view, raw); !errors.Is(err, ErrPromised) {
				t.Errorf("%s: again for slot %d, without blobs: %v", name, other, err)
			}
		}
		cand, _ := build(t, [][]byte{{2}, raw, {3}}, 1)
		cand.Slot = c.at
		if err := w.Verify(t.Context(), page, cand); err != nil {
			t.Errorf("%s: a bid that has it: %v", name, err)
		}
		w.leaves = leaves{} // after a restart
		if err := w.Verify(t.Context(), page, cand); err != nil {
			t.Errorf("%s: a bid that has it, after a restart: %v", name, err)
		}
		v, err := w.Audit(t.Context(), page, commitments.Block{Slot: c.at, Txs: [][]byte{{2}, raw}})
		if err != nil || len(v) != 1 || v[0].Outcome != commitments.Kept {
			t.Errorf("%s: judged %+v, %v", name, v, err)
		}
	}
}

// TestCommit_BlobRefusals spoils the blobs.
func TestCommit_BlobRefusals(t *testing.T) {
	v0, v1 := byte(types.BlobSidecarVersion0), byte(types.BlobSidecarVersion1)
	swap := func(s *types.BlobTxSidecar) { s.Blobs = []kzg4844.Blob{s.Blobs[1], s.Blobs[0]} }
	for name, c := range map[string]struct {
		blobs   int
		version byte
		spoil   func(tx *types.BlobTx, w *world, v *commitments.View)
		want    error
	}{
		"nothing wrong":     {1, v1, func(*types.BlobTx, *world, *commitments.View) {}, nil},
		"no blobs with it":  {1, v1, func(tx *types.BlobTx, _ *world, _ *commitments.View) { tx.Sidecar = nil }, ErrBlobProof},
		"the old form":      {1, v0, func(*types.BlobTx, *world, *commitments.View) {}, ErrBlobProof},
		"no hashes":         {1, v1, func(tx *types.BlobTx, _ *world, _ *commitments.View) { tx.BlobHashes = nil }, ErrBlobCount},
		"seven hashes":      {1, v1, func(tx *types.BlobTx, _ *world, _ *commitments.View) { tx.BlobHashes = slices.Repeat(tx.BlobHashes, 7) }, ErrBlobCount},
		"a hash too many":   {1, v1, func(tx *types.BlobTx, _ *world, _ *commitments.View) { tx.BlobHashes = slices.Repeat(tx.BlobHashes, 2) }, ErrBlobProof},
		"hash of version 2": {1, v1, func(tx *types.BlobTx, _ *world, _ *commitments.View) { tx.BlobHashes[0][0] = 2 }, ErrBlobProof},
		"another hash":      {1, v1, func(tx *types.BlobTx, _ *world, _ *commitments.View) { tx.BlobHashes[0][9]++ }, ErrBlobProof},
		"blobs exchanged":   {2, v1, func(tx *types.BlobTx, _ *world, _ *commitments.View) { swap(tx.Sidecar) }, ErrBlobProof},
		"a blob too few":    {2, v1, func(tx *types.BlobTx, _ *world, _ *commitments.View) { tx.Sidecar.Blobs = tx.Sidecar.Blobs[:1] }, ErrBlobProof},
		"a proof too few":   {1, v1, func(tx *types.BlobTx, _ *world, _ *commitments.View) { tx.Sidecar.Proofs = tx.Sidecar.Proofs[:127] }, ErrBlobProof},
		"a wrong cell proof": {1, v1, func(tx *types.BlobTx, _ *world, _ *commitments.View) {
			tx.Sidecar.Proofs = slices.Clone(tx.Sidecar.Proofs)
			tx.Sidecar.Proofs[127] = tx.Sidecar.Proofs[0]
		}, ErrBlobProof},
		"a bit of a blob": {1, v1, func(tx *types.BlobTx, _ *world, _ *commitments.View) {
			tx.Sidecar.Blobs = slices.Clone(tx.Sidecar.Blobs)
			tx.Sidecar.Blobs[0][131071] ^= 1
		}, ErrBlobProof},
		"beyond the modulus": {1, v1, func(tx *types.BlobTx, _ *world, _ *commitments.View) {
			tx.Sidecar.Blobs = slices.Clone(tx.Sidecar.Blobs)
			tx.Sidecar.Blobs[0][0] = 0xff
		}, ErrBlobProof},
		"low blob fee": {1, v1, func(tx *types.BlobTx, w *world, _ *commitments.View) {
			worst, err := w.worstBlobFee(w.state.head, fuluSlot, beyond)
			if err != nil || worst.Cmp(big.NewInt(1000)) < 0 {
				t.Fatal(worst, err)
			}
			tx.BlobFeeCap.SetFromBig(worst.Sub(worst, one))
		}, ErrBlobFee},
		"balance but for blobs": {1, v1, func(_ *types.BlobTx, w *world, _ *commitments.View) {
			w.edit(func(a *modules.Account) { a.Balance.SetUint64(21_000*30*params.GWei + 1 + gasPerBlob*params.GWei - 1) })
		}, ErrBalance},
		"balance with blobs": {1, v1, func(_ *types.BlobTx, w *world, _ *commitments.View) {
			w.edit(func(a *modules.Account) { a.Balance.SetUint64(21_000*30*params.GWei + 1 + gasPerBlob*params.GWei) })
		}, nil},
		"no blobs in the slot": {1, v1, func(_ *types.BlobTx, _ *world, v *commitments.View) { v.Limit = commitments.Cost{Gas: 1e9, Bytes: 1e6} }, modules.ErrFullBlobs},
		"one blob left": {1, v1, func(_ *types.BlobTx, _ *world, v *commitments.View) {
			v.Limit, v.Used = commitments.Cost{Gas: 1e9, Blobs: 3}, commitments.Cost{Blobs: 2}
		}, nil},
		"one blob left of two": {2, v1, func(_ *types.BlobTx, _ *world, v *commitments.View) {
			v.Limit, v.Used = commitments.Cost{Gas: 1e9, Blobs: 3}, commitments.Cost{Blobs: 2}
		}, modules.ErrFullBlobs},
		"after one without": {1, v1, func(tx *types.BlobTx, w *world, v *commitments.View) {
			v.Page = pageOf(fuluSlot, w.from.sign(t, plain()))
			tx.Nonce = 6
		}, ErrBlobChain},
		"a schedule unknown": {1, v1, func(_ *types.BlobTx, w *world, _ *commitments.View) { w.spec.Name = customChain }, ErrBlobSchedule},
		"the node knows it": {1, v1, func(_ *types.BlobTx, w *world, _ *commitments.View) {
			w.spec.Name, w.state.head.Blobs = customChain, chain.BlobParams{Target: 14, Max: 21, Fraction: 11_684_671}
		}, nil},
		"the node's maximum": {2, v1, func(_ *types.BlobTx, w *world, _ *commitments.View) {
			w.state.head.Blobs = chain.BlobParams{Target: 1, Max: 1, Fraction: 11_684_671}
		}, ErrBlobCount},
	} {
		w, tx, view := newBlobWorld(t), blobTx(c.blobs, c.version), commitments.View{}
		c.spoil(tx, w, &view)
		if _, err := w.ask(t, fuluSlot, view, w.from.sign(t, tx)); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	w := newBlobWorld(t)
	raw := append(w.from.sign(t, blobTx(1, v1)), 0)
	if _, err := w.ask(t, fuluSlot, commitments.View{}, raw); !errors.Is(err, ErrTxEncoding) {
		t.Errorf("a byte more: got %v", err)
	}
	data := blobTx(1, v1)
	data.Data, data.Gas = make([]byte, maxTxSize), 10_000_000
	if _, err := w.ask(t, fuluSlot, commitments.View{}, w.from.sign(t, data)); !errors.Is(err, ErrTxTooBig) {
		t.Errorf("much calldata: got %v", err)
	}
}

// TestCommit_PlainAfterBlobs: the chain of a sender is all of one kind.
func TestCommit_PlainAfterBlobs(t *testing.T) {
	w := newBlobWorld(t)
	tx := blobTx(1, types.BlobSidecarVersion1)
	tx.Sidecar = nil
	view := commitments.View{Page: pageOf(fuluSlot, w.from.sign(t, tx))}
	next := plain()
	next.Nonce = 6
	if _, err := w.ask(t, fuluSlot, view, w.from.sign(t, next)); !errors.Is(err, ErrBlobChain) {
		t.Errorf("got %v", err)
	}
}

// TestProofs_Flood: blobs wait for each other and for nothing else, and not too
// many of them.
func TestProofs_Flood(t *testing.T) {
	w := newBlobWorld(t)
	whole := w.from.sign(t, blobTx(1, types.BlobSidecarVersion1))
	_, blobs, err := splitBlobs(whole)
	if err != nil {
		t.Fatal(err)
	}
	w.proofs.running <- struct{}{} // somebody's proofs are being checked
	ended, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range cap(w.proofs.waiting) {
		wg.Go(func() {
			if err := w.proofs.verify(ended, whole, blobs); !errors.Is(err, ErrBlobChecks) {
				t.Errorf("whose turn did not come: %v", err)
			}
		})
	}
	for len(w.proofs.waiting) < cap(w.proofs.waiting) {
		runtime.Gosched() // they are on their way
	}
	if err := w.proofs.verify(t.Context(), whole, blobs); !errors.Is(err, ErrBlobChecks) {
		t.Errorf("one too many: %v", err)
	}
	if _, err := w.ask(t, fuluSlot, commitments.View{}, w.from.sign(t, plain())); err != nil {
		t.Errorf("a request without blobs: %v", err)
	}
	cancel()
	wg.Wait()
	<-w.proofs.running
	if err := w.proofs.verify(t.Context(), whole, blobs); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	w.proofs.running <- struct{}{}
	if err := w.proofs.verify(t.Context(), whole, blobs); err != nil {
		t.Errorf("what is known needs no turn: %v", err)
	}
}

// TestProofs_Proposing: while a block of ours is being proposed no proof is begun.
func TestProofs_Proposing(t *testing.T) {
	spec, _ := chain.Named("hoodi")
	var now time.Time
	host := modules.Host{ID: "i", Spec: spec, State: &state{}, Schedule: schedule{{Slot: 50}, {Slot: 90}}, Clock: chain.NewClock(spec, func() time.Time { return now })}
	m, err := New(host, nil)
	if err != nil {
		t.Fatal(err)
	}
	w := newBlobWorld(t)
	whole := w.from.sign(t, blobTx(1, types.BlobSidecarVersion1))
	_, blobs, err := splitBlobs(whole)
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range map[time.Duration]error{-501 * time.Millisecond: nil, -499 * time.Millisecond: ErrBlobChecks, 0: ErrBlobChecks, 1499 * time.Millisecond: ErrBlobChecks, 1500 * time.Millisecond: nil} {
		now = host.Clock.Start(90).Add(at)
		p := m.(*Module).proofs
		clear(p.proven)
		if err := p.verify(t.Context(), whole, blobs); !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("%v into the slot: got %v", at, err)
		}
	}
}

// TestRun_TrustedSetup: with Run, nobody waits for the trusted setup, and it is not
// made ready before blobs may be asked for.
func TestRun_TrustedSetup(t *testing.T) {
	w := newBlobWorld(t)
	whole := w.from.sign(t, blobTx(1, types.BlobSidecarVersion1))
	_, blobs, err := splitBlobs(whole)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	for !w.proofs.run.Load() {
		runtime.Gosched()
	}
	view := commitments.View{Limit: commitments.Cost{Gas: 1e9, Bytes: 1e6}}
	if _, err := w.ask(t, fuluSlot, view, w.from.sign(t, plain())); err != nil || len(w.proofs.wanted) != 0 || w.proofs.ready.Load() {
		t.Errorf("where there are no blobs: %v, ready %v", err, w.proofs.ready.Load())
	}
	if err := w.proofs.verify(t.Context(), whole, blobs); !errors.Is(err, ErrBlobChecks) {
		t.Errorf("before it is ready: %v", err)
	}
	for deadline := time.Now().Add(time.Minute); !w.proofs.ready.Load() && time.Now().Before(deadline); {
		runtime.Gosched()
	}
	if err := w.proofs.verify(t.Context(), whole, blobs); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
}
