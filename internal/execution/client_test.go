package execution

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/params"
	"github.com/holiman/uint256"
	"sidecar/internal/metrics"

	"sidecar/chain"
)

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
	if _, _, err := c.Account(ctx, bellatrix.ExecutionAddress{1}); err != nil || n.posts != 3 { // head, eth_config, account
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
	if err != nil || !a.HasCode || a.Delegated || at.Number != 8 {
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

// TestMetrics counts by method and result.
func TestMetrics(t *testing.T) {
	n, c := start(t, nil)
	registry := metrics.NewRegistry()
	c.metrics = NewMetrics(registry)
	_, _ = c.ChainID(t.Context())
	n.answer = func(string, []json.RawMessage) any { return errors.New("no") }
	_, _ = c.ChainID(t.Context())
	for metric, want := range map[string]float64{
		`sidecar_execution_requests_total{method="eth_chainId",result="ok"}`:                1,
		`sidecar_execution_requests_total{method="eth_chainId",result="execution_refused"}`: 1,
		`sidecar_execution_request_duration_seconds_count{method="eth_chainId"}`:            2,
	} {
		if got, _ := registry.Value(metric); got != want {
			t.Errorf("%s: got %v, want %v", metric, got, want)
		}
	}
	c.metrics = nil
	if _, err := c.ChainID(t.Context()); !errors.Is(err, ErrRefused) {
		t.Errorf("without metrics: got %v", err)
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
