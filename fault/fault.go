// Package fault names every way a request can fail. A Fault has a stable code
// (the API field "reason", the metric label, the heading in docs/errors.md) and
// a Kind (the HTTP status).
package fault

import (
	"errors"
	"fmt"
)

// Kind says whose fault it is and what the caller should do next.
type Kind uint8

// The kinds, with the status each becomes at the edge.
const (
	Internal      Kind = iota // 500; any error that is not a Fault
	Invalid                   // 400; the request is malformed
	Unauthorized              // 401; we do not know who asks
	Forbidden                 // 403; we know, and the answer is no
	NotFound                  // 404
	NotAllowed                // 405; the path exists, the method does not
	NotAcceptable             // 406; we cannot answer in an encoding the caller accepts
	Conflict                  // 409; would contradict something already signed
	TooLarge                  // 413
	Unsupported               // 415; the body's media type is unknown
	Rejected                  // 422; well formed, and declined
	Busy                      // 429
	Upstream                  // 502; a relay, node or module failed us
	Unavailable               // 503; not ready, or shutting down
	Timeout                   // 504; the budget ended before an answer
)

// Fault is a named failure. Declare one package variable per code.
type Fault struct {
	Code string // snake_case, never changes
	Kind Kind
	Help string // one sentence for the operator
}

// Define declares a fault. Call it only in package variable declarations:
// docs/errors.md is made from them.
func Define(code string, kind Kind, help string) *Fault { return &Fault{code, kind, help} }

func (f *Fault) Error() string { return f.Code }

// Is compares codes, so that a fault that crossed HTTP is still itself.
func (f *Fault) Is(target error) bool {
	t, ok := target.(*Fault)
	return ok && t.Code == f.Code
}

// With returns f with a message for the caller. errors.Is(err, f) holds. Never
// put a secret, or more than a few dozen bytes of the caller's input, into it.
func (f *Fault) With(format string, args ...any) error {
	return fmt.Errorf("%w: %s", f, fmt.Sprintf(format, args...))
}

// Wrap is With for a cause: errors.Is and errors.As see both f and err.
func (f *Fault) Wrap(err error) error { return fmt.Errorf("%w: %w", f, err) }

// Of returns the fault inside err, or nil.
func Of(err error) *Fault {
	var f *Fault
	if errors.As(err, &f) {
		return f
	}
	return nil
}

// Code returns the code of the fault inside err: "" for nil, "internal" for an
// error without a name.
func Code(err error) string {
	if err == nil {
		return ""
	}
	if f := Of(err); f != nil {
		return f.Code
	}
	return "internal"
}
