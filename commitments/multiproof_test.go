package commitments

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ferranbt/fastssz"
)

// multi proves some transactions of a block.
func multi(txs [][]byte, indices ...uint64) (root phase0.Root, leaves []Leaf, helpers [][32]byte) {
	for _, i := range indices {
		leaves = append(leaves, Leaf{i, TransactionRoot(txs[i])})
	}
	return TransactionsRoot(txs), leaves, ProveTransactions(txs, indices)
}

// byFastSSZ asks another implementation, with the nodes as it wants them.
func byFastSSZ(root phase0.Root, leaves []Leaf, helpers [][32]byte) bool {
	var nodes, proof [][]byte
	var indices []int
	for i := range leaves {
		nodes, indices = append(nodes, leaves[i].Root[:]), append(indices, int(firstTransaction+leaves[i].Index))
	}
	for i := range helpers {
		proof = append(proof, helpers[i][:])
	}
	ok, err := ssz.VerifyMultiproof(root[:], proof, nodes, indices)
	return ok && err == nil
}

// TestVerifyMultiproof holds the order of helpers and the verdict to fastssz's.
func TestVerifyMultiproof(t *testing.T) {
	for _, c := range []struct {
		n       int
		indices []uint64
	}{
		{1, []uint64{0}}, {2, []uint64{0, 1}}, {2, []uint64{1}}, {3, []uint64{2, 0}}, {5, []uint64{4}}, {33, []uint64{32, 0, 31, 1, 15}}, {200, []uint64{199, 3, 2, 100, 101}},
	} {
		root, leaves, helpers := multi(randomTxs(c.n), c.indices...)
		if !byFastSSZ(root, leaves, helpers) {
			t.Fatalf("%v of %d: fastssz wants other helpers", c.indices, c.n)
		}
		if !VerifyMultiproof(root, leaves, helpers) {
			t.Errorf("%v of %d: refused", c.indices, c.n)
		}
	}
	var all []uint64
	for i := range uint64(200) {
		all = append(all, i)
	}
	root, leaves, helpers := multi(randomTxs(200), all...)
	if !VerifyMultiproof(root, leaves, helpers) {
		t.Error("all of 200: refused")
	}
	if ProveTransactions(randomTxs(3), []uint64{3}) != nil || ProveTransactions(randomTxs(3), []uint64{1, 1}) != nil {
		t.Error("proved what cannot be")
	}
}

// TestVerifyMultiproof_Vector is the published root of three transactions, of the
// first of which only the leaf is published.
func TestVerifyMultiproof_Vector(t *testing.T) {
	first := root(t, "247fe8d988b1fa0a1170945fd01d0c1cd1e3d78c7b3f270a60ed36b196128d30")
	leaves := []Leaf{{1, TransactionRoot([]byte{2, 3, 4})}, {2, TransactionRoot(bytes.Repeat([]byte{1}, 100))}}
	helpers := [][32]byte{zeroHashes[0], first}
	for d := 2; d < depthTransactions; d++ {
		helpers = append(helpers, zeroHashes[d])
	}
	helpers = append(helpers, length(3))
	want := root(t, "745de59bf3d4b5aab65e4ae66cc13832660e1db38589961bc9f1707b8749d219")
	if !VerifyMultiproof(want, leaves, helpers) {
		t.Error("refused")
	}
	if firstTransaction != 2_097_152 {
		t.Errorf("transaction 0 has generalized index %d", firstTransaction)
	}
}

