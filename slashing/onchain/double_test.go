package onchain_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// double is a node between the sender and geth: it passes everything on, and can
// be made silent, wrong, or lying, method by method.
type double struct {
	*httptest.Server

	mu    sync.Mutex
	knobs map[string]func(params []json.RawMessage) (answer any, ok bool)
	calls map[string]int
}

// silent is an answer that never comes: the connection is cut.
type silent struct{}

// raw is an answer that is no JSON-RPC.
type raw string

// refusal is a JSON-RPC error.
type refusal string

func newDouble(t *testing.T, geth string) *double {
	t.Helper()
	d := &double{knobs: map[string]func([]json.RawMessage) (any, bool){}, calls: map[string]int{}}
	d.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var request struct {
			Method string
			Params []json.RawMessage
		}
		_ = json.Unmarshal(body, &request)
		d.mu.Lock()
		knob := d.knobs[request.Method]
		d.calls[request.Method]++
		d.mu.Unlock()
		if knob != nil {
			if answer, ok := knob(request.Params); ok {
				reply(w, answer)
				return
			}
		}
		res, err := http.Post(geth, "application/json", bytes.NewReader(body)) // #nosec G107 -- a test
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		defer func() { _ = res.Body.Close() }()
		_, _ = io.Copy(w, res.Body)
	}))
	t.Cleanup(d.Close)
	return d
}

func reply(w http.ResponseWriter, answer any) {
	switch a := answer.(type) {
	case silent:
		panic(http.ErrAbortHandler)
	case raw:
		_, _ = io.WriteString(w, string(a))
	case refusal:
		_ = json.NewEncoder(w).Encode(map[string]any{"jsonrpc": "2.0", "id": 1, "error": map[string]any{"code": -32000, "message": string(a)}})
	default:
		_ = json.NewEncoder(w).Encode(map[string]any{"jsonrpc": "2.0", "id": 1, "result": a})
	}
}

// set turns the knob of a method; nil lets it pass again.
func (d *double) set(method string, knob func([]json.RawMessage) (any, bool)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.knobs[method] = knob
}

func (d *double) count(method string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.calls[method]
}

// always answers the same.
func always(answer any) func([]json.RawMessage) (any, bool) {
	return func([]json.RawMessage) (any, bool) { return answer, true }
}

// times answers so for the first n questions.
func times(n int, answer any) func([]json.RawMessage) (any, bool) {
	return func([]json.RawMessage) (any, bool) {
		n--
		return answer, n >= 0
	}
}

// onchainCall asks geth itself.
type onchainCall struct{ url string }

func (c *onchainCall) do(method string, params []json.RawMessage) error {
	body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
	if err != nil {
		return err
	}
	res, err := http.Post(c.url, "application/json", bytes.NewReader(body)) // #nosec G107 -- a test
	if err != nil {
		return err
	}
	return res.Body.Close()
}
