package relay

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"sidecar/chain"
)

// The keep-alive pool. A relay is asked once a slot or once an epoch, so idle
// connections live long enough to be there for the next slot.
const (
	maxIdle  = 128
	idleTime = 45 * time.Second
)

// dialer opens connections to one relay.
type dialer struct {
	target       target
	tls          *tls.Config
	allowPrivate bool
	connect      func(context.Context) (net.Conn, error) // dialTCP
}

// conn is one connection. One try uses it at a time.
type conn struct {
	net.Conn          // TLS, if the relay speaks it
	raw      net.Conn // TCP
	served   int      // whole exchanges so far
	idle     time.Time
	in       int64 // bytes read in this exchange
	fault    error // what the last read reported
}

// Read counts what arrives and keeps the socket's own error: fasthttp turns
// some of them into text.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.in += int64(n)
	c.fault = err
	return n, err
}

// drop closes without TLS's farewell, which could block.
func (c *conn) drop() { _ = c.raw.Close() }

// dial connects by ctx's deadline, over IPv4 or IPv6, whichever answers. phase
// tells an onlooker how far it has come. Faults: ErrConnect, ErrPrivate, ErrTLS.
func (d dialer) dial(ctx context.Context, phase *atomic.Uint32) (*conn, error) {
	phase.Store(dialling)
	raw, err := d.connect(ctx)
	if err != nil {
		return nil, err
	}
	if !d.target.secure {
		return &conn{Conn: raw, raw: raw}, nil
	}
	phase.Store(handshaking)
	secure := tls.Client(raw, d.tls)
	err = raw.SetDeadline(deadlineOf(ctx))
	if err == nil {
		err = secure.Handshake()
	}
	if err != nil {
		_ = raw.Close()
		return nil, ErrTLS.Wrap(err)
	}
	return &conn{Conn: secure, raw: raw}, nil
}

// dialTCP connects to the relay's address. Faults: ErrConnect, ErrPrivate.
func (d dialer) dialTCP(ctx context.Context) (net.Conn, error) {
	nd := net.Dialer{KeepAlive: 15 * time.Second}
	if !d.allowPrivate {
		// After resolution, on the very address: a name cannot change under us.
		nd.Control = func(_, address string, _ syscall.RawConn) error {
			if ap, err := netip.ParseAddrPort(address); err != nil || isPrivate(ap.Addr()) {
				return ErrPrivate
			}
			return nil
		}
	}
	c, err := nd.DialContext(ctx, "tcp", d.target.address)
	switch {
	case err == nil:
		return c, nil
	case errors.Is(err, ErrPrivate):
		return nil, ErrPrivate.With("%s", d.target.address)
	default:
		return nil, ErrConnect.Wrap(err)
	}
}

// sharedSpace is carrier-grade NAT. [RFC 6598]
var sharedSpace = netip.MustParsePrefix("100.64.0.0/10")

// isPrivate says whether an address is not of the public internet.
func isPrivate(a netip.Addr) bool {
	a = a.Unmap()
	return !a.IsGlobalUnicast() || a.IsPrivate() || sharedSpace.Contains(a)
}

// pool keeps idle connections, the last used first.
type pool struct {
	dialer
	clock *chain.Clock

	mu     sync.Mutex // guards what follows
	list   []*conn    // ascending by idle
	reaper *time.Timer
	closed bool
}

func newPool(d dialer, clock *chain.Clock) *pool {
	d.connect = d.dialTCP
	return &pool{dialer: d, clock: clock}
}

// get returns an idle connection that the relay has neither closed nor written
// to, or nil.
func (p *pool) get() *conn {
	now := p.clock.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for n := len(p.list); n > 0; n = len(p.list) {
		c := p.list[n-1]
		p.list[n-1], p.list = nil, p.list[:n-1]
		if now.Sub(c.idle) < idleTime && !stale(c.raw) {
			return c
		}
		c.drop()
	}
	return nil
}

// put keeps c for the next call.
func (p *pool) put(c *conn) {
	c.served++
	c.idle = p.clock.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.list) >= maxIdle || c.SetDeadline(time.Time{}) != nil {
		c.drop()
		return
	}
	p.list = append(p.list, c)
	if p.reaper == nil {
		p.reaper = time.AfterFunc(idleTime, p.reap)
	}
}

// reap closes connections that have been idle too long.
func (p *pool) reap() {
	now := p.clock.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	old := 0
	for old < len(p.list) && now.Sub(p.list[old].idle) >= idleTime {
		p.list[old].drop()
		old++
	}
	p.list = append(p.list[:0], p.list[old:]...)
	if p.closed || len(p.list) == 0 {
		p.reaper = nil
		return
	}
	p.reaper.Reset(idleTime)
}

// close drops all idle connections and keeps no more.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if p.reaper != nil {
		p.reaper.Stop()
	}
	for _, c := range p.list {
		c.drop()
	}
	p.list = nil
}
