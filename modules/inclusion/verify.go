package inclusion

import (
	"bytes"
	"context"
	"fmt"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/internal/execution"
)

// Verify wants the page's promises proven, all of them and each by a transaction of
// its own: under the signed header's transactions_root, under the header that hashes
// to the block hash, or both, as the format of the proofs allows
// (commitments.ProofFormat). Leaves and hashes are computed here, of what was
// promised, and never taken from a proof. Fabric's own proofs are refused: their
// trie has typed transactions in network encoding, so its root is no header's.
// Faults: ErrProofMissing, ErrProofInvalid.
func (m *Module) Verify(ctx context.Context, page commitments.Page, cand commitments.Candidate) error {
	if len(cand.Proofs) != len(page.Promises) {
		return ErrProofMissing.With("%d proofs of %d promises", len(cand.Proofs), len(page.Promises))
	}
	if cand.Header == nil {
		return ErrProofInvalid.With("no header")
	}
	v := verification{cand: &cand, taken: make(map[uint64]bool, len(page.Promises))}
	for i := range page.Promises {
		if err := ctx.Err(); err != nil {
			return err
		}
		c := &page.Promises[i].Commitment
		if !serves(c.Type) {
			continue
		}
		want, err := m.sought(c, cand.Slot)
		if err != nil {
			return ErrProofInvalid.With("promise %d: %v", i, err)
		}
		if err := v.check(want, &cand.Proofs[i]); err != nil {
			return err
		}
	}
	return v.finish()
}

// verification is what the proofs of one candidate share.
type verification struct {
	cand     *commitments.Candidate
	header   block
	roots    rebuilt
	taken    map[uint64]bool // indices that serve a promise
	branches []commitments.TransactionProof
	bolt     []byte // the one object of all
	wanted   []*sought
}

// check judges one proof, as far as it can be judged alone.
func (v *verification) check(want *sought, c *commitments.Constraint) error {
	if c.Type != commitments.TypeInclusion {
		return ErrProofMissing.With("a proof of type %d", c.Type)
	}
	switch commitments.FormatOf(c.Payload) {
	case commitments.ProofHeader:
		return v.checkHeader(want, c.Payload)
	case commitments.ProofRoots:
		return v.checkRoots(want, c.Payload)
	case commitments.ProofBranch:
		p, err := commitments.DecodeBranchProof(c.Payload)
		if err != nil {
			return ErrProofInvalid.Wrap(err)
		}
		if p.Hash != want.hash {
			return ErrProofInvalid.With("the branch is of another transaction")
		}
		return v.take(want, p.Index, p.Branch)
	case commitments.ProofBolt:
		if v.bolt == nil {
			v.bolt = c.Payload
		}
		if !bytes.Equal(v.bolt, c.Payload) {
			return ErrProofInvalid.With("two multiproofs")
		}
		v.wanted = append(v.wanted, want)
		return nil
	}
	if len(c.Payload) == 0 {
		return ErrProofMissing.With("an empty proof")
	}
	return ErrProofInvalid.With("a format that proves nothing here")
}

func (v *verification) checkHeader(want *sought, payload []byte) error {
	p, err := commitments.DecodeInclusionProof(payload)
	if err != nil {
		return ErrProofInvalid.Wrap(err)
	}
	if err := v.header.read(p.HeaderRLP, v.cand); err != nil {
		return err
	}
	if err := inTrie(v.header.root, p.Index, p.Nodes, want); err != nil {
		return err
	}
	return v.take(want, p.Index, p.Branch)
}

func (v *verification) checkRoots(want *sought, payload []byte) error {
	p, err := commitments.DecodeRootsProof(payload)
	if err != nil {
		return ErrProofInvalid.Wrap(err)
	}
	if err := v.roots.read(&p.Roots, v.cand); err != nil {
		return err
	}
	if err := inTrie(p.Roots.Transactions, p.Index, p.Nodes, want); err != nil {
		return err
	}
	return v.take(want, p.Index, nil)
}

// inTrie wants the transaction at an index of the transactions trie to be the
// promised one, in EIP-2718 form.
func inTrie(root [32]byte, index uint64, nodes [][]byte, want *sought) error {
	got, err := execution.VerifyTransaction(root, index, nodes)
	if err != nil {
		return ErrProofInvalid.Wrap(err)
	}
	if !bytes.Equal(got, want.tx) {
		return ErrProofInvalid.With("another transaction is at index %d", index)
	}
	return nil
}

// take lets an index serve a promise, and no other one. A branch is climbed later,
// with all the others.
func (v *verification) take(want *sought, index uint64, branch [][]byte) error {
	if v.taken[index] {
		return ErrProofInvalid.With("index %d serves two promises", index)
	}
	v.taken[index] = true
	if branch != nil {
		v.branches = append(v.branches, commitments.TransactionProof{Index: index, Leaf: want.leaf, Branch: branch})
	}
	return nil
}

// finish judges what can be judged only together.
func (v *verification) finish() error {
	if !commitments.VerifyTransactions(v.cand.Header.TransactionsRoot, v.branches) {
		return ErrProofInvalid.With("not under the header's transactions_root")
	}
	if v.bolt == nil {
		return nil
	}
	p, err := commitments.DecodeBoltProofs(v.bolt)
	if err != nil {
		return ErrProofInvalid.Wrap(err)
	}
	if len(p.Hashes) != len(v.wanted) {
		return ErrProofMissing.With("%d transactions proven, %d promised", len(p.Hashes), len(v.wanted))
	}
	of := make(map[phase0.Hash32]*sought, len(v.wanted))
	for _, w := range v.wanted {
		of[w.hash] = w
	}
	leaves := make([]commitments.Leaf, 0, len(p.Hashes))
	for i, hash := range p.Hashes {
		w := of[hash]
		if w == nil {
			return ErrProofInvalid.With("a transaction twice, or one that was not promised")
		}
		delete(of, hash)
		if err := v.take(w, p.Indices[i], nil); err != nil {
			return err
		}
		leaves = append(leaves, commitments.Leaf{Index: p.Indices[i], Root: w.leaf})
	}
	if !commitments.VerifyMultiproof(v.cand.Header.TransactionsRoot, leaves, p.Helpers) {
		return ErrProofInvalid.With("the multiproof is not under the header's transactions_root")
	}
	return nil
}

// rebuilt are the roots all proofs of a candidate share, tied to its block hash once.
type rebuilt struct {
	roots commitments.HeaderRoots
	done  bool
}

func (r *rebuilt) read(roots *commitments.HeaderRoots, cand *commitments.Candidate) error {
	if r.done {
		if r.roots != *roots {
			return ErrProofInvalid.With("proofs of different headers")
		}
		return nil
	}
	hash, err := execution.RebuildHash(cand.Header, roots)
	if err != nil {
		return ErrProofInvalid.Wrap(err)
	}
	if hash != cand.BlockHash || hash != cand.Header.BlockHash || cand.ParentHash != cand.Header.ParentHash {
		return ErrProofInvalid.With("the bid and the roots hash to another block")
	}
	r.roots, r.done = *roots, true
	return nil
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

// excuses are why a promise that was not kept is not broken: there is no block
// or no payload, or a proof shows that the transaction could not be in it, by
// the names of the contracts' errors. [contracts/src/FaultVerifier.sol]
var excuses = []string{
	reasonMissed, "slot_orphaned", "payload_empty",
	"NonceUsed", "NonceSpentInBlock", "FundsTooLow", "SenderHasCode", "BaseFeeAboveCap", "GasAboveBlock",
}

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
