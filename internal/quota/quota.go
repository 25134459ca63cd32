// Package quota divides a server among its callers: how often each may ask, and
// how much of what runs at a time each may have. It promises that no caller, and
// no crowd of nameless callers, keeps the others out, in bounded memory. Only
// Line waits, and nothing looks at a clock: callers say what time it is.
package quota

import (
	"math"
	"sync"
	"time"
)

// Rate is how often somebody may ask: PerSecond for long, Burst at once. The
// zero Rate is no limit.
type Rate struct {
	PerSecond float64
	Burst     float64 // at least 1 where there is a limit
}

// Limited says whether there is a limit.
func (r Rate) Limited() bool { return r.PerSecond > 0 }

// Buckets are token buckets by name, at most as many as New was told. When all
// are in use, new names share one.
type Buckets struct {
	most int

	mu    sync.Mutex
	known map[string]*bucket
	rest  bucket    // of the names that found no place
	swept time.Time // when full buckets were last forgotten
}

// bucket holds tokens as of a time.
type bucket struct {
	tokens float64
	at     time.Time
	rate   Rate
}

// sweepEvery is how often buckets that are full again are looked for.
const sweepEvery = time.Second

// NewBuckets makes room for most names.
func NewBuckets(most int) *Buckets {
	return &Buckets{most: max(most, 1), known: map[string]*bucket{}}
}

// Take takes n tokens from a name's bucket. If there are not enough it takes
// none, and says after what time there will be.
func (b *Buckets) Take(name string, rate Rate, n float64, now time.Time) (wait time.Duration, ok bool) {
	if !rate.Limited() {
		return 0, true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	one := b.known[name]
	if one == nil {
		one = b.add(name, rate, now)
	}
	return one.take(rate, n, now)
}

// Give returns n tokens that were taken for nothing.
func (b *Buckets) Give(name string, n float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if one := b.known[name]; one != nil {
		one.tokens = min(one.tokens+n, one.rate.Burst)
	}
}

func (b *Buckets) add(name string, rate Rate, now time.Time) *bucket {
	if len(b.known) >= b.most && now.Sub(b.swept) >= sweepEvery {
		b.swept = now
		for k, one := range b.known {
			if one.full(now) { // as good as new
				delete(b.known, k)
			}
		}
	}
	if len(b.known) >= b.most {
		if b.rest.rate != rate {
			b.rest = bucket{tokens: min(b.rest.tokens, rate.Burst), at: now, rate: rate}
		}
		return &b.rest
	}
	one := &bucket{tokens: rate.Burst, at: now, rate: rate}
	b.known[name] = one
	return one
}

func (o *bucket) full(now time.Time) bool {
	return o.tokens+o.rate.PerSecond*now.Sub(o.at).Seconds() >= o.rate.Burst
}

func (o *bucket) take(rate Rate, n float64, now time.Time) (time.Duration, bool) {
	o.rate = rate
	if passed := now.Sub(o.at).Seconds(); passed > 0 { // a clock that was set back gives nothing
		o.tokens = min(o.tokens+passed*rate.PerSecond, rate.Burst)
	}
	o.at = now
	if o.tokens >= n {
		o.tokens -= n
		return 0, true
	}
	missing := (n - o.tokens) / rate.PerSecond
	return time.Duration(math.Ceil(min(missing, 3600) * float64(time.Second))), false
}

// Len is how many names have a bucket of their own.
func (b *Buckets) Len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.known)
}
