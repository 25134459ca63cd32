package commitments

import "slices"

// Limits of an inclusion proof.
const (
	// MaxProof bounds an encoded proof: a transaction of 131,072 bytes, its
	// branch nodes, a header, and room to spare.
	MaxProof     = 256 << 10
	maxHeaderRLP = 1 << 10 // 21 fields of today take about 640 bytes
	maxNodes     = 16      // a key is at most 8 nibbles: 20-bit indices in RLP
	proofVersion = 1
	rootsVersion = 2
)

// InclusionProof shows that a transaction is in the block of a bid, under both
// roots a header has for its transactions. As the payload of a proof of
// constraint type 1 it is encoded in the format "EL-MPT v1":
//
//	payload = 0x01 ‖ rlp([header, index, nodes, branch])
//	header  = bytes: the RLP of the block's execution header, whose keccak256 is the block hash
//	index   = integer: the transaction's position in the block, below 2^20
//	nodes   = list of bytes: the nodes of the transactions trie (EIP-2718 values,
//	          key rlp(index)) from the root to the node that holds the value; nodes
//	          embedded in their parents are not listed
//	branch  = list of 21 × 32 bytes: the siblings of generalized index 2^21 + index
//	          under the SSZ transactions_root, from the leaf upwards
//
// RLP is canonical: there is one payload for a proof, at most MaxProof bytes.
type InclusionProof struct {
	HeaderRLP []byte
	Index     uint64
	Nodes     [][]byte
	Branch    [][]byte
}

// Encode returns the payload. Fault: ErrProof if DecodeInclusionProof would refuse it.
func (p InclusionProof) Encode() ([]byte, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	var nodes, branch []byte
	for _, n := range p.Nodes {
		nodes = rlpBytes(nodes, n)
	}
	for _, s := range p.Branch {
		branch = rlpBytes(branch, s)
	}
	items := rlpNumber(rlpBytes(nil, p.HeaderRLP), p.Index)
	items = rlpList(rlpList(items, nodes), branch)
	payload := rlpList([]byte{proofVersion}, items)
	if len(payload) > MaxProof {
		return nil, ErrProof.With("%d bytes", len(payload))
	}
	return payload, nil
}

// DecodeInclusionProof reads a payload. What it returns aliases the payload.
// Fault: ErrProof.
func DecodeInclusionProof(payload []byte) (InclusionProof, error) {
	switch {
	case len(payload) == 0 || len(payload) > MaxProof:
		return InclusionProof{}, ErrProof.With("%d bytes", len(payload))
	case payload[0] != proofVersion:
		return InclusionProof{}, ErrProof.With("version %d", payload[0])
	}
	r := rlpReader{rest: payload[1:]}
	items := r.list()
	p := InclusionProof{HeaderRLP: items.bytes(), Index: items.number()}
	nodes, branch := items.list(), items.list()
	p.Nodes = nodes.strings(maxNodes)
	p.Branch = branch.strings(BranchLength)
	if items.bad || nodes.bad || branch.bad || len(r.rest)+len(items.rest) > 0 {
		return InclusionProof{}, ErrProof.With("not canonical RLP, or too many items")
	}
	if err := p.check(); err != nil {
		return InclusionProof{}, err
	}
	return p, nil
}

// strings takes all the byte strings left, at most a number of them.
func (r *rlpReader) strings(most int) (all [][]byte) {
	for len(r.rest) > 0 && !r.bad {
		if len(all) == most {
			r.bad = true
			return nil
		}
		all = append(all, r.bytes())
	}
	return all
}

func (p *InclusionProof) check() error {
	switch {
	case len(p.HeaderRLP) == 0 || len(p.HeaderRLP) > maxHeaderRLP:
		return ErrProof.With("header of %d bytes", len(p.HeaderRLP))
	case p.Index >= 1<<depthTransactions:
		return ErrProof.With("index %d", p.Index)
	case len(p.Nodes) == 0 || len(p.Nodes) > maxNodes:
		return ErrProof.With("%d nodes", len(p.Nodes))
	case len(p.Branch) != BranchLength:
		return ErrProof.With("branch of %d siblings", len(p.Branch))
	}
	for _, s := range p.Branch {
		if len(s) != 32 {
			return ErrProof.With("sibling of %d bytes", len(s))
		}
	}
	return nil
}

