package wallet

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/holiman/uint256"

	"sidecar/chain"
	"sidecar/internal/execution"
	"sidecar/modules"
)

// node is an execution node behind a socket. Its head is slot 99 with a base fee
// of 10 gwei; its answers are knobs.
type node struct {
	*execution.Client
	mu      sync.Mutex
	head    modules.Head
	headErr error
	answers map[string]func(params []json.RawMessage) any // an error is a JSON-RPC error
	calls   []string
	serve   http.HandlerFunc // instead of any answer
}

// refuses is an error of the node.
type refuses struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Data    string `json:"data,omitempty"`
}

func startNode(t *testing.T, clock *chain.Clock) *node {
	t.Helper()
	n := &node{
		head:    modules.Head{Number: 50, Hash: phase0.Hash32{50}, Slot: 99, BaseFee: *uint256.NewInt(10 * gwei)},
		answers: map[string]func([]json.RawMessage) any{},
	}
	server := httptest.NewServer(n)
	t.Cleanup(server.Close)
	var err error
	if n.Client, err = execution.New(execution.Config{URL: server.URL, Spec: testSpec(), Clock: clock, Timeout: 10 * time.Second}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Client.Close)
	return n
}

// Head is what the test says.
func (n *node) Head(context.Context) (modules.Head, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.head, n.headErr
}

func (n *node) setHead(number uint64, slot phase0.Slot, baseFee uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.head = modules.Head{Number: number, Hash: phase0.Hash32{byte(number), 1}, Slot: slot, BaseFee: *uint256.NewInt(baseFee)} // #nosec G115 -- small
}

// answer sets what a method answers.
func (n *node) answer(method string, f func(params []json.RawMessage) any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.answers[method] = f
}

func (n *node) asked(method string) (count int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, m := range n.calls {
		if m == method {
			count++
		}
	}
	return count
}

func (n *node) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var q struct {
		ID     int
		Method string
		Params []json.RawMessage
	}
	_ = json.NewDecoder(r.Body).Decode(&q)
	n.mu.Lock()
	n.calls = append(n.calls, q.Method)
	f, instead := n.answers[q.Method], n.serve
	n.mu.Unlock()
	if instead != nil {
		instead(w, r)
		return
	}
	out := map[string]any{"jsonrpc": "2.0", "id": q.ID}
	var v any
	if f != nil {
		v = f(q.Params)
	}
	if e, ok := v.(refuses); ok {
		out["error"] = e
	} else {
		out["result"] = v
	}
	_ = json.NewEncoder(w).Encode(out)
}
