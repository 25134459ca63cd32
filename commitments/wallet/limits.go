package wallet

import (
	"math"
	"net/netip"
	"sync"
	"time"

	"sidecar/chain"
)

// maxBuckets bounds the addresses that are told apart at a time; the rest share
// one bucket.
const maxBuckets = 8192

// Buckets is a Limiter: each address may do burst at once and rate a second.
type Buckets struct {
	clock       *chain.Clock
	rate, burst float64

	mu    sync.Mutex
	known map[string]*bucket
	rest  bucket
	swept time.Time // when full buckets were last forgotten
}

// bucket holds what may be done at a time.
type bucket struct {
	tokens float64
	at     time.Time
}

// NewBuckets makes one; rate is a second's worth.
func NewBuckets(clock *chain.Clock, rate, burst float64) *Buckets {
	return &Buckets{clock: clock, rate: rate, burst: burst, known: map[string]*bucket{}, rest: bucket{tokens: burst}}
}

// Allow takes cost from an address's bucket, or says when there will be enough.
func (b *Buckets) Allow(from string, cost float64) (time.Duration, bool) {
	now := b.clock.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	k := b.known[from]
	if k == nil {
		if len(b.known) >= maxBuckets && now.Sub(b.swept) >= time.Second {
			b.forget(now)
		}
		if k = &b.rest; len(b.known) < maxBuckets {
			k = &bucket{tokens: b.burst, at: now}
			b.known[from] = k
		}
	}
	k.fill(now, b.rate, b.burst)
	cost = min(cost, b.burst) // else it would never be allowed
	if k.tokens >= cost {
		k.tokens -= cost
		return 0, true
	}
	return time.Duration(math.Ceil((cost - k.tokens) / b.rate * float64(time.Second))), false
}

func (k *bucket) fill(now time.Time, rate, burst float64) {
	if d := now.Sub(k.at); d > 0 {
		k.tokens, k.at = min(burst, k.tokens+d.Seconds()*rate), now
	}
}

// forget drops full buckets: a new one is the same.
func (b *Buckets) forget(now time.Time) {
	b.swept = now
	for from, k := range b.known {
		if k.fill(now, b.rate, b.burst); k.tokens >= b.burst {
			delete(b.known, from)
		}
	}
}

// peer is what counts as one address: an IPv4 address or an IPv6 /64.
func peer(a netip.Addr) string {
	a = a.Unmap()
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits)
	return p.String()
}

// allow takes from a limiter. Fault: ErrLimited.
func (w *Wallet) allow(l Limiter, c *caller, cost float64) error {
	if l == nil {
		return nil
	}
	if wait, ok := l.Allow(peer(c.remote), cost); !ok {
		return &limited{max(wait.Milliseconds(), 1)}
	}
	return nil
}
