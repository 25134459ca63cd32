package execution

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/trie"
	"github.com/holiman/uint256"
	"github.com/prometheus/client_golang/prometheus"

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
	if n.answer != nil {
		if v := n.answer(method, params); v != nil {
			return v
		}
	}
	switch method {
	case "eth_getBlockByNumber", "eth_getBlockByHash":
		return blockJSON(n.t, n.block, string(params[1]) == "true")
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
	c, err := New(Config{URL: srv.URL, Spec: spec, Clock: clock, Metrics: NewMetrics(prometheus.NewRegistry()), Timeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return n, c
}

func TestClient_HeadAndAccount(t *testing.T) {
	spec, _ := chain.Named("hoodi")
	now := time.Unix(1742213500, 0)
	n, c := start(t, chain.NewClock(spec, func() time.Time { return now }))
	n.reverse = true
	ctx := t.Context()
	head, err := c.Head(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if head.Number != 7 || head.Hash != phase0.Hash32(n.block.Hash()) || head.Slot != 3 || head.GasLimit != 60_000_000 || !head.BaseFee.Eq(uint256.NewInt(12e9)) {
		t.Errorf("head: got %+v", head)
	}
	a, at, err := c.Account(ctx, bellatrix.ExecutionAddress{1})
	if err != nil || a.Nonce != 7 || !a.Balance.Eq(uint256.NewInt(params.Ether)) || a.HasCode || at != head {
		t.Errorf("account: got %+v at %+v, %v", a, at, err)
	}
	if _, _, err := c.Account(ctx, bellatrix.ExecutionAddress{1}); err != nil || n.posts != 2 {
		t.Errorf("an account at a known head: %d requests, %v", n.posts, err)
	}
	// Another head, another account.
	now = now.Add(headLife)
	n.block = n.block.WithSeal(func() *types.Header { h := n.block.Header(); h.Number = big.NewInt(8); return h }())
	n.answer = func(method string, params []json.RawMessage) any {
		switch {
		case method == "eth_getCode":
			return "0xef0100"
		case method == "eth_getBalance" && !strings.Contains(string(params[1]), n.block.Hash().Hex()[2:]):
			return errors.New("asked at another block")
		}
		return nil
	}
	a, at, err = c.Account(ctx, bellatrix.ExecutionAddress{1})
	if err != nil || !a.HasCode || at.Number != 8 {
		t.Errorf("after a new head: got %+v at %+v, %v", a, at, err)
	}
}

func TestClient_BlockByHash(t *testing.T) {
	n, c := start(t, nil)
	b, err := c.BlockByHash(t.Context(), phase0.Hash32(n.block.Hash()))
	if err != nil {
		t.Fatal(err)
	}
	if b.Number != 7 || b.Slot != 3 || b.Missed || crypto.Keccak256Hash(b.HeaderRLP) != n.block.Hash() || len(b.Txs) != 5 {
		t.Errorf("got %+v", b)
	}
	for i, tx := range n.block.Transactions() {
		if want, _ := tx.MarshalBinary(); string(want) != string(b.Txs[i]) {
			t.Errorf("transaction %d: got %x, want %x", i, b.Txs[i], want)
		}
	}
}

func TestClient_BlockByHash_Lies(t *testing.T) {
	for name, c := range map[string]struct {
		lie  func(m map[string]any)
		want error
	}{
		"another header":       {func(m map[string]any) { m["gasUsed"] = "0xa" }, ErrBadAnswer},
		"another hash":         {func(m map[string]any) { m["hash"] = common.Hash{1} }, ErrBadAnswer},
		"a transaction less":   {func(m map[string]any) { m["transactions"] = m["transactions"].([]any)[1:] }, ErrBadAnswer},
		"transactions swapped": {func(m map[string]any) { x := m["transactions"].([]any); x[0], x[1] = x[1], x[0] }, ErrBadAnswer},
		"hashes for them":      {func(m map[string]any) { m["transactions"] = []any{common.Hash{1}} }, ErrBadAnswer},
		"null for one":         {func(m map[string]any) { m["transactions"].([]any)[0] = nil }, ErrBadAnswer},
		"no transactions":      {func(m map[string]any) { delete(m, "transactions") }, ErrBadAnswer},
		"no number":            {func(m map[string]any) { delete(m, "number") }, ErrBadAnswer},
	} {
		n, client := start(t, nil)
		n.answer = func(string, []json.RawMessage) any {
			m := blockJSON(t, n.block, true)
			c.lie(m)
			return m
		}
		if _, err := client.BlockByHash(t.Context(), phase0.Hash32(n.block.Hash())); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	n, c := start(t, nil)
	if _, err := c.BlockByHash(t.Context(), phase0.Hash32{1}); !errors.Is(err, ErrBadAnswer) {
		t.Errorf("another block than asked: got %v", err)
	}
	n.answer = func(string, []json.RawMessage) any { return json.RawMessage("null") }
	if _, err := c.BlockByHash(t.Context(), phase0.Hash32{1}); !errors.Is(err, ErrUnknownBlock) {
		t.Errorf("unknown: got %v", err)
	}
	if _, err := c.Head(t.Context()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("no head: got %v", err)
	}
}

func TestClient_Parent(t *testing.T) {
	n, c := start(t, nil)
	hash := phase0.Hash32(n.block.Hash())
	for range 3 {
		p, err := c.Parent(t.Context(), hash)
		if want := (Parent{7, 60_000_000, 1742213400 + 36}); err != nil || p != want {
			t.Errorf("got %+v, %v, want %+v", p, err, want)
		}
	}
	if n.posts != 1 {
		t.Errorf("got %d requests, want 1", n.posts)
	}
	if _, err := c.Parent(t.Context(), phase0.Hash32{1}); !errors.Is(err, ErrBadAnswer) {
		t.Errorf("another block: got %v", err)
	}
	for i := range 2 * maxParents { // the memory is bounded
		h := n.block.Header()
		h.Extra = fmt.Append(nil, i)
		n.block = types.NewBlockWithHeader(h)
		if _, err := c.Parent(t.Context(), phase0.Hash32(n.block.Hash())); err != nil {
			t.Fatal(err)
		}
	}
	if len(c.parents) != maxParents || len(c.order) != maxParents {
		t.Errorf("remembers %d", len(c.parents))
	}
}

func TestClient_SmallCalls(t *testing.T) {
	n, c := start(t, nil)
	if id, err := c.ChainID(t.Context()); err != nil || id != 560048 {
		t.Errorf("chain id: got %d, %v", id, err)
	}
	n.answer = func(method string, params []json.RawMessage) any {
		if method == "eth_call" && string(params[0]) == `{"input":"0xabcd","to":"0x0100000000000000000000000000000000000000"}` {
			return "0x99"
		}
		return nil
	}
	if out, err := c.Call(t.Context(), [20]byte{1}, []byte{0xab, 0xcd}); err != nil || string(out) != "\x99" {
		t.Errorf("call: got %x, %v", out, err)
	}
	if h, err := c.SendRawTransaction(t.Context(), []byte{1}); err != nil || h != (phase0.Hash32{9}) {
		t.Errorf("send: got %s, %v", h, err)
	}
	n.answer = func(string, []json.RawMessage) any { return errors.New("nonce too low\n\x00") }
	if _, err := c.SendRawTransaction(t.Context(), []byte{1}); !errors.Is(err, ErrRefused) || strings.ContainsAny(err.Error(), "\n\x00") {
		t.Errorf("refused: got %v", err)
	}
}

// TestClient_BadNodes: slow, silent, wrong and lying nodes, by fault.
func TestClient_BadNodes(t *testing.T) {
	say := func(s string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) { _, _ = io.WriteString(w, s) }
	}
	for name, c := range map[string]struct {
		serve func(http.ResponseWriter)
		want  error
	}{
		"status 500":       {func(w http.ResponseWriter) { w.WriteHeader(500) }, ErrUnavailable},
		"redirect":         {func(w http.ResponseWriter) { w.Header().Set("Location", "/"); w.WriteHeader(307) }, ErrUnavailable},
		"empty":            {say(""), ErrBadAnswer},
		"not JSON":         {say("<html>"), ErrBadAnswer},
		"an empty batch":   {say("[]"), ErrBadAnswer},
		"another id":       {say(`{"jsonrpc":"2.0","id":7,"result":"0x1"}`), ErrBadAnswer},
		"no id":            {say(`{"jsonrpc":"2.0","result":"0x1"}`), ErrBadAnswer},
		"no result":        {say(`{"jsonrpc":"2.0","id":0}`), ErrBadAnswer},
		"null":             {say(`{"jsonrpc":"2.0","id":0,"result":null}`), ErrBadAnswer},
		"a number":         {say(`{"jsonrpc":"2.0","id":0,"result":1}`), ErrBadAnswer},
		"beyond 64 bits":   {say(`{"jsonrpc":"2.0","id":0,"result":"0x10000000000000000"}`), ErrBadAnswer},
		"endless":          {func(w http.ResponseWriter) { _, _ = io.Copy(w, io.LimitReader(zeros{}, limitSmall+2)) }, ErrBadAnswer},
		"silent":           {func(w http.ResponseWriter) { panic(http.ErrAbortHandler) }, ErrUnavailable},
		"breaks off":       {func(w http.ResponseWriter) { w.Header().Set("Content-Length", "90"); _, _ = io.WriteString(w, "{") }, ErrUnavailable},
		"JSON-RPC refusal": {say(`{"jsonrpc":"2.0","id":0,"error":{"code":-32601,"message":"no"}}`), ErrRefused},
	} {
		n, client := start(t, nil)
		n.serve = c.serve
		if _, err := client.ChainID(t.Context()); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestClient_SlowNode(t *testing.T) {
	n, c := start(t, nil)
	release := make(chan struct{})
	n.serve = func(http.ResponseWriter) { <-release }
	defer close(release)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if _, err := c.Head(ctx); !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(begin); took > time.Second {
		t.Errorf("took %v", took)
	}
}

func TestNew_Refuses(t *testing.T) {
	spec, _ := chain.Named("hoodi")
	clock := chain.NewClock(spec, nil)
	for _, url := range []string{"", "127.0.0.1:8545", "ftp://node", "http://", "http://user:secret@%zz"} {
		if _, err := New(Config{URL: url, Clock: clock}); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got %v", url, err)
		}
	}
	if _, err := New(Config{URL: "http://node"}); err == nil {
		t.Error("made a client without a clock")
	}
	c, err := New(Config{URL: "http://user:secret@127.0.0.1:1", Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.ChainID(t.Context()); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("the secret of the URL shows: %v", err)
	}
}

// FuzzAnswers: no answer panics.
func FuzzAnswers(f *testing.F) {
	for _, s := range []string{`{"jsonrpc":"2.0","id":0,"result":"0x1"}`, `[{"id":0,"result":"0x1"},{"id":1,"error":{}}]`, `null`, `[null]`} {
		f.Add([]byte(s))
	}
	text, err := json.Marshal(blockJSON(f, testBlock(f), true))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Fuzz(func(t *testing.T, text []byte) {
		var answers []response
		if json.Unmarshal(text, &answers) == nil {
			var q quantity
			var a amount
			_ = match([]call{{"a", nil, &q}, {"b", nil, &a}}, answers)
		}
		if h, err := decodeHeaderJSON(raw{text}); err == nil && h.Number == nil {
			t.Fatal("header without number")
		}
	})
}
