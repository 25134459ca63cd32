package httpd

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"

	"github.com/valyala/fasthttp"
)

// streams serves the routes with Route.Stream. fasthttp admits such a request
// like any other: header limits, vetting, origin, table. Then the connection
// moves, with the request in front of it, to net/http, which can flush, notices
// when a caller leaves and lends connections to WebSockets. The connection
// stays this server's: it counts until it is closed.
type streams struct {
	fast  *http.Server
	moved chan net.Conn
	stop  chan struct{} // closed: nothing moves any more
	end   context.CancelFunc
}

// newStreams returns nil for a table without streams.
func (s *Server) newStreams() *streams {
	any := false
	s.router.each(func(e *entry) { any = any || e.Stream != nil })
	if !any {
		return nil
	}
	st := &streams{moved: make(chan net.Conn), stop: make(chan struct{})}
	st.fast = &http.Server{
		Handler:           http.HandlerFunc(s.stream),
		ReadHeaderTimeout: s.cfg.ReadTimeout, // the header is there; a handler sets deadlines of its own
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	st.fast.SetKeepAlivesEnabled(false) // one stream per connection
	return st
}

// Accept, Close and Addr make streams the listener of its net/http server.
func (st *streams) Accept() (net.Conn, error) {
	select {
	case c := <-st.moved:
		return c, nil
	case <-st.stop:
		return nil, net.ErrClosed
	}
}

// Close does nothing: drain ends what moves.
func (st *streams) Close() error { return nil }

// Addr is nobody's address.
func (st *streams) Addr() net.Addr { return &net.TCPAddr{} }

// startStreams runs the net/http server until endStreams.
func (s *Server) startStreams() {
	if s.streams == nil {
		return
	}
	ctx, end := context.WithCancel(s.base)
	s.streams.end = end
	s.streams.fast.BaseContext = func(net.Listener) context.Context { return ctx }
	s.wg.Go(func() { _ = s.streams.fast.Serve(s.streams) }) // its error is that of Accept
}

// endStreams ends the contexts of all streams; drain waits for their connections.
func (s *Server) endStreams() {
	if s.streams != nil {
		close(s.streams.stop)
		s.streams.end()
	}
}

// handOver moves the connection of a request to net/http once fasthttp has let
// go of it.
func (x *exchange) handOver(ctx *fasthttp.RequestCtx) {
	st, c := x.s.streams, x.c
	head := bytes.Clone(ctx.Request.Header.Header())
	c.streamed = make(chan struct{})
	x.s.cfg.Metrics.streamed(x.s.cfg.Name, x.route.Name)
	x.live.Store(nil)
	ctx.HijackSetNoResponse(true)
	ctx.Hijack(func(live net.Conn) {
		m := &moved{Conn: live, head: bytes.NewReader(head), conn: c}
		select {
		case st.moved <- m:
		case <-st.stop:
			_ = m.Close()
		}
	})
}

// moved is a connection whose request is read once more.
type moved struct {
	net.Conn
	head *bytes.Reader
	conn *conn
	once sync.Once
}

func (m *moved) Read(p []byte) (int, error) {
	if m.head.Len() > 0 {
		return m.head.Read(p)
	}
	return m.Conn.Read(p)
}

// Close also tells the connection's goroutine that it has ended.
func (m *moved) Close() error {
	var err error
	m.once.Do(func() {
		err = m.Conn.Close()
		close(m.conn.streamed)
	})
	return err
}

// RemoteAddr is the caller's, as net/http wants it.
func (m *moved) RemoteAddr() net.Addr { return m.conn.RemoteAddr() }

// stream serves one request that has moved.
func (s *Server) stream(w http.ResponseWriter, r *http.Request) {
	began := s.cfg.Clock.Now()
	path, _ := target([]byte(r.RequestURI))
	var ps params
	end := s.router.find(path, &ps)
	if end == nil || end.methods[r.Method] == nil || end.methods[r.Method].Stream == nil { // it was, a moment ago
		w.WriteHeader(http.StatusNotFound)
		return
	}
	route := end.methods[r.Method]
	for i, name := range route.params {
		r.SetPathValue(name, string(ps[i]))
	}
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	for _, own := range s.cfg.Headers {
		h.Set(own[0], own[1])
	}
	for _, own := range s.crossOrigin(r.Header.Get("Origin")) {
		h.Set(own[0], own[1])
	}
	route.Stream.ServeHTTP(w, r)
	s.log.LogAttrs(r.Context(), s.cfg.AccessLevel, "Stream ended", slog.String("route", route.Name),
		slog.Int64("ms", s.cfg.Clock.Now().Sub(began).Milliseconds()))
}

// Refuse writes a fault as an answer to a request of a stream.
func Refuse(w http.ResponseWriter, err error) {
	err = named(err)
	status, _ := statusOf(err)
	h := w.Header()
	h.Set("Content-Type", mediaJSON)
	if status == http.StatusTooManyRequests && h.Get("Retry-After") == "" {
		h.Set("Retry-After", "1")
	}
	if status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", "Bearer")
	}
	w.WriteHeader(status)
	_, _ = w.Write(encodeError(status, err))
}
