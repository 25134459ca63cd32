package signer

import (
	"context"
	"sync"
	"time"
)

// turns has a delegate sign one thing at a time. Groups that come meanwhile wait
// and are signed together, so that the signatures grow and not their number.
type turns struct {
	turn chan struct{} // cap 1

	mu      sync.Mutex
	waiting []*group // guarded by mu
}

func (s *Signer) turnsOf(of groupOf) *turns {
	found, _ := s.turns.LoadOrStore(of, &turns{turn: make(chan struct{}, 1)})
	t, _ := found.(*turns) // nothing else is stored
	return t
}

// anyone says whether a group waits.
func (t *turns) anyone() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.waiting) > 0
}

// patience is how long a delegate whose turn it is waits, at most, for those who
// are on their way to the disk.
const patience = 5 * time.Millisecond

// coming are the callers who are on their way to the disk. A delegate's signature
// costs as much as several promises, so whose turn it is waits for those that were
// on their way when it came, and for none that set out later: a lone caller waits
// for nobody, and among many the groups grow.
type coming struct {
	mu  sync.Mutex
	now *wave // guarded by mu; nil before the first
}

// wave is callers who set out between two turns.
type wave struct {
	n       int           // that have not arrived; guarded by coming.mu
	awaited bool          // guarded by coming.mu
	none    chan struct{} // closed when it is awaited and all have arrived
}

// depart counts a caller until arrive is called with the same wave.
func (c *coming) depart() *wave {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now == nil {
		c.now = &wave{none: make(chan struct{})}
	}
	c.now.n++
	return c.now
}

func (c *coming) arrive(w *wave) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if w.n--; w.n == 0 && w.awaited {
		close(w.none)
	}
}

// settle waits until all that are on their way have arrived, or patience ends.
func (c *coming) settle(ctx context.Context) {
	c.mu.Lock()
	w := c.now
	c.now = nil
	if w == nil || w.n == 0 {
		c.mu.Unlock()
		return
	}
	w.awaited = true
	c.mu.Unlock()
	over := time.NewTimer(patience)
	defer over.Stop()
	select {
	case <-w.none:
	case <-over.C:
	case <-ctx.Done():
	}
}
