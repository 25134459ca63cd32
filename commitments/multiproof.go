package commitments

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strconv"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/prysmaticlabs/gohashtree"
)

// firstTransaction is the generalized index of transaction 0 under
// transactions_root: 20 levels of the list and one of its length.
const firstTransaction = 1 << BranchLength

// Leaf is a transaction in a block: its position, and its hash tree root.
type Leaf struct {
	Index uint64
	Root  phase0.Root
}

// VerifyMultiproof says whether the leaves are transactions of the block whose
// transactions_root is root. Helpers are the other nodes that are needed, in the
// order of consensus-specs' get_helper_indices: descending by generalized index;
// none may be missing and none too many. Indices must be distinct and within the
// list, whose length is the last helper. All nodes of a level are hashed at once.
func VerifyMultiproof(root phase0.Root, leaves []Leaf, helpers [][32]byte) bool {
	n := len(leaves)
	if n == 0 || n > MaxConstraints || len(helpers) > BranchLength*n || len(helpers) == 0 {
		return false
	}
	nodes := slices.Clone(leaves)
	slices.SortFunc(nodes, func(a, b Leaf) int { return cmp.Compare(b.Index, a.Index) }) // descending
	for i := range nodes {
		if i > 0 && nodes[i].Index == nodes[i-1].Index {
			return false
		}
	}
	if !lengthCovers(helpers[len(helpers)-1][:], nodes[0].Index) {
		return false
	}
	pairs, digests := make([][32]byte, 2*n), make([][32]byte, n)
	for range BranchLength {
		var ok bool
		if nodes, helpers, ok = climb(nodes, helpers, pairs, digests); !ok {
			return false
		}
	}
	return len(helpers) == 0 && len(nodes) == 1 && nodes[0].Root == root
}

// climb replaces the nodes of a level, descending by index, by their parents. A
// node without its sibling takes the next helper.
func climb(nodes []Leaf, helpers, pairs, digests [][32]byte) (up []Leaf, rest [][32]byte, ok bool) {
	count := 0
	for i := 0; i < len(nodes); i++ {
		at, right := nodes[i], nodes[i].Index&1
		own, other := &pairs[2*count+int(right)], &pairs[2*count+1-int(right)] // #nosec G115 -- one bit
		switch *own = at.Root; {
		case right == 1 && i+1 < len(nodes) && nodes[i+1].Index == at.Index-1:
			i++
			*other = nodes[i].Root
		case len(helpers) == 0:
			return nil, nil, false
		default:
			*other, helpers = helpers[0], helpers[1:]
		}
		nodes[count] = Leaf{Index: at.Index >> 1}
		count++
	}
	gohashtree.HashChunks(digests[:count], pairs[:2*count])
	for i := range count {
		nodes[i].Root = digests[i]
	}
	return nodes[:count], helpers, true
}

// lengthCovers says whether chunk is the length of a list of transactions that
// has one at index.
func lengthCovers(chunk []byte, index uint64) bool {
	n := binary.LittleEndian.Uint64(chunk)
	return zero(chunk[8:]) && index < n && n <= 1<<depthTransactions
}

// ProveTransactions returns the helpers that VerifyMultiproof wants for the
// transactions at some distinct indices of a block; nil for an index out of range.
func ProveTransactions(txs [][]byte, indices []uint64) (helpers [][32]byte) {
	at := slices.Clone(indices)
	slices.SortFunc(at, func(a, b uint64) int { return cmp.Compare(b, a) })
	if len(at) == 0 || at[0] >= uint64(len(txs)) || len(slices.Compact(slices.Clone(at))) != len(at) {
		return nil
	}
	level := leaves(txs)
	for d := range depthTransactions {
		count := 0
		for i := 0; i < len(at); i++ {
			sibling := at[i] ^ 1
			switch {
			case i+1 < len(at) && at[i+1] == sibling:
				i++
			case sibling < uint64(len(level)):
				helpers = append(helpers, level[sibling])
			default:
				helpers = append(helpers, zeroHashes[d])
			}
			at[count] = sibling >> 1
			count++
		}
		at, level = at[:count], up(level, d)
	}
	return append(helpers, length(len(txs)))
}

// BoltProofs are the proofs of a bid as Bolt's relays return them: one multiproof
// of all promised transactions. [Bolt: header_with_proofs]
type BoltProofs struct {
	Hashes  []phase0.Hash32 // of the transactions: keccak256 of their EIP-2718 form
	Indices []uint64        // their positions, in the order of Hashes
	Helpers [][32]byte
}

// boltIndexes reads numbers, as Bolt writes them, and decimal strings.
type boltIndex uint64

// UnmarshalJSON implements json.Unmarshaler.
func (n *boltIndex) UnmarshalJSON(text []byte) error {
	s := string(text)
	if len(s) > 2 && s[0] == '"' {
		s = s[1 : len(s)-1]
	}
	v, err := strconv.ParseUint(s, 10, 64)
	*n = boltIndex(v)
	return err
}

