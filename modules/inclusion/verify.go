package inclusion

import (
	"bytes"
	"context"
	"fmt"

	"sidecar/commitments"
	"sidecar/internal/execution"
)

// Verify wants, for every promise and in their order, a proof that the block of
// cand contains the promised transaction: under the root of the header that
// hashes to the block hash, and at the same index under the transactions_root
// the relay signed. Each proof is of another index, so no transaction serves two
// promises. Faults: ErrProofMissing, ErrProofInvalid.
func (m *Module) Verify(ctx context.Context, page commitments.Page, cand commitments.Candidate) error {
	if len(cand.Proofs) != len(page.Promises) {
		return ErrProofMissing.With("%d proofs of %d promises", len(cand.Proofs), len(page.Promises))
	}
	if cand.Header == nil {
		return ErrProofInvalid.With("no header")
	}
	var header block
	branches := make([]commitments.TransactionProof, 0, len(page.Promises))
	taken := make(map[uint64]bool, len(page.Promises))
	for i := range page.Promises {
		if err := ctx.Err(); err != nil {
			return err
		}
		c := &page.Promises[i].Commitment
		if !serves(c.Type) {
			continue
		}
		slot, raw, err := payload(commitments.Request{Type: c.Type, Payload: c.Payload})
		if err != nil || slot != cand.Slot {
			return ErrProofInvalid.With("promise %d is not for slot %d", i, cand.Slot)
		}
		proof, err := proofOf(cand.Proofs[i])
		if err != nil {
			return err
		}
		if err := header.read(proof.HeaderRLP, &cand); err != nil {
			return err
		}
		if taken[proof.Index] {
			return ErrProofInvalid.With("index %d serves two promises", proof.Index)
		}
		taken[proof.Index] = true
		got, err := execution.VerifyTransaction(header.root, proof.Index, proof.Nodes)
		if err != nil {
			return ErrProofInvalid.Wrap(err)
		}
		if !bytes.Equal(got, raw) {
			return ErrProofInvalid.With("another transaction is at index %d", proof.Index)
		}
		branches = append(branches, commitments.TransactionProof{
			Index: proof.Index, Leaf: commitments.TransactionRoot(raw), Branch: proof.Branch,
		})
	}
	if !commitments.VerifyTransactions(cand.Header.TransactionsRoot, branches) {
		return ErrProofInvalid.With("not under the header's transactions_root")
	}
	return nil
}

func proofOf(c commitments.Constraint) (commitments.InclusionProof, error) {
	if c.Type != commitments.TypeInclusion {
		return commitments.InclusionProof{}, ErrProofMissing.With("a proof of type %d", c.Type)
	}
	if len(c.Payload) == 0 {
		return commitments.InclusionProof{}, ErrProofMissing.With("an empty proof")
	}
	p, err := commitments.DecodeInclusionProof(c.Payload)
	if err != nil {
		return p, ErrProofInvalid.Wrap(err)
	}
	return p, nil
}

// block is the header all proofs of a candidate share, read once.
type block struct {
	text []byte
	root [32]byte // of the transactions trie
}

func (b *block) read(text []byte, cand *commitments.Candidate) error {
	if b.text != nil {
		if !bytes.Equal(b.text, text) {
			return ErrProofInvalid.With("proofs of different headers")
		}
		return nil
	}
	h, err := execution.DecodeHeader(text)
	if err != nil {
		return ErrProofInvalid.Wrap(err)
	}
	if h.Hash != cand.BlockHash || h.Hash != cand.Header.BlockHash {
		return ErrProofInvalid.With("the header hashes to another block")
	}
	if field := differs(&h, cand); field != "" {
		return ErrProofInvalid.With("the bid claims another %s", field)
	}
	b.text, b.root = text, h.TransactionsRoot
	return nil
}

// differs names the first field in which the bid's header is not the header that
// hashes to the block hash. The two roots of transactions and of withdrawals are
// of different trees; the branches tie the first, the beacon node the second.
func differs(h *execution.Header, cand *commitments.Candidate) string {
	c := cand.Header
	for _, f := range []struct {
		name string
		same bool
	}{
		{"parent_hash", h.ParentHash == c.ParentHash && h.ParentHash == cand.ParentHash},
		{"fee_recipient", h.FeeRecipient == c.FeeRecipient},
		{"state_root", h.StateRoot == c.StateRoot},
		{"receipts_root", h.ReceiptsRoot == c.ReceiptsRoot},
		{"logs_bloom", h.LogsBloom == c.LogsBloom},
		{"prev_randao", h.PrevRandao == c.PrevRandao},
		{"block_number", h.Number == c.BlockNumber},
		{"gas_limit", h.GasLimit == c.GasLimit},
		{"gas_used", h.GasUsed == c.GasUsed},
		{"timestamp", h.Timestamp == c.Timestamp},
		{"extra_data", bytes.Equal(h.ExtraData, c.ExtraData)},
		{"base_fee_per_gas", c.BaseFeePerGas != nil && h.BaseFee.Eq(c.BaseFeePerGas)},
		{"blob_gas_used", h.BlobGasUsed == c.BlobGasUsed},
		{"excess_blob_gas", h.ExcessBlobGas == c.ExcessBlobGas},
	} {
		if !f.same {
			return f.name
		}
	}
	return ""
}

// Reasons of a verdict.
const (
	reasonMissed = "slot_missed"
	reasonAbsent = "absent"
)

// Audit judges every promise on page by the canonical block of its slot: kept if
// the block contains the transaction, excused if there is no block.
func (m *Module) Audit(ctx context.Context, page commitments.Page, b commitments.Block) ([]commitments.Verdict, error) {
	if b.Slot != page.Slot {
		return nil, fmt.Errorf("audit slot %d with the block of slot %d", page.Slot, b.Slot)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	present := make(map[string]bool, len(b.Txs))
	for _, raw := range b.Txs {
		present[string(raw)] = true
	}
	verdicts := make([]commitments.Verdict, 0, len(page.Promises))
	for i := range page.Promises {
		c := &page.Promises[i].Commitment
		if !serves(c.Type) {
			continue
		}
		v := commitments.Verdict{RequestHash: c.RequestHash, Outcome: commitments.Kept}
		_, raw, err := payload(commitments.Request{Type: c.Type, Payload: c.Payload})
		switch {
		case b.Missed:
			v.Outcome, v.Reason = commitments.Excused, reasonMissed
		case err != nil || !present[string(raw)]:
			v.Outcome, v.Reason = commitments.Broken, reasonAbsent
		}
		verdicts = append(verdicts, v)
	}
	return verdicts, nil
}
