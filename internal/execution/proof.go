package execution

import (
	"bytes"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
)

// VerifyTransaction returns the transaction at index under the root of a
// transactions trie. It walks one path: nodes must be in order from the root,
// each named by the hash in its parent, none missing and none too many, so that
// a proof has one form. Proof that there is no such index is refused like any
// other failure. What it returns aliases nodes. Fault: ErrTrie.
func VerifyTransaction(root [32]byte, index uint64, nodes [][]byte) (tx []byte, err error) {
	path, want := pathOf(index), root[:]
	for i, node := range nodes {
		if !bytes.Equal(crypto.Keccak256(node), want) {
			return nil, ErrTrie.With("node %d is not the one its parent names", i)
		}
		if i > 0 && len(node) < 32 {
			return nil, ErrTrie.With("node %d belongs into its parent", i)
		}
		for want = nil; want == nil; { // through the nodes embedded in this one
			s, err := descend(node, path)
			switch {
			case err != nil:
				return nil, err
			case s.value != nil && i < len(nodes)-1:
				return nil, ErrTrie.With("%d nodes too many", len(nodes)-1-i)
			case s.value != nil:
				return s.value, nil
			}
			node, want, path = s.embedded, s.hash, s.path
		}
	}
	return nil, ErrTrie.With("ends after %d nodes", len(nodes))
}

// step is where a node leads: to a value, to a node it holds, or to one it names.
type step struct {
	value    []byte
	embedded []byte
	hash     []byte
	path     []byte // what is left of it
}

// descend follows the path through one node.
func descend(node, path []byte) (step, error) {
	items, err := split(node)
	if err != nil {
		return step{}, err
	}
	switch len(items) {
	case 17:
		if len(path) == 0 {
			return valueOf(items[16])
		}
		return childOf(items[path[0]], path[1:])
	case 2:
		part, leaf, err := parseCompact(items[0])
		rest, ok := bytes.CutPrefix(path, part)
		switch {
		case err != nil:
			return step{}, err
		case !ok || (leaf && len(rest) > 0):
			return step{}, ErrTrie.With("the path leads elsewhere")
		case leaf:
			return valueOf(items[1])
		case len(part) == 0:
			return step{}, ErrTrie.With("extension of nothing")
		}
		return childOf(items[1], rest)
	}
	return step{}, ErrTrie.With("node of %d items", len(items))
}

// item is one item of a node.
type item struct {
	kind    rlp.Kind
	content []byte // of a string
	whole   []byte // with its head
}

// split reads the items of a node and nothing after them. Every child of a
// branch must be a child, not only the one on the path.
func split(node []byte) ([]item, error) {
	rest, tail, err := rlp.SplitList(node)
	if err != nil || len(tail) > 0 {
		return nil, ErrTrie.With("node is not one list")
	}
	items := make([]item, 0, 17)
	for len(rest) > 0 {
		kind, content, after, err := rlp.Split(rest)
		if err != nil || len(items) == 17 {
			return nil, ErrTrie.With("node is not canonical RLP of at most 17 items")
		}
		items = append(items, item{kind, content, rest[:len(rest)-len(after)]})
		rest = after
	}
	if len(items) < 17 {
		return items, nil
	}
	for _, i := range items[:16] {
		if i.kind == rlp.String && len(i.content) == 0 {
			continue
		}
		s, err := childOf(i, nil)
		if err == nil && s.embedded != nil {
			err = wellFormed(s.embedded)
		}
		if err != nil {
			return nil, err
		}
	}
	if items[16].kind == rlp.List {
		return nil, ErrTrie.With("the value of a branch is a list")
	}
	return items, nil
}

// wellFormed says whether an embedded node, of less than 32 bytes, is a node.
func wellFormed(node []byte) error {
	items, err := split(node)
	if err != nil || len(items) == 17 {
		return err
	}
	if len(items) != 2 {
		return ErrTrie.With("node of %d items", len(items))
	}
	part, leaf, err := parseCompact(items[0])
	switch {
	case err != nil:
		return err
	case leaf:
		_, err = valueOf(items[1])
		return err
	case len(part) == 0:
		return ErrTrie.With("extension of nothing")
	}
	s, err := childOf(items[1], nil)
	if err == nil && s.embedded != nil {
		return wellFormed(s.embedded)
	}
	return err
}

func valueOf(i item) (step, error) {
	if i.kind == rlp.List || len(i.content) == 0 {
		return step{}, ErrTrie.With("no value at the end of the path")
	}
	return step{value: i.content}, nil
}

func childOf(i item, path []byte) (step, error) {
	switch {
	case i.kind == rlp.List && len(i.whole) < 32:
		return step{embedded: i.whole, path: path}, nil
	case i.kind == rlp.String && len(i.content) == 32:
		return step{hash: i.content, path: path}, nil
	}
	return step{}, ErrTrie.With("the path ends at no node")
}

// parseCompact reads a hex-prefix path. [Yellow Paper, appendix C]
func parseCompact(i item) (path []byte, leaf bool, err error) {
	b := i.content
	if i.kind == rlp.List || len(b) == 0 || b[0] >= 0x40 || (b[0]&0x10 == 0 && b[0]&0x0f != 0) {
		return nil, false, ErrTrie.With("path of a node")
	}
	if b[0]&0x10 != 0 {
		path = append(path, b[0]&0x0f)
	}
	for _, c := range b[1:] {
		path = append(path, c>>4, c&0x0f)
	}
	return path, b[0]&0x20 != 0, nil
}
