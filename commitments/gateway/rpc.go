package gateway

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/fault"
	"sidecar/internal/httpd"
)

// Faults of the JSON-RPC form.
var (
	ErrParse   = fault.Define("json_parse", fault.Invalid, "The body is not JSON.")
	ErrRequest = fault.Define("rpc_request_invalid", fault.Invalid, "The body is not a JSON-RPC 2.0 request, or a batch that is too long.")
	ErrMethod  = fault.Define("rpc_method_unknown", fault.NotFound, "There is no such JSON-RPC method.")
	ErrParams  = fault.Define("params_invalid", fault.Invalid, "The parameters are not those of the method.")
)

const (
	maxBatch = 16
	atOnce   = 4   // requests of a batch that run side by side
	maxID    = 128 // bytes of a request's id, which is echoed
)

type rpcRequest struct {
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Method  string          `json:"method"`
	Params  json.RawMessage `json:"params"`
}

type rpcResponse struct {
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Result  any             `json:"result,omitempty"`
	Error   *rpcError       `json:"error,omitempty"`

	promised []phase0.Hash32 // requests it answers with a promise
	busy     error           // there was no place for it
}

type rpcError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Data    struct {
		Reason       string `json:"reason"`
		Detail       string `json:"detail,omitempty"`
		RetryAfterMS int64  `json:"retry_after_ms,omitempty"`
	} `json:"data"`
}

var null = json.RawMessage("null")

// rpc answers the body of one POST: a request or a batch, whose requests are
// independent of each other and run side by side. It returns nil if there is
// nothing to answer, and the requests that were answered with a promise.
func (g *Gateway) rpc(ctx context.Context, c caller, body []byte) (answer any, released []phase0.Hash32) {
	if !json.Valid(body) {
		return failure(null, ErrParse), nil
	}
	if trimmed := bytes.TrimLeft(body, " \t\r\n"); trimmed[0] != '[' { // valid JSON is not empty
		if r := g.call(ctx, c, body); r != nil {
			return r, r.promised
		}
		return nil, nil
	}
	var batch []json.RawMessage
	if err := json.Unmarshal(body, &batch); err != nil || len(batch) == 0 || len(batch) > maxBatch {
		return failure(null, ErrRequest.With("a batch of %d requests; 1 to %d are taken", len(batch), maxBatch)), nil
	}
	all := g.batch(ctx, c, batch)
	all = slices.DeleteFunc(all, func(r *rpcResponse) bool { return r == nil })
	if len(all) == 0 {
		return nil, nil
	}
	for _, r := range all {
		released = append(released, r.promised...)
	}
	return all, released
}

// batch answers the requests of a batch in their order, atOnce at a time. The
// caller has paid for one of them.
func (g *Gateway) batch(ctx context.Context, c caller, batch []json.RawMessage) []*rpcResponse {
	out := make([]*rpcResponse, len(batch))
	next := make(chan int, len(batch))
	for i := range batch {
		next <- i
	}
	close(next)
	var wg sync.WaitGroup
	for range min(atOnce, len(batch)) {
		wg.Go(func() {
			for i := range next {
				out[i] = g.item(ctx, c, batch[i], i > 0)
			}
		})
	}
	wg.Wait()
	return out
}

// item answers one request of a batch. A bug in it is its own.
func (g *Gateway) item(ctx context.Context, c caller, raw json.RawMessage, pays bool) (r *rpcResponse) {
	defer func() {
		if p := recover(); p != nil {
			g.Log.Error("A request of a batch panicked", "panic", p, "stack", string(debug.Stack()))
			r = failure(null, fmt.Errorf("panic: %v", p))
		}
	}()
	if pays {
		if err := g.charge(c); err != nil {
			return failure(idOf(raw), err)
		}
	}
	return g.call(ctx, c, raw)
}

// idOf is the id of a request that is refused unread; null if it has none.
func idOf(raw json.RawMessage) json.RawMessage {
	var r rpcRequest
	if json.Unmarshal(raw, &r) != nil || r.ID == nil || !validID(r.ID) {
		return null
	}
	return r.ID
}

// call answers one request; nil for a notification, which is not acted upon: a
// promise that nobody is told of serves nobody.
func (g *Gateway) call(ctx context.Context, c caller, raw json.RawMessage) *rpcResponse {
	var r rpcRequest
	if err := json.Unmarshal(raw, &r); err != nil || r.Version != "2.0" || !validID(r.ID) {
		return failure(null, ErrRequest)
	}
	if r.ID == nil {
		return nil
	}
	leave, err := g.seatOf(ctx, c, r)
	if err != nil {
		answer := failure(r.ID, err)
		answer.busy = err
		return answer
	}
	defer leave()
	answer := &rpcResponse{Version: "2.0", ID: r.ID}
	if answer.Result, err = g.dispatch(ctx, r.Method, r.Params, answer); err != nil {
		return failure(r.ID, err)
	}
	return answer
}

func (g *Gateway) seatOf(ctx context.Context, c caller, r rpcRequest) (leave func(), err error) {
	if r.Method != "commitmentRequest" {
		return g.seat(c)
	}
	return g.seatFor(ctx, c, func() (commitments.Request, error) {
		req, _, err := paramQuoted(r.Params)
		return req, err
	})
}

// validID wants a string, a number, null or nothing.
func validID(id json.RawMessage) bool {
	return len(id) <= maxID && (id == nil || id[0] != '{' && id[0] != '[' && id[0] != 't' && id[0] != 'f')
}

