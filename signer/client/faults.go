package client

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"sidecar/fault"
)

// Faults of this package.
var (
	ErrUnreachable = fault.Define("signer_unreachable", fault.Upstream, "The Signer API does not answer.")
	ErrAnswer      = fault.Define("signer_answer_invalid", fault.Upstream, "The Signer API's answer is not one to what was asked.")
)

// Faults of the sidecar that a module acts upon, for errors.Is. Every other one
// crosses the wire too: fault.Code tells which. docs/errors.md explains them all.
var (
	// ErrSlashable: something else was signed; this never will be.
	ErrSlashable = &fault.Fault{Code: "slashable", Kind: fault.Conflict, Help: "Signing this would contradict something already signed."}
	// ErrUnavailable: the store is down until the operator acts. Nothing was signed.
	ErrUnavailable = &fault.Fault{Code: "store_unavailable", Kind: fault.Unavailable, Help: "The ledger met a disk error and signs nothing until a restart."}
	// ErrQuota: wait for the next slot.
	ErrQuota = &fault.Fault{Code: "module_quota", Kind: fault.Busy, Help: "The module has had all the signatures it may have in this slot."}
	// ErrToken: the secret is not, or no longer, the module's.
	ErrToken = &fault.Fault{Code: "token_invalid", Kind: fault.Unauthorized, Help: "The token is malformed, of an unknown or revoked module, or not signed with its secret."}
	// ErrBlind: the operator has not named module and key.
	ErrBlind = &fault.Fault{Code: "blind_root_forbidden", Kind: fault.Forbidden, Help: "A validator's key signs a root it cannot read only where the operator named both module and key."}
)

// Refusal is the answer of an API that refused. errors.Is sees its fault.
type Refusal struct {
	*fault.Fault
	Status     int
	Message    string
	RetryAfter time.Duration // 0: not said
}

// Error is code and message.
func (r *Refusal) Error() string { return r.Code + ": " + r.Message }

// Unwrap returns the fault.
func (r *Refusal) Unwrap() error { return r.Fault }

var kinds = map[int]fault.Kind{
	400: fault.Invalid, 401: fault.Unauthorized, 403: fault.Forbidden, 404: fault.NotFound, 405: fault.NotAllowed, 409: fault.Conflict,
	413: fault.TooLarge, 415: fault.Unsupported, 422: fault.Rejected, 429: fault.Busy, 502: fault.Upstream, 503: fault.Unavailable, 504: fault.Timeout,
}

// refusal reads an answer that is not 200. A signer of somebody else has plain
// text and no reason: then the status names it.
func refusal(res *http.Response, body []byte) error {
	var e struct{ Message, Reason string }
	if json.Unmarshal(body, &e) != nil || e.Message == "" {
		e.Message = string(body[:min(len(body), 300)])
	}
	if e.Reason == "" {
		e.Reason = "signer_status_" + strconv.Itoa(res.StatusCode)
	}
	r := &Refusal{Fault: &fault.Fault{Code: e.Reason, Kind: kinds[res.StatusCode], Help: e.Message}, Status: res.StatusCode, Message: e.Message}
	if seconds, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && seconds > 0 && seconds < 1<<20 {
		r.RetryAfter = time.Duration(seconds) * time.Second
	}
	return r
}
