package httpd

import (
	"net/http"
	"slices"
	"strings"

	"github.com/valyala/fasthttp"
)

// What pages of an allowed origin may send, and read of an answer. [Fetch: CORS protocol]
const (
	corsHeaders = "Authorization, Content-Type, Last-Event-ID, X-Api-Key, X-Flashbots-Signature, X-Quote-Id"
	corsExposed = "Retry-After"
	corsMaxAge  = "600" // seconds a browser keeps the answer to a preflight
)

// allowedOrigin says whether pages of an origin may ask. "*" allows all of them;
// nobody's cookies are at stake, for the server knows none.
func (s *Server) allowedOrigin(origin string) bool {
	return origin != "" && (slices.Contains(s.cfg.Origins, "*") || slices.Contains(s.cfg.Origins, origin))
}

// crossOrigin are the header fields of an answer to a page; none for other callers.
func (s *Server) crossOrigin(origin string) [][2]string {
	if len(s.cfg.Origins) == 0 {
		return nil
	}
	out := [][2]string{{"Vary", "Origin"}}
	if s.allowedOrigin(origin) {
		out = append(out, [2]string{"Access-Control-Allow-Origin", origin}, [2]string{"Access-Control-Expose-Headers", corsExposed})
	}
	return out
}

// origin is the one Origin of a request; "" if there is none, or several.
func origin(h *fasthttp.RequestHeader) string {
	lines := h.PeekAll("Origin")
	if len(lines) != 1 {
		return ""
	}
	return string(lines[0])
}

// preflight answers a browser that asks what it may ask; false if this is none.
func (x *exchange) preflight(ctx *fasthttp.RequestCtx) bool {
	h := &ctx.Request.Header
	if x.allow == "" || string(h.Method()) != http.MethodOptions || len(h.Peek("Access-Control-Request-Method")) == 0 || !x.s.allowedOrigin(origin(h)) {
		return false
	}
	methods := x.allow
	x.leaveBody(ctx)
	x.live.Store(nil)
	x.answer(ctx, x.s.cfg.Clock.Now(), Response{Status: http.StatusNoContent, Header: [][2]string{
		{"Access-Control-Allow-Methods", methods}, {"Access-Control-Allow-Headers", corsHeaders}, {"Access-Control-Max-Age", corsMaxAge},
		{"Vary", strings.Join([]string{"Origin", "Access-Control-Request-Method", "Access-Control-Request-Headers"}, ", ")},
	}}, nil)
	return true
}
