package httpd

import (
	"errors"
	"io"
	"sync"

	"github.com/valyala/fasthttp"
)

const (
	// prefetch is how much of a body fasthttp reads before the handler is
	// called. Beyond it a body is read only for a route that wants it.
	prefetch = 8 << 10
	// trusted is how much memory a Content-Length is given before bytes come.
	trusted = 1 << 20
	// poolBuffer is how large a body buffer is used again for other requests.
	poolBuffer = 8 << 20
)

// readBody reads a body into one slice that grows with what has come, not with
// what was announced. The slice belongs to the connection, so that an answer
// may alias it.
func (x *exchange) readBody(ctx *fasthttp.RequestCtx) ([]byte, error) {
	stream, length, limit := ctx.RequestBodyStream(), ctx.Request.Header.ContentLength(), x.route.MaxBody
	if stream == nil {
		return nil, nil
	}
	fields := 0 // to see trailer fields, which fasthttp adds to the header
	if length < 0 {
		fields = ctx.Request.Header.Len()
	}
	buf := x.c.body[:0]
	if want := min(max(length, 512), trusted); cap(buf) < want {
		if err := x.hold(want); err != nil {
			x.hangUp(ctx)
			return nil, err
		}
		buf = x.s.bodies.get(want)
	}
	for {
		if len(buf) == cap(buf) {
			if err := x.hold(min(2*cap(buf), limit+1)); err != nil {
				x.hangUp(ctx)
				return nil, err
			}
			buf = append(x.s.bodies.get(min(2*cap(buf), limit+1)), buf...)
		}
		n, err := stream.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case len(buf) > limit:
			x.hangUp(ctx)
			return nil, ErrBodyTooLarge.With("at most %d bytes", limit)
		case err == nil:
			continue
		case errors.Is(err, io.EOF) && x.whole(length, len(buf)):
			if length < 0 && ctx.Request.Header.Len() != fields {
				x.hangUp(ctx)
				return nil, ErrMalformed.With("trailer fields are not taken")
			}
			x.c.keep(buf)
			return buf, nil
		}
		x.hangUp(ctx)
		return nil, arrival(err)
	}
}

// hold takes a buffer of n bytes, in place of the one before, from the memory
// that all bodies together may have; finish gives it back. Fault: ErrMemory.
func (x *exchange) hold(n int) error {
	if x.s.cfg.BodyMemory == 0 || n <= keepBuffer {
		return nil
	}
	more := int64(n) - x.c.held
	if x.s.held.Add(more) > x.s.cfg.BodyMemory {
		x.s.held.Add(-more)
		return ErrMemory
	}
	x.c.held = int64(n)
	return nil
}

// bodies are large buffers that handlers have kept and given back. Half a
// megabyte of registrations is otherwise cleared and collected for each request:
// 7 % of its processor time. What nobody uses is gone after two collections.
type bodies struct{ pool sync.Pool }

// get returns an empty slice with room for want bytes.
func (b *bodies) get(want int) []byte {
	if want > keepBuffer {
		if old, ok := b.pool.Get().(*[]byte); ok && cap(*old) >= want {
			return (*old)[:0]
		}
	}
	return make([]byte, 0, want)
}

// put takes a buffer that nobody uses any more.
func (b *bodies) put(buf []byte) {
	if cap(buf) > keepBuffer && cap(buf) <= poolBuffer {
		b.pool.Put(&buf)
	}
}

// whole says whether a body that has ended has ended where it should. fasthttp
// gives the same io.EOF for a last chunk and for a caller who left.
func (x *exchange) whole(length, n int) bool {
	if length < 0 {
		return !x.c.eof
	}
	return length == n
}

// arrival names what went wrong while a request was read.
func arrival(err error) error {
	if classify(err) == "timeout" {
		return ErrSlow
	}
	return ErrMalformed.With("the body is broken or ended early")
}

// leaveBody sees to it that bytes nobody reads are not taken for the next
// request: what fasthttp has not fetched already ends the connection.
func (x *exchange) leaveBody(ctx *fasthttp.RequestCtx) {
	if n := ctx.Request.Header.ContentLength(); n == -1 || n > prefetch {
		x.hangUp(ctx)
	}
}

// hangUp makes this answer the connection's last.
func (x *exchange) hangUp(ctx *fasthttp.RequestCtx) {
	ctx.SetConnectionClose()
	x.c.linger = true
}
