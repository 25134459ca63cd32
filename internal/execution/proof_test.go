package execution

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/ethdb/memorydb"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/ethereum/go-ethereum/trie"
	"github.com/ethereum/go-ethereum/triedb"
)

// randomTxs makes n byte strings of short and long values, so that some nodes
// are embedded in their parents.
func randomTxs(n int, seed uint64) [][]byte {
	r := rand.New(rand.NewPCG(uint64(n), seed))
	txs := make([][]byte, n)
	for i := range txs {
		size := 1 + r.IntN(6)
		if r.IntN(3) > 0 {
			size = 1 + r.IntN(300)
		}
		txs[i] = make([]byte, size)
		for j := range txs[i] {
			txs[i][j] = byte(r.Uint32())
		}
	}
	return txs
}

type list [][]byte

func (l list) Len() int                           { return len(l) }
func (l list) EncodeIndex(i int, b *bytes.Buffer) { b.Write(l[i]) }

// gethProof proves with go-ethereum's trie.
func gethProof(t *testing.T, txs [][]byte, index uint64) (nodes [][]byte) {
	t.Helper()
	tr := trie.NewEmpty(triedb.NewDatabase(nil, nil))
	for i, tx := range txs {
		if err := tr.Update(rlp.AppendUint64(nil, uint64(i)), tx); err != nil {
			t.Fatal(err)
		}
	}
	tr.Hash()
	if err := tr.Prove(rlp.AppendUint64(nil, index), (*collector)(&nodes)); err != nil {
		t.Fatal(err)
	}
	return nodes
}

type collector [][]byte

func (c *collector) Put(_, value []byte) error { *c = append(*c, bytes.Clone(value)); return nil }
func (c *collector) Delete([]byte) error       { return nil }

// gethVerify verifies with go-ethereum, which takes nodes as a set.
func gethVerify(root [32]byte, index uint64, nodes [][]byte) ([]byte, error) {
	set := memorydb.New()
	for _, n := range nodes {
		_ = set.Put(crypto.Keccak256(n), n)
	}
	return trie.VerifyProof(root, rlp.AppendUint64(nil, index), set)
}

func TestTransactionsRoot(t *testing.T) {
	for n := range 301 {
		txs := randomTxs(n, 1)
		want := types.DeriveSha(list(txs), trie.NewStackTrie(nil))
		if got := TransactionsRoot(txs); got != want {
			t.Fatalf("%d transactions: got %x, want %x", n, got, want)
		}
	}
}

func TestProveTransaction_LikeGeth(t *testing.T) {
	for _, n := range []int{1, 2, 3, 16, 17, 127, 128, 129, 130, 255, 256, 257, 300} {
		txs := randomTxs(n, 2)
		for _, i := range []uint64{0, 1, uint64(n) / 2, 127, 128, uint64(n) - 1} {
			if i >= uint64(n) {
				continue
			}
			got, root, err := ProveTransaction(txs, i)
			if err != nil {
				t.Fatal(err)
			}
			if want := gethProof(t, txs, i); !slices.EqualFunc(got, want, bytes.Equal) {
				t.Errorf("%d of %d: got %x, want %x", i, n, got, want)
			}
			if want := TransactionsRoot(txs); root != want {
				t.Errorf("%d of %d: root %x, want %x", i, n, root, want)
			}
		}
	}
}

func TestVerifyTransaction_EveryIndex(t *testing.T) {
	for n := 1; n <= 300; n += 1 + n/5 {
		txs := randomTxs(n, 3)
		for i := range txs {
			nodes, root, err := ProveTransaction(txs, uint64(i))
			if err != nil {
				t.Fatal(err)
			}
			got, err := VerifyTransaction(root, uint64(i), nodes)
			if err != nil || !bytes.Equal(got, txs[i]) {
				t.Fatalf("%d of %d: got %x, %v, want %x", i, n, got, err, txs[i])
			}
			// Short neighbours share a node; they may be proved, as what they are.
			if got, err := VerifyTransaction(root, uint64(i+1), nodes); err == nil && (i+1 == n || !bytes.Equal(got, txs[i+1])) {
				t.Fatalf("%d of %d: proves %x at the index after it", i, n, got)
			}
		}
		nodes, root, _ := ProveTransaction(txs, 0)
		if _, err := VerifyTransaction(root, uint64(n), nodes); !errors.Is(err, ErrTrie) {
			t.Errorf("transaction %d of %d: got %v", n, n, err)
		}
	}
}

