package commitments

import (
	"encoding/binary"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/prysmaticlabs/gohashtree"
)

// Shape of the transactions of a block. [consensus-specs: bellatrix/Transactions]
const (
	depthTransactions = 20 // MAX_TRANSACTIONS_PER_PAYLOAD = 2^20
	depthBytes        = 25 // MAX_BYTES_PER_TRANSACTION = 2^30, in chunks of 32

	// BranchLength is how many siblings prove a transaction under
	// transactions_root: the list's depth and its length.
	BranchLength = depthTransactions + 1
)

// zeroHashes holds the roots of empty subtrees by depth.
var zeroHashes = func() (z [depthBytes + 1][32]byte) {
	for i := range depthBytes {
		z[i+1] = hash2(z[i], z[i])
	}
	return z
}()

// TransactionRoot returns the hash tree root of a transaction in EIP-2718 form:
// the leaf of an inclusion proof. [consensus-specs: Transaction]
func TransactionRoot(tx []byte) phase0.Root {
	n := (len(tx) + 31) / 32
	chunks := make([][32]byte, n, n+1) // one to spare for an odd level
	for i := range chunks {
		copy(chunks[i][:], tx[i*32:])
	}
	return hash2(merkleize(chunks, depthBytes), length(len(tx)))
}

// TransactionsRoot returns the hash tree root of a block's transactions.
func TransactionsRoot(txs [][]byte) phase0.Root {
	return hash2(merkleize(leaves(txs), depthTransactions), length(len(txs)))
}

// ProveTransaction returns the siblings of transaction index under the root of
// txs, from the leaf upwards: BranchLength of 32 bytes each. The transaction's
// generalized index is 2^21 + index. It returns nil for an index out of range.
func ProveTransaction(txs [][]byte, index uint64) [][]byte {
	if index >= uint64(len(txs)) || len(txs) > 1<<depthTransactions {
		return nil
	}
	branch := make([][]byte, 0, BranchLength)
	level := leaves(txs)
	for d := range depthTransactions {
		sibling := zeroHashes[d]
		if s := index>>d ^ 1; s < uint64(len(level)) {
			sibling = level[s]
		}
		branch = append(branch, sibling[:])
		level = up(level, d)
	}
	count := length(len(txs))
	return append(branch, count[:])
}

// TransactionProof says that the transaction with hash tree root Leaf is at
// Index of a block; Branch holds its siblings from the leaf upwards.
type TransactionProof struct {
	Index  uint64
	Leaf   phase0.Root
	Branch [][]byte
}

// shaped says whether the proof can prove anything: the index is within the
// list, so that no chunk inside another transaction passes for a leaf, and the
// list's length, which is the last sibling, covers it.
func (p *TransactionProof) shaped() bool {
	if p.Index >= 1<<depthTransactions || len(p.Branch) != BranchLength {
		return false
	}
	for _, s := range p.Branch {
		if len(s) != 32 {
			return false
		}
	}
	return lengthCovers(p.Branch[depthTransactions], p.Index)
}

// VerifyTransaction says whether leaf is the hash tree root of transaction index
// under root. The branch must have exactly BranchLength siblings.
func VerifyTransaction(root, leaf phase0.Root, index uint64, branch [][]byte) bool {
	return VerifyTransactions(root, []TransactionProof{{index, leaf, branch}})
}

// VerifyTransactions says whether every proof holds under root. It climbs all of
// them level by level, so that the hashes of a level run side by side.
func VerifyTransactions(root phase0.Root, proofs []TransactionProof) bool {
	n := len(proofs)
	nodes, pairs := make([][32]byte, n), make([][32]byte, 2*n)
	for i := range proofs {
		if !proofs[i].shaped() {
			return false
		}
		nodes[i] = proofs[i].Leaf
	}
	if n == 0 {
		return true
	}
	for d := range BranchLength {
		for i := range proofs {
			right := proofs[i].Index >> d & 1 // the node is the right child
			pairs[2*i+int(right)] = nodes[i]  // #nosec G115 -- one bit
			copy(pairs[2*i+1-int(right)][:], proofs[i].Branch[d])
		}
		gohashtree.HashChunks(nodes, pairs)
	}
	for i := range nodes {
		if phase0.Root(nodes[i]) != root {
			return false
		}
	}
	return true
}

func leaves(txs [][]byte) [][32]byte {
	roots := make([][32]byte, len(txs), len(txs)+1)
	for i, tx := range txs {
		roots[i] = TransactionRoot(tx)
	}
	return roots
}

// merkleize returns the root of a tree of the given depth over nodes, which it
// overwrites.
func merkleize(nodes [][32]byte, depth int) [32]byte {
	if len(nodes) == 0 {
		return zeroHashes[depth]
	}
	for d := range depth {
		nodes = up(nodes, d)
	}
	return nodes[0]
}

// up overwrites the nodes at depth d, counted from the leaves, with their
// parents. A lone node stands on the left edge.
func up(nodes [][32]byte, d int) [][32]byte {
	if len(nodes) == 1 { // the left spine
		nodes[0] = hash2(nodes[0], zeroHashes[d])
		return nodes
	}
	if len(nodes)%2 == 1 {
		nodes = append(nodes, zeroHashes[d])
	}
	gohashtree.HashChunks(nodes, nodes) // a digest never overtakes what is still to be read
	return nodes[:len(nodes)/2]
}

// length is the chunk that is mixed in after a list.
func length(n int) (chunk [32]byte) {
	binary.LittleEndian.PutUint64(chunk[:], uint64(n)) // #nosec G115 -- a length
	return chunk
}
