package evidence

import (
	"bytes"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
)

// Proves says whether a proof shows what a state holds of an address: an account,
// or that there is none.
func Proves(root common.Hash, address common.Address, proof []hexutil.Bytes) bool {
	key := crypto.Keccak256(address[:])
	_, ok := walk(root, key, proof)
	return ok || absent(root, key, proof)
}

// absent says whether proof is the way to where key would be under root, and
// nothing is there.
func absent(root common.Hash, key []byte, proof []hexutil.Bytes) bool {
	if len(proof) == 0 {
		return root == types.EmptyRootHash
	}
	path, want := nibbles(key), root[:]
	for i, node := range proof {
		if !bytes.Equal(crypto.Keccak256(node), want) {
			return false
		}
		items, ok := list(node)
		if !ok {
			return false
		}
		last := i == len(proof)-1
		switch {
		case len(items) == 17 && len(path) > 0:
			want, path = items[path[0]], path[1:]
			if len(want) == 0 {
				return last
			}
		case len(items) == 2:
			own, leaf, ok := unpack(items[0])
			if !ok || !bytes.HasPrefix(path, own) {
				return ok && last
			}
			if leaf {
				return false
			}
			want, path = items[1], path[len(own):]
		default:
			return false
		}
		if len(want) != common.HashLength {
			return false
		}
	}
	return false
}

// walk returns the value of key under root, if proof is the way to it: the
// nodes in order, each named by the one before, and none besides. geth's own
// verifier takes nodes as a set, and so accepts what the contract refuses.
//
// Nodes of fewer than 32 bytes, which a parent holds instead of their hash, are
// refused: a state trie has none, as its leaves hold accounts.
func walk(root common.Hash, key []byte, proof []hexutil.Bytes) ([]byte, bool) {
	path, want := nibbles(key), root[:]
	for i, node := range proof {
		if !bytes.Equal(crypto.Keccak256(node), want) {
			return nil, false
		}
		items, ok := list(node)
		if !ok {
			return nil, false
		}
		switch len(items) {
		case 17:
			if len(path) == 0 {
				return nil, false // no value ends in a branch: keys have one length
			}
			want, path = items[path[0]], path[1:]
		case 2:
			own, leaf, ok := unpack(items[0])
			if !ok || !bytes.HasPrefix(path, own) {
				return nil, false
			}
			path = path[len(own):]
			if leaf {
				return items[1], len(path) == 0 && i == len(proof)-1 && len(items[1]) > 0
			}
			if len(own) == 0 {
				return nil, false
			}
			want = items[1]
		default:
			return nil, false
		}
		if len(want) != common.HashLength {
			return nil, false
		}
	}
	return nil, false
}

// list returns the contents of the items of a list of byte strings.
func list(b []byte) (items [][]byte, ok bool) {
	content, rest, err := rlp.SplitList(b)
	if err != nil || len(rest) != 0 {
		return nil, false
	}
	for len(content) > 0 {
		kind, item, next, err := rlp.Split(content)
		if err != nil || kind == rlp.List {
			return nil, false
		}
		items, content = append(items, item), next
	}
	return items, true
}

// unpack reads the path of a leaf or an extension. [Yellow Paper: hex prefix]
func unpack(b []byte) (path []byte, leaf, ok bool) {
	n := nibbles(b)
	if len(n) == 0 || n[0] > 3 {
		return nil, false, false
	}
	return n[2-n[0]%2:], n[0] >= 2, true
}

func nibbles(b []byte) []byte {
	n := make([]byte, 0, 2*len(b))
	for _, c := range b {
		n = append(n, c>>4, c&15)
	}
	return n
}
