package wallet

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"sidecar/fault"
	"sidecar/internal/execution"
	"sidecar/internal/httpd"
)

// Error codes that wallets understand. [JSON-RPC 2.0; EIP-1474; EIP-7966]
const (
	codeParse       = -32700
	codeRequest     = -32600
	codeMethod      = -32601
	codeParams      = -32602
	codeInternal    = -32603
	codeServer      = -32000 // what execution nodes give with the texts below
	codeUnavailable = -32002
	codeRejected    = -32003
	codeLimit       = -32005
	codePending     = 4 // eth_sendRawTransactionSync: no receipt in time
	codeUnready     = 5 // eth_sendRawTransactionSync: cannot be processed now
	codeNonceGap    = 6 // eth_sendRawTransactionSync: another nonce is expected
)

// spoken are the words in which execution nodes refuse a transaction, by our
// reason. Wallets tell by them what went wrong; the detail follows them.
var spoken = map[string]string{
	"nonce_too_low":            "nonce too low",
	"nonce_gap":                "nonce too high",
	"nonce_conflict":           "replacement transaction underpriced",
	"tx_already_promised":      "already known",
	"insufficient_balance":     "insufficient funds for gas * price + value",
	"fee_cap_below_worst_case": "max fee per gas less than block base fee",
	"tip_too_low":              "transaction underpriced",
	"fee_fields_invalid":       "max priority fee per gas higher than max fee per gas",
	"gas_below_intrinsic":      "intrinsic gas too low",
	"gas_above_cap":            "exceeds block gas limit",
	"wrong_chain":              "invalid chain id for signer",
	"invalid_signature":        "invalid sender",
	"sender_has_code":          "sender not an eoa",
	"unsupported_tx_type":      "transaction type not supported",
	"tx_too_big":               "oversized data",
}

// rpcError is the error of a JSON-RPC answer. It is an error itself, for those
// whose data is not an object.
type rpcError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Data    any    `json:"data,omitempty"`
	cause   error
}

func (e *rpcError) Error() string { return e.Message }
func (e *rpcError) Unwrap() error { return e.cause }

// errorData says why in our own words.
type errorData struct {
	Reason string    `json:"reason"`
	Detail string    `json:"detail,omitempty"`
	Tried  []attempt `json:"tried,omitempty"`
	// RetryAfterMS is when a limited caller may come again.
	RetryAfterMS int64 `json:"retry_after_ms,omitempty"`
	// Promised are the transactions of a Bolt request that stand all the same.
	Promised []string `json:"promised,omitempty"`
}

// attempt is a slot that was asked for a promise and did not give it.
type attempt struct {
	Slot   uint64 `json:"slot"`
	Reason string `json:"reason"`
}

// refusal is why there is no promise, with the slots that were asked.
type refusal struct {
	err   error
	tried []attempt
}

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

// toRPC is err as its caller sees it. What the node refused passes as it came.
func toRPC(err error) *rpcError {
	var own *rpcError
	if errors.As(err, &own) {
		return own
	}
	var node *execution.RPCError
	if errors.As(err, &node) {
		e := &rpcError{Code: node.Code, Message: clip(node.Message, 1000)}
		if len(node.Data) > 0 && string(node.Data) != "null" {
			e.Data = json.RawMessage(node.Data)
		}
		return e
	}
	if fault.Of(err) == nil && errors.Is(err, context.DeadlineExceeded) {
		err = httpd.ErrDeadline
	}
	data := errorData{Reason: fault.Code(err), Detail: detail(err)}
	var r *refusal
	if errors.As(err, &r) {
		data.Tried = r.tried
	}
	var l *limited
	if errors.As(err, &l) {
		data.RetryAfterMS = l.ms()
	}
	e := &rpcError{Data: data, cause: err}
	e.Code, e.Message = words(err)
	return e
}

// words are the code and the message of a fault.
func words(err error) (int, string) {
	f := fault.Of(err)
	if f == nil {
		return codeInternal, "internal error"
	}
	if text, ok := spoken[f.Code]; ok {
		if more := detail(err); more != f.Help && more != "" {
			text += ": " + more
		}
		return codeServer, text
	}
	switch {
	case errors.Is(err, ErrParse):
		return codeParse, "parse error"
	case errors.Is(err, ErrRequest):
		return codeRequest, "invalid request"
	case errors.Is(err, ErrMethod):
		return codeMethod, "the method is not available"
	}
	switch f.Kind {
	case fault.Invalid, fault.TooLarge, fault.NotFound, fault.Unsupported:
		return codeParams, "invalid params: " + detail(err)
	case fault.Rejected, fault.Forbidden, fault.Conflict:
		return codeRejected, "transaction rejected: " + detail(err)
	case fault.Busy:
		return codeLimit, "limit exceeded: " + detail(err)
	case fault.Unavailable, fault.Upstream, fault.Timeout:
		return codeUnavailable, "resource unavailable: " + detail(err)
	}
	return codeInternal, "internal error"
}

// detail is the text of a fault for the caller, bounded: what it was given, or
// its help; nothing of an internal error, and nothing of where our servers are.
func detail(err error) string {
	f := fault.Of(err)
	if f == nil || f.Kind == fault.Internal {
		return ""
	}
	if f.Kind == fault.Upstream || f.Kind == fault.Unavailable || f.Kind == fault.Timeout {
		return f.Help
	}
	text := strings.TrimPrefix(err.Error(), f.Code)
	if text == "" {
		text = f.Help
	}
	return clip(strings.TrimPrefix(text, ": "), 200)
}

func clip(text string, most int) string {
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "")
	}
	return text
}
