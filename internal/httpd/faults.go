package httpd

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"unicode/utf8"

	"sidecar/fault"
)

// Faults of this package. Those of the edge have a status of their own where
// HTTP has a better word than the kind: see statusOf.
var (
	ErrListen        = fault.Define("listen_failed", fault.Internal, "An address cannot be listened on.")
	ErrDrain         = fault.Define("drain_cut", fault.Unavailable, "The server stopped while requests were still under way.")
	ErrNotFound      = fault.Define("not_found", fault.NotFound, "No such path.")
	ErrMethod        = fault.Define("method_not_allowed", fault.NotAllowed, "The path takes other methods; see Allow.")
	ErrNotAcceptable = fault.Define("not_acceptable", fault.NotAcceptable, "Accept names no encoding that is served.")
	ErrUnsupported   = fault.Define("unsupported_media_type", fault.Unsupported, "The body's media type or coding is unknown.")
	ErrBodyTooLarge  = fault.Define("body_too_large", fault.TooLarge, "The body is larger than the route takes.")
	ErrHeader        = fault.Define("header_too_large", fault.TooLarge, "The request's header fields are larger than the server takes.")
	ErrMalformed     = fault.Define("malformed_request", fault.Invalid, "The request is not well-formed HTTP/1.1.")
	ErrVersion       = fault.Define("http_version", fault.Invalid, "Only HTTP/1.1 and HTTP/1.0 are served.")
	ErrSlow          = fault.Define("request_timeout", fault.Timeout, "The request did not arrive in time.")
	ErrDeadline      = fault.Define("deadline_exceeded", fault.Timeout, "The route's time ended before there was an answer.")
	ErrOrigin        = fault.Define("browser_refused", fault.Forbidden, "The server does not talk to web pages.")
	ErrMemory        = fault.Define("server_busy", fault.Busy, "Bodies under way hold all the memory they may have.")
	ErrRate          = fault.Define("rate_limited", fault.Busy, "The caller asks more often, or more at a time, than it may.")
	ErrConns         = fault.Define("too_many_connections", fault.Unavailable, "The server, or one address, has all the connections it may have.")
)

// messageLimit bounds the text of an error, in bytes.
const messageLimit = 300

// edge is how a kind looks from outside.
type edge struct {
	status int
	level  slog.Level
}

var kinds = [...]edge{
	fault.Internal:      {http.StatusInternalServerError, slog.LevelError},
	fault.Invalid:       {http.StatusBadRequest, slog.LevelDebug},
	fault.Unauthorized:  {http.StatusUnauthorized, slog.LevelWarn},
	fault.Forbidden:     {http.StatusForbidden, slog.LevelWarn},
	fault.NotFound:      {http.StatusNotFound, slog.LevelDebug},
	fault.NotAllowed:    {http.StatusMethodNotAllowed, slog.LevelDebug},
	fault.NotAcceptable: {http.StatusNotAcceptable, slog.LevelDebug},
	fault.Conflict:      {http.StatusConflict, slog.LevelWarn},
	fault.TooLarge:      {http.StatusRequestEntityTooLarge, slog.LevelDebug},
	fault.Unsupported:   {http.StatusUnsupportedMediaType, slog.LevelDebug},
	fault.Rejected:      {http.StatusUnprocessableEntity, slog.LevelDebug},
	fault.Busy:          {http.StatusTooManyRequests, slog.LevelDebug},
	fault.Upstream:      {http.StatusBadGateway, slog.LevelWarn},
	fault.Unavailable:   {http.StatusServiceUnavailable, slog.LevelInfo},
	fault.Timeout:       {http.StatusGatewayTimeout, slog.LevelWarn},
}

// Status returns the HTTP status of err: 200 for nil, 500 for an error without
// a name.
func Status(err error) int {
	if err == nil {
		return http.StatusOK
	}
	status, _ := statusOf(named(err))
	return status
}

// named gives the deadline its name; every other error stays what it is.
func named(err error) error {
	if fault.Of(err) == nil && errors.Is(err, context.DeadlineExceeded) {
		return ErrDeadline.Wrap(err)
	}
	return err
}

// statusOf returns the status of err and the level it is logged at.
func statusOf(err error) (int, slog.Level) {
	f := fault.Of(err)
	if f == nil || int(f.Kind) >= len(kinds) {
		return kinds[fault.Internal].status, kinds[fault.Internal].level
	}
	switch f.Code {
	case ErrHeader.Code:
		return http.StatusRequestHeaderFieldsTooLarge, slog.LevelDebug
	case ErrVersion.Code:
		return http.StatusHTTPVersionNotSupported, slog.LevelDebug
	case ErrSlow.Code:
		return http.StatusRequestTimeout, slog.LevelDebug
	}
	return kinds[f.Kind].status, kinds[f.Kind].level
}

// errorBody is the Builder API's ErrorMessage and our name for it.
// [builder-specs: types/ErrorMessage]
type errorBody struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Reason  string `json:"reason"`
}

// encodeError returns the body of an answer to err.
func encodeError(status int, err error) []byte {
	body, merr := json.Marshal(errorBody{status, Message(err), fault.Code(err)})
	if merr != nil { // three plain fields cannot fail
		return nil
	}
	return body
}

// Message is the text of err for the caller: nothing of an internal error, the
// help text of a bare fault, else what the fault was given, bounded.
func Message(err error) string {
	f := fault.Of(err)
	switch {
	case f == nil:
		return "Internal error."
	case f.Kind == fault.Internal:
		return f.Help
	}
	text := err.Error()
	if text == f.Code {
		return f.Help
	}
	text = strings.TrimPrefix(text, f.Code+": ")
	if len(text) <= messageLimit {
		return text
	}
	cut := messageLimit
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}