// HeaderRoots are what an execution header has and a builder's bid does not say.
type HeaderRoots struct {
	Transactions [32]byte // of the transactions trie
	Withdrawals  [32]byte // of the withdrawals trie
	ParentBeacon [32]byte // the parent's beacon block root [EIP-4788]
	Requests     [32]byte // hash of the execution requests [EIP-7685]; zero before Electra
}

// RootsProof shows that a transaction is in the block of a bid, under the header
// that the bid's own fields and these roots make: its hash must be the block hash.
// It holds in every fork. As the payload of a proof of constraint type 1 it is
// encoded in the format "EL-MPT v2":
//
//	payload = 0x02 ‖ rlp([roots, index, nodes])
//	roots   = bytes: transactions_root ‖ withdrawals_root ‖ parent_beacon_block_root
//	          ‖ requests_hash, 32 bytes each; before Electra without the last
//	index, nodes as in "EL-MPT v1"
type RootsProof struct {
	Roots HeaderRoots
	Index uint64
	Nodes [][]byte
}

// Encode returns the payload.
func (p RootsProof) Encode() ([]byte, error) {
	roots := slices.Concat(p.Roots.Transactions[:], p.Roots.Withdrawals[:], p.Roots.ParentBeacon[:])
	if p.Roots.Requests != [32]byte{} {
		roots = append(roots, p.Roots.Requests[:]...)
	}
	var nodes []byte
	for _, n := range p.Nodes {
		nodes = rlpBytes(nodes, n)
	}
	payload := rlpList([]byte{rootsVersion}, rlpList(rlpNumber(rlpBytes(nil, roots), p.Index), nodes))
	_, err := DecodeRootsProof(payload)
	return payload, err
}

// DecodeRootsProof reads a payload. What it returns aliases the payload. Fault: ErrProof.
func DecodeRootsProof(payload []byte) (p RootsProof, err error) {
	if len(payload) == 0 || len(payload) > MaxProof || payload[0] != rootsVersion {
		return p, ErrProof.With("%d bytes, or another version", len(payload))
	}
	r := rlpReader{rest: payload[1:]}
	items := r.list()
	roots := items.bytes()
	p.Index = items.number()
	nodes := items.list()
	p.Nodes = nodes.strings(maxNodes)
	switch {
	case items.bad || nodes.bad || len(r.rest)+len(items.rest) > 0:
		return RootsProof{}, ErrProof.With("not canonical RLP, or too many items")
	case len(roots) != 96 && len(roots) != 128:
		return RootsProof{}, ErrProof.With("roots of %d bytes", len(roots))
	case p.Index >= 1<<depthTransactions || len(p.Nodes) == 0:
		return RootsProof{}, ErrProof.With("index %d, %d nodes", p.Index, len(p.Nodes))
	}
	copy(p.Roots.Transactions[:], roots)
	copy(p.Roots.Withdrawals[:], roots[32:])
	copy(p.Roots.ParentBeacon[:], roots[64:])
	copy(p.Roots.Requests[:], roots[96:])
	return p, nil
}

// ProofFormat is how a proof is encoded.
type ProofFormat uint8

// The formats, told apart by their first byte or by their length.
const (
	ProofUnknown ProofFormat = iota
	ProofHeader              // InclusionProof, "EL-MPT v1"
	ProofRoots               // RootsProof, "EL-MPT v2"
	ProofBranch              // BranchProof, the specification's example
	ProofBolt                // BoltProofs, one object for all
)

// FormatOf tells the format of a proof.
func FormatOf(payload []byte) ProofFormat {
	switch {
	case IsBranchProof(payload):
		return ProofBranch
	case len(payload) == 0:
		return ProofUnknown
	case payload[0] == proofVersion:
		return ProofHeader
	case payload[0] == rootsVersion:
		return ProofRoots
	case payload[0] == '{':
		return ProofBolt
	}
	return ProofUnknown
}
