package api

import (
	"sync"
	"time"
)

const (
	// maxTokens is how many used tokens of one module are remembered: 200 a
	// second for longer than a token and its grave last.
	maxTokens = 1 << 15
	// generation is longer than a strict token can be valid.
	generation = strictLife + 2*strictLeeway
)

// replay remembers a strict module's used tokens until they have expired. It
// forgets nothing earlier: a full cache refuses.
type replay struct {
	mu         sync.Mutex
	young, old map[string]bool // by jti; what is in old was used before born
	born       time.Time       // of young
	forgotten  int64           // unix seconds: what expires until then may have been used, and is known no more
}

// use takes a token's jti, once. Only genuine tokens come here, so that nobody
// else can fill the cache. Faults: ErrTokenReplayed, ErrTokenCache.
// exp is when it expires, in unix seconds.
func (r *replay) use(jti string, exp int64, now time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.born) >= generation {
		// Everything in young is now older than a token can get only after one
		// more generation: it becomes old, and old goes.
		// No clock that goes on sees them again; one that was put back does.
		gone := r.born
		if now.Sub(r.born) >= 2*generation {
			r.young, gone = nil, r.born.Add(generation)
		}
		if !r.born.IsZero() {
			r.forgotten = max(r.forgotten, gone.Add(strictLife+strictLeeway).Unix())
		}
		r.old, r.young, r.born = r.young, map[string]bool{}, now
	}
	switch {
	case exp <= r.forgotten, r.young[jti], r.old[jti]:
		return ErrTokenReplayed
	case len(r.young)+len(r.old) >= maxTokens:
		return retry{ErrTokenCache.With("%d tokens are alive", maxTokens), generation}
	}
	r.young[jti] = true
	return nil
}

// quota counts what a module asks for in a slot.
type quota struct {
	mu   sync.Mutex
	slot uint64
	n    int
}

// take takes one of limit in a slot, and says whether there was one.
func (q *quota) take(slot uint64, limit int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if slot != q.slot {
		q.slot, q.n = slot, 0
	}
	if q.n >= limit {
		return false
	}
	q.n++
	return true
}
