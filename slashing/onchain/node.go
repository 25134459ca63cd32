package onchain

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"

	"sidecar/internal/fetch"
)

// Blocks that have a name.
const (
	Latest    = "latest"
	Finalized = "finalized"
	pending   = "pending"
)

// AtBlock names a block by its number.
func AtBlock(number uint64) string { return hexutil.EncodeUint64(number) }

const (
	answerLimit    = 4 << 20 // bytes
	requestTimeout = 10 * time.Second
	dialTimeout    = 3 * time.Second
)

// Node is an execution node that anybody may run: it may be slow, wrong, silent
// or lying. What it says costs gas at most, and never more than the caps of a
// Sender.
type Node struct {
	url     string // may hold a secret: never shown
	http    *http.Client
	timeout time.Duration
}

// NewNode takes the URL of a node's JSON-RPC. It does not dial.
func NewNode(rawURL string) (*Node, error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, errors.New("the node's URL must be http(s)://host[:port][/path]")
	}
	client := fetch.New(fetch.Options{Timeout: requestTimeout, DialTimeout: dialTimeout, TLSTimeout: dialTimeout})
	return &Node{rawURL, client, requestTimeout}, nil
}

// Close drops idle connections.
func (n *Node) Close() { n.http.CloseIdleConnections() }

// rpcError is what a node answers instead of a result.
type rpcError struct {
	Code    int             `json:"code"`
	Message string          `json:"message"`
	Data    json.RawMessage `json:"data"`
}

// revert is the data of a call that reverted, if e is about one.
func (e *rpcError) revert() ([]byte, bool) {
	var data hexutil.Bytes
	if json.Unmarshal(e.Data, &data) == nil {
		return data, true
	}
	return nil, e.Code == 3 || strings.Contains(e.Message, "revert")
}

