package simnet

import (
	"bytes"
	"fmt"

	"github.com/attestantio/go-eth2-client/spec/deneb"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/rawdb"
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

// prove encodes the proof of transaction i under both roots of the header.
func (p *prover) prove(i int) ([]byte, error) {
	index := uint64(i) // #nosec G115 -- an index
	var nodes trienode.ProofList
	if err := p.trie.Prove(rlp.AppendUint64(nil, index), &nodes); err != nil {
		return nil, fmt.Errorf("prove transaction %d: %w", i, err)
	}
	proof := commitments.InclusionProof{HeaderRLP: p.headerRLP, Index: index, Branch: commitments.ProveTransaction(p.txs, index)}
	for _, n := range nodes {
		proof.Nodes = append(proof.Nodes, n)
	}
	return proof.Encode()
}
