package simnet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/deneb"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/ethereum/go-ethereum/trie"

	"sidecar/chain"
	"sidecar/commitments"
)

// constrained signs a slot's constraints as a proposer that delegates to itself.
func constrained(t *testing.T, n *Net, slot phase0.Slot, txs ...*types.Transaction) commitments.SignedConstraints {
	t.Helper()
	who := n.ProposerOf(slot)
	m := commitments.ConstraintsMessage{Proposer: who.Pubkey, Delegate: who.Pubkey, Slot: slot}
	for _, tx := range txs {
		raw := must(tx.MarshalBinary())
		m.Constraints = append(m.Constraints, commitments.Constraint{Type: commitments.TypeInclusion, Payload: commitments.EncodeInclusion(slot, raw)})
	}
	root, err := m.Root()
	if err != nil {
		t.Fatal(err)
	}
	s := commitments.SignedConstraints{Message: m, Nonce: 9, SigningID: phase0.Root{0x77}}
	d := domain(chain.DomainCommitBoost, n.Spec.GenesisForkVersion, phase0.Root{})
	s.Signature = who.Key.Sign(commitments.SigningRoot(d, n.Spec.ChainID, root, s.SigningID, s.Nonce))
	return s
}

// call sends a JSON request and returns status and body.
func call(t *testing.T, ctx context.Context, method, url string, v any) (int, []byte) {
	t.Helper()
	var body []byte
	if v != nil {
		body = must(json.Marshal(v))
	}
	c := newClient()
	defer c.CloseIdleConnections()
	status, _, answer, err := exchange(ctx, c, method, url, http.Header{"Content-Type": {jsonType}}, body)
	if err != nil {
		t.Fatal(err)
	}
	return status, answer
}

// proven is what header_with_proofs answers.
type proven struct {
	header   *deneb.ExecutionPayloadHeader
	types    []number
	payloads []string
}

func headerWithProofs(t *testing.T, ctx context.Context, n *Net, r *Relay, slot phase0.Slot) (proven, error) {
	t.Helper()
	_, _, parent := n.Beacon.Head()
	who := n.ProposerOf(slot)
	status, body := call(t, ctx, http.MethodGet, fmt.Sprintf("%s/constraints/v0/builder/header_with_proofs/%d/%#x/%#x", r.URL, slot, parent[:], who.Pubkey[:]), nil)
	if status != http.StatusOK {
		return proven{}, fmt.Errorf("header_with_proofs: %d %s", status, body)
	}
	var v struct {
		Data struct {
			Proofs struct {
				Types    []number `json:"constraintTypes"`
				Payloads []string `json:"payloads"`
			} `json:"proofs"`
		} `json:"data"`
	}
	signed := newSignedBid(n.Beacon.fork)
	if err := errors.Join(json.Unmarshal(body, &v), decode(n.Beacon.fork, false, body, signed)); err != nil {
		return proven{}, err
	}
	b, err := readBid(signed)
	return proven{b.header, v.Data.Proofs.Types, v.Data.Proofs.Payloads}, err
}

// verify checks a proof with geth's trie and with the SSZ root of the bid.
func (p proven) verify(i int, tx *types.Transaction) error {
	if i >= len(p.payloads) || p.types[i] != number(commitments.TypeInclusion) {
		return fmt.Errorf("no proof %d", i)
	}
	proof, err := commitments.DecodeInclusionProof(common.FromHex(p.payloads[i]))
	if err != nil {
		return err
	}
	if got := crypto.Keccak256Hash(proof.HeaderRLP); got != common.Hash(p.header.BlockHash) {
		return fmt.Errorf("header of block %s, the bid is for %#x", got, p.header.BlockHash)
	}
	var h types.Header
	if err := rlp.DecodeBytes(proof.HeaderRLP, &h); err != nil {
		return err
	}
	db := rawdb.NewMemoryDatabase()
	for _, node := range proof.Nodes {
		if err := db.Put(crypto.Keccak256(node), node); err != nil {
			return err
		}
	}
	raw := must(tx.MarshalBinary())
	value, err := trie.VerifyProof(h.TxHash, rlp.AppendUint64(nil, proof.Index), db)
	if err != nil || string(value) != string(raw) {
		return fmt.Errorf("trie proves another transaction: %w", err)
	}
	if !commitments.VerifyTransaction(p.header.TransactionsRoot, commitments.TransactionRoot(raw), proof.Index, proof.Branch) {
		return errors.New("branch does not prove the transaction")
	}
	return nil
}

