package execution

import (
	"bytes"
	"slices"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
)

// TransactionsRoot returns the root of the transactions trie: keys rlp(index),
// values EIP-2718 bytes. [Yellow Paper, appendix D; EIP-2718]
func TransactionsRoot(txs [][]byte) [32]byte {
	if len(txs) == 0 {
		return types.EmptyTxsHash
	}
	return crypto.Keccak256Hash(newTrie(txs, 0).node(0, len(txs), 0))
}

// ProveTransaction returns the nodes that prove transaction index, from the root
// downwards and without those embedded in their parents, and the trie's root.
// Fault: ErrTrie for an index out of range or an empty transaction.
func ProveTransaction(txs [][]byte, index uint64) (nodes [][]byte, root [32]byte, err error) {
	if index >= uint64(len(txs)) {
		return nil, root, ErrTrie.With("no transaction %d among %d", index, len(txs))
	}
	if slices.ContainsFunc(txs, func(tx []byte) bool { return len(tx) == 0 }) {
		return nil, root, ErrTrie.With("empty transaction")
	}
	t := newTrie(txs, index)
	top := t.node(0, len(txs), 0)
	if len(top) < 32 { // a root is always a node of its own
		t.proof = append(t.proof, top)
	}
	slices.Reverse(t.proof)
	return t.proof, crypto.Keccak256Hash(top), nil
}

// txTrie builds a transactions trie in one pass, from the leaves upwards.
type txTrie struct {
	items  []trieItem // ascending by path
	target int        // the item to prove
	proof  [][]byte   // nodes above target, deepest first
}

type trieItem struct {
	path  []byte // nibbles
	value []byte
}

func newTrie(txs [][]byte, target uint64) *txTrie {
	t := &txTrie{items: make([]trieItem, len(txs))}
	for i, tx := range txs {
		t.items[i] = trieItem{pathOf(uint64(i)), tx} // #nosec G115 -- an index
	}
	slices.SortFunc(t.items, func(a, b trieItem) int { return bytes.Compare(a.path, b.path) })
	path := pathOf(target)
	t.target, _ = slices.BinarySearchFunc(t.items, path, func(i trieItem, p []byte) int { return bytes.Compare(i.path, p) })
	return t
}

// node returns the encoding of the node over items lo to hi-1, which share the
// first depth nibbles of their paths.
func (t *txTrie) node(lo, hi, depth int) []byte {
	w := rlp.NewEncoderBuffer(nil)
	list := w.List()
	first, last := t.items[lo].path, t.items[hi-1].path
	switch shared := commonPrefix(first, last); {
	case hi-lo == 1:
		w.WriteBytes(compact(first[depth:], true))
		w.WriteBytes(t.items[lo].value)
	case shared > depth:
		w.WriteBytes(compact(first[depth:shared], false))
		writeChild(w, t.node(lo, hi, shared))
	default:
		// No key of a transactions trie is the prefix of another: the
		// branch has no value of its own.
		for nibble, at := byte(0), lo; nibble < 16; nibble++ {
			end := at
			for end < hi && t.items[end].path[depth] == nibble {
				end++
			}
			if end == at {
				w.WriteBytes(nil)
				continue
			}
			writeChild(w, t.node(at, end, depth+1))
			at = end
		}
		w.WriteBytes(nil)
	}
	w.ListEnd(list)
	node := w.ToBytes()
	_ = w.Flush()
	if lo <= t.target && t.target < hi && len(node) >= 32 {
		t.proof = append(t.proof, node)
	}
	return node
}

// writeChild writes how a parent refers to a node: itself if it is short, else
// its hash.
func writeChild(w rlp.EncoderBuffer, node []byte) {
	if len(node) < 32 {
		_, _ = w.Write(node)
		return
	}
	w.WriteBytes(crypto.Keccak256(node))
}

// pathOf is the key of a transaction, in nibbles.
func pathOf(index uint64) []byte {
	key := rlp.AppendUint64(nil, index)
	path := make([]byte, 0, 2*len(key))
	for _, b := range key {
		path = append(path, b>>4, b&15)
	}
	return path
}

// compact is the hex-prefix encoding of a path. [Yellow Paper, appendix C]
func compact(path []byte, leaf bool) []byte {
	out := make([]byte, 1, len(path)/2+1)
	if leaf {
		out[0] = 0x20
	}
	if len(path)%2 == 1 {
		out[0] |= 0x10 | path[0]
		path = path[1:]
	}
	for ; len(path) > 0; path = path[2:] {
		out = append(out, path[0]<<4|path[1])
	}
	return out
}

func commonPrefix(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}
