package quota

import "sync"

// Rank is whose call it is, from the first that is shed to the last.
type Rank uint8

// The ranks. A question only reads; a promise is what the server is there for.
const (
	StrangersQuestion Rank = iota
	StrangersPromise
	KnownQuestion
	KnownPromise
)

// shedAt is, by rank, what part of all places may be taken when one more call
// comes in. The last place is for promises to those we know.
var shedAt = [...]float64{StrangersQuestion: 0.5, StrangersPromise: 0.6, KnownQuestion: 0.85, KnownPromise: 1}

// perName is what part of all places one name may have.
const perName = 0.25

// Places are calls at a time. Nobody waits for one.
type Places struct {
	total int

	mu   sync.Mutex
	used int
	held map[string]int
}

// NewPlaces makes places for total calls.
func NewPlaces(total int) *Places {
	return &Places{total: max(total, 1), held: map[string]int{}}
}

// Enter takes a place, if the rank and the name may have one more. The name ""
// may have all that its rank may. Leaving twice is leaving once.
func (p *Places) Enter(name string, rank Rank) (leave func(), ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.used >= p.limit(shedAt[min(rank, KnownPromise)]) {
		return nil, false
	}
	if name != "" && p.held[name] >= p.limit(perName) {
		return nil, false
	}
	p.used++
	if name != "" {
		p.held[name]++
	}
	return sync.OnceFunc(func() { p.leave(name) }), true
}

// limit is a part of all places, and at least one.
func (p *Places) limit(part float64) int { return max(1, int(part*float64(p.total))) }

func (p *Places) leave(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used--
	if name == "" {
		return
	}
	if p.held[name]--; p.held[name] == 0 {
		delete(p.held, name)
	}
}

// Used is how many places are taken.
func (p *Places) Used() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.used
}