// do asks the node for one thing. Faults: ErrNode, ErrRefused, ErrReverted.
func (n *Node) do(ctx context.Context, out any, method string, params ...any) error {
	if params == nil {
		params = []any{}
	}
	text, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
	if err != nil {
		return fmt.Errorf("encode %s: %w", method, err)
	}
	ctx, cancel := context.WithTimeout(ctx, n.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, n.url, bytes.NewReader(text))
	if err != nil {
		return ErrNode.With("make a request")
	}
	req.Header.Set("Content-Type", "application/json")
	status, _, body, err := fetch.Do(ctx, n.http, req, answerLimit)
	if err != nil {
		return ErrNode.Wrap(fmt.Errorf("%s: %w", method, err))
	}
	var answer struct {
		ID     *int            `json:"id"`
		Result json.RawMessage `json:"result"`
		Error  *rpcError       `json:"error"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return ErrNode.With("%s: status %d and no JSON-RPC", method, status)
	}
	if e := answer.Error; e != nil {
		if data, reverted := e.revert(); reverted {
			return &Revert{Data: data}
		}
		return ErrRefused.With("%s: code %d: %s", method, e.Code, clip(e.Message))
	}
	if answer.ID == nil || *answer.ID != 1 || len(answer.Result) == 0 {
		return ErrNode.With("%s: an answer to another question", method)
	}
	if err := json.Unmarshal(answer.Result, out); err != nil {
		return ErrNode.With("%s: an answer of another kind", method)
	}
	return nil
}

// clip shortens what a node says, and keeps it printable.
func clip(s string) string {
	const shown = 160
	if len(s) > shown {
		s = s[:shown]
	}
	return strings.Trim(fmt.Sprintf("%+q", s), `"`)
}

// Block is what a transaction's sender needs of one.
type Block struct {
	Number  uint64
	Hash    common.Hash
	Time    uint64 // Unix seconds
	BaseFee *big.Int
}

// Block returns a block by number or name. Faults: ErrNode, ErrRefused.
func (n *Node) Block(ctx context.Context, at string) (Block, error) {
	var b *struct {
		Number        *hexutil.Uint64
		Hash          *common.Hash
		Timestamp     *hexutil.Uint64
		BaseFeePerGas *hexutil.Big
	}
	if err := n.do(ctx, &b, "eth_getBlockByNumber", at, false); err != nil {
		return Block{}, err
	}
	if b == nil || b.Number == nil || b.Hash == nil || b.Timestamp == nil || b.BaseFeePerGas == nil {
		return Block{}, ErrNode.With("no block %s, or one from before EIP-1559", at)
	}
	return Block{uint64(*b.Number), *b.Hash, uint64(*b.Timestamp), b.BaseFeePerGas.ToInt()}, nil
}

// ChainID returns the chain the node is on.
func (n *Node) ChainID(ctx context.Context) (uint64, error) {
	var id hexutil.Uint64
	err := n.do(ctx, &id, "eth_chainId")
	return uint64(id), err
}

func message(from, to common.Address, input []byte) map[string]any {
	return map[string]any{"from": from, "to": to, "input": hexutil.Bytes(input)}
}

// Call runs input on the state after a block, changing nothing. A call that
// reverts is a *Revert. Faults: ErrNode, ErrRefused, ErrReverted.
func (n *Node) Call(ctx context.Context, from, to common.Address, input []byte, at string) ([]byte, error) {
	var out hexutil.Bytes
	err := n.do(ctx, &out, "eth_call", message(from, to, input), at)
	return out, err
}

// Gas estimates what a transaction needs on the head.
func (n *Node) Gas(ctx context.Context, from, to common.Address, input []byte) (uint64, error) {
	var gas hexutil.Uint64
	err := n.do(ctx, &gas, "eth_estimateGas", message(from, to, input))
	return uint64(gas), err
}

// Nonce returns how many transactions an account has sent.
func (n *Node) Nonce(ctx context.Context, of common.Address, at string) (uint64, error) {
	var nonce hexutil.Uint64
	err := n.do(ctx, &nonce, "eth_getTransactionCount", of, at)
	return uint64(nonce), err
}

// Balance returns an account's balance on the head, in wei.
func (n *Node) Balance(ctx context.Context, of common.Address) (*big.Int, error) {
	var wei hexutil.Big
	err := n.do(ctx, &wei, "eth_getBalance", of, Latest)
	return wei.ToInt(), err
}

// Code returns an account's code on the head.
func (n *Node) Code(ctx context.Context, of common.Address) ([]byte, error) {
	var code hexutil.Bytes
	err := n.do(ctx, &code, "eth_getCode", of, Latest)
	return code, err
}

// Storage returns a word of an account's storage on the head.
func (n *Node) Storage(ctx context.Context, of common.Address, slot common.Hash) (common.Hash, error) {
	var word common.Hash
	err := n.do(ctx, &word, "eth_getStorageAt", of, slot, Latest)
	return word, err
}

// tip returns the node's suggestion of a priority fee, in wei.
func (n *Node) tip(ctx context.Context) (*big.Int, error) {
	var wei hexutil.Big
	err := n.do(ctx, &wei, "eth_maxPriorityFeePerGas")
	return wei.ToInt(), err
}

// send gives the node a signed transaction. One that it has already is fine.
func (n *Node) send(ctx context.Context, raw []byte) error {
	var hash common.Hash
	err := n.do(ctx, &hash, "eth_sendRawTransaction", hexutil.Bytes(raw))
	var r *Revert
	switch {
	case errors.Is(err, ErrRefused) && strings.Contains(err.Error(), "already known"):
		return nil
	case errors.As(err, &r): // a node that tries transactions first: the contract was asked elsewhere
		return ErrRefused.With("eth_sendRawTransaction: %s", r.Name())
	}
	return err
}

// Receipt is what became of a transaction that is in a block.
type Receipt struct {
	Hash    common.Hash    `json:"transaction"`
	Block   uint64         `json:"block"`
	BlockAt common.Hash    `json:"block_hash"`
	Gas     uint64         `json:"gas_used"`
	Price   Amount         `json:"gas_price"` // wei
	OK      bool           `json:"ok"`        // it did not revert
	Logs    []Log          `json:"-"`
	From    common.Address `json:"-"`
}

// Amount is a number of 1e-18 of something. In JSON it is a decimal string:
// most readers of numbers lose digits of it.
type Amount struct{ *big.Int }

// MarshalJSON writes the decimal string.
func (a Amount) MarshalJSON() ([]byte, error) { return json.Marshal(a.String()) }

// UnmarshalJSON reads it.
func (a *Amount) UnmarshalJSON(text []byte) error {
	var s string
	if err := json.Unmarshal(text, &s); err != nil {
		return err
	}
	n, ok := new(big.Int).SetString(s, 10)
	if !ok {
		return errors.New("not a decimal number")
	}
	a.Int = n
	return nil
}

// Log is an event.
type Log struct {
	Address common.Address
	Topics  []common.Hash
	Data    hexutil.Bytes
}

// receipt returns a transaction's receipt, nil if it is in no block.
func (n *Node) receipt(ctx context.Context, hash common.Hash) (*Receipt, error) {
	var r *struct {
		TransactionHash   common.Hash
		BlockNumber       *hexutil.Uint64
		BlockHash         common.Hash
		GasUsed           hexutil.Uint64
		EffectiveGasPrice *hexutil.Big
		Status            *hexutil.Uint64
		From              common.Address
		Logs              []Log
	}
	if err := n.do(ctx, &r, "eth_getTransactionReceipt", hash); err != nil || r == nil {
		return nil, err
	}
	if r.TransactionHash != hash || r.BlockNumber == nil || r.Status == nil || r.EffectiveGasPrice == nil {
		return nil, ErrNode.With("the receipt of another transaction, or half of one")
	}
	return &Receipt{
		Hash: hash, Block: uint64(*r.BlockNumber), BlockAt: r.BlockHash, Gas: uint64(r.GasUsed), Price: Amount{r.EffectiveGasPrice.ToInt()},
		OK: *r.Status == 1, Logs: r.Logs, From: r.From,
	}, nil
}
