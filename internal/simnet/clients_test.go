package simnet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"

	"sidecar/chain"
	"sidecar/commitments"
	answers "sidecar/commitments/answer"
	"sidecar/internal/beacon"
	"sidecar/internal/ecdsa"
	"sidecar/internal/execution"
	"sidecar/internal/relay"
	"sidecar/internal/wire"
)

// TestClients lets the sidecar's own clients read the chain's servers.
func TestClients(t *testing.T) {
	t.Parallel()
	n, ctx := start(t, Options{SSZ: true, BuildLead: slotDuration * 4 / 10})
	n.SetBuilderURL(n.Relays[0].URL)
	out, err := n.WaitOutcome(ctx, func(o Outcome) bool { return o.Slot >= 2 && o.Source == FromBuilder })
	if err != nil {
		t.Fatal(err)
	}
	t.Run("beacon", func(t *testing.T) { readBeacon(t, ctx, n, out) })
	t.Run("relay", func(t *testing.T) { readRelay(t, ctx, n) })
	t.Run("execution", func(t *testing.T) { readExecution(t, ctx, n, out) })
	t.Run("wire", func(t *testing.T) {
		body := last(n.Relays[0].Calls("submit_v2")).Body
		b, err := wire.DecodeBlindedBlock(chain.Fulu, wire.SSZ, body)
		if err != nil || b.BlockHash != last(n.Outcomes()).BidHash && b.BlockHash != out.BidHash {
			t.Errorf("blinded block: %v", err)
		}
	})
}

func readBeacon(t *testing.T, ctx context.Context, n *Net, out Outcome) {
	c, err := beacon.New(beacon.Config{URL: n.Beacon.URL, Spec: n.Spec, Clock: n.Clock})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Check(ctx); err != nil {
		t.Error(err)
	}
	if s, err := c.Syncing(ctx); err != nil || s.Syncing {
		t.Errorf("syncing: %+v, %v", s, err)
	}
	if h, err := c.Head(ctx); err != nil || h.Slot < out.Slot {
		t.Errorf("head: %+v, %v", h, err)
	}
	if _, err := c.Finality(ctx); err != nil {
		t.Error(err)
	}
	d, err := c.ProposerDuties(ctx, 1)
	if err != nil || len(d.Proposers) != 8 || d.Proposers[3].Pubkey != n.ProposerOf(11).Pubkey {
		t.Errorf("duties: %+v, %v", d, err)
	}
	b, err := c.Block(ctx, out.Slot)
	if err != nil || b.ExecutionHash != out.BlockHash || b.Missed {
		t.Errorf("block: %+v, %v", b, err)
	}
}

func readExecution(t *testing.T, ctx context.Context, n *Net, out Outcome) {
	c, err := execution.New(execution.Config{URL: n.Execution.URL, Spec: n.Spec, Clock: n.Clock})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if id, err := c.ChainID(ctx); err != nil || id != n.Spec.ChainID {
		t.Errorf("chain id: %d, %v", id, err)
	}
	a, head, err := c.Account(ctx, bellatrix.ExecutionAddress(n.Searcher.Account.Address))
	if err != nil || a.Balance.IsZero() || head.Slot < out.Slot {
		t.Errorf("account: %+v at %+v, %v", a, head, err)
	}
	b, err := c.BlockByHash(ctx, out.BlockHash)
	if err != nil || b.Slot != out.Slot || len(b.Txs) != out.Txs {
		t.Errorf("block: slot %d of %d transactions, %v", b.Slot, len(b.Txs), err)
	}
	tx := transfer(t, n)
	if hash, err := c.SendRawTransaction(ctx, must(tx.MarshalBinary())); err != nil || common.Hash(hash) != tx.Hash() {
		t.Errorf("send: %#x, %v", hash, err)
	}
}

func readRelay(t *testing.T, ctx context.Context, n *Net) {
	r := n.Relays[0]
	c, err := relay.New(relay.Config{ID: "r", URL: r.ConfigURL(), Constraints: true, AllowPrivate: true}, n.Clock)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := c.Status(ctx); err != nil {
		t.Error(err)
	}
	if got, err := c.Capabilities(ctx); err != nil || len(got) != 1 || got[0] != commitments.TypeInclusion {
		t.Errorf("capabilities: %v, %v", got, err)
	}
	for try := range tries {
		if err = offered(t, ctx, n, c, n.Clock.Slot()+2); err == nil {
			return
		}
		t.Logf("try %d: %v", try, err)
	}
	t.Error(err)
}

