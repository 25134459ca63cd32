package inclusion

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/holiman/uint256"

	"sidecar/commitments"
	"sidecar/fault"
	"sidecar/internal/execution"
)

// prover makes the proofs of a block in one format, for the transactions at some
// indices, in their order.
type prover func(t testing.TB, txs [][]byte, at ...uint64) []commitments.Constraint

// rootsOf are what the header that build makes has and its bid does not say.
func rootsOf(txs [][]byte) commitments.HeaderRoots {
	return commitments.HeaderRoots{
		Transactions: execution.TransactionsRoot(txs), Withdrawals: types.EmptyWithdrawalsHash, ParentBeacon: common.Hash{16}, Requests: types.EmptyRequestsHash,
	}
}

func inRoots(t testing.TB, txs [][]byte, at ...uint64) (out []commitments.Constraint) {
	for _, i := range at {
		nodes, _, err := execution.ProveTransaction(txs, i)
		if err != nil {
			t.Fatal(err)
		}
		payload, err := commitments.RootsProof{Roots: rootsOf(txs), Index: i, Nodes: nodes}.Encode()
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, commitments.Constraint{Type: 1, Payload: payload})
	}
	return out
}

func inBranches(_ testing.TB, txs [][]byte, at ...uint64) (out []commitments.Constraint) {
	for _, i := range at {
		p := commitments.BranchProof{Hash: phase0.Hash32(crypto.Keccak256Hash(txs[i])), Index: i, Branch: commitments.ProveTransaction(txs, i)}
		out = append(out, commitments.Constraint{Type: 1, Payload: p.Encode()})
	}
	return out
}

func boltOf(txs [][]byte, at ...uint64) (p commitments.BoltProofs) {
	for _, i := range at {
		p.Hashes, p.Indices = append(p.Hashes, phase0.Hash32(crypto.Keccak256Hash(txs[i]))), append(p.Indices, i)
	}
	p.Helpers = commitments.ProveTransactions(txs, at)
	return p
}

// spread is one multiproof as the relay client hands it on: with each promise.
func spread(t testing.TB, p commitments.BoltProofs, n int) []commitments.Constraint {
	text, err := p.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return slices.Repeat([]commitments.Constraint{{Type: 1, Payload: text}}, n)
}

func inBolt(t testing.TB, txs [][]byte, at ...uint64) []commitments.Constraint {
	return spread(t, boltOf(txs, at...), len(at))
}

func inHeaders(t testing.TB, txs [][]byte, at ...uint64) []commitments.Constraint {
	cand, _ := build(t, txs, at...)
	return cand.Proofs
}

var provers = map[string]prover{"EL-MPT v1": inHeaders, "EL-MPT v2": inRoots, "branch": inBranches, "multiproof": inBolt}

// TestVerify_Formats: every format proves what it should, in any order of the
// block, and nothing else.
func TestVerify_Formats(t *testing.T) {
	w, txs := newWorld(t), blockOf(t, 150)
	for name, prove := range provers {
		t.Run(name, func(t *testing.T) {
			at := []uint64{130, 3, 2, 149, 0}
			page := pageOf(slot, txs[130], txs[3], txs[2], txs[149], txs[0])
			cand, _ := build(t, txs)
			check := func(what string, proofs []commitments.Constraint, want *fault.Fault) {
				t.Helper()
				spoilt := cand
				spoilt.Header, spoilt.Proofs = ptr(*cand.Header), proofs
				if err := w.Verify(t.Context(), page, spoilt); (want == nil) != (err == nil) || want != nil && !errors.Is(err, want) {
					t.Errorf("%s: got %v, want %v", what, err, want)
				}
			}
			proofs := prove(t, txs, at...)
			check("as it is", proofs, nil)
			check("one too few", proofs[:4], ErrProofMissing)
			check("one too many", append(slices.Clone(proofs), proofs[0]), ErrProofMissing)
			check("none", nil, ErrProofMissing)
			check("another transaction in one's place", prove(t, txs, 130, 3, 2, 149, 1), ErrProofInvalid)
			other := blockOf(t, 150)
			other[0], other[1] = other[1], other[0]
			check("of another block", prove(t, other, at...), ErrProofInvalid)
			mixed := slices.Clone(proofs)
			mixed[2] = commitments.Constraint{Type: 1, Payload: []byte{9}}
			check("of no format", mixed, ErrProofInvalid)
			mixed[2] = commitments.Constraint{Type: 1}
			check("empty", mixed, ErrProofMissing)
			mixed[2] = commitments.Constraint{Type: 7, Payload: proofs[2].Payload}
			check("of another type", mixed, ErrProofMissing)
			for i := range proofs[1].Payload {
				if i%7 != 0 {
					continue
				}
				flipped := slices.Clone(proofs)
				flipped[1].Payload = slices.Clone(flipped[1].Payload)
				flipped[1].Payload[i] ^= 1
				if name == "multiproof" {
					flipped = slices.Repeat(flipped[1:2], len(proofs))
				}
				spoilt := cand
				spoilt.Proofs = flipped
				if err := w.Verify(t.Context(), page, spoilt); err == nil {
					t.Fatalf("byte %d flipped: passed", i)
				}
			}
			if name == "multiproof" {
				return
			}
			twice := slices.Clone(proofs)
			twice[1] = twice[0]
			check("one proof for two", twice, ErrProofInvalid)
			swapped := slices.Clone(proofs)
			swapped[0], swapped[1] = swapped[1], swapped[0]
			check("swapped", swapped, ErrProofInvalid)
		})
	}
}

