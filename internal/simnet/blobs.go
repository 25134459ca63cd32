package simnet

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/attestantio/go-eth2-client/spec/deneb"
	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto/kzg4844"

	"sidecar/chain"
)

// bundle is the blobs of a block: a proof for each, from Fulu on one for each of its
// 128 cells.
type bundle struct {
	Commitments []deneb.KZGCommitment `json:"commitments"`
	Proofs      []deneb.KZGProof      `json:"proofs"`
	Blobs       []deneb.Blob          `json:"blobs"`
}

// noBlobs has lists, for JSON.
func noBlobs() bundle {
	return bundle{Commitments: []deneb.KZGCommitment{}, Proofs: []deneb.KZGProof{}, Blobs: []deneb.Blob{}}
}

// bundleOf reads what the execution node gives with a payload.
func bundleOf(b *engine.BlobsBundle) (bundle, error) {
	out := noBlobs()
	if b == nil {
		return out, nil
	}
	for i, blob := range b.Blobs {
		if len(blob) != len(deneb.Blob{}) || len(b.Commitments[i]) != len(deneb.KZGCommitment{}) {
			return out, errors.New("blob out of range")
		}
		out.Blobs = append(out.Blobs, deneb.Blob(blob))
		out.Commitments = append(out.Commitments, deneb.KZGCommitment(b.Commitments[i]))
	}
	for _, p := range b.Proofs {
		out.Proofs = append(out.Proofs, deneb.KZGProof(p))
	}
	return out, nil
}

// check verifies every blob against the commitments of its block, as a node does
// before it takes the block. [EIP-4844, EIP-7594: is_data_available]
func (b bundle) check(f chain.Fork, commitments []deneb.KZGCommitment) error {
	perBlob := 1
	if f >= chain.Fulu {
		perBlob = kzg4844.CellProofsPerBlob
	}
	if len(b.Blobs) != len(commitments) || len(b.Proofs) != perBlob*len(commitments) {
		return fmt.Errorf("%d blobs and %d proofs of %d commitments", len(b.Blobs), len(b.Proofs), len(commitments))
	}
	for i := range commitments {
		blob, commitment := kzg4844.Blob(b.Blobs[i]), kzg4844.Commitment(commitments[i])
		proofs := make([]kzg4844.Proof, perBlob)
		for n := range proofs {
			proofs[n] = kzg4844.Proof(b.Proofs[i*perBlob+n])
		}
		var err error
		if perBlob == 1 {
			err = kzg4844.VerifyBlobProof(&blob, commitment, proofs[0])
		} else {
			err = kzg4844.VerifyCellProofs([]kzg4844.Blob{blob}, []kzg4844.Commitment{commitment}, proofs)
		}
		if err != nil {
			return fmt.Errorf("blob %d: %w", i, err)
		}
	}
	return nil
}

// versionedHashes are those of a block's commitments. [EIP-4844]
func versionedHashes(commitments []deneb.KZGCommitment) []common.Hash {
	out := make([]common.Hash, len(commitments))
	for i := range commitments {
		c := kzg4844.Commitment(commitments[i])
		out[i] = kzg4844.CalcBlobHashV1(sha256.New(), &c)
	}
	return out
}

// blobHashes are those that the transactions of a payload name.
func blobHashes(p *deneb.ExecutionPayload) (out []common.Hash) {
	out = []common.Hash{}
	for _, raw := range p.Transactions {
		var tx types.Transaction
		if len(raw) > 0 && raw[0] == types.BlobTxType && tx.UnmarshalBinary(raw) == nil {
			out = append(out, tx.BlobHashes()...)
		}
	}
	return out
}

// canonical is a transaction as a block has it: without its blobs.
func canonical(raw []byte) []byte {
	var tx types.Transaction
	if len(raw) == 0 || raw[0] != types.BlobTxType || tx.UnmarshalBinary(raw) != nil {
		return raw
	}
	out, err := tx.WithoutBlobTxSidecar().MarshalBinary()
	if err != nil {
		return raw
	}
	return out
}