func transfer(t *testing.T, n *Net) *types.Transaction {
	t.Helper()
	tx, err := n.Searcher.Transaction(common.Address{0xbb}, big.NewInt(1))
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

// TestConstraints promises in one slot after another, to an honest builder and
// to every kind of liar.
func TestConstraints(t *testing.T) {
	t.Parallel()
	n, ctx := start(t, Options{SSZ: true, Validators: 2, BuildLead: slotDuration * 4 / 10})
	r := n.Relays[0]
	n.SetBuilderURL(r.URL)
	if status, body := call(t, ctx, http.MethodGet, r.URL+"/constraints/v0/builder/capabilities", nil); status != 200 || string(body) != `{"constraintTypes":["1"]}`+"\n" {
		t.Fatalf("capabilities: %d %s", status, body)
	}
	for _, tt := range []struct {
		name string
		lie  Lie
		txs  int
	}{
		{"honest", Honest, 3}, {"no proofs", NoProofs, 1}, {"other transaction", OtherTransaction, 1}, {"other header", OtherHeader, 1},
	} {
		var err error
		for try := 0; try < tries && (try == 0 || err != nil); try++ {
			err = promise(t, ctx, n, n.Clock.Slot()+2, tt.lie, tt.txs)
		}
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// promise plays one slot: constraints in good time, an offer, a block.
func promise(t *testing.T, ctx context.Context, n *Net, slot phase0.Slot, lie Lie, count int) error {
	t.Helper()
	r := n.Relays[0]
	if err := n.WaitSlot(ctx, slot-1); err != nil {
		return err
	}
	n.Builders[0].Set(func(k *BuilderKnobs) { k.Lie = lie })
	n.Searcher.ResetNonce()
	var txs []*types.Transaction
	for range count {
		txs = append(txs, transfer(t, n))
	}
	s := constrained(t, n, slot, txs...)
	for range 2 { // a resent message is fine
		if status, body := call(t, ctx, http.MethodPost, r.URL+"/constraints/v0/builder/constraints", []any{s}); status != http.StatusOK {
			return fmt.Errorf("constraints: %d %s", status, body)
		}
	}
	// The builder has had 30 % of a slot, and the proposer has not asked yet.
	if !pause(ctx, n.Clock.Until(n.Clock.Start(slot).Add(-slotDuration/10))) {
		return ctx.Err()
	}
	offer, err := headerWithProofs(t, ctx, n, r, slot)
	if err != nil {
		return err
	}
	if out, err := n.OutcomeOf(ctx, slot); err != nil || out.Source != FromBuilder {
		return fmt.Errorf("%+v, %w", out, err)
	}
	return judgeSlot(n, slot, offer, lie, txs)
}

// judgeSlot compares what the relay offered for a slot with the slot's block.
func judgeSlot(n *Net, slot phase0.Slot, offer proven, lie Lie, txs []*types.Transaction) error {
	block := n.Transactions(slot)
	if hash, _ := n.Beacon.BlockHash(slot); hash != offer.header.BlockHash {
		return fmt.Errorf("block %#x, the offer was %#x", hash, offer.header.BlockHash)
	}
	for i, tx := range txs {
		err := offer.verify(i, tx)
		switch {
		case lie == Honest && err != nil:
			return fmt.Errorf("proof %d: %w", i, err)
		case lie == Honest && (len(block) < len(txs) || block[i].Hash() != tx.Hash()):
			return fmt.Errorf("transaction %d is not at its place", i)
		case lie != Honest && err == nil:
			return errors.New("a lie is proven")
		case lie != Honest && len(block) != 1:
			return fmt.Errorf("%d transactions, want only the payment", len(block))
		}
	}
	return nil
}

func TestConstraints_Refused(t *testing.T) {
	t.Parallel()
	n, ctx := start(t, Options{Relays: []RelayOptions{{Constraints: true, Knobs: RelayKnobs{Delegated: true}}, {Constraints: false}}, Builders: []BuilderOptions{}})
	url := n.Relays[0].URL + "/constraints/v0/builder/constraints"
	tx := transfer(t, n)
	good := constrained(t, n, 30, tx)
	forged, late, second := good, constrained(t, n, 0, tx), constrained(t, n, 30, tx, transfer(t, n))
	forged.Nonce++
	if err := n.WaitSlot(ctx, 1); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		s      any
		status int
	}{
		{"forged", forged, 400}, {"late", late, 400}, {"good, alone", good, 200}, {"good, in an array", []any{good}, 200}, {"a second", second, 400},
	} {
		if status, body := call(t, ctx, http.MethodPost, url, tt.s); status != tt.status {
			t.Errorf("%s: %d %s, want %d", tt.name, status, body, tt.status)
		}
	}
	if got := n.Relays[0].HasConstraints(30); got != 1 {
		t.Errorf("%d constraints, want 1", got)
	}
	if status, _ := call(t, ctx, http.MethodGet, n.Relays[1].URL+"/constraints/v0/builder/capabilities", nil); status != 404 {
		t.Errorf("a relay without constraints answers %d", status)
	}
}

func TestDelegation(t *testing.T) {
	t.Parallel()
	n, ctx := start(t, Options{Builders: []BuilderOptions{}})
	url := n.Relays[0].URL + "/constraints/v0/builder/delegate"
	who, proxy := n.ProposerOf(4), blsKey("simnet", "proxy", 0)
	delegated := func(slot phase0.Slot) commitments.SignedDelegation {
		d := commitments.SignedDelegation{Message: commitments.Delegation{Proposer: who.Pubkey, Delegate: proxy.PublicKey(), Slot: slot}}
		dom := domain(chain.DomainCommitBoost, n.Spec.GenesisForkVersion, phase0.Root{})
		d.Signature = who.Key.Sign(commitments.SigningRoot(dom, n.Spec.ChainID, must(d.Message.Root()), phase0.Root{}, 0))
		return d
	}
	forged := delegated(4)
	forged.Message.Slot++
	if status, _ := call(t, ctx, http.MethodPost, url, forged); status != 400 {
		t.Errorf("forged delegation: %d", status)
	}
	if status, body := call(t, ctx, http.MethodPost, url, delegated(4)); status != 200 {
		t.Errorf("delegation: %d %s", status, body)
	}
	// Another than the delegate may no longer constrain the slot.
	s := constrained(t, n, 4, transfer(t, n))
	if status, _ := call(t, ctx, http.MethodPost, n.Relays[0].URL+"/constraints/v0/builder/constraints", s); status != 400 {
		t.Errorf("constraints by another than the delegate: %d", status)
	}
}