type boltHash [32]byte

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *boltHash) UnmarshalText(text []byte) error {
	if len(text) != 2+2*len(h) || text[0] != '0' || text[1] != 'x' {
		return ErrProof.With("hash of %d characters", len(text))
	}
	_, err := hex.Decode(h[:], text[2:])
	return err
}

type boltJSON struct {
	Hashes  []boltHash  `json:"transaction_hashes"`
	Indexes []boltIndex `json:"generalized_indexes"`
	Indeces []boltIndex `json:"generalized_indeces"` // as bolt-boost spells it
	Helpers []boltHash  `json:"merkle_hashes"`
}

// DecodeBoltProofs reads {transaction_hashes, generalized_indexes, merkle_hashes};
// bolt-boost's generalized_indeces is read, too. Every generalized index must be
// that of a transaction: one below it could prove a chunk inside another
// transaction. Fault: ErrProof.
func DecodeBoltProofs(text []byte) (p BoltProofs, err error) {
	var j boltJSON
	if len(text) > MaxProof {
		return p, ErrProof.With("%d bytes", len(text))
	}
	if err := json.Unmarshal(text, &j); err != nil {
		return p, ErrProof.Wrap(err)
	}
	if j.Indexes == nil {
		j.Indexes = j.Indeces
	}
	if n := len(j.Hashes); n == 0 || n != len(j.Indexes) || n > MaxConstraints || len(j.Helpers) > BranchLength*n {
		return p, ErrProof.With("%d hashes, %d indexes, %d helpers", n, len(j.Indexes), len(j.Helpers))
	}
	for i, g := range j.Indexes {
		index, ok := transactionIndex(uint64(g))
		if !ok {
			return BoltProofs{}, ErrProof.With("generalized index %d is no transaction's", g)
		}
		p.Hashes, p.Indices = append(p.Hashes, phase0.Hash32(j.Hashes[i])), append(p.Indices, index)
	}
	for _, h := range j.Helpers {
		p.Helpers = append(p.Helpers, h)
	}
	return p, nil
}

// Encode writes what DecodeBoltProofs reads.
func (p BoltProofs) Encode() ([]byte, error) {
	type object struct {
		Hashes  []hexBytes `json:"transaction_hashes"`
		Indexes []uint64   `json:"generalized_indexes"`
		Helpers []hexBytes `json:"merkle_hashes"`
	}
	o := object{[]hexBytes{}, []uint64{}, []hexBytes{}}
	for i := range p.Hashes {
		o.Hashes, o.Indexes = append(o.Hashes, p.Hashes[i][:]), append(o.Indexes, firstTransaction+p.Indices[i])
	}
	for i := range p.Helpers {
		o.Helpers = append(o.Helpers, p.Helpers[i][:])
	}
	return json.Marshal(o)
}

// transactionIndex is the position that a generalized index under
// transactions_root names; false if it names anything else.
func transactionIndex(g uint64) (uint64, bool) {
	if g < firstTransaction || g >= firstTransaction+1<<depthTransactions {
		return 0, false
	}
	return g - firstTransaction, true
}

// branchHead is the fixed part of a BranchProof in SSZ: hash, index, offset.
const branchHead = 32 + 8 + 4

// BranchProof is the example of the Constraints API: one branch under
// transactions_root. In SSZ: {tx_hash Bytes32, index uint64, merkle_hashes
// List[Bytes32]}. [Constraints API: InclusionProof]
type BranchProof struct {
	Hash   phase0.Hash32 // keccak256 of the transaction's EIP-2718 form
	Index  uint64        // its position
	Branch [][]byte      // BranchLength siblings, from the leaf upwards
}

// Encode returns the SSZ.
func (p BranchProof) Encode() []byte {
	b := append([]byte{}, p.Hash[:]...)
	b = binary.LittleEndian.AppendUint64(b, p.Index)
	b = binary.LittleEndian.AppendUint32(b, branchHead)
	for _, s := range p.Branch {
		b = append(b, s...)
	}
	return b
}

// IsBranchProof says whether a payload can only be a BranchProof: no other format
// is of its length.
func IsBranchProof(payload []byte) bool {
	return len(payload) == branchHead+32*BranchLength && binary.LittleEndian.Uint32(payload[40:]) == branchHead
}

// DecodeBranchProof reads the SSZ. The specification does not say whether index is
// the position or the generalized index; the two cannot be mistaken. Fault: ErrProof.
func DecodeBranchProof(payload []byte) (p BranchProof, err error) {
	if !IsBranchProof(payload) {
		return p, ErrProof.With("%d bytes", len(payload))
	}
	copy(p.Hash[:], payload)
	p.Index = binary.LittleEndian.Uint64(payload[32:])
	if index, ok := transactionIndex(p.Index); ok {
		p.Index = index
	}
	if p.Index >= 1<<depthTransactions {
		return BranchProof{}, ErrProof.With("index %d", p.Index)
	}
	for b := payload[branchHead:]; len(b) > 0; b = b[32:] {
		p.Branch = append(p.Branch, b[:32:32])
	}
	return p, nil
}
