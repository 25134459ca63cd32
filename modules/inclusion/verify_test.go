package inclusion

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/deneb"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/holiman/uint256"

	"sidecar/commitments"
	"sidecar/fault"
)

// bid is a page of two promises and a bid that keeps them.
func bid(t testing.TB) (commitments.Page, commitments.Candidate, [][]byte, []byte) {
	txs := blockOf(t, 140)
	cand, block := build(t, txs, 3, 130)
	return pageOf(slot, txs[3], txs[130]), cand, txs, block.HeaderRLP
}

func TestVerify_Refuses(t *testing.T) {
	w := newWorld(t)
	page, cand, txs, header := bid(t)
	if err := w.Verify(t.Context(), page, cand); err != nil {
		t.Fatal(err)
	}
	_, other := build(t, blockOf(t, 2))
	proof := func(header []byte, index uint64, change func(*commitments.InclusionProof)) commitments.Constraint {
		p, err := commitments.DecodeInclusionProof(proofAt(t, header, txs, index).Payload)
		if err != nil {
			t.Fatal(err)
		}
		change(&p)
		payload, err := p.Encode()
		if err != nil {
			t.Fatal(err)
		}
		return commitments.Constraint{Type: 1, Payload: payload}
	}
	set := func(i int, c commitments.Constraint) func(*commitments.Candidate) {
		return func(cand *commitments.Candidate) { cand.Proofs[i] = c }
	}
	for name, c := range map[string]struct {
		lie  func(*commitments.Candidate)
		want *fault.Fault
	}{
		"no header":            {func(c *commitments.Candidate) { c.Header = nil }, ErrProofInvalid},
		"another slot":         {func(c *commitments.Candidate) { c.Slot++ }, ErrProofInvalid},
		"swapped":              {func(c *commitments.Candidate) { slices.Reverse(c.Proofs) }, ErrProofInvalid},
		"one for both":         {func(c *commitments.Candidate) { c.Proofs[1] = c.Proofs[0] }, ErrProofInvalid},
		"another transaction":  {set(0, proofAt(t, header, txs, 4)), ErrProofInvalid},
		"another block":        {set(0, proofAt(t, other.HeaderRLP, txs, 3)), ErrProofInvalid},
		"two headers":          {set(1, proofAt(t, other.HeaderRLP, txs, 130)), ErrProofInvalid},
		"another type":         {func(c *commitments.Candidate) { c.Proofs[0].Type = 2 }, ErrProofMissing},
		"junk":                 {set(0, commitments.Constraint{Type: 1, Payload: []byte{1, 2}}), ErrProofInvalid},
		"a node too many":      {set(0, proof(header, 3, func(p *commitments.InclusionProof) { p.Nodes = append(p.Nodes, p.Nodes[0]) })), ErrProofInvalid},
		"a node too few":       {set(0, proof(header, 3, func(p *commitments.InclusionProof) { p.Nodes = p.Nodes[:len(p.Nodes)-1] })), ErrProofInvalid},
		"branch of another":    {set(0, proof(header, 3, func(p *commitments.InclusionProof) { p.Branch = commitments.ProveTransaction(txs, 4) })), ErrProofInvalid},
		"index of the other":   {set(0, proof(header, 3, func(p *commitments.InclusionProof) { p.Index = 2 })), ErrProofInvalid},
		"another SSZ root":     {func(c *commitments.Candidate) { c.Header.TransactionsRoot[0]++ }, ErrProofInvalid},
		"another block hash":   {func(c *commitments.Candidate) { c.BlockHash[0]++ }, ErrProofInvalid},
		"header, another hash": {func(c *commitments.Candidate) { c.Header.BlockHash[0]++ }, ErrProofInvalid},
		"bid, another parent":  {func(c *commitments.Candidate) { c.ParentHash[0]++ }, ErrProofInvalid},
		"header is no header":  {set(0, proof(header, 3, func(p *commitments.InclusionProof) { p.HeaderRLP = []byte{0xc0} })), ErrProofInvalid},
		"header, a byte more":  {set(0, proof(header, 3, func(p *commitments.InclusionProof) { p.HeaderRLP = append(slices.Clone(header), 0) })), ErrProofInvalid},
	} {
		spoilt := cand
		spoilt.Header, spoilt.Proofs = ptr(*cand.Header), slices.Clone(cand.Proofs)
		c.lie(&spoilt)
		if err := w.Verify(t.Context(), page, spoilt); !errors.Is(err, c.want) || fault.Of(err) != c.want {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}

// TestVerify_HeaderFields: the bid must claim the very header that hashes to its
// block hash, field by field.
func TestVerify_HeaderFields(t *testing.T) {
	w := newWorld(t)
	page, cand, _, _ := bid(t)
	for name, lie := range map[string]func(*deneb.ExecutionPayloadHeader){
		"parent hash":     func(h *deneb.ExecutionPayloadHeader) { h.ParentHash[0]++ },
		"fee recipient":   func(h *deneb.ExecutionPayloadHeader) { h.FeeRecipient[0]++ },
		"state root":      func(h *deneb.ExecutionPayloadHeader) { h.StateRoot[0]++ },
		"receipts root":   func(h *deneb.ExecutionPayloadHeader) { h.ReceiptsRoot[0]++ },
		"logs bloom":      func(h *deneb.ExecutionPayloadHeader) { h.LogsBloom[255]++ },
		"prev randao":     func(h *deneb.ExecutionPayloadHeader) { h.PrevRandao[0]++ },
		"block number":    func(h *deneb.ExecutionPayloadHeader) { h.BlockNumber++ },
		"gas limit":       func(h *deneb.ExecutionPayloadHeader) { h.GasLimit++ },
		"gas used":        func(h *deneb.ExecutionPayloadHeader) { h.GasUsed++ },
		"timestamp":       func(h *deneb.ExecutionPayloadHeader) { h.Timestamp++ },
		"extra data":      func(h *deneb.ExecutionPayloadHeader) { h.ExtraData = nil },
		"base fee":        func(h *deneb.ExecutionPayloadHeader) { h.BaseFeePerGas = uint256.NewInt(1) },
		"no base fee":     func(h *deneb.ExecutionPayloadHeader) { h.BaseFeePerGas = nil },
		"block hash":      func(h *deneb.ExecutionPayloadHeader) { h.BlockHash[0]++ },
		"blob gas used":   func(h *deneb.ExecutionPayloadHeader) { h.BlobGasUsed++ },
		"excess blob gas": func(h *deneb.ExecutionPayloadHeader) { h.ExcessBlobGas++ },
	} {
		spoilt := cand
		spoilt.Header = ptr(*cand.Header)
		lie(spoilt.Header)
		if err := w.Verify(t.Context(), page, spoilt); !errors.Is(err, ErrProofInvalid) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestVerify_SkipsOtherTypes(t *testing.T) {
	w := newWorld(t)
	page, cand, _, _ := bid(t)
	page.Promises[0].Commitment.Type = 9
	cand.Proofs[0] = commitments.Constraint{Type: 9, Payload: []byte("another module's")}
	if err := w.Verify(t.Context(), page, cand); err != nil {
		t.Error(err)
	}
}

func TestVerify_Cancelled(t *testing.T) {
	w := newWorld(t)
	page, cand, _, _ := bid(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.Verify(ctx, page, cand); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestAudit(t *testing.T) {
	w := newWorld(t)
	txs := blockOf(t, 5)
	_, block := build(t, txs[:4])
	page := pageOf(slot, txs[3], txs[4])
	verdicts, err := w.Audit(t.Context(), page, block)
	if err != nil || len(verdicts) != 2 {
		t.Fatalf("got %v, %v", verdicts, err)
	}
	want := []commitments.Verdict{
		{RequestHash: page.Promises[0].Commitment.RequestHash, Outcome: commitments.Kept},
		{RequestHash: page.Promises[1].Commitment.RequestHash, Outcome: commitments.Broken, Reason: "absent"},
	}
	for i := range want {
		if got := verdicts[i]; got.RequestHash != want[i].RequestHash || got.Outcome != want[i].Outcome || got.Reason != want[i].Reason {
			t.Errorf("promise %d: got %+v, want %+v", i, got, want[i])
		}
	}
	block.Slot++
	if _, err := w.Audit(t.Context(), page, block); err == nil {
		t.Error("judged by the block of another slot")
	}
	verdicts, err = w.Audit(t.Context(), page, commitments.Block{Slot: slot, Missed: true})
	if err != nil || verdicts[0].Outcome != commitments.Excused || verdicts[1].Reason != "slot_missed" {
		t.Errorf("missed: got %+v, %v", verdicts, err)
	}
}

// FuzzVerify: a proof that passes in place of the real one is the real one.
func FuzzVerify(f *testing.F) {
	w := newWorld(f)
	txs := blockOf(f, 20)
	cand, block := build(f, txs, 3)
	page := pageOf(slot, txs[3])
	real := cand.Proofs[0].Payload
	f.Add(real)
	f.Add(proofAt(f, block.HeaderRLP, txs, 4).Payload)
	f.Fuzz(func(t *testing.T, payload []byte) {
		c := cand
		c.Proofs = []commitments.Constraint{{Type: 1, Payload: payload}}
		err := w.Verify(context.Background(), page, c)
		if err == nil && string(payload) != string(real) {
			t.Fatalf("another proof passes: %x", payload)
		}
		if err != nil && fault.Of(err) == nil {
			t.Fatalf("%v has no name", err)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	w := newWorld(b)
	txs := blockOf(b, 300)
	for _, n := range []int{1, 16, 64} {
		var at []uint64
		var promised [][]byte
		for i := range n {
			at = append(at, uint64(4*i))
			promised = append(promised, txs[4*i])
		}
		cand, _ := build(b, txs, at...)
		page := pageOf(phase0.Slot(slot), promised...)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := w.Verify(context.Background(), page, cand); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
