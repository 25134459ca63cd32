package wallet

import (
	"bytes"
	"context"
	"encoding/json"
	"testing"

	"sidecar/internal/execution"
)

// FuzzRPC: whatever is posted, the answer is JSON-RPC, and nothing reaches the
// node but what is on the list.
func FuzzRPC(f *testing.F) {
	for _, seed := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"eth_sendRawTransaction","params":["0x02f8"]}`, `[{"jsonrpc":"2.0","id":null,"method":"eth_sendRawTransactionSync","params":["0x",5]}]`,
		`{"jsonrpc":"2.0","id":"a","method":"eth_getTransactionCount","params":["0x01","pending"]}`, `{"jsonrpc":"2.0","id":1,"method":"eth_feeHistory","params":{}}`,
		`{"jsonrpc":"2.0","id":1,"method":"bolt_requestInclusion","params":[{"slot":1,"txs":["0x"]}]}`, `[]`, `null`, `{"jsonrpc":"2.0","id":1,"method":"admin_peers"}`,
	} {
		f.Add([]byte(seed))
	}
	n := &recorder{}
	w, err := New(Config{
		Spec: testSpec(), Clock: testClock(), Gateway: &gate{clock: testClock()}, Schedule: &gate{}, Views: &gate{}, Node: n,
		Bolt: &Bolt{Sign: func([32]byte) (s [65]byte, err error) { s[64] = 27; return s, nil }},
	})
	if err != nil {
		f.Fatal(err)
	}
	w.Drain() // nobody waits
	f.Fuzz(func(t *testing.T, body []byte) {
		answer := w.rpc(context.Background(), &caller{left: limitLarge}, body)
		if answer == nil {
			return
		}
		text, err := json.Marshal(answer)
		if err != nil {
			t.Fatal(err)
		}
		var all []answered
		if text[0] != '[' {
			text = append(append([]byte("["), text...), ']')
		}
		if err := json.Unmarshal(text, &all); err != nil || len(all) == 0 {
			t.Fatalf("%v: %s", err, text)
		}
		for _, a := range all {
			if (a.Error == nil) == (len(a.Result) == 0) || !bytes.Equal(bytes.TrimSpace(a.ID), a.ID) {
				t.Fatalf("neither result nor error, or both: %s", text)
			}
		}
		for _, m := range n.calls {
			if _, ok := methods[m]; !ok {
				t.Fatalf("the node was asked %q", m)
			}
		}
		n.calls = n.calls[:0]
	})
}

// recorder is a node that refuses everything and remembers what it was asked.
type recorder struct {
	node
}

func (r *recorder) Forward(_ context.Context, method string, _ json.RawMessage, _ int64) (json.RawMessage, error) {
	r.calls = append(r.calls, method)
	return nil, &execution.RPCError{Code: -32000, Message: "no"}
}
