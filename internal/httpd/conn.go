package httpd

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

const (
	// lingerFor and lingerMax bound what is read and thrown away of a body
	// nobody wanted, so that its answer is not lost to a TCP reset.
	lingerFor = 500 * time.Millisecond
	lingerMax = 64 << 20
	// keepBuffer is how large a body buffer a connection keeps between requests.
	keepBuffer = 32 << 10
)

// The states of a connection. Only an active one has a request under way.
const (
	fresh  int32 = iota // nothing read yet
	active              // from a request's first byte to its answer
	idle                // between requests
)

// conn is a connection and what the server knows of it. Its goroutine alone
// writes after, linger, eof and body.
type conn struct {
	net.Conn
	remote netip.Addr
	state  atomic.Int32
	since  atomic.Int64 // unix nanoseconds; without a request from then on, unless active
	after  func()       // of the answer that is being written
	linger bool         // the answer left part of the request unread
	eof    bool         // the caller will send nothing more
	body   []byte       // reused by the requests of this connection
	closed atomic.Bool
	held   int64 // bytes of its body beyond what a connection may keep

	streamed chan struct{} // closed with the stream that has the connection; nil before
}

func newConn(c net.Conn, remote netip.Addr) *conn { return &conn{Conn: c, remote: remote} }

// remoteOf returns the address a connection comes from, the zero Addr if it is
// not an IP address.
func remoteOf(c net.Conn) netip.Addr {
	a, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return a.AddrPort().Addr().Unmap()
}

// Read notes that a request has begun, or that no more of it will come.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.state.Store(active)
		return n, nil // an error comes again with the next Read
	}
	c.eof = c.eof || errors.Is(err, io.EOF)
	return n, err
}

// Close closes once; if the caller is still sending what nobody will read, it
// says so first and then listens a little.
func (c *conn) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok && c.linger && half.CloseWrite() == nil {
		stop := time.AfterFunc(lingerFor, func() { _ = c.Conn.Close() })
		_, _ = io.CopyN(io.Discard, c.Conn, lingerMax)
		stop.Stop()
	}
	return c.Conn.Close()
}

// cut closes at once, from any goroutine.
func (c *conn) cut() { _ = c.Conn.Close() }

// keep stores the buffer of a request for the next one, unless it is large.
func (c *conn) keep(b []byte) {
	if cap(b) <= keepBuffer {
		c.body = b[:0]
	}
}

// takeAfter returns the function to run after the answer, once.
func (c *conn) takeAfter() func() {
	f := c.after
	c.after = nil
	return f
}
