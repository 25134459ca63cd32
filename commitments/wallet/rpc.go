package wallet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"time"

	"sidecar/internal/fetch"
)

const (
	maxBatch = 100 // requests of a batch; what ethers sends at most
	maxID    = 128 // bytes of a request's id, which is echoed
)

// Times of a call to the node, and of all that one HTTP request may lead to
// beside waiting for receipts.
const (
	readTimeout = 5 * time.Second
	restTimeout = 20 * time.Second
)

// caller is who sent an HTTP request, and what it may still take.
type caller struct {
	remote netip.Addr
	bolt   string // X-Bolt-Signature
	left   int64  // bytes of answers
}

// request is one JSON-RPC request.
type request struct {
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Method  string          `json:"method"`
	Params  json.RawMessage `json:"params"`
}

// response is an answer with a result, which may be null.
type response struct {
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Result  any             `json:"result"`
}

// failure is an answer with an error.
type failure struct {
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Error   *rpcError       `json:"error"`
}

var null = json.RawMessage("null")

func failed(id json.RawMessage, err error) failure { return failure{"2.0", id, toRPC(err)} }

// rpc answers the body of one POST: a request or a batch, whose requests are
// dealt with in their order. Nil if there is nothing to answer.
func (w *Wallet) rpc(ctx context.Context, c *caller, body []byte) any {
	if !json.Valid(body) {
		return failed(null, ErrParse)
	}
	if bytes.TrimLeft(body, " \t\r\n")[0] != '[' { // valid JSON is not empty
		return w.call(ctx, c, body)
	}
	var batch []json.RawMessage
	if err := json.Unmarshal(body, &batch); err != nil || len(batch) == 0 || len(batch) > maxBatch {
		return failed(null, ErrRequest.With("a batch of %d requests; 1 to %d are taken", len(batch), maxBatch))
	}
	var answers []any
	for _, one := range batch {
		if a := w.call(ctx, c, one); a != nil {
			answers = append(answers, a)
		}
	}
	if answers == nil {
		return nil
	}
	return answers
}

// call answers one request; nil for a notification, which is not acted upon: a
// promise that nobody is told of serves nobody.
func (w *Wallet) call(ctx context.Context, c *caller, raw json.RawMessage) any {
	var r request
	if err := json.Unmarshal(raw, &r); err != nil || r.Version != "2.0" || !validID(r.ID) {
		return failed(null, ErrRequest)
	}
	if r.ID == nil {
		return nil
	}
	result, err := w.dispatch(ctx, c, r)
	w.Metrics.call(r.Method, err)
	if err != nil {
		return failed(r.ID, err)
	}
	return response{"2.0", r.ID, result}
}

// dispatch does what a request asks for, if its method is served and its caller
// may ask now.
func (w *Wallet) dispatch(ctx context.Context, c *caller, r request) (any, error) {
	m, ok := methods[r.Method]
	if !ok || m.bolt && w.Bolt == nil {
		return nil, ErrMethod.With("%.40q", r.Method)
	}
	if err := w.allow(w.calls, w.Calls, c, m.cost()); err != nil {
		return nil, err
	}
	if m.serve == nil {
		m.serve = pass(r.Method)
	}
	if !m.waits {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, readTimeout)
		defer cancel()
	}
	if m.heavy {
		select {
		case w.heavy <- struct{}{}:
			defer func() { <-w.heavy }()
		case <-ctx.Done():
			return nil, ErrBusy
		}
	}
	result, err := m.serve(w, ctx, c, r.Params)
	if errors.Is(err, fetch.ErrTooLarge) {
		err = ErrLarge.With("ask for less")
	}
	if raw, ok := result.(json.RawMessage); ok && err == nil {
		if c.left -= int64(len(raw)); c.left < 0 {
			return nil, ErrLarge.With("ask for less at a time")
		}
	}
	return result, err
}

// pass hands a call to the node as it is.
func pass(method string) serve {
	return func(w *Wallet, ctx context.Context, _ *caller, params json.RawMessage) (any, error) {
		return w.Node.Forward(ctx, method, params, limitLarge)
	}
}

// validID wants a string, a number, null or nothing.
func validID(id json.RawMessage) bool {
	return len(id) <= maxID && (id == nil || id[0] != '{' && id[0] != '[' && id[0] != 't' && id[0] != 'f')
}
