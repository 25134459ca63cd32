// Package httpd serves routes over fasthttp. With internal/relay it is one of
// the two packages that import fasthttp; no transport type leaves it.
package httpd

import (
	"context"
	"net/netip"
	"time"
)

// Request is valid until the handler returns. Copy what you keep.
type Request struct {
	Param  func(name string) string // of the path, as written in Route.Path
	Query  func(name string) string
	Header func(name string) string // "" if absent; several lines are joined with ", "
	Body   []byte
	Remote netip.Addr
	// Received is when the request's last byte was read.
	Received time.Time
}

// Response is what a handler answers. Body is sent as it is; a non-nil Value is
// written as JSON instead. Status 0 means 200.
type Response struct {
	Status      int
	ContentType string // of Body; ignored for Value
	Header      [][2]string
	Body        []byte
	Value       any
	// After runs once the answer has been handed to the network. Optional.
	After func()
}

// Handler never sees the transport. ctx carries the route's deadline: fasthttp
// cannot tell that a caller hung up, so the deadline is what bounds work. A
// fault becomes its status and {"code","message","reason"}; any other error is
// a 500 whose text is hidden; a panic is a 500 and a log line.
type Handler func(ctx context.Context, r Request) (Response, error)

// Route is one line of a server's table. Path segments in braces are parameters.
type Route struct {
	Name, Method, Path string // Name is the metric label
	Timeout            time.Duration
	MaxBody            int // bytes; 0 means the route takes no body
	Serve              Handler
}