// offered posts constraints for a slot and reads the bid that proves them.
func offered(t *testing.T, ctx context.Context, n *Net, c *relay.Client, slot phase0.Slot) error {
	if err := n.WaitSlot(ctx, slot-1); err != nil {
		return err
	}
	n.Searcher.ResetNonce()
	tx := transfer(t, n)
	if err := c.PostConstraints(ctx, constrained(t, n, slot, tx)); err != nil {
		return err
	}
	pause(ctx, n.Clock.Until(n.Clock.Start(slot).Add(-slotDuration/10)))
	_, _, parent := n.Beacon.Head()
	who := n.ProposerOf(slot)
	var got []relay.Offer
	err := c.Offers(ctx, relay.HeaderRequest{
		Slot: slot, SlotStart: n.Clock.Start(slot), Fork: chain.Fulu, ParentHash: parent, Pubkey: who.Pubkey, WithProofs: true,
	}, func(o relay.Offer) { got = append(got, o) })
	if err != nil || len(got) != 1 {
		return fmt.Errorf("%d offers: %w", len(got), err)
	}
	if got[0].Bid.Pubkey != c.Pubkey() || len(got[0].Proofs) != 1 {
		return fmt.Errorf("bid of %#x with %d proofs", got[0].Bid.Pubkey, len(got[0].Proofs))
	}
	proof, err := commitments.DecodeInclusionProof(got[0].Proofs[0].Payload)
	if err != nil {
		return err
	}
	h, err := execution.DecodeHeader(proof.HeaderRLP)
	if err != nil {
		return err
	}
	raw, err := execution.VerifyTransaction(h.TransactionsRoot, proof.Index, proof.Nodes)
	if err != nil || string(raw) != string(must(tx.MarshalBinary())) {
		return fmt.Errorf("proof of another transaction: %w", err)
	}
	return nil
}

// TestSearcher asks a gateway that answers as the Commitments API says.
func TestSearcher(t *testing.T) {
	t.Parallel()
	n, ctx := start(t, Options{Builders: []BuilderOptions{}})
	req, err := n.Searcher.Request(7, transfer(t, n))
	if err != nil {
		t.Fatal(err)
	}
	key := blsKey("simnet", "proxy", 1)
	committer, err := ecdsa.NewSecretKey()
	if err != nil {
		t.Fatal(err)
	}
	sc := commitments.SignedCommitment{Nonce: 4, SigningID: phase0.Root{5}, Commitment: commitments.Commitment{
		Type: req.Type, Payload: req.Payload, RequestHash: req.Hash(), Slasher: req.Slasher,
	}}
	d := domain(chain.DomainCommitBoost, n.Spec.GenesisForkVersion, phase0.Root{})
	root := commitments.SigningRoot(d, n.Spec.ChainID, sc.Commitment.Root(), sc.SigningID, sc.Nonce)
	sig, err := committer.Sign(root)
	if err != nil {
		t.Fatal(err)
	}
	sc.Signature, sc.Proxy = sig[:], commitments.ProxySignature{Signature: key.Sign(root), Nonce: sc.Nonce}
	by := answers.Signers{Committer: committer.Address(), Delegate: key.PublicKey()}
	gateway := &server{}
	err = gateway.listen(ctx, n.Clock, []endpoint{
		{"rpc", "POST /{$}", func(w http.ResponseWriter, _ *http.Request, body []byte) {
			var v struct {
				Method string                `json:"method"`
				Params []commitments.Request `json:"params"`
			}
			if json.Unmarshal(body, &v) != nil || v.Method != "commitmentRequest" || v.Params[0].Hash() != req.Hash() {
				answer(w, 200, obj{"jsonrpc": "2.0", "id": 1, "error": obj{"code": -32602, "message": "no"}})
				return
			}
			answer(w, 200, obj{"jsonrpc": "2.0", "id": 1, "result": sc})
		}},
		{"rest", "POST /commitments/v0/gateway/commitmentRequest", func(w http.ResponseWriter, _ *http.Request, _ []byte) { answer(w, 200, sc) }},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer gateway.close()
	n.SetGatewayURL(gateway.URL)
	for name, ask := range map[string]func(context.Context, commitments.Request) (commitments.SignedCommitment, error){
		"rpc": n.Searcher.AskRPC, "rest": n.Searcher.AskREST,
	} {
		got, err := ask(ctx, req)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := n.Searcher.Verify(req, got, by); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		nonce, proxy := got, got
		nonce.Nonce++
		proxy.Proxy.Nonce++
		if err := n.Searcher.Verify(req, nonce, by); !errors.Is(err, answers.ErrCommitter) {
			t.Errorf("%s: another nonce: %v", name, err)
		}
		if err := n.Searcher.Verify(req, proxy, by); !errors.Is(err, answers.ErrProxy) {
			t.Errorf("%s: another nonce of the proxy: %v", name, err)
		}
	}
	other := req
	other.Slasher[0] ^= 1
	var no *Refusal
	if _, err := n.Searcher.AskRPC(ctx, other); !errors.As(err, &no) || no.Code != -32602 {
		t.Errorf("refusal: %v", err)
	}
}