func TestProveTransaction_Refuses(t *testing.T) {
	for name, c := range map[string]struct {
		txs   [][]byte
		index uint64
	}{"no transactions": {nil, 0}, "out of range": {randomTxs(3, 4), 3}, "empty transaction": {[][]byte{{1}, {}}, 0}} {
		if _, _, err := ProveTransaction(c.txs, c.index); !errors.Is(err, ErrTrie) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// mutate spoils a proof in one of many ways, some of which may change nothing.
func mutate(r *rand.Rand, nodes [][]byte) [][]byte {
	out := make([][]byte, len(nodes))
	for i := range nodes {
		out[i] = bytes.Clone(nodes[i])
	}
	at := r.IntN(len(out))
	switch r.IntN(6) {
	case 0:
		out[at][r.IntN(len(out[at]))] ^= 1 << r.IntN(8)
	case 1:
		out = slices.Delete(out, at, at+1)
	case 2:
		out = slices.Insert(out, at, bytes.Clone(out[r.IntN(len(out))]))
	case 3:
		out = append(out, []byte{0xc0})
	case 4:
		r.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	case 5:
		out[at] = append(out[at], 0)
	}
	return out
}

// TestVerifyTransaction_Mutations: nothing but the one proof passes, and what
// passes proves what go-ethereum says it does.
func TestVerifyTransaction_Mutations(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	refused, strict := 0, 0
	for range 1000 {
		txs := randomTxs(1+r.IntN(300), r.Uint64())
		index := r.Uint64N(uint64(len(txs)))
		nodes, root, err := ProveTransaction(txs, index)
		if err != nil {
			t.Fatal(err)
		}
		spoilt := mutate(r, nodes)
		same := slices.EqualFunc(nodes, spoilt, bytes.Equal)
		got, err := VerifyTransaction(root, index, spoilt)
		if (err == nil) != same {
			t.Fatalf("index %d of %d: spoilt %t, got %v", index, len(txs), !same, err)
		}
		if err != nil {
			refused++
			if _, err := gethVerify(root, index, spoilt); err == nil {
				strict++
			}
			continue
		}
		if want, err := gethVerify(root, index, spoilt); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("got %x, go-ethereum %x, %v", got, want, err)
		}
	}
	if refused == 0 || strict == 0 {
		t.Errorf("refused %d, of which go-ethereum accepts %d: the test does not bite", refused, strict)
	}
}

// chainOf hashes hand-made nodes into a proof: each function gets its child's reference.
func chainOf(leaf []byte, parents ...func(child []byte) []byte) (root [32]byte, nodes [][]byte) {
	node := leaf
	nodes = [][]byte{node}
	for _, p := range parents {
		node = p(crypto.Keccak256(node))
		nodes = append([][]byte{node}, nodes...)
	}
	return crypto.Keccak256Hash(node), nodes
}

func encode(t *testing.T, v any) []byte {
	t.Helper()
	b, err := rlp.EncodeToBytes(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestVerifyTransaction_ForgedNodes: a builder chooses the root, so nodes may be
// anything that hashes.
func TestVerifyTransaction_ForgedNodes(t *testing.T) {
	value := bytes.Repeat([]byte{7}, 40)
	leaf := func(path ...byte) []byte { return encode(t, [][]byte{path, value}) }
	ext := func(path ...byte) func([]byte) []byte {
		return func(child []byte) []byte { return encode(t, [][]byte{path, child}) }
	}
	// Index 5 has the path 0, 5.
	root, nodes := chainOf(leaf(0x20, 0x05))
	if got, err := VerifyTransaction(root, 5, nodes); err != nil || !bytes.Equal(got, value) {
		t.Fatalf("the honest leaf: %x, %v", got, err)
	}
	root, nodes = chainOf(leaf(0x35), ext(0x10))
	if got, err := VerifyTransaction(root, 5, nodes); err != nil || !bytes.Equal(got, value) {
		t.Fatalf("the honest extension: %x, %v", got, err)
	}
	branch := func(value []byte) []byte {
		items := make([][]byte, 17)
		items[16] = value
		return encode(t, items)
	}
	for name, c := range map[string]struct {
		leaf    []byte
		parents []func([]byte) []byte
	}{
		"leaf of another path":    {leaf(0x20, 0x06), nil},
		"leaf too shallow":        {leaf(0x30), nil},
		"leaf too deep":           {leaf(0x20, 0x05, 0x00), nil},
		"leaf with a dirty flag":  {leaf(0x21, 0x05), nil},
		"leaf with an odd flag":   {leaf(0x60, 0x05), nil},
		"leaf without a path":     {leaf(), nil},
		"empty extension":         {leaf(0x20, 0x05), []func([]byte) []byte{ext(0x00)}},
		"extension elsewhere":     {leaf(0x35), []func([]byte) []byte{ext(0x11)}},
		"empty value":             {encode(t, [][]byte{{0x20, 0x05}, {}}), nil},
		"value is a list":         {encode(t, []any{[]byte{0x20, 0x05}, [][]byte{value}}), nil},
		"extension to 31 bytes":   {leaf(0x35), []func([]byte) []byte{func(c []byte) []byte { return encode(t, [][]byte{{0x10}, c[:31]}) }}},
		"three items":             {encode(t, [][]byte{{0x20, 0x05}, value, value}), nil},
		"eighteen items":          {encode(t, make([][]byte, 18)), nil},
		"empty branch":            {branch(nil), []func([]byte) []byte{ext(0x00, 0x05)}},
		"a string":                {encode(t, value), nil},
		"an empty list":           {[]byte{0xc0}, nil},
		"long form of a short":    {append([]byte{0xf8, 0x2c}, leaf(0x20, 0x05)[1:]...), nil},
		"bytes after the list":    {append(leaf(0x20, 0x05), 0), nil},
		"a short node by hash":    {encode(t, [][]byte{{0x35}, {9}}), []func([]byte) []byte{ext(0x10)}},
		"embedded of 32 bytes up": {encode(t, []any{[]byte{0x10}, []any{[]byte{0x35}, value}}), nil},
	} {
		root, nodes := chainOf(c.leaf, c.parents...)
		if got, err := VerifyTransaction(root, 5, nodes); !errors.Is(err, ErrTrie) {
			t.Errorf("%s: got %x, %v", name, got, err)
		}
	}
	if _, err := VerifyTransaction(common.Hash{}, 5, nil); !errors.Is(err, ErrTrie) {
		t.Errorf("no nodes: got %v", err)
	}
}

// TestVerifyTransaction_BesideThePath: a branch is a node only if every child is.
func TestVerifyTransaction_BesideThePath(t *testing.T) {
	value := bytes.Repeat([]byte{7}, 40)
	for name, c := range map[string]struct {
		at   int
		item any
		ok   bool
	}{
		"nothing":              {9, []byte{}, true},
		"a leaf":               {9, [][]byte{{0x20}, {1}}, true},
		"an extension":         {9, []any{[]byte{0x10}, [][]byte{{0x20}, {1}}}, true},
		"a byte":               {9, []byte{1}, false},
		"33 bytes":             {9, make([]byte, 33), false},
		"a list of one":        {9, [][]byte{{0x20}}, false},
		"a leaf without value": {9, [][]byte{{0x20}, {}}, false},
		"a leaf without path":  {9, [][]byte{{}, {1}}, false},
		"an empty extension":   {9, []any{[]byte{0x00}, [][]byte{{0x20}, {1}}}, false},
		"an extension to byte": {9, [][]byte{{0x10}, {1}}, false},
		"an extension to dirt": {9, []any{[]byte{0x10}, [][]byte{{0x20}}}, false},
		"a node of 32 bytes":   {9, [][]byte{{0x20}, make([]byte, 29)}, false},
		"a list as its value":  {16, [][]byte{{0x20}, {1}}, false},
	} {
		leaf := encode(t, [][]byte{{0x20}, value})
		items := make([]any, 17)
		for i := range items {
			items[i] = []byte{}
		}
		items[5], items[c.at] = crypto.Keccak256(leaf), c.item
		branch := encode(t, items)
		top := encode(t, [][]byte{{0x10}, crypto.Keccak256(branch)})
		got, err := VerifyTransaction(crypto.Keccak256Hash(top), 5, [][]byte{top, branch, leaf})
		if c.ok && (err != nil || !bytes.Equal(got, value)) || !c.ok && !errors.Is(err, ErrTrie) {
			t.Errorf("%s: got %x, %v", name, got, err)
		}
	}
}

func FuzzVerifyTransaction(f *testing.F) {
	for _, n := range []int{1, 3, 20, 200} {
		nodes, _, err := ProveTransaction(randomTxs(n, 6), uint64(n-1))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint64(n-1), encodeNodes(nodes))
	}
	f.Fuzz(func(t *testing.T, index uint64, text []byte) {
		var nodes [][]byte
		if rlp.DecodeBytes(text, &nodes) != nil || len(nodes) == 0 {
			return
		}
		root := crypto.Keccak256Hash(nodes[0]) // the root the forger wants
		got, err := VerifyTransaction(root, index, nodes)
		if err != nil {
			return
		}
		if want, err := gethVerify(root, index, nodes); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("got %x, go-ethereum %x, %v", got, want, err)
		}
	})
}

func encodeNodes(nodes [][]byte) []byte {
	b, _ := rlp.EncodeToBytes(nodes)
	return b
}
