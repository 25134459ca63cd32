package httpd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"sidecar/fault"
)

const (
	// overrunGrace is how late a handler may return before it counts as one that
	// ignores its deadline.
	overrunGrace = 50 * time.Millisecond
	// unknown is the route label of what no route took.
	unknown = "unknown"
)

// exchange is one request and its answer.
type exchange struct {
	s     *Server
	c     *conn
	route *entry
	ps    params
	query []byte
	body  []byte // as read
	allow string // for a 405
	live  atomic.Pointer[fasthttp.RequestCtx]
}

func (s *Server) exchange(ctx *fasthttp.RequestCtx) *exchange {
	c, _ := ctx.Conn().(*conn)
	x := &exchange{s: s, c: c}
	x.live.Store(ctx)
	return x
}

// handle answers one request.
func (s *Server) handle(ctx *fasthttp.RequestCtx) {
	// 1. May it come in, and whose is it? Nothing of the body is needed to tell.
	x := s.exchange(ctx)
	err := x.admit(ctx)
	switch {
	case err == nil && x.route.Stream != nil:
		x.handOver(ctx)
		return
	case err != nil && x.preflight(ctx):
		return
	}
	// 2. Its body, or the end of the connection if it stays unread.
	var body []byte
	if err == nil && x.route.MaxBody > 0 {
		body, err = x.readBody(ctx)
		x.body = body
	} else {
		x.leaveBody(ctx)
	}
	// 3. The handler.
	received := s.cfg.Clock.Now()
	var resp Response
	if err == nil {
		resp, err = x.call(Request{x.param, x.queryValue, x.header, body, x.c.remote, x.c.peer, received, x.disown})
	}
	// 4. The answer.
	x.live.Store(nil)
	x.answer(ctx, received, resp, err)
}

// disown leaves the body's memory to the handler, until that gives it back.
func (x *exchange) disown() (done func()) {
	body := x.body
	x.body, x.c.body = nil, nil
	return sync.OnceFunc(func() { x.s.bodies.put(body) })
}

// admit decides everything that the header alone can decide.
func (x *exchange) admit(ctx *fasthttp.RequestCtx) error {
	h := &ctx.Request.Header
	v, err := vet(h)
	if err != nil {
		x.hangUp(ctx)
		return err
	}
	if v.close {
		ctx.SetConnectionClose()
	}
	if p := string(h.Protocol()); p != "HTTP/1.1" && p != "HTTP/1.0" {
		x.hangUp(ctx)
		return ErrVersion
	}
	if v.origin && !x.s.cfg.AllowOrigin && !x.s.allowedOrigin(origin(h)) {
		return ErrOrigin
	}
	path, query := target(h.RequestURI())
	end := x.s.router.find(path, &x.ps)
	if end == nil {
		return ErrNotFound
	}
	route := end.methods[string(h.Method())]
	if route == nil {
		x.allow = end.allow
		return ErrMethod.With("allowed: %s", end.allow)
	}
	x.route, x.query = route, query
	if n := h.ContentLength(); route.Stream != nil && (n > 0 || n == -1) {
		return ErrBodyTooLarge.With("a stream takes no body")
	}
	if route.MaxBody == 0 || h.ContentLength() == 0 || h.ContentLength() == -2 {
		return nil
	}
	if h.ContentLength() > route.MaxBody {
		return ErrBodyTooLarge.With("at most %d bytes", route.MaxBody)
	}
	if coding := h.ContentEncoding(); len(coding) > 0 && !is(coding, "identity") {
		return ErrUnsupported.With("the body is compressed")
	}
	return nil
}

// expect answers Expect: 100-continue before the body is sent. A refusal is
// written whole here; handle is not called then.
func (s *Server) expect(ctx *fasthttp.RequestCtx) int {
	x := s.exchange(ctx)
	err := x.admit(ctx)
	if err == nil {
		return http.StatusContinue
	}
	x.hangUp(ctx)
	x.answer(ctx, s.cfg.Clock.Now(), Response{}, err)
	return ctx.Response.StatusCode()
}

// spellExpect spells the expectation the one way fasthttp knows it.
// [RFC 9110 §10.1.1: case-insensitive]
func spellExpect(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
	if v := h.Peek("Expect"); len(v) > 0 && is(v, "100-continue") {
		h.Set("Expect", "100-continue")
	}
	return fasthttp.RequestConfig{}
}

// panicked is the error of a handler that panicked.
type panicked struct {
	value any
	stack []byte
}

func (p *panicked) Error() string { return fmt.Sprintf("panic: %v", p.value) }

// call runs the handler and encodes its value, both under its deadline and with
// its panics caught.
func (x *exchange) call(r Request) (resp Response, err error) {
	m, name, route := x.s.cfg.Metrics, x.s.cfg.Name, x.route
	ctx, cancel := context.WithTimeout(x.s.base, route.Timeout)
	defer cancel()
	m.begin(name)
	defer func() {
		if v := recover(); v != nil {
			resp, err = Response{}, &panicked{v, debug.Stack()}
		}
		took := x.s.cfg.Clock.Now().Sub(r.Received)
		m.end(name, route.Name, took, took > route.Timeout+overrunGrace)
	}()
	resp, err = route.Serve(ctx, r)
	switch {
	case err != nil || resp.Value == nil:
		return resp, named(err)
	case resp.Status == http.StatusNoContent:
		return resp, nil
	}
	resp.ContentType = mediaJSON
	if resp.Body, err = json.Marshal(resp.Value); err != nil {
		err = fmt.Errorf("encode answer of %s: %w", route.Name, err)
	}
	return resp, err
}

