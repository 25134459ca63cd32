package simnet

import (
	"bytes"
	"fmt"

	"github.com/attestantio/go-eth2-client/spec/deneb"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/ethereum/go-ethereum/trie"
	"github.com/ethereum/go-ethereum/trie/trienode"
	"github.com/ethereum/go-ethereum/triedb"

	"sidecar/chain"
	"sidecar/commitments"
)

// prover makes inclusion proofs for one block. Its trie is geth's own.
type prover struct {
	headerRLP []byte
	roots     commitments.HeaderRoots
	txs       [][]byte
	trie      *trie.Trie
}

func newProver(fork chain.Fork, p *deneb.ExecutionPayload, beaconRoot common.Hash) (*prover, error) {
	block, err := executionBlock(fork, p, beaconRoot)
	if err != nil {
		return nil, fmt.Errorf("rebuild block: %w", err)
	}
	header, err := rlp.EncodeToBytes(block.Header())
	if err != nil {
		return nil, err
	}
	pr := &prover{headerRLP: header, trie: trie.NewEmpty(triedb.NewDatabase(rawdb.NewMemoryDatabase(), nil))}
	for i, tx := range p.Transactions {
		pr.txs = append(pr.txs, tx)
		pr.trie.MustUpdate(rlp.AppendUint64(nil, uint64(i)), tx) // #nosec G115 -- an index
	}
	if got := pr.trie.Hash(); got != block.TxHash() {
		return nil, fmt.Errorf("transactions root %s, the header says %s", got, block.TxHash())
	}
	h := block.Header()
	pr.roots = commitments.HeaderRoots{Transactions: h.TxHash, Withdrawals: *h.WithdrawalsHash, ParentBeacon: beaconRoot}
	if h.RequestsHash != nil {
		pr.roots.Requests = *h.RequestsHash
	}
	return pr, nil
}

// index returns where tx is in the block, or -1.
func (p *prover) index(tx []byte) int {
	for i := range p.txs {
		if bytes.Equal(p.txs[i], tx) {
			return i
		}
	}
	return -1
}

// prove encodes the proof of transaction i in a format.
func (p *prover) prove(i int, format commitments.ProofFormat) ([]byte, error) {
	index := uint64(i) // #nosec G115 -- an index
	var list trienode.ProofList
	if err := p.trie.Prove(rlp.AppendUint64(nil, index), &list); err != nil {
		return nil, fmt.Errorf("prove transaction %d: %w", i, err)
	}
	nodes := make([][]byte, len(list))
	for n := range list {
		nodes[n] = list[n]
	}
	branch := commitments.ProveTransaction(p.txs, index)
	switch format {
	case commitments.ProofRoots:
		return commitments.RootsProof{Roots: p.roots, Index: index, Nodes: nodes}.Encode()
	case commitments.ProofBranch:
		return commitments.BranchProof{Hash: phase0.Hash32(crypto.Keccak256Hash(p.txs[i])), Index: index, Branch: branch}.Encode(), nil
	}
	return commitments.InclusionProof{HeaderRLP: p.headerRLP, Index: index, Nodes: nodes, Branch: branch}.Encode()
}

// proveAll encodes one multiproof of some transactions, as Bolt's builder did.
func (p *prover) proveAll(indices []uint64) ([]byte, error) {
	all := commitments.BoltProofs{Indices: indices, Helpers: commitments.ProveTransactions(p.txs, indices)}
	for _, i := range indices {
		all.Hashes = append(all.Hashes, phase0.Hash32(crypto.Keccak256Hash(p.txs[i])))
	}
	return all.Encode()
}
