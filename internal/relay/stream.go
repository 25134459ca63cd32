package relay

import (
	"bytes"
	"context"
	"sync"
	"sync/atomic"
	"time"

	"sidecar/internal/wire"
)

// decodePace bounds the work that a flood of bids makes: one is decoded each so
// often, always the newest. A frame that does not decode may thus hide one that
// came less than this before it.
const decodePace = 5 * time.Millisecond

// stream is one header stream, from its dial on.
type stream struct {
	phase atomic.Uint32
	wake  chan struct{} // holds a token while there may be a frame to take
	ended chan struct{} // closed when the reader has ended

	mu    sync.Mutex    // guards what follows
	frame *bytes.Buffer // the newest bid, if not yet taken
	at    time.Time     // when it came
	spare *bytes.Buffer
	err   error // why the reader ended; nil for an orderly close
}

// listen emits the bids of the header stream until it or ctx ends. It asks over
// HTTP, timing games included, when the stream cannot be opened or breaks before
// a bid, and beside the stream when there is no bid after StreamGrace. Nothing
// is left to try after a handshake that took all the time.
func (c *Client) listen(ctx context.Context, r HeaderRequest, h *hearing) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the reader
	s := &stream{wake: make(chan struct{}, 1), ended: make(chan struct{})}
	c.spawn(func() {
		defer close(s.ended)
		s.finish(c.guard(func() error { return c.readStream(ctx, r, s) }))
	})
	started, heard := c.clock.Now(), false
	take := func() {
		if c.take(r, s, h) && !heard {
			heard = true
			c.cfg.Metrics.observe(c.cfg.ID, endStream, c.clock.Now().Sub(started), false, nil)
		}
	}
	var polled <-chan struct{} // nil: not polling
	grace, stop := c.grace(ctx)
	defer stop()
	for ended := s.ended; ended != nil || polled != nil; {
		select {
		case <-s.wake:
			take()
			pause(ctx, decodePace)
		case <-grace:
			if !heard {
				polled = c.polling(ctx, r, h)
			}
		case <-polled:
			polled = nil
		case <-ended:
			ended, grace = nil, nil
			take()
			if heard {
				continue
			}
			err := s.failure()
			c.cfg.Metrics.observe(c.cfg.ID, endStream, c.clock.Now().Sub(started), err == nil, err)
			if err == nil {
				h.none()
				continue
			}
			h.fail(0, err)
			// A socket's deadline may fire a moment before ctx's.
			if c.clock.Until(deadlineOf(ctx)) > time.Millisecond && ctx.Err() == nil && polled == nil {
				polled = c.polling(ctx, r, h)
			}
		case <-ctx.Done():
			take()
			if err := timeoutIn(s.phase.Load()); !heard {
				h.fail(0, err)
				c.cfg.Metrics.observe(c.cfg.ID, endStream, c.clock.Now().Sub(started), false, err)
			}
			return
		}
	}
}

// polling starts to poll; the channel is closed when that ends.
func (c *Client) polling(ctx context.Context, r HeaderRequest, h *hearing) <-chan struct{} {
	done := make(chan struct{})
	c.spawn(func() { defer close(done); c.poll(ctx, r, h) })
	return done
}

// grace fires when a stream without a bid should be helped by HTTP.
func (c *Client) grace(ctx context.Context) (<-chan time.Time, func() bool) {
	d := c.cfg.StreamGrace
	if d < 0 {
		return nil, func() bool { return true }
	}
	if d == 0 {
		d = c.clock.Until(deadlineOf(ctx)) / 3
	}
	t := time.NewTimer(d)
	return t.C, t.Stop
}

// take emits the newest frame and says whether it was a bid.
func (c *Client) take(r HeaderRequest, s *stream, h *hearing) bool {
	s.mu.Lock()
	frame, at := s.frame, s.at
	s.frame = nil
	s.mu.Unlock()
	if frame == nil {
		return false
	}
	bid, err := wire.DecodeBid(r.Fork, wire.SSZ, frame.Bytes()[frameHead:])
	s.mu.Lock()
	s.spare = frame
	s.mu.Unlock()
	if err != nil {
		c.cfg.Log.Debug("Stream frame is not a bid", "relay", c.cfg.ID, "slot", uint64(r.Slot), "err", err)
		return false
	}
	h.offer(Offer{Bid: bid, Started: at, Received: at})
	return true
}

// publish makes frame the newest and returns a buffer for the next one.
func (s *stream) publish(frame *bytes.Buffer, at time.Time) *bytes.Buffer {
	s.mu.Lock()
	next := s.frame
	if next == nil {
		next, s.spare = s.spare, nil
	}
	s.frame, s.at = frame, at
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
	if next == nil {
		next = new(bytes.Buffer)
	}
	return next
}

func (s *stream) finish(err error) {
	s.mu.Lock()
	s.err = err
	s.mu.Unlock()
}

func (s *stream) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}