// answer fills in the transport's response, counts and logs it.
func (x *exchange) answer(ctx *fasthttp.RequestCtx, received time.Time, resp Response, err error) {
	status, level, body, media := resp.Status, x.s.cfg.AccessLevel, resp.Body, resp.ContentType
	if status == 0 {
		status = http.StatusOK
	}
	if err == nil && (status < 200 || status > 599) {
		err = fmt.Errorf("handler answered with status %d", status)
	}
	out := &ctx.Response
	x.head(out, received, x.s.crossOrigin(origin(&ctx.Request.Header)))
	for _, h := range resp.Header {
		out.Header.Set(h[0], h[1])
	}
	if err != nil {
		status, level = statusOf(err)
		body, media = encodeError(status, err), mediaJSON
		if resp.Plain != "" {
			body, media = []byte(resp.Plain), mediaPlain
		}
		x.explain(out, err)
	}
	out.SetStatusCode(status)
	if len(body) > 0 && status != http.StatusNoContent && status != http.StatusNotModified {
		out.Header.SetContentType(media)
		out.SetBodyRaw(body)
	}
	if x.s.draining.Load() {
		ctx.SetConnectionClose()
	}
	x.c.after = resp.After
	x.record(ctx, level, status, received, err)
}

// dateLine is the name under which fasthttp lets a Date pass. It drops one set
// by its plain name, and its own comes from a goroutine that nothing can stop.
// A canonical key is written as it is, so the line before goes along with it.
const dateLine = "X-Content-Type-Options: nosniff\r\nDate"

// head sets the header fields that do not depend on the outcome.
func (x *exchange) head(out *fasthttp.Response, now time.Time, own [][2]string) {
	var date [32]byte
	out.Header.SetCanonical([]byte(dateLine), fasthttp.AppendHTTPDate(date[:0], now))
	for _, h := range x.s.cfg.Headers {
		out.Header.Set(h[0], h[1])
	}
	for _, h := range own {
		out.Header.Set(h[0], h[1])
	}
}

// explain adds the header fields that HTTP wants with some refusals.
func (x *exchange) explain(out *fasthttp.Response, err error) {
	f := fault.Of(err)
	if f == nil {
		return
	}
	switch f.Kind {
	case fault.Busy:
		if len(out.Header.Peek("Retry-After")) == 0 {
			out.Header.Set("Retry-After", "1")
		}
	case fault.Unauthorized:
		out.Header.Set("WWW-Authenticate", "Bearer")
	case fault.NotAllowed:
		if x.allow != "" {
			out.Header.Set("Allow", x.allow)
		}
	}
}

// record counts the answer and writes its log line.
func (x *exchange) record(ctx *fasthttp.RequestCtx, level slog.Level, status int, received time.Time, err error) {
	name := unknown
	if x.route != nil {
		name = x.route.Name
	}
	x.s.cfg.Metrics.answered(x.s.cfg.Name, name, status)
	if !x.s.log.Enabled(x.s.base, level) {
		return
	}
	took := x.s.cfg.Clock.Now().Sub(received)
	attrs := []slog.Attr{
		slog.String("route", name),
		slog.Int("status", status),
		slog.Float64("ms", float64(took.Microseconds())/1000),
		slog.String("req_id", strconv.FormatUint(ctx.ID(), 16)),
	}
	if err != nil {
		attrs = append(attrs, slog.String("reason", fault.Code(err)), slog.String("error", err.Error()))
	}
	var p *panicked
	if errors.As(err, &p) {
		attrs = append(attrs, slog.String("stack", string(p.stack)))
	}
	x.s.log.LogAttrs(x.s.base, level, "Request", attrs...)
}

// unreadable answers a request whose head, or the first bytes of whose body,
// could not be read. The connection ends with it.
func (s *Server) unreadable(ctx *fasthttp.RequestCtx, err error) {
	x := s.exchange(ctx)
	var small *fasthttp.ErrSmallBuffer
	var timeout net.Error
	switch {
	case x.c.state.Load() == fresh: // nothing came, so there is nothing to answer
		x.c.cut()
		return
	case errors.As(err, &small):
		err = ErrHeader.With("at most %d bytes", s.cfg.MaxHeader)
	case errors.As(err, &timeout) && timeout.Timeout():
		err = ErrSlow
	default:
		err = ErrMalformed
	}
	x.hangUp(ctx)
	x.answer(ctx, s.cfg.Clock.Now(), Response{}, err)
}

func (x *exchange) param(name string) string {
	if x.live.Load() == nil {
		return ""
	}
	for i, n := range x.route.params {
		if n == name {
			return string(x.ps[i])
		}
	}
	return ""
}

func (x *exchange) queryValue(name string) string {
	ctx := x.live.Load()
	if ctx == nil || len(x.query) == 0 {
		return ""
	}
	return string(ctx.QueryArgs().Peek(name))
}

func (x *exchange) header(name string) string {
	ctx := x.live.Load()
	if ctx == nil {
		return ""
	}
	lines := ctx.Request.Header.PeekAll(name)
	switch len(lines) {
	case 0:
		return ""
	case 1:
		return string(lines[0])
	}
	var b strings.Builder
	for i, l := range lines {
		if i > 0 {
			b.WriteString(", ")
		}
		b.Write(l)
	}
	return b.String()
}
