package tests

import (
	"errors"
	"fmt"
	"math/big"
	"slices"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto/kzg4844"
	"github.com/ethereum/go-ethereum/params"
	"github.com/holiman/uint256"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/internal/devnet"
	"sidecar/internal/simnet"
)

// blobScene is a chain whose sidecar promises one blob a slot, and blobs for it.
type blobScene struct {
	*journey
	fork       chain.Fork
	blob       kzg4844.Blob
	commitment kzg4844.Commitment
	proofs     []kzg4844.Proof // of one blob, in the form of the fork
}

func newBlobScene(t *testing.T, fork chain.Fork) *blobScene {
	t.Helper()
	if raceFlag != "" {
		t.Skip("under the race detector proofs of blobs take longer than a module may")
	}
	b := &blobScene{fork: fork}
	b.blob[1] = 7
	var err error
	if b.commitment, err = kzg4844.BlobToCommitment(&b.blob); err != nil {
		t.Fatal(err)
	}
	if fork >= chain.Fulu {
		b.proofs, err = kzg4844.ComputeCellProofs(&b.blob)
	} else {
		b.proofs = make([]kzg4844.Proof, 1)
		b.proofs[0], err = kzg4844.ComputeBlobProof(&b.blob, b.commitment)
	}
	if err != nil {
		t.Fatal(err)
	}
	b.journey = journeyStart(t, simnet.Options{Fork: fork, SSZ: true, SlotsPerEpoch: 4, Accounts: 3}, devnet.Options{PBS: journeyBudgetLine, Gateway: "max_blobs = 1"})
	b.ready()
	return b
}

// asks makes a request for a slot, changed before it is signed.
func (b *blobScene) asks(slot phase0.Slot, blobs int, change func(*types.BlobTx)) (p journeyPromise, err error) {
	if err := b.wait(slot-3, journeySlot*6/10); err != nil { // no blob is looked at while a block is proposed
		return p, err
	}
	version := types.BlobSidecarVersion0
	if b.fork >= chain.Fulu {
		version = types.BlobSidecarVersion1
	}
	s := types.NewBlobTxSidecar(version, slices.Repeat([]kzg4844.Blob{b.blob}, blobs), slices.Repeat([]kzg4844.Commitment{b.commitment}, blobs), nil)
	s.Proofs = slices.Repeat(b.proofs, blobs)
	id := b.net.Spec.ChainID
	tx := &types.BlobTx{
		ChainID: uint256.NewInt(id), GasTipCap: uint256.NewInt(20 * params.GWei), GasFeeCap: uint256.NewInt(100 * params.GWei), Gas: 21_000,
		To: common.Address{1}, Value: new(uint256.Int), BlobFeeCap: uint256.NewInt(100 * params.GWei), BlobHashes: s.BlobHashes(), Sidecar: s,
	}
	change(tx)
	p.slot = slot
	if p.tx, err = types.SignNewTx(b.net.Accounts[1].Key, types.LatestSignerForChainID(new(big.Int).SetUint64(id)), tx); err == nil {
		p.req, err = b.net.Searcher.Request(slot, p.tx)
	}
	return p, err
}

// keeps has a blob promised that goes all the way: in the builder's block, proven by
// its bid, published with its blobs, which the beacon node checks, and judged as kept.
func (b *blobScene) keeps() {
	b.Helper()
	var kept journeyPromise
	b.play("a blob is promised and kept", func(slot phase0.Slot) (err error) {
		if kept, err = b.asks(slot+3, 1, func(*types.BlobTx) {}); err == nil {
			err = kept.ask(b.car.GatewayURL)
		}
		if err != nil {
			return fmt.Errorf("slot %d: %w", slot+3, err)
		}
		if _, err = b.outcome(kept.slot, simnet.FromBuilder, ""); err != nil {
			return err
		}
		if b.index(kept) < 0 {
			return errors.New("the transaction is not in the block")
		}
		block := b.net.Execution.Block(b.net.Execution.Head().Hash())
		for block != nil && block.Transaction(kept.tx.Hash()) == nil {
			block = b.net.Execution.Block(block.ParentHash())
		}
		if block == nil || *block.BlobGasUsed() != params.BlobTxBlobGasPerBlob {
			return errors.New("its block uses no blob gas")
		}
		return nil
	})
	if !b.Failed() {
		b.story(kept, "kept", "", commitments.StateSigned, commitments.StateSealed, commitments.StatePosted, commitments.StateBidVerified, commitments.StateProposed, commitments.StateIncluded, commitments.StateFinal)
	}
}

// journeyBlobsKept is a blob of before Fulu: one proof, and v1, whose answer brings
// payload and blobs back to the node.
func journeyBlobsKept(t *testing.T) { newBlobScene(t, chain.Electra).keeps() }

// journeyBlobs asks for blobs that are not promised: one too many, one that its
// proofs do not prove, and ones that pay too little, for themselves or to us; and for
// one that is, with real cell proofs, and follows it to its verdict.
func journeyBlobs(t *testing.T) {
	b := newBlobScene(t, chain.Fulu)
	for _, c := range []struct {
		reason string
		blobs  int
		change func(*types.BlobTx)
	}{
		{"slot_full_blobs", 2, func(*types.BlobTx) {}},
		{"blob_proof_invalid", 1, func(tx *types.BlobTx) {
			tx.Sidecar.Proofs = slices.Clone(tx.Sidecar.Proofs)
			slices.Reverse(tx.Sidecar.Proofs)
		}},
		{"blob_fee_too_low", 1, func(tx *types.BlobTx) { tx.BlobFeeCap = new(uint256.Int) }},
		{"tip_too_low", 1, func(tx *types.BlobTx) { tx.GasTipCap = uint256.NewInt(2 * params.GWei) }}, // enough for its gas alone
	} {
		b.play(c.reason, func(slot phase0.Slot) error {
			p, err := b.asks(slot+3, c.blobs, c.change)
			if err == nil {
				err = b.refusesPromise(p, c.reason, "")
			}
			return err
		})
	}
	b.keeps() // which shows that nothing else was wrong with them
}
