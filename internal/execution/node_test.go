package execution

import (
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/trie"
	"github.com/holiman/uint256"
	"sidecar/internal/metrics"

	"sidecar/chain"
)

// node is a JSON-RPC server with one block and one account. Its knobs are set
// before it is asked.
type node struct {
	t     testing.TB
	block *types.Block

	answer  func(method string, params []json.RawMessage) any // instead of its own; nil falls through
	serve   func(w http.ResponseWriter)                       // instead of any answer
	reverse bool                                              // answers batches backwards

	mu    sync.Mutex
	calls map[string]int
	posts int
}

func (n *node) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	n.posts++
	n.mu.Unlock()
	if n.serve != nil {
		n.serve(w)
		return
	}
	text, _ := io.ReadAll(r.Body)
	var batch []request
	type raws struct {
		ID     int               `json:"id"`
		Method string            `json:"method"`
		Params []json.RawMessage `json:"params"`
	}
	var asked []raws
	single := json.Unmarshal(text, &batch) != nil
	if single {
		asked = make([]raws, 1)
		_ = json.Unmarshal(text, &asked[0])
	} else {
		_ = json.Unmarshal(text, &asked)
	}
	out := make([]any, len(asked))
	for i, a := range asked {
		n.mu.Lock()
		n.calls[a.Method]++
		n.mu.Unlock()
		m := map[string]any{"jsonrpc": "2.0", "id": a.ID}
		switch v := n.result(a.Method, a.Params).(type) {
		case error:
			m["error"] = map[string]any{"code": -32000, "message": v.Error()}
		default:
			m["result"] = v
		}
		out[i] = m
	}
	if n.reverse {
		slices.Reverse(out)
	}
	w.Header().Set("Content-Type", "application/json")
	if single {
		_ = json.NewEncoder(w).Encode(out[0])
		return
	}
	_ = json.NewEncoder(w).Encode(out)
}

func (n *node) result(method string, params []json.RawMessage) any {
	n.mu.Lock()
	answer, block := n.answer, n.block
	n.mu.Unlock()
	if answer != nil {
		if v := answer(method, params); v != nil {
			return v
		}
	}
	switch method {
	case "eth_getBlockByNumber", "eth_getBlockByHash":
		return blockJSON(n.t, block, string(params[1]) == "true")
	case "eth_getTransactionCount":
		return "0x7"
	case "eth_getBalance":
		return "0xde0b6b3a7640000"
	case "eth_getCode":
		return "0x"
	case "eth_chainId":
		return "0x88bb0"
	case "eth_call":
		return "0x1234"
	case "eth_sendRawTransaction":
		return common.Hash{9}
	}
	return errors.New("no such method")
}

// blockJSON is a block as a node serves it.
func blockJSON(t testing.TB, b *types.Block, full bool) map[string]any {
	text, err := json.Marshal(b.Header())
	if err != nil {
		t.Error(err)
	}
	m := map[string]any{}
	_ = json.Unmarshal(text, &m)
	m["hash"], m["size"], m["uncles"] = b.Hash(), hexutil.Uint64(b.Size()), []any{}
	txs := []any{}
	for _, tx := range b.Transactions() {
		if full {
			txs = append(txs, tx)
		} else {
			txs = append(txs, tx.Hash())
		}
	}
	m["transactions"] = txs
	return m
}

// testBlock holds one transaction of every type that a block can hold without blobs.
func testBlock(t testing.TB) *types.Block {
	key, err := crypto.HexToECDSA(strings.Repeat("45", 32))
	if err != nil {
		t.Fatal(err)
	}
	signer, id, to := types.NewPragueSigner(big.NewInt(1)), big.NewInt(1), &common.Address{1}
	var txs []*types.Transaction
	for _, data := range []types.TxData{
		&types.LegacyTx{GasPrice: big.NewInt(1), Gas: 21000, To: to, Value: big.NewInt(3)},
		&types.AccessListTx{ChainID: id, Nonce: 1, GasPrice: big.NewInt(1), Gas: 30000, To: to, AccessList: types.AccessList{{Address: *to, StorageKeys: []common.Hash{{1}}}}},
		&types.DynamicFeeTx{ChainID: id, Nonce: 2, GasTipCap: big.NewInt(1), GasFeeCap: big.NewInt(2), Gas: 21000, To: to, Data: []byte{1}},
		&types.BlobTx{ChainID: uint256.NewInt(1), Nonce: 3, GasTipCap: uint256.NewInt(1), GasFeeCap: uint256.NewInt(2), Gas: 21000, BlobFeeCap: uint256.NewInt(1), BlobHashes: []common.Hash{{1}}, Value: uint256.NewInt(0)},
		&types.SetCodeTx{ChainID: uint256.NewInt(1), Nonce: 4, GasTipCap: uint256.NewInt(1), GasFeeCap: uint256.NewInt(2), Gas: 90000, Value: uint256.NewInt(0),
			AuthList: []types.SetCodeAuthorization{{ChainID: *uint256.NewInt(1), V: 1, R: *uint256.NewInt(1), S: *uint256.NewInt(1)}}},
	} {
		tx, err := types.SignNewTx(key, signer, data)
		if err != nil {
			t.Fatal(err)
		}
		txs = append(txs, tx)
	}
	h := testHeader()
	h.Time = 1742213400 + 3*12
	b := types.NewBlock(h, &types.Body{Transactions: txs, Withdrawals: types.Withdrawals{}}, nil, trie.NewStackTrie(nil))
	if b.Header().TxHash == types.EmptyTxsHash {
		t.Fatal("the block is empty")
	}
	return b
}

func start(t testing.TB, clock *chain.Clock) (*node, *Client) {
	n := &node{t: t, block: testBlock(t), calls: map[string]int{}}
	srv := httptest.NewServer(n)
	t.Cleanup(srv.Close)
	spec, _ := chain.Named("hoodi")
	if clock == nil {
		clock = chain.NewClock(spec, nil)
	}
	c, err := New(Config{URL: srv.URL, Spec: spec, Clock: clock, Metrics: NewMetrics(metrics.NewRegistry()), Timeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return n, c
}
