package evidence

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/trie"
	"github.com/ethereum/go-ethereum/triedb"
)

// nodes collects a proof in the order of the walk.
type nodes []hexutil.Bytes

func (n *nodes) Put(_, value []byte) error { *n = append(*n, value); return nil }
func (n *nodes) Delete([]byte) error       { return nil }

func grown(t testing.TB, size int) (*trie.Trie, [][]byte) {
	t.Helper()
	db := trie.NewEmpty(triedb.NewDatabase(rawdb.NewMemoryDatabase(), nil))
	var keys [][]byte
	for i := range size {
		key := crypto.Keccak256([]byte{byte(i), byte(i >> 8)})
		if i%3 == 0 && i > 0 { // a neighbour, so that there are extensions
			key = bytes.Clone(keys[i-1])
			key[31] ^= 1
		}
		keys = append(keys, key)
		db.MustUpdate(key, bytes.Repeat([]byte{byte(i + 1)}, 70))
	}
	return db, keys
}

// TestWalk: the proof geth makes, and no other sequence of its nodes.
func TestWalk(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8)) // #nosec G404 -- a repeatable test
	for _, size := range []int{1, 2, 17, 300} {
		db, keys := grown(t, size)
		root := db.Hash()
		for i, key := range keys {
			var proof nodes
			if err := db.Prove(key, &proof); err != nil {
				t.Fatal(err)
			}
			want := bytes.Repeat([]byte{byte(i + 1)}, 70)
			if got, ok := walk(root, key, proof); !ok || !bytes.Equal(got, want) {
				t.Fatalf("trie of %d, key %d: %x, %t", size, i, got, ok)
			}
			for name, other := range disorder(random, proof) {
				if _, ok := walk(root, key, other); ok {
					t.Fatalf("trie of %d, key %d: accepted with %s", size, i, name)
				}
			}
			if _, ok := walk(common.Hash{1}, key, proof); ok {
				t.Fatal("another root")
			}
			stranger := bytes.Clone(key)
			stranger[31] ^= 2
			if _, ok := walk(root, stranger, proof); ok {
				t.Fatal("a key that is not there")
			}
		}
	}
	if _, ok := walk(common.Hash{}, make([]byte, 32), nil); ok {
		t.Error("an empty proof")
	}
}

// disorder is what a verifier that takes nodes as a set would accept.
func disorder(random *rand.Rand, proof nodes) map[string]nodes {
	n := len(proof)
	i := random.IntN(n)
	out := map[string]nodes{
		"a node twice": append(append(append(nodes{}, proof[:i]...), proof[i]), proof[i:]...),
		"one more":     append(append(nodes{}, proof...), hexutil.Bytes{0xc0}),
		"none":         {},
		"one less":     proof[:n-1],
	}
	if n > 1 {
		swapped := append(nodes{}, proof...)
		swapped[0], swapped[n-1] = swapped[n-1], swapped[0]
		out["two swapped"] = swapped
		out["no root"] = proof[1:]
	}
	flipped := append(nodes{}, proof...)
	flipped[i] = bytes.Clone(flipped[i])
	flipped[i][random.IntN(len(flipped[i]))] ^= 1 << random.IntN(8)
	out["a bit flipped"] = flipped
	return out
}

// link stands in a fuzzed node for the hash of the next.
var link = bytes.Repeat([]byte{0xaa}, common.HashLength)

// FuzzWalk judges tries that nobody would grow: where geth's own verifier reads
// one, it finds what the walk finds, and nothing where the walk shows nothing.
func FuzzWalk(f *testing.F) {
	db, keys := grown(f, 40)
	db.Hash()
	for _, key := range append(keys[:6:6], crypto.Keccak256([]byte("nobody"))) {
		var proof nodes
		if err := db.Prove(key, &proof); err != nil {
			f.Fatal(err)
		}
		var text []byte
		for i, node := range proof {
			if i+1 < len(proof) {
				node = bytes.Replace(node, crypto.Keccak256(proof[i+1]), link, 1)
			}
			text = append(append(text, byte(len(node)>>8), byte(len(node))), node...)
		}
		f.Add(key, text)
	}
	f.Fuzz(func(t *testing.T, key, text []byte) {
		if len(key) != common.HashLength {
			return
		}
		var proof nodes
		for len(text) > 2 {
			n := min(int(text[0])<<8|int(text[1]), len(text)-2)
			proof, text = append(proof, bytes.Clone(text[2:2+n])), text[2+n:]
		}
		set := rawdb.NewMemoryDatabase()
		var root common.Hash
		for i := len(proof) - 1; i >= 0; i-- {
			proof[i] = bytes.Replace(proof[i], link, root[:], 1)
			root = crypto.Keccak256Hash(proof[i])
			if err := set.Put(root[:], proof[i]); err != nil {
				t.Fatal(err)
			}
		}
		value, ok := walk(root, key, proof)
		none := absent(root, key, proof)
		if !ok && !none {
			return
		}
		// geth also refuses branches with odd items beside the way, which the
		// contract does not look at, and no state has.
		got, err := trie.VerifyProof(root, key, set)
		if none && len(proof) == 0 {
			return
		}
		if err == nil && (ok && (none || !bytes.Equal(got, value)) || none && got != nil) {
			t.Fatalf("%x, absent %t; geth says %x", value, none, got)
		}
	})
}