func (g *Gateway) dispatch(ctx context.Context, method string, params json.RawMessage, answer *rpcResponse) (any, error) {
	switch method {
	case "commitmentRequest":
		r, quote, err := paramQuoted(params)
		if err != nil {
			return nil, err
		}
		s, hash, err := g.promiseTo(ctx, r, quote)
		if err == nil {
			answer.promised = []phase0.Hash32{hash}
		}
		return g.written(s), err
	case "preconf_quote":
		r, err := paramRequest(params)
		if err != nil {
			return nil, err
		}
		return g.Quote(ctx, r)
	case "commitmentResult":
		hash, err := paramHash(params)
		if err != nil {
			return nil, err
		}
		s, err := g.Result(ctx, hash)
		return g.written(s), err
	case "slots":
		return g.Slots(ctx)
	case "fee":
		r, err := paramRequest(params)
		if err != nil {
			return nil, err
		}
		return g.fee(ctx, r)
	case "preconf_status":
		hash, err := paramHash(params)
		if err != nil {
			return nil, err
		}
		return g.Status(hash)
	case "preconf_capabilities":
		return g.Capabilities(ctx)
	case "rpc.discover": // [OpenRPC: service discovery]
		return json.RawMessage(openRPC), nil
	}
	return nil, ErrMethod
}

// single returns the one parameter, by position or by name.
func single(params json.RawMessage) (json.RawMessage, error) {
	if len(params) > 0 && params[0] == '{' {
		return params, nil
	}
	var list []json.RawMessage
	if err := json.Unmarshal(params, &list); err != nil || len(list) != 1 {
		return nil, ErrParams.With("one parameter is wanted")
	}
	return list[0], nil
}

func paramRequest(params json.RawMessage) (commitments.Request, error) {
	one, err := single(params)
	if err != nil {
		return commitments.Request{}, err
	}
	return decodeRequest(one)
}

func decodeRequest(text []byte) (r commitments.Request, err error) {
	if err = json.Unmarshal(text, &r); err != nil && fault.Of(err) == nil {
		err = ErrParse.With("not a JSON object")
	}
	return r, err
}

// paramHash reads a request hash: a bare string, as fabric takes it, or an
// object {request_hash}.
func paramHash(params json.RawMessage) (phase0.Hash32, error) {
	one, err := single(params)
	if err != nil {
		return phase0.Hash32{}, err
	}
	var text string
	if json.Unmarshal(one, &text) == nil {
		return parseHash(text)
	}
	var object struct {
		RequestHash string `json:"request_hash"`
	}
	if json.Unmarshal(one, &object) != nil {
		return phase0.Hash32{}, ErrParams.With("a request hash is wanted")
	}
	return parseHash(object.RequestHash)
}

func parseHash(text string) (h phase0.Hash32, err error) {
	digits, ok := strings.CutPrefix(text, "0x")
	if !ok || len(digits) != 2*len(h) {
		return h, ErrParams.With("a request hash is 0x and 64 hex digits")
	}
	if _, err := hex.Decode(h[:], []byte(digits)); err != nil {
		return h, ErrParams.With("a request hash is 0x and 64 hex digits")
	}
	return h, nil
}

// failure is the answer to a request that failed. Codes and messages are
// fabric's where it has one; data.reason is the fault's code.
func failure(id json.RawMessage, err error) *rpcResponse {
	if errors.Is(err, context.DeadlineExceeded) && fault.Of(err) == nil {
		err = httpd.ErrDeadline
	}
	e := &rpcError{}
	e.Code, e.Message = rpcCode(err)
	e.Data.Reason = fault.Code(err)
	if retryHeader(err) != "" {
		e.Data.RetryAfterMS = retryAfter(err).Milliseconds()
	}
	if f := fault.Of(err); f != nil && f.Kind != fault.Internal {
		e.Data.Detail = detail(err, f)
	}
	return &rpcResponse{Version: "2.0", ID: id, Error: e}
}

// detail is the text of err for the caller, bounded: the fault's own words, or
// its help.
func detail(err error, f *fault.Fault) string {
	const most = 200
	text := strings.TrimPrefix(strings.TrimPrefix(err.Error(), f.Code), ": ")
	if text == "" {
		text = f.Help
	}
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "")
	}
	return text
}

func rpcCode(err error) (int, string) {
	switch {
	case errors.Is(err, ErrParse):
		return -32700, "Parse error"
	case errors.Is(err, ErrRequest):
		return -32600, "Invalid request"
	case errors.Is(err, ErrMethod):
		return -32601, "Method not found"
	case errors.Is(err, ErrNoPromise):
		return -32602, "Commitment not found"
	case errors.Is(err, ErrTooLate):
		return -32602, "Not enough time to satisfy request"
	case errors.Is(err, ErrNotOurs):
		return -32602, "No delegation for slot"
	}
	f := fault.Of(err)
	if f == nil {
		return -32603, "Internal error"
	}
	switch f.Kind {
	case fault.Invalid, fault.TooLarge, fault.NotFound, fault.Unsupported:
		return -32602, "Invalid commitment request"
	case fault.Unauthorized:
		return -32000, "Not authorized"
	case fault.Rejected, fault.Forbidden:
		return -32000, "Request refused"
	case fault.Unavailable, fault.Upstream, fault.Timeout:
		return -32001, "Not ready"
	case fault.Conflict:
		return -32002, "Conflict"
	case fault.Busy:
		return -32005, "Too many requests" // [EIP-1474: limit exceeded]
	}
	return -32603, "Internal error"
}
