package httpd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"sidecar/chain"
)

// Config describes one server. Name, Addr, Routes, Log and Clock are required
// (Addr only for Listen); zero elsewhere means the default.
type Config struct {
	Name   string // the label "server", e.g. "builder"
	Addr   string // host:port
	Routes []Route
	Log    *slog.Logger
	Clock  *chain.Clock
	// Metrics is optional.
	Metrics *Metrics
	// TLS serves HTTPS. Optional.
	TLS *tls.Config
	// MaxConns is how many connections may be open; one more is told 503 and
	// closed. Default 256.
	MaxConns int
	// MaxConnsPerIP is the same for one IPv4 address or one IPv6 /64. Default:
	// no limit.
	MaxConnsPerIP int
	// MakeRoom closes the connection that has been without a request for longest
	// where a limit is reached, of the same address if it is the address's, instead
	// of refusing one more. For callers that we know and that share addresses: who
	// leaves connections open locks nobody out.
	MakeRoom bool
	// MaxHeader bounds the request line and the header fields together, in
	// bytes. Default 8 KiB.
	MaxHeader int
	// ReadTimeout is from a request's first byte to its last. Default 10 s.
	ReadTimeout time.Duration
	// WriteTimeout is for one answer. Default 15 s.
	WriteTimeout time.Duration
	// IdleTimeout is how long a connection may wait for its next request.
	// Default 120 s.
	IdleTimeout time.Duration
	// Timeout is that of a route which has none. Default 10 s.
	Timeout time.Duration
	// Drain is how long Run waits for requests under way. Default 10 s.
	Drain time.Duration
	// Headers are put on every answer.
	Headers [][2]string
	// AllowOrigin lets web pages ask, which send Origin or Sec-Fetch-Site.
	// Without it they get browser_refused: a page in the operator's browser
	// must not reach a listener on loopback.
	AllowOrigin bool
	// Origins are those whose web pages may ask all the same, such as
	// "https://app.example.org", or "*": preflights are answered, and answers say
	// so. Optional.
	Origins []string
	// BodyMemory is how many bytes all bodies beyond 32 KiB may hold at a time;
	// one more request is told server_busy. Default: no limit.
	BodyMemory int64
	// AccessLevel is the level of the log line of a request that went well,
	// info if zero. A fault's line has the level of its kind.
	AccessLevel slog.Level
}

func (c *Config) defaults() {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&c.ReadTimeout, 10*time.Second)
	def(&c.WriteTimeout, 15*time.Second)
	def(&c.IdleTimeout, 120*time.Second)
	def(&c.Timeout, 10*time.Second)
	def(&c.Drain, 10*time.Second)
	if c.MaxConns == 0 {
		c.MaxConns = 256
	}
	if c.MaxHeader == 0 {
		c.MaxHeader = 8 << 10
	}
}

// Server serves one listener once.
type Server struct {
	cfg     Config
	log     *slog.Logger
	router  *node
	fast    *fasthttp.Server
	bodies  bodies
	streams *streams // nil without any

	served   atomic.Bool
	draining atomic.Bool
	base     context.Context    // of all handlers; set before the first connection
	cancel   context.CancelFunc // of base
	held     atomic.Int64       // bytes of bodies; see Config.BodyMemory
	wg       sync.WaitGroup     // connections and After functions

	mu    sync.Mutex
	ln    net.Listener // nil before Listen
	conns map[*conn]struct{}
	peers map[netip.Prefix]int // connections by address; only with MaxConnsPerIP
}

