package quota

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
)

// Line is where calls wait for a place, those worth most in front. It is bounded: when
// it is full the call that is worth least is sent away, whether it came first or last.
type Line struct {
	places *Places
	most   int

	length atomic.Int32 // of waiting

	mu      sync.Mutex
	waiting []*waiter // best first; of equals, whoever came first
}

// waiter gets a place, or a closed channel for none.
type waiter struct {
	name  string
	rank  Rank
	worth float64
	turn  chan func()
}

// NewLine makes a line of most calls for places.
func NewLine(p *Places, most int) *Line { return &Line{places: p, most: max(most, 1)} }

// Wait waits for a place until ctx ends. A higher rank goes first, then what is worth
// more. No name may have more than a quarter of the line. It returns false when ctx
// has ended, or the line is full of calls that are worth as much.
func (l *Line) Wait(ctx context.Context, name string, rank Rank, worth float64) (leave func(), ok bool) {
	w := &waiter{name: name, rank: rank, worth: worth, turn: make(chan func(), 1)}
	if !l.join(w) {
		return nil, false
	}
	l.Next() // a place may have become free meanwhile
	select {
	case leave, ok = <-w.turn:
		return leave, ok
	case <-ctx.Done():
	}
	if l.remove(w) {
		return nil, false
	}
	leave, ok = <-w.turn // it was decided just now
	return leave, ok
}

// join puts w into the line, and whoever has to go for it out.
func (l *Line) join(w *waiter) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := -1
	if len(l.waiting) >= l.most {
		out = len(l.waiting) - 1
	}
	if w.name != "" {
		count, last := 0, -1
		for i, o := range l.waiting {
			if o.name == w.name {
				count, last = count+1, i
			}
		}
		if count >= max(1, l.most/4) {
			out = last
		}
	}
	if out >= 0 {
		if !w.before(l.waiting[out]) {
			return false
		}
		close(l.waiting[out].turn)
		l.waiting = slices.Delete(l.waiting, out, out+1)
	}
	at, _ := slices.BinarySearchFunc(l.waiting, w, func(o, w *waiter) int {
		if w.before(o) {
			return 1
		}
		return -1
	})
	l.waiting = slices.Insert(l.waiting, at, w)
	l.length.Store(int32(len(l.waiting))) // #nosec G115 -- at most most
	return true
}

func (w *waiter) before(o *waiter) bool {
	return w.rank > o.rank || w.rank == o.rank && w.worth > o.worth
}

func (l *Line) remove(w *waiter) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.Index(l.waiting, w)
	if i < 0 {
		return false
	}
	l.waiting = slices.Delete(l.waiting, i, i+1)
	l.length.Store(int32(len(l.waiting))) // #nosec G115 -- at most most
	return true
}

// Next gives the places that are free to those in front. It is to be called whenever
// one has become free, and costs nothing while nobody waits.
func (l *Line) Next() {
	if l.length.Load() == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = slices.DeleteFunc(l.waiting, func(w *waiter) bool {
		leave, ok := l.places.Enter(w.name, w.rank)
		if ok {
			w.turn <- leave
		}
		return ok
	})
	l.length.Store(int32(len(l.waiting))) // #nosec G115 -- at most most
}

// Len is how many wait.
func (l *Line) Len() int { return int(l.length.Load()) }
