package wallet

import (
	"fmt"
	"net/netip"
	"time"

	"sidecar/internal/httpd"
	"sidecar/internal/quota"
)

// maxCallers bounds the addresses that are told apart at a time.
const maxCallers = 1 << 14

// limited is inside httpd.ErrRate: when to ask again.
type limited struct{ wait time.Duration }

func (l *limited) Error() string { return fmt.Sprintf("again in %d ms", l.ms()) }

func (l *limited) ms() int64 { return max(l.wait.Milliseconds(), 1) }

// allow takes from an address's bucket. What costs more than is ever in it costs
// all of it. Fault: httpd.ErrRate.
func (w *Wallet) allow(b *quota.Buckets, rate quota.Rate, c *caller, cost float64) error {
	if wait, ok := b.Take(peer(c.remote), rate, min(cost, rate.Burst), w.Clock.Now()); !ok {
		return httpd.ErrRate.Wrap(&limited{wait})
	}
	return nil
}

// sharer is whose share of the places a request takes. This machine has no share:
// a proxy on it speaks for many, and whoever else is on it is the operator's.
func sharer(a netip.Addr) string {
	if !a.IsValid() || a.Unmap().IsLoopback() {
		return ""
	}
	return peer(a)
}

// peer is what counts as one address: an IPv4 address, however it is written, or
// an IPv6 /64.
func peer(a netip.Addr) string {
	a = a.Unmap()
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // the zero Prefix for the zero Addr
	return p.String()
}
