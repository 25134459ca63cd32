package gateway

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"

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
}

type rpcError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Data    struct {
		Reason string `json:"reason"`
		Detail string `json:"detail,omitempty"`
	} `json:"data"`
}

var null = json.RawMessage("null")

// rpc answers the body of one POST: a request or a batch. It returns nil if
// there is nothing to answer.
func (g *Gateway) rpc(ctx context.Context, body []byte) any {
	if !json.Valid(body) {
		return failure(null, ErrParse)
	}
	if trimmed := bytes.TrimLeft(body, " \t\r\n"); trimmed[0] != '[' { // valid JSON is not empty
		if r := g.call(ctx, body); r != nil {
			return r
		}
		return nil
	}
	var batch []json.RawMessage
	if err := json.Unmarshal(body, &batch); err != nil || len(batch) == 0 || len(batch) > maxBatch {
		return failure(null, ErrRequest.With("a batch of %d requests; 1 to %d are taken", len(batch), maxBatch))
	}
	var answers []*rpcResponse
	for _, one := range batch {
		if r := g.call(ctx, one); r != nil {
			answers = append(answers, r)
		}
	}
	if answers == nil {
		return nil
	}
	return answers
}

// call answers one request; nil for a notification, which is not acted upon: a
// promise that nobody is told of serves nobody.
func (g *Gateway) call(ctx context.Context, raw json.RawMessage) *rpcResponse {
	var r rpcRequest
	if err := json.Unmarshal(raw, &r); err != nil || r.Version != "2.0" || !validID(r.ID) {
		return failure(null, ErrRequest)
	}
	if r.ID == nil {
		return nil
	}
	result, err := g.dispatch(ctx, r.Method, r.Params)
	if err != nil {
		return failure(r.ID, err)
	}
	return &rpcResponse{Version: "2.0", ID: r.ID, Result: result}
}

// validID wants a string, a number, null or nothing.
func validID(id json.RawMessage) bool {
	return len(id) <= maxID && (id == nil || id[0] != '{' && id[0] != '[' && id[0] != 't' && id[0] != 'f')
}

func (g *Gateway) dispatch(ctx context.Context, method string, params json.RawMessage) (any, error) {
	switch method {
	case "commitmentRequest":
		r, id, err := paramQuoted(params)
		if err != nil {
			return nil, err
		}
		return g.commitAs(ctx, r, id)
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
		return g.Result(ctx, hash)
	case "slots":
		return g.Slots(ctx)
	case "fee":
		r, err := paramRequest(params)
		if err != nil {
			return nil, err
		}
		return g.fee(ctx, r)
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
	case fault.Rejected, fault.Forbidden:
		return -32000, "Request refused"
	case fault.Unavailable, fault.Upstream, fault.Timeout:
		return -32001, "Not ready"
	case fault.Conflict:
		return -32002, "Conflict"
	case fault.Busy:
		return -32003, "Too many requests"
	}
	return -32603, "Internal error"
}