// New checks the table and makes a server. It does not listen.
func New(cfg Config) (*Server, error) {
	cfg.defaults()
	switch {
	case cfg.Name == "" || cfg.Log == nil || cfg.Clock == nil:
		return nil, errors.New("http server: name, log and clock are required")
	case cfg.MaxConns < 0 || cfg.MaxConnsPerIP < 0 || cfg.BodyMemory < 0 || cfg.MaxHeader < 256:
		return nil, fmt.Errorf("http server %s: limit out of range", cfg.Name)
	case min(cfg.ReadTimeout, cfg.WriteTimeout, cfg.IdleTimeout, cfg.Timeout, cfg.Drain) < 0:
		return nil, fmt.Errorf("http server %s: negative duration", cfg.Name)
	}
	for i := range cfg.Routes {
		if cfg.Routes[i].Timeout == 0 {
			cfg.Routes = append([]Route(nil), cfg.Routes...)
			break
		}
	}
	for i := range cfg.Routes {
		if cfg.Routes[i].Timeout == 0 {
			cfg.Routes[i].Timeout = cfg.Timeout
		}
	}
	router, err := buildRouter(cfg.Routes)
	if err != nil {
		return nil, fmt.Errorf("http server %s: %w", cfg.Name, err)
	}
	s := &Server{
		cfg:    cfg,
		log:    cfg.Log.With("server", cfg.Name),
		router: router,
		conns:  map[*conn]struct{}{},
		peers:  map[netip.Prefix]int{},
	}
	s.fast = s.transport()
	s.streams = s.newStreams()
	return s, nil
}

// transport is fasthttp, told to keep to itself what it would add or print. It
// gets connections one by one: its own accept loop ends at the first EMFILE,
// and its drain cannot see an untouched connection.
func (s *Server) transport() *fasthttp.Server {
	return &fasthttp.Server{
		Handler:                      s.handle,
		ErrorHandler:                 s.unreadable,
		HeaderReceived:               spellExpect,
		ExpectHandler:                s.expect,
		ConnState:                    s.stateChanged,
		Logger:                       silent{},
		ReadBufferSize:               s.cfg.MaxHeader,
		ReadTimeout:                  s.cfg.ReadTimeout,
		WriteTimeout:                 s.cfg.WriteTimeout,
		IdleTimeout:                  s.cfg.IdleTimeout,
		MaxRequestBodySize:           prefetch,
		StreamRequestBody:            true,
		DisablePreParseMultipartForm: true,
		SecureErrorLogMessage:        true,
		NoDefaultServerHeader:        true,
		NoDefaultContentType:         true,
		NoDefaultDate:                true, // see dateLine
		KeepHijackedConns:            true, // streams close them
	}
}

// silent drops what fasthttp would print: its texts quote requests. The server
// logs the class of a connection's end itself.
type silent struct{}

func (silent) Printf(string, ...any) {}

// Listen binds Addr. It may be called again after an error. Fault: ErrListen,
// naming the address.
func (s *Server) Listen() error {
	var lc net.ListenConfig
	ln, err := lc.Listen(context.Background(), "tcp", s.cfg.Addr)
	if err != nil {
		return ErrListen.Wrap(fmt.Errorf("%s server on %q: %w", s.cfg.Name, s.cfg.Addr, err))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ln = ln
	return nil
}

func (s *Server) listener() net.Listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ln
}

// Addr is the address that Listen bound, nil before.
func (s *Server) Addr() net.Addr {
	if ln := s.listener(); ln != nil {
		return ln.Addr()
	}
	return nil
}

// Close gives up a listener that Run was never called for.
func (s *Server) Close() error {
	ln := s.listener()
	if ln == nil || s.served.Load() {
		return nil
	}
	return ln.Close()
}

// Run serves the listener of Listen; see ServeListener.
func (s *Server) Run(ctx context.Context) error {
	ln := s.listener()
	if ln == nil {
		return ErrListen.With("%s server: Listen was not called", s.cfg.Name)
	}
	return s.ServeListener(ctx, ln)
}

// ServeListener serves ln until ctx ends, then drains: it stops accepting,
// closes connections without a request, lets requests under way and their After
// functions finish for at most Config.Drain, and then ends their contexts and
// closes the rest (ErrDrain). It returns ErrListen if ln fails before ctx ends.
// The base of the handlers' contexts keeps ctx's values, not its end. A Server
// serves once.
func (s *Server) ServeListener(ctx context.Context, ln net.Listener) error {
	if s.served.Swap(true) {
		return ErrListen.With("%s server has been served already", s.cfg.Name)
	}
	s.base, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	defer s.cancel()
	s.startStreams()
	stop := make(chan struct{})
	lost := make(chan error, 1)
	s.wg.Go(func() { lost <- s.accept(ln, stop) })
	var err error
	select {
	case <-ctx.Done():
	case err = <-lost:
		err = ErrListen.Wrap(fmt.Errorf("%s server lost its listener: %w", s.cfg.Name, err))
	}
	close(stop)
	_ = ln.Close()
	return errors.Join(err, s.drain())
}

