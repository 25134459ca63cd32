package api

import (
	"net/netip"
	"sync"
	"time"

	"sidecar/fault"
)

const (
	// maxBuckets bounds the memory of failures, whatever addresses there are.
	maxBuckets = 1 << 14
	// strangers is how many times the limit all unknown names of one address
	// may fail together.
	strangers = 10
)

// limiter counts failed tokens by the name they claim and the address they come
// from, so that one module's failures are not another's. [Commit-Boost: JWT
// rate limit] A count ends when timeout has passed since the last failure; what
// was refused for it does not count.
type limiter struct {
	limit   int // 0: no limit
	timeout time.Duration

	mu      sync.Mutex
	buckets map[source]*bucket // guarded by mu
}

// source is who failed.
type source struct {
	addr netip.Prefix
	name string // "module/<id>", adminName or strangersName
}

// Names that no module's source has.
const (
	adminName     = "admin"
	strangersName = "unknown" // of all unknown modules of an address
)

// bucket holds failures. Its lock is held while a token is verified, so that
// tokens tried at once cannot fail more often than the limit.
type bucket struct {
	mu   sync.Mutex
	n    int
	last time.Time
}

// retry is a refusal that says when to come again.
type retry struct {
	error
	after time.Duration
}

func (r retry) Unwrap() error { return r.error }

// try verifies a token that claims to be of a module we know. What is guessable
// is not even verified while its name is blocked; a strong secret is: who sends
// rubbish in a module's name from the module's address must not lock it out.
func (l *limiter) try(addr netip.Addr, name string, guessable bool, now time.Time, verify func() error) error {
	if l.limit == 0 {
		return verify()
	}
	b := l.bucket(source{network(addr), name}, now)
	b.mu.Lock()
	defer b.mu.Unlock()
	left := b.blocked(l.limit, l.timeout, now)
	if left > 0 && guessable {
		return refused(left)
	}
	err := verify()
	if f := fault.Of(err); f == nil || f.Kind != fault.Unauthorized {
		return err // it went well, or failed for no fault of the token's
	}
	if left > 0 {
		return refused(left)
	}
	b.n, b.last = b.n+1, now
	return err
}

// stranger is try for a name that nobody has: it never goes well. All such
// names of an address have a budget together, so that inventing names helps
// nobody.
func (l *limiter) stranger(addr netip.Addr, name string, now time.Time, verify func() error) error {
	if l.limit == 0 {
		return verify()
	}
	all := l.bucket(source{network(addr), strangersName}, now)
	all.mu.Lock()
	defer all.mu.Unlock()
	if left := all.blocked(l.limit*strangers, l.timeout, now); left > 0 {
		return refused(left)
	}
	one := l.bucket(source{network(addr), name}, now)
	one.mu.Lock()
	defer one.mu.Unlock()
	if left := one.blocked(l.limit, l.timeout, now); left > 0 {
		return refused(left)
	}
	all.n, all.last = all.n+1, now
	one.n, one.last = one.n+1, now
	return verify()
}

// blocked returns how long a bucket is still blocked.
func (b *bucket) blocked(limit int, timeout time.Duration, now time.Time) time.Duration {
	left := timeout - now.Sub(b.last)
	if left < 0 || b.n == 0 {
		b.n = 0
		return 0
	}
	if b.n < limit {
		return 0
	}
	return max(left, time.Millisecond)
}

func refused(left time.Duration) error {
	return retry{ErrAuthLimit.With("rate limited for %.2f", left.Seconds()), left}
}

// bucket finds or makes the bucket of a source.
func (l *limiter) bucket(s source, now time.Time) *bucket {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.buckets[s]
	if b == nil {
		if l.buckets == nil {
			l.buckets = map[source]*bucket{}
		}
		if len(l.buckets) >= maxBuckets {
			l.shed(now)
		}
		b = &bucket{last: now}
		l.buckets[s] = b
	}
	return b
}

// shed makes room: what has expired goes, else an eighth of what is there.
func (l *limiter) shed(now time.Time) {
	for s, b := range l.buckets {
		if b.mu.TryLock() {
			if now.Sub(b.last) > l.timeout {
				delete(l.buckets, s)
			}
			b.mu.Unlock()
		}
	}
	for s := range l.buckets {
		if len(l.buckets) <= maxBuckets*7/8 {
			return
		}
		delete(l.buckets, s)
	}
}

// network is what counts as one address: an IPv4 address or an IPv6 /64.
func network(a netip.Addr) netip.Prefix {
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // the zero Prefix for the zero Addr
	return p
}