// TestVerify_MixedFormats: each proof may have a format of its own, but no index
// serves two promises across them.
func TestVerify_MixedFormats(t *testing.T) {
	w, txs := newWorld(t), blockOf(t, 20)
	page := pageOf(slot, txs[1], txs[2], txs[3])
	cand, _ := build(t, txs)
	cand.Proofs = []commitments.Constraint{inHeaders(t, txs, 1)[0], inRoots(t, txs, 2)[0], inBranches(t, txs, 3)[0]}
	if err := w.Verify(t.Context(), page, cand); err != nil {
		t.Errorf("three formats: %v", err)
	}
	page = pageOf(slot, txs[1], txs[1])
	cand.Proofs = []commitments.Constraint{inHeaders(t, txs, 1)[0], inBranches(t, txs, 1)[0]}
	if err := w.Verify(t.Context(), page, cand); !errors.Is(err, ErrProofInvalid) {
		t.Errorf("one index for two promises: %v", err)
	}
}

// TestVerify_BoltHoles closes the holes that Bolt's own verifier had: one hash many
// times, hashes that nobody promised, an index inside another transaction.
func TestVerify_BoltHoles(t *testing.T) {
	w, txs := newWorld(t), blockOf(t, 30)
	page := pageOf(slot, txs[3], txs[9])
	cand, _ := build(t, txs)
	for name, c := range map[string]struct {
		p    func() commitments.BoltProofs
		want *fault.Fault
	}{
		"one hash twice": {func() commitments.BoltProofs {
			p := boltOf(txs, 3)
			return commitments.BoltProofs{Hashes: append(p.Hashes, p.Hashes[0]), Indices: append(p.Indices, p.Indices[0]), Helpers: p.Helpers}
		}, ErrProofInvalid},
		"another hash":  {func() commitments.BoltProofs { return boltOf(txs, 3, 10) }, ErrProofInvalid},
		"one is absent": {func() commitments.BoltProofs { return boltOf(txs, 3) }, ErrProofMissing},
		"one is extra":  {func() commitments.BoltProofs { return boltOf(txs, 3, 9, 10) }, ErrProofMissing},
		"hashes swapped": {func() commitments.BoltProofs {
			p := boltOf(txs, 3, 9)
			slices.Reverse(p.Hashes)
			return p
		}, ErrProofInvalid},
		"helpers reordered": {func() commitments.BoltProofs {
			p := boltOf(txs, 3, 9)
			p.Helpers[0], p.Helpers[1] = p.Helpers[1], p.Helpers[0]
			return p
		}, ErrProofInvalid},
		"a helper extra": {func() commitments.BoltProofs {
			p := boltOf(txs, 3, 9)
			p.Helpers = append(p.Helpers, [32]byte{})
			return p
		}, ErrProofInvalid},
		"the list made longer": {func() commitments.BoltProofs {
			p := boltOf(txs, 3, 9)
			binary.LittleEndian.PutUint64(p.Helpers[len(p.Helpers)-1][:], 31)
			return p
		}, ErrProofInvalid},
	} {
		cand.Proofs = spread(t, c.p(), 2)
		if err := w.Verify(t.Context(), page, cand); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	cand.Proofs = []commitments.Constraint{inBolt(t, txs, 3, 9)[0], spread(t, boltOf(txs, 9, 3), 2)[0]}
	if err := w.Verify(t.Context(), page, cand); !errors.Is(err, ErrProofInvalid) {
		t.Errorf("two multiproofs: got %v", err)
	}
}

// TestVerify_NetworkEncoding is fabric's trap: a trie of typed transactions in
// network encoding, as RLP strings, is consistent in itself and is no header's. Its
// proof is refused in fabric's own encoding and in ours.
func TestVerify_NetworkEncoding(t *testing.T) {
	w, txs := newWorld(t), blockOf(t, 5)
	page := pageOf(slot, txs[3])
	cand, block := build(t, txs)
	wrapped := make([][]byte, len(txs))
	for i := range txs {
		wrapped[i], _ = rlp.EncodeToBytes(txs[i])
	}
	nodes, root, err := execution.ProveTransaction(wrapped, 3)
	if err != nil || root == execution.TransactionsRoot(txs) {
		t.Fatalf("the trap does not hold: %v", err)
	}
	fabric := append([]byte{}, crypto.Keccak256(txs[3])...) // bincode: hash, index, nodes
	fabric = binary.LittleEndian.AppendUint64(fabric, 3)
	fabric = binary.LittleEndian.AppendUint64(fabric, uint64(len(nodes)))
	for _, n := range nodes {
		fabric = append(binary.LittleEndian.AppendUint64(fabric, uint64(len(n))), n...)
	}
	v1, err := commitments.InclusionProof{HeaderRLP: block.HeaderRLP, Index: 3, Nodes: nodes, Branch: commitments.ProveTransaction(txs, 3)}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	roots := rootsOf(txs)
	roots.Transactions = root
	v2, err := commitments.RootsProof{Roots: roots, Index: 3, Nodes: nodes}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for name, payload := range map[string][]byte{"fabric's": fabric, "EL-MPT v1": v1, "EL-MPT v2": v2} {
		cand.Proofs = []commitments.Constraint{{Type: 1, Payload: payload}}
		if err := w.Verify(t.Context(), page, cand); !errors.Is(err, ErrProofInvalid) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestBare: a blob transaction is promised with its sidecar and proven without.
func TestBare(t *testing.T) {
	from := newAccount(t, 1)
	sidecar := types.NewBlobTxSidecar(types.BlobSidecarVersion0, nil, nil, nil)
	sidecar.Blobs = append(sidecar.Blobs, [131072]byte{})
	sidecar.Commitments = append(sidecar.Commitments, [48]byte{0xc0})
	sidecar.Proofs = append(sidecar.Proofs, [48]byte{0xc0})
	data := &types.BlobTx{
		ChainID: uint256.NewInt(chainID), Gas: 21000, GasFeeCap: uint256.NewInt(1), GasTipCap: uint256.NewInt(1), BlobFeeCap: uint256.NewInt(1),
		BlobHashes: sidecar.BlobHashes(), Sidecar: sidecar,
	}
	full := from.sign(t, data)
	data.Sidecar = nil
	want := from.sign(t, data)
	for name, raw := range map[string][]byte{"with its sidecar": full, "without": want} {
		if got, err := bare(raw); err != nil || string(got) != string(want) || got[0] != 3 {
			t.Errorf("%s: %d bytes, %v, want %d", name, len(got), err, len(want))
		}
	}
	if _, err := bare([]byte{3, 0xc0}); !errors.Is(err, ErrTxEncoding) {
		t.Errorf("junk: %v", err)
	}
	legacy := []byte{0xc1, 0x80}
	if got, err := bare(legacy); err != nil || string(got) != string(legacy) {
		t.Errorf("another type: %x, %v", got, err)
	}
}

// BenchmarkVerify_Formats proves 128 promises in a block of 300.
func BenchmarkVerify_Formats(b *testing.B) {
	w, txs := newWorld(b), blockOf(b, 300)
	for _, n := range []int{64, 128} {
		var at []uint64
		var promises [][]byte
		for i := range n {
			at = append(at, uint64(2*i))
			promises = append(promises, txs[2*i])
		}
		page := pageOf(slot, promises...)
		cand, _ := build(b, txs)
		for name, prove := range provers {
			cand.Proofs = prove(b, txs, at...)
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				for b.Loop() {
					if err := w.Verify(b.Context(), page, cand); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