// accept takes connections until the listener is closed. Any other error, such
// as want of descriptors, is waited out.
func (s *Server) accept(ln net.Listener, stop <-chan struct{}) error {
	const longest = 50 * time.Millisecond
	pause := time.Duration(0)
	for {
		c, err := ln.Accept()
		switch {
		case err == nil:
			pause = 0
			s.take(c)
			continue
		case errors.Is(err, net.ErrClosed), errors.Is(err, io.EOF), errors.Is(err, io.ErrClosedPipe):
			return err
		}
		if pause == 0 {
			s.log.Warn("Connection not accepted", "error", err)
		}
		pause = min(max(2*pause, 5*time.Millisecond), longest)
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-stop:
			timer.Stop()
			return net.ErrClosed
		}
	}
}

// take starts to serve a connection, if the limits allow.
func (s *Server) take(raw net.Conn) {
	remote := remoteOf(raw)
	if limit := s.full(remote); limit != "" && !s.makeRoom(remote, limit) {
		s.cfg.Metrics.refuse(s.cfg.Name, limit)
		s.turnAway(raw)
		return
	}
	c := newConn(raw, remote)
	c.since.Store(s.cfg.Clock.Now().UnixNano())
	if s.cfg.TLS != nil {
		c.Conn = tls.Server(raw, s.cfg.TLS)
	}
	s.mu.Lock()
	s.conns[c] = struct{}{}
	if s.cfg.MaxConnsPerIP > 0 {
		s.peers[block(remote)]++
	}
	s.mu.Unlock()
	s.cfg.Metrics.connections(s.cfg.Name, 1)
	s.wg.Go(func() { s.serveConn(c) })
	if s.draining.Load() { // it came while drain was looking
		c.cut()
	}
}

// full names the limit that one more connection would break. Only the accept
// loop adds connections, so the answer holds until it does.
func (s *Server) full(remote netip.Addr) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case len(s.conns) >= s.cfg.MaxConns:
		return limitServer
	case s.cfg.MaxConnsPerIP > 0 && remote.IsValid() && s.peers[block(remote)] >= s.cfg.MaxConnsPerIP:
		return limitAddress
	}
	return ""
}

// The limits of connections, as the metric names them.
const (
	limitServer  = "server"
	limitAddress = "address"
)

// makeRoom ends a connection without a request, if there is one.
func (s *Server) makeRoom(remote netip.Addr, limit string) bool {
	if !s.cfg.MakeRoom {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var longest *conn
	for c := range s.conns {
		if c.state.Load() != active && (limit != limitAddress || block(c.remote) == block(remote)) &&
			(longest == nil || c.since.Load() < longest.since.Load()) {
			longest = c
		}
	}
	if longest == nil {
		return false
	}
	s.forget(longest)
	longest.cut()
	return true
}

// forget no longer counts a connection. The caller holds mu.
func (s *Server) forget(c *conn) {
	if _, counted := s.conns[c]; !counted {
		return
	}
	delete(s.conns, c)
	if s.cfg.MaxConnsPerIP > 0 {
		if p := block(c.remote); s.peers[p] > 1 {
			s.peers[p]--
		} else {
			delete(s.peers, p)
		}
	}
}

// block is what counts as one peer: an IPv4 address or an IPv6 /64.
func block(a netip.Addr) netip.Prefix {
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // the zero Prefix for the zero Addr
	return p
}

// turnAway says why before it closes. A fresh TCP socket takes the few bytes
// without waiting; the timer is for listeners that are not TCP.
func (s *Server) turnAway(c net.Conn) {
	if s.cfg.TLS == nil {
		stop := time.AfterFunc(lingerFor/10, func() { _ = c.Close() })
		status, _ := statusOf(ErrConns)
		body := encodeError(status, ErrConns)
		_, _ = fmt.Fprintf(c, "HTTP/1.1 %d Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\n"+
			"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", status, len(body), body)
		stop.Stop()
	}
	_ = c.Close()
}