func TestVerifyMultiproof_Lies(t *testing.T) {
	txs := randomTxs(40)
	for name, lie := range map[string]func(leaves *[]Leaf, helpers *[][32]byte){
		"one leaf twice":       func(l *[]Leaf, _ *[][32]byte) { (*l)[1] = (*l)[0] },
		"one index twice":      func(l *[]Leaf, _ *[][32]byte) { (*l)[1].Index = (*l)[0].Index },
		"another leaf":         func(l *[]Leaf, _ *[][32]byte) { (*l)[2].Root[0]++ },
		"swapped leaves":       func(l *[]Leaf, _ *[][32]byte) { (*l)[0].Root, (*l)[1].Root = (*l)[1].Root, (*l)[0].Root },
		"a leaf too few":       func(l *[]Leaf, _ *[][32]byte) { *l = (*l)[:2] },
		"no leaf":              func(l *[]Leaf, _ *[][32]byte) { *l = nil },
		"index beyond list":    func(l *[]Leaf, _ *[][32]byte) { (*l)[2].Index = 40 },
		"index beyond type":    func(l *[]Leaf, _ *[][32]byte) { (*l)[2].Index += 1 << 20 },
		"a helper too many":    func(_ *[]Leaf, h *[][32]byte) { *h = append(*h, (*h)[len(*h)-1]) },
		"a helper in front":    func(_ *[]Leaf, h *[][32]byte) { *h = slices.Insert(*h, 0, [32]byte{}) },
		"a helper too few":     func(_ *[]Leaf, h *[][32]byte) { *h = (*h)[1:] },
		"without the length":   func(_ *[]Leaf, h *[][32]byte) { *h = (*h)[:len(*h)-1] },
		"helpers reordered":    func(_ *[]Leaf, h *[][32]byte) { (*h)[0], (*h)[1] = (*h)[1], (*h)[0] },
		"helpers reversed":     func(_ *[]Leaf, h *[][32]byte) { slices.Reverse(*h) },
		"a longer list":        func(_ *[]Leaf, h *[][32]byte) { (*h)[len(*h)-1][0]++ },
		"a shorter list":       func(_ *[]Leaf, h *[][32]byte) { (*h)[len(*h)-1] = length(2) },
		"length beyond 64":     func(_ *[]Leaf, h *[][32]byte) { (*h)[len(*h)-1][31] = 1 },
		"no helpers":           func(_ *[]Leaf, h *[][32]byte) { *h = nil },
		"a flood of helpers":   func(_ *[]Leaf, h *[][32]byte) { *h = append(*h, make([][32]byte, 64)...) },
		"an inner node's sake": func(l *[]Leaf, h *[][32]byte) { *l, *h = []Leaf{{0, [32]byte{}}}, (*h)[:1] },
	} {
		root, leaves, helpers := multi(txs, 3, 17, 39)
		lie(&leaves, &helpers)
		if VerifyMultiproof(root, leaves, helpers) {
			t.Errorf("%s: passed", name)
		}
	}
}

