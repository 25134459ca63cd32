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

// journeyBlobs asks for blobs that are not promised: one too many, one that its
// proofs do not prove, and ones that pay too little, for themselves or to us; and for
// one that is, with real cell proofs, and follows it to its verdict.
func journeyBlobs(t *testing.T) {
	if raceFlag != "" {
		t.Skip("under the race detector proofs of blobs take longer than a module may")
	}
	var blob kzg4844.Blob
	blob[1] = 7
	commitment, err := kzg4844.BlobToCommitment(&blob)
	if err != nil {
		t.Fatal(err)
	}
	cells, err := kzg4844.ComputeCellProofs(&blob)
	if err != nil {
		t.Fatal(err)
	}
	j := journeyStart(t, simnet.Options{Fork: chain.Fulu, SSZ: true, SlotsPerEpoch: 4, Accounts: 3}, devnet.Options{PBS: journeyBudgetLine, Gateway: "max_blobs = 1"})
	j.ready()
	ask := func(slot phase0.Slot, blobs int, change func(*types.BlobTx)) (p journeyPromise, err error) {
		if err := j.wait(slot-3, journeySlot*6/10); err != nil { // no blob is looked at while a block is proposed
			return p, err
		}
		s := types.NewBlobTxSidecar(types.BlobSidecarVersion1, slices.Repeat([]kzg4844.Blob{blob}, blobs), slices.Repeat([]kzg4844.Commitment{commitment}, blobs), nil)
		s.Proofs = slices.Repeat(cells, blobs)
		tx := &types.BlobTx{
			ChainID: uint256.NewInt(j.net.Spec.ChainID), GasTipCap: uint256.NewInt(20 * params.GWei), GasFeeCap: uint256.NewInt(100 * params.GWei), Gas: 21_000,
			To: common.Address{1}, Value: new(uint256.Int), BlobFeeCap: uint256.NewInt(100 * params.GWei), BlobHashes: s.BlobHashes(), Sidecar: s,
		}
		change(tx)
		p.slot = slot
		if p.tx, err = types.SignNewTx(j.net.Accounts[1].Key, types.LatestSignerForChainID(new(big.Int).SetUint64(j.net.Spec.ChainID)), tx); err == nil {
			p.req, err = j.net.Searcher.Request(slot, p.tx)
		}
		return p, err
	}
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
		j.play(c.reason, func(slot phase0.Slot) error {
			p, err := ask(slot+3, c.blobs, c.change)
			if err == nil {
				err = j.refusesPromise(p, c.reason, "")
			}
			return err
		})
	}
	// A good one goes all the way: promised, in the builder's block, proven by its bid,
	// published with its blobs, which the beacon node checks, and judged as kept.
	var kept journeyPromise
	j.play("a blob is promised and kept", func(slot phase0.Slot) (err error) {
		if kept, err = ask(slot+3, 1, func(*types.BlobTx) {}); err == nil {
			err = kept.ask(j.car.GatewayURL)
		}
		if err != nil {
			return fmt.Errorf("slot %d: %w", slot+3, err)
		}
		if _, err = j.outcome(kept.slot, simnet.FromBuilder, ""); err != nil {
			return err
		}
		at := j.index(kept)
		if at < 0 {
			return errors.New("the transaction is not in the block")
		}
		block := j.net.Execution.Block(common.Hash(j.net.Execution.Head().Hash()))
		for block != nil && block.Transaction(kept.tx.Hash()) == nil {
			block = j.net.Execution.Block(block.ParentHash())
		}
		if block == nil || *block.BlobGasUsed() != params.BlobTxBlobGasPerBlob {
			return errors.New("its block uses no blob gas")
		}
		return nil
	})
	if !t.Failed() {
		j.story(kept, "kept", "", commitments.StateSigned, commitments.StateSealed, commitments.StatePosted, commitments.StateBidVerified, commitments.StateProposed, commitments.StateIncluded, commitments.StateFinal)
	}
}
