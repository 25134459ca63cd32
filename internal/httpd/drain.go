package httpd

import (
	"errors"
	"io"
	"net"
	"runtime/debug"
	"time"

	"github.com/valyala/fasthttp"
)

// cutWait is how long a drain waits for what it has cut to notice.
const cutWait = time.Second

// serveConn serves one connection to its end.
func (s *Server) serveConn(c *conn) {
	defer func() {
		if v := recover(); v != nil { // of the transport; a handler's is caught nearer
			s.log.Error("Connection panicked", "panic", v, "stack", string(debug.Stack()))
			c.cut()
			s.finish(c)
		}
		s.mu.Lock()
		s.forget(c)
		s.mu.Unlock()
		s.cfg.Metrics.connections(s.cfg.Name, -1)
	}()
	err := s.fast.ServeConn(c)
	if err == nil && c.streamed != nil {
		<-c.streamed
	}
	if err != nil {
		s.log.Debug("Connection ended early", "remote", c.remote, "why", classify(err))
	}
}

// stateChanged is called on the connection's goroutine: with StateIdle when an
// answer has been written, with StateClosed at the end.
func (s *Server) stateChanged(nc net.Conn, state fasthttp.ConnState) {
	c, ok := nc.(*conn)
	if !ok {
		return
	}
	switch state {
	case fasthttp.StateActive: // fasthttp says it of an untouched connection, too
		if c.state.Load() == idle {
			c.state.Store(active)
		}
	case fasthttp.StateIdle:
		s.finish(c)
		c.since.Store(s.cfg.Clock.Now().UnixNano())
		c.state.Store(idle)
		if s.draining.Load() {
			c.cut()
		}
	case fasthttp.StateClosed:
		s.finish(c)
	}
}

// finish starts what a handler left to do after its answer.
func (s *Server) finish(c *conn) {
	s.held.Add(-c.held)
	c.held = 0
	after := c.takeAfter()
	if after == nil {
		return
	}
	s.wg.Go(func() {
		defer func() {
			if v := recover(); v != nil {
				s.log.Error("After panicked", "panic", v, "stack", string(debug.Stack()))
			}
		}()
		after()
	})
}

// drain waits for the requests under way.
func (s *Server) drain() error {
	s.draining.Store(true)
	s.endStreams()
	s.each(func(c *conn) {
		if c.state.Load() != active {
			c.cut()
		}
	})
	done := make(chan struct{})
	go func() { // ends with the last connection
		s.wg.Wait()
		close(done)
	}()
	if within(done, s.cfg.Drain) {
		return nil
	}
	left := s.each((*conn).cut)
	s.cancel()
	within(done, cutWait)
	return ErrDrain.With("%s server, after %s, with %d connections", s.cfg.Name, s.cfg.Drain, left)
}

// each calls f for every connection and returns how many there are.
func (s *Server) each(f func(*conn)) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		f(c)
	}
	return len(s.conns)
}

// within waits for done, at most d.
func within(done <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

// classify puts an end of a connection into a word. The text of fasthttp's
// errors quotes what was sent and is never logged.
func classify(err error) string {
	var small *fasthttp.ErrSmallBuffer
	var timeout net.Error
	switch {
	case errors.As(err, &small):
		return "header too large"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed):
		return "closed"
	case errors.As(err, &timeout):
		return "network"
	}
	return "malformed"
}
