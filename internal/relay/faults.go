package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/valyala/fasthttp"

	"sidecar/fault"
	"sidecar/internal/wire"
)

// Faults of this package. Their codes are the outcomes of
// sidecar_relay_requests_total.
var (
	ErrURL    = fault.Define("relay_url_invalid", fault.Invalid, "A relay URL is not scheme://0xPUBKEY@host[:port] with a valid BLS key.")
	ErrConfig = fault.Define("relay_config_invalid", fault.Invalid, "A relay's headers, parameters, timing games or dialect are not usable.")

	ErrClosed    = fault.Define("relay_closed", fault.Unavailable, "The relay client was closed, by a stop or a reload.")
	ErrPanic     = fault.Define("relay_panic", fault.Internal, "Reading a relay's answer hit a bug; the answer was dropped.")
	ErrPrivate   = fault.Define("relay_private_address", fault.Upstream, "A relay's name resolves to a private address, which its configuration does not allow.")
	ErrConnect   = fault.Define("relay_connect", fault.Upstream, "A relay cannot be reached: name, route or port.")
	ErrTLS       = fault.Define("relay_tls", fault.Upstream, "A relay's TLS handshake failed or never finished.")
	ErrTimeout   = fault.Define("relay_timeout", fault.Upstream, "A relay was connected but did not answer in time.")
	ErrReset     = fault.Define("relay_reset", fault.Upstream, "A relay closed the connection before its answer was whole.")
	ErrShortBody = fault.Define("relay_short_body", fault.Upstream, "A relay's answer is shorter than it announced.")
	ErrProtocol  = fault.Define("relay_protocol", fault.Upstream, "A relay's answer is not well-formed HTTP, or its header is over 64 KiB.")
	ErrRedirect  = fault.Define("relay_redirect", fault.Upstream, "A relay answered with a redirect; redirects are never followed.")
	Err4xx       = fault.Define("relay_http_4xx", fault.Upstream, "A relay refused the request.")
	Err5xx       = fault.Define("relay_http_5xx", fault.Upstream, "A relay failed on the request.")
	ErrStatus    = fault.Define("relay_status", fault.Upstream, "A relay answered with a success status this call does not have.")
	ErrBodyLarge = fault.Define("relay_body_too_large", fault.Upstream, "A relay's answer is larger than its call allows.")
	ErrEncoding  = fault.Define("relay_encoding", fault.Upstream, "A relay compressed an answer that was not to be compressed.")
	ErrType      = fault.Define("relay_content_type", fault.Upstream, "A relay's answer is neither JSON nor SSZ.")
	ErrEmpty     = fault.Define("relay_empty", fault.Upstream, "A relay answered success with an empty body.")
	ErrDecode    = fault.Define("relay_decode", fault.Upstream, "A relay's answer does not decode.")
	ErrFork      = fault.Define("relay_fork", fault.Upstream, "A relay's answer is of another fork than its slot, or does not say.")
	ErrNoV2      = fault.Define("relay_no_v2", fault.Upstream, "A relay does not serve the v2 endpoint for blinded blocks.")
	ErrStream    = fault.Define("relay_stream", fault.Upstream, "A relay's header stream could not be opened, or broke.")
)

// How far a try has come. What a deadline means depends on it.
const (
	dialling uint32 = iota
	handshaking
	awaiting
)

// timeoutIn names the fault of a deadline that passed in a phase.
func timeoutIn(phase uint32) error {
	switch phase {
	case dialling:
		return ErrConnect.With("no connection in time")
	case handshaking:
		return ErrTLS.With("handshake not finished in time")
	default:
		return ErrTimeout
	}
}

// isTimeout says whether err is a deadline that passed.
func isTimeout(err error) bool {
	var n net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, context.Canceled) || (errors.As(err, &n) && n.Timeout())
}

// isReset says whether err is the peer ending the connection.
func isReset(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNABORTED)
}

// readFault names why reading a head or a body failed. socket is what the
// connection itself last reported, which fasthttp's errors may hide.
func readFault(err, socket error, inBody bool) error {
	var alert *net.OpError
	switch {
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		return ErrBodyLarge
	case socket == nil:
		return ErrProtocol.With("%s", clip(err.Error(), 120))
	case isTimeout(socket):
		return ErrTimeout
	case errors.As(socket, &alert) && alert.Op == "remote error": // TLS 1.3 refuses a client after its handshake
		return ErrTLS.Wrap(socket)
	case inBody && (errors.Is(socket, io.EOF) || errors.Is(socket, io.ErrUnexpectedEOF)):
		return ErrShortBody
	case isReset(socket):
		return ErrReset
	default:
		return ErrReset.Wrap(socket)
	}
}

// decodeFault turns a fault of package wire into the relay's.
func decodeFault(err error) error {
	if errors.Is(err, wire.ErrFork) {
		return ErrFork.Wrap(err)
	}
	return ErrDecode.Wrap(err)
}

// clip makes text that came from outside short and printable, for logs and headers.
func clip(s string, n int) string {
	if len(s) > n {
		s = s[:n]
	}
	out := []byte(s)
	for i, b := range out {
		if b < 0x20 || b > 0x7e {
			out[i] = '.'
		}
	}
	return string(out)
}

// status is inside Err4xx: which.
type status struct {
	code int
	text string // what the relay said of it, clipped
}

func (s *status) Error() string { return fmt.Sprintf("%d %s", s.code, s.text) }

// Later says whether a relay's refusal is one of now and not of what it was sent:
// the same request may be taken a moment later. [RFC 9110: 408; RFC 8470: 425; RFC 6585: 429]
func Later(err error) bool {
	var s *status
	return errors.As(err, &s) && (s.code == 408 || s.code == 425 || s.code == 429)
}
