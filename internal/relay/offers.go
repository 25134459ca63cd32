package relay

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Offers asks for a bid, as often as timing games say, or listens to the header
// stream, and calls emit for each bid that decodes, from this goroutine or
// another, until it returns: one call at a time, none afterwards. emit must not
// block. Offers returns by the context's deadline: nil if there was an answer
// (a bid or 204), else the fault of the last try. With timing games a try that is
// still out when ctx is cancelled ends by itself at the deadline.
func (c *Client) Offers(ctx context.Context, r HeaderRequest, emit func(Offer)) error {
	ctx, end, err := c.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	h := &hearing{emit: emit}
	defer h.close()
	if c.cfg.Stream && !r.WithProofs {
		c.listen(ctx, r, h)
	} else {
		c.poll(ctx, r, h)
	}
	return h.verdict()
}

// hearing gathers what the tries of one Offers bring.
type hearing struct {
	mu       sync.Mutex // guards what follows; held while emit runs
	emit     func(Offer)
	closed   bool
	answered bool
	err      error
	errOf    int // number of the try that err is of
}

func (h *hearing) offer(o Offer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	h.answered = true
	h.emit(o)
}

// none records an answer without a bid.
func (h *hearing) none() {
	h.mu.Lock()
	h.answered = true
	h.mu.Unlock()
}

// fail records the fault of try n, if there is one; that of the latest try stays.
func (h *hearing) fail(n int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil && (h.err == nil || n >= h.errOf) {
		h.err, h.errOf = err, n
	}
}

func (h *hearing) verdict() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.answered {
		return nil
	}
	return h.err
}

func (h *hearing) close() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
}

// poll asks over HTTP, once or as timing games say, and returns when all tries
// are done or ctx ends. [Commit-Boost: timing games]
func (c *Client) poll(ctx context.Context, r HeaderRequest, h *hearing) {
	deadline := deadlineOf(ctx)
	frequency := time.Duration(0)
	if c.cfg.Games {
		frequency = c.cfg.Frequency
		wait := c.cfg.TargetFirst - c.clock.Now().Sub(r.SlotStart)
		if wait > 0 && wait < c.clock.Until(deadline) && !pause(ctx, wait) {
			h.fail(0, ErrTimeout)
			return
		}
	}
	if frequency == 0 {
		c.try(ctx, r, h, 1, new(atomic.Uint32)) // it ends by the deadline itself
		return
	}
	tries := 1 + int(max(0, c.clock.Until(deadline))/frequency)
	done := make(chan struct{}, tries) // room for all: no try ever waits for us
	var phase *atomic.Uint32
	pending := 0
	for n := 1; n <= tries; n++ {
		phase = c.launch(ctx, r, h, n, done)
		pending++
		if c.clock.Until(deadline) <= frequency || !pause(ctx, frequency) {
			break
		}
	}
	for ; pending > 0; pending-- {
		select {
		case <-done:
		case <-ctx.Done():
			h.fail(tries+1, timeoutIn(phase.Load()))
			return
		}
	}
}

// launch starts try number n.
func (c *Client) launch(ctx context.Context, r HeaderRequest, h *hearing, n int, done chan<- struct{}) *atomic.Uint32 {
	phase := new(atomic.Uint32)
	c.spawn(func() {
		defer func() { done <- struct{}{} }()
		c.try(ctx, r, h, n, phase)
	})
	return phase
}

// try asks once and tells h what came.
func (c *Client) try(ctx context.Context, r HeaderRequest, h *hearing, n int, phase *atomic.Uint32) {
	c.attempt(h, n, func() (Offer, bool, error) { return c.getHeader(ctx, &r, phase) })
}

// attempt tells h what ask brought.
func (c *Client) attempt(h *hearing, n int, ask func() (Offer, bool, error)) {
	h.fail(n, c.guard(func() error {
		o, found, err := ask()
		switch {
		case err != nil:
		case found:
			h.offer(o)
		default:
			h.none()
		}
		return err
	}))
}

// pause waits for d and says whether ctx is still alive.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