func TestBoltProofs(t *testing.T) {
	txs := randomTxs(20)
	p := BoltProofs{Hashes: []phase0.Hash32{{1}, {2}}, Indices: []uint64{7, 19}, Helpers: ProveTransactions(txs, []uint64{7, 19})}
	text, err := p.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for name, form := range map[string]string{
		"Bolt's builder": string(text),
		"bolt-boost":     strings.Replace(string(text), "generalized_indexes", "generalized_indeces", 1),
		"as strings":     strings.Replace(string(text), "2097159,2097171", `"2097159","2097171"`, 1),
	} {
		got, err := DecodeBoltProofs([]byte(form))
		if err != nil || fmt.Sprint(got) != fmt.Sprint(p) {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
	for name, lie := range map[string]string{
		"index of a chunk":  strings.Replace(string(text), "2097159", "102760448", 1),
		"index of the root": strings.Replace(string(text), "2097159", "1", 1),
		"one below":         strings.Replace(string(text), "2097159", "2097151", 1),
		"one above":         strings.Replace(string(text), "2097159", "3145728", 1),
		"negative":          strings.Replace(string(text), "2097159", "-1", 1),
		"half":              strings.Replace(string(text), "2097159", "7.5", 1),
		"fewer indexes":     strings.Replace(string(text), "2097159,", "", 1),
		"a short hash":      strings.Replace(string(text), `"0x01`, `"0x`, 1),
		"no hex":            strings.Replace(string(text), `"0x01`, `"0xzz`, 1),
		"nothing":           `{}`,
		"a list":            `[]`,
		"cut":               string(text[:40]),
	} {
		if _, err := DecodeBoltProofs([]byte(lie)); !errors.Is(err, ErrProof) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestBranchProof(t *testing.T) {
	txs := randomTxs(5)
	p := BranchProof{phase0.Hash32{9}, 3, ProveTransaction(txs, 3)}
	text := p.Encode()
	if got, err := DecodeBranchProof(text); err != nil || fmt.Sprint(got) != fmt.Sprint(p) || FormatOf(text) != ProofBranch {
		t.Errorf("got %v, %v", got, err)
	}
	general := slices.Clone(text)
	binary.LittleEndian.PutUint64(general[32:], firstTransaction+3)
	if got, err := DecodeBranchProof(general); err != nil || got.Index != 3 {
		t.Errorf("a generalized index: got %v, %v", got, err)
	}
	for name, lie := range map[string]func([]byte) []byte{
		"a sibling too few":  func(b []byte) []byte { return b[:len(b)-32] },
		"a sibling too many": func(b []byte) []byte { return append(b, make([]byte, 32)...) },
		"another offset":     func(b []byte) []byte { b[40]++; return b },
		"index 2^20":         func(b []byte) []byte { binary.LittleEndian.PutUint64(b[32:], 1<<20); return b },
		"index past the end": func(b []byte) []byte { binary.LittleEndian.PutUint64(b[32:], 3<<20); return b },
	} {
		if _, err := DecodeBranchProof(lie(slices.Clone(text))); !errors.Is(err, ErrProof) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestRootsProof(t *testing.T) {
	for name, p := range map[string]RootsProof{
		"with requests":    {HeaderRoots{[32]byte{1}, [32]byte{2}, [32]byte{3}, [32]byte{4}}, 129, [][]byte{{0xc1, 0x80}, bytes.Repeat([]byte{7}, 60)}},
		"without requests": {HeaderRoots{[32]byte{1}, [32]byte{2}, [32]byte{3}, [32]byte{}}, 0, [][]byte{{0xc1, 0x80}}},
	} {
		text, err := p.Encode()
		got, err2 := DecodeRootsProof(text)
		if err != nil || err2 != nil || fmt.Sprint(got) != fmt.Sprint(p) || FormatOf(text) != ProofRoots {
			t.Errorf("%s: got %v, %v, %v", name, got, err, err2)
		}
		for i := range text {
			if _, err := DecodeRootsProof(text[:i]); !errors.Is(err, ErrProof) {
				t.Errorf("%s: cut at %d: %v", name, i, err)
			}
		}
		if _, err := DecodeRootsProof(append(slices.Clone(text), 0)); !errors.Is(err, ErrProof) {
			t.Errorf("%s: a byte more: %v", name, err)
		}
	}
	if _, err := (RootsProof{Index: 1 << 20, Nodes: [][]byte{{1}}}).Encode(); !errors.Is(err, ErrProof) {
		t.Errorf("index 2^20: %v", err)
	}
	if _, err := (RootsProof{Index: 1}).Encode(); !errors.Is(err, ErrProof) {
		t.Errorf("no nodes: %v", err)
	}
}

// FuzzBoltProofs: whatever is read is written and read again to the same.
func FuzzBoltProofs(f *testing.F) {
	text, _ := BoltProofs{[]phase0.Hash32{{1}}, []uint64{0}, [][32]byte{{5}}}.Encode()
	f.Add(text)
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := DecodeBoltProofs(text)
		if err != nil {
			return
		}
		again, err := p.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := DecodeBoltProofs(again); err != nil || fmt.Sprint(got) != fmt.Sprint(p) {
			t.Errorf("got %v, %v", got, err)
		}
	})
}

// BenchmarkMultiproof compares with fastssz, in one run: 64 transactions of a block
// of 300, and 128. Both are given leaves and helpers ready to use.
func BenchmarkMultiproof(b *testing.B) {
	txs := randomTxs(300)
	for _, n := range []int{64, 128} {
		var indices []uint64
		for i := range n {
			indices = append(indices, uint64(i*300/n))
		}
		root, leaves, helpers := multi(txs, indices...)
		var nodes, proof [][]byte
		var at []int
		for i := range leaves {
			nodes, at = append(nodes, leaves[i].Root[:]), append(at, int(firstTransaction+leaves[i].Index))
		}
		for i := range helpers {
			proof = append(proof, helpers[i][:])
		}
		b.Run(fmt.Sprintf("%d/sidecar", n), func(b *testing.B) {
			for b.Loop() {
				if !VerifyMultiproof(root, leaves, helpers) {
					b.Fatal("refused")
				}
			}
		})
		b.Run(fmt.Sprintf("%d/fastssz", n), func(b *testing.B) {
			for b.Loop() {
				if ok, err := ssz.VerifyMultiproof(root[:], proof, nodes, at); !ok || err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
