package simnet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"sync"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"

	"sidecar/commitments"
	answers "sidecar/commitments/answer"
)

// DefaultSlasher is named by the searcher's requests.
var DefaultSlasher = bellatrix.ExecutionAddress{0x51, 0xa5, 19: 0x01}

// Searcher signs transactions and asks for promises to include them.
type Searcher struct {
	Account Account

	net    *Net
	client *http.Client

	mu      sync.Mutex
	gateway string
	nonce   *uint64 // the next; nil: as on chain
}

// SearcherOf is another searcher, with another of the funded accounts.
func (n *Net) SearcherOf(account int) *Searcher {
	return &Searcher{Account: n.Accounts[account], net: n, client: n.Searcher.client}
}

func (s *Searcher) setGateway(url string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gateway = url
}

// Transaction signs a transfer of valueWei to to, at the next nonce, with a fee
// that is good for many blocks.
func (s *Searcher) Transaction(to common.Address, valueWei *big.Int) (*types.Transaction, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	head := s.net.Execution.Head()
	if s.nonce == nil {
		n, _, err := s.net.Execution.Account(s.Account.Address, head)
		if err != nil {
			return nil, err
		}
		s.nonce = &n
	}
	tx, err := s.Sign(&types.DynamicFeeTx{
		Nonce: *s.nonce, GasTipCap: big.NewInt(2 * params.GWei), GasFeeCap: big.NewInt(100 * params.GWei),
		Gas: 21_000, To: &to, Value: valueWei,
	})
	if err == nil {
		*s.nonce++
	}
	return tx, err
}

// Sign signs any EIP-1559 transaction for this chain.
func (s *Searcher) Sign(tx *types.DynamicFeeTx) (*types.Transaction, error) {
	tx.ChainID = new(big.Int).SetUint64(s.net.Spec.ChainID)
	return types.SignNewTx(s.Account.Key, types.LatestSignerForChainID(tx.ChainID), tx)
}

// ResetNonce makes the next transaction continue from the chain's nonce.
func (s *Searcher) ResetNonce() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nonce = nil
}

// Request is the commitment request for including tx in slot.
func (s *Searcher) Request(slot phase0.Slot, tx *types.Transaction) (commitments.Request, error) {
	raw, err := tx.MarshalBinary()
	return commitments.Request{
		Type: commitments.TypeInclusion, Payload: commitments.EncodeInclusion(slot, raw), Slasher: DefaultSlasher,
	}, err
}

// Refusal is a gateway's no.
type Refusal struct {
	Status int // of HTTP
	Code   int // of JSON-RPC, or in the body
	Body   string
}

func (r *Refusal) Error() string {
	return fmt.Sprintf("refused: %d (%d): %s", r.Status, r.Code, r.Body)
}

// AskRPC asks for a commitment as fabric does: JSON-RPC commitmentRequest at the
// gateway's root. The error is a *Refusal if the gateway says no.
func (s *Searcher) AskRPC(ctx context.Context, req commitments.Request) (sc commitments.SignedCommitment, err error) {
	body, err := json.Marshal(obj{"jsonrpc": "2.0", "id": 1, "method": "commitmentRequest", "params": []commitments.Request{req}})
	if err != nil {
		return sc, err
	}
	status, answer, err := s.post(ctx, "/", body)
	if err != nil {
		return sc, err
	}
	var v struct {
		Result json.RawMessage `json:"result"`
		Error  *struct {
			Code int `json:"code"`
		} `json:"error"`
	}
	if err := json.Unmarshal(answer, &v); err != nil || v.Error != nil || status != http.StatusOK {
		r := &Refusal{Status: status, Body: string(answer)}
		if v.Error != nil {
			r.Code = v.Error.Code
		}
		return sc, r
	}
	return sc, json.Unmarshal(v.Result, &sc)
}

// AskREST asks for a commitment over the Commitments API's REST route.
func (s *Searcher) AskREST(ctx context.Context, req commitments.Request) (sc commitments.SignedCommitment, err error) {
	body, err := json.Marshal(req)
	if err != nil {
		return sc, err
	}
	status, answer, err := s.post(ctx, "/commitments/v0/gateway/commitmentRequest", body)
	if err != nil {
		return sc, err
	}
	if status != http.StatusOK {
		r := &Refusal{Status: status, Body: string(answer)}
		var v struct {
			Code int `json:"code"`
		}
		if json.Unmarshal(answer, &v) == nil {
			r.Code = v.Code
		}
		return sc, r
	}
	return sc, json.Unmarshal(answer, &sc)
}

func (s *Searcher) post(ctx context.Context, path string, body []byte) (int, []byte, error) {
	s.mu.Lock()
	url := s.gateway
	s.mu.Unlock()
	if url == "" {
		return 0, nil, errors.New("the searcher knows no gateway")
	}
	status, _, answer, err := exchange(ctx, s.client, http.MethodPost, url+path, http.Header{"Content-Type": {jsonType}}, body)
	return status, answer, err
}

// Verify says whether sc is the answer to req, signed by both keys of the slot's
// delegation.
func (s *Searcher) Verify(req commitments.Request, sc commitments.SignedCommitment, by answers.Signers) error {
	return answers.Verify(s.net.Spec, req, sc, by)
}
