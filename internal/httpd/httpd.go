// Package httpd serves a table of routes over HTTP/1.1. With internal/relay it
// is one of the two packages that import fasthttp; no transport type leaves it.
// It promises that every answer has its status and its named body, that no
// caller holds more memory, connections or time than the table and the Config
// allow, and that Run returns only when what it started has ended or its drain
// is over. It never reads a body for a route that does not want one, never
// writes to a log what a caller sent as a header or body, and never lets one
// connection's failure reach another.
package httpd

import (
	"context"
	"net/http"
	"net/netip"
	"time"
)

// Request is one request, read to its last byte. Body is memory that the server
// uses again once the answer is written, and the functions answer "" as soon as
// the handler has returned: copy what you keep. The functions are for one
// goroutine at a time.
type Request struct {
	Param  func(name string) string // of the path, as written in Route.Path, percent-decoded
	Query  func(name string) string
	Header func(name string) string // "" if absent; several lines are joined with ", "
	Body   []byte
	Remote netip.Addr // the zero Addr on a listener without IP addresses
	// Peer names the caller's verified client certificate: its DNS names and
	// URIs. Nil without one; only a listener with Config.TLS.ClientCAs has one.
	Peer func() []string
	// Received is when the request's last byte was read.
	Received time.Time

	own func() func() // takes the body's memory from the connection
}

// Keep returns the body for good: it is the handler's to keep beyond its
// return, and no copy was made. done gives the memory back for another request;
// call it at most once, when nothing reads the body any more, or never.
func (r *Request) Keep() (body []byte, done func()) {
	done = func() {}
	if r.own != nil {
		done = r.own()
	}
	return r.Body, done
}

// Response is what a handler answers. Body is sent as it is; a non-nil Value is
// written as JSON instead. Status 0 means 200. Header and After hold for an
// answer with an error, too.
type Response struct {
	Status      int
	ContentType string // of Body; ignored for Value
	Header      [][2]string
	Body        []byte
	Value       any
	Plain       string // of an answer with an error: text instead of its JSON. Optional
	// After runs once the answer has been handed to the network, or could not
	// be. Optional. It runs exactly once, in a goroutine of its own so that the
	// connection is free for the next request, and Run waits for it as for a
	// request: it brings its own deadline. When the caller pipelines, the
	// answer may still wait for the one behind it.
	After func()
}

// Handler never sees the transport. ctx carries the route's deadline: fasthttp
// cannot tell that a caller hung up, so the deadline is what bounds work, and
// keeping it is the handler's duty (sidecar_http_handler_overruns_total counts
// those that do not). A soft shutdown does not end ctx; the end of the drain
// does. A fault becomes its status and {"code","message","reason"}; an error of
// the deadline is a 504; any other error is a 500 whose text is hidden; a panic
// is a 500 and a log line.
type Handler func(ctx context.Context, r Request) (Response, error)

// Route is one line of a server's table. Path segments in braces are parameters;
// a parameter is one segment and never empty. A literal segment wins over a
// parameter. Paths are matched as they are: no cleaning, no trailing slash, no
// HEAD for GET.
type Route struct {
	Name, Method, Path string // Name is the metric label
	Timeout            time.Duration
	MaxBody            int // bytes; 0 means the route takes no body
	Serve              Handler
	// Stream serves the route instead of Serve, over net/http and for as long as
	// it likes: its request's context ends when the caller leaves or a drain
	// begins, and the handler sets the deadlines of its own writes. Parameters
	// are path values. It takes no body. A drain waits for it.
	Stream http.Handler
}
