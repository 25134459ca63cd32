package relay

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// HostClient of fasthttp is not used, its messages are: HostClient cannot tell
// a stale connection from a refusing relay, refuse an answer before its body,
// limit each call by itself, or end its cleaner goroutine.

const (
	headLimit  = 64 << 10 // of an answer's header; also the read buffer
	maxInterim = 8        // 1xx answers before the real one
)

// readers and writers of connections in use; idle connections hold none.
// They carry nothing from one use to the next.
type buffers struct{ readers, writers sync.Pool }

func (b *buffers) reader(c *conn) *bufio.Reader {
	if r, ok := b.readers.Get().(*bufio.Reader); ok {
		r.Reset(c)
		return r
	}
	return bufio.NewReaderSize(c, headLimit)
}

func (b *buffers) writer(c *conn) *bufio.Writer {
	if w, ok := b.writers.Get().(*bufio.Writer); ok {
		w.Reset(c)
		return w
	}
	return bufio.NewWriterSize(c, 8<<10)
}

// try is one HTTP exchange: what to ask and what came back.
type try struct {
	endpoint string
	limit    int  // of the body, in bytes
	only     int  // the one status of success, if not 0
	bodyless bool // success is in the status alone: the body is not waited for
	insist   bool // may be sent again although the relay may have read it: idempotent there

	req    *fasthttp.Request
	resp   *fasthttp.Response
	status int
	phase  *atomic.Uint32 // watched while others wait

	accept  string    // of a getHeader
	started time.Time // of a getHeader: when its request was made
	// The request is out on sent: the first exchange only reads, with reader.
	sent   *conn
	reader *bufio.Reader
}

// roundTrip performs t by ctx's deadline. A kept connection may have been closed
// by the relay in the very moment it was reused, so a try that met the end of
// one before any byte of an answer is made again, once, on a new connection.
// So is, with insist, one that was cut off on a new connection.
func (c *Client) roundTrip(ctx context.Context, t *try) error {
	cn := t.sent
	if cn == nil {
		cn = c.pool.get()
	}
	reused := cn != nil
	for again := true; ; again = false {
		if cn == nil {
			var err error
			if cn, err = c.pool.dial(ctx, t.phase); err != nil {
				return err
			}
		}
		err, unanswered := c.exchange(ctx, cn, t)
		if err == nil || !again || ctx.Err() != nil || !errors.Is(err, ErrReset) && !errors.Is(err, ErrShortBody) {
			return err
		}
		if !(reused && unanswered) && !t.insist {
			return err
		}
		cn = nil
	}
}

// exchange sends t over cn, unless it is out already, and reads the answer. It
// keeps cn if that is clean, else closes it. unanswered: not one byte came back.
func (c *Client) exchange(ctx context.Context, cn *conn, t *try) (err error, unanswered bool) {
	out := t.sent != nil
	t.sent = nil
	if err := cn.SetDeadline(deadlineOf(ctx)); err != nil {
		cn.drop()
		return ErrReset.Wrap(err), true
	}
	broken := false
	if !out {
		if broken, err = c.send(cn, t); err != nil {
			cn.drop()
			return err, false
		}
	}
	r := t.reader
	if t.reader = nil; r == nil {
		r = c.buf.reader(cn)
	}
	clean, err := t.receive(r, cn)
	c.buf.readers.Put(r)
	unanswered = cn.in == 0
	if clean && !broken {
		c.pool.put(cn) // no longer ours
	} else {
		cn.drop()
	}
	return err, unanswered
}

// send writes t's request. broken: the relay closed on us, but may refuse a body
// before it has read it all, so that there may be an answer.
func (c *Client) send(cn *conn, t *try) (broken bool, err error) {
	t.phase.Store(awaiting)
	t.status, cn.in, cn.fault = 0, 0, nil
	t.resp.ResetBody()
	w := c.buf.writer(cn)
	err = t.req.Write(w)
	if err == nil {
		err = w.Flush()
	}
	c.buf.writers.Put(w)
	switch {
	case err == nil:
		return false, nil
	case isTimeout(err):
		return false, ErrTimeout.With("sending")
	case !isReset(err):
		return false, ErrReset.Wrap(err)
	}
	return true, nil
}

// receive reads the answer. clean: the connection stands right after it.
func (t *try) receive(r *bufio.Reader, cn *conn) (clean bool, err error) {
	for interim := 0; ; interim++ {
		if err := t.head(r, cn); err != nil {
			return false, err
		}
		if t.status > 199 {
			break
		}
		if t.status < 102 && t.status != 100 || interim == maxInterim {
			return false, ErrProtocol.With("interim answers")
		}
	}
	h := &t.resp.Header
	length := h.ContentLength() // -1: chunked, -2: up to the end
	switch {
	case t.status == 204 && t.only == 0 || t.bodyless && t.status < 300:
		return t.skim(r), nil
	case t.status >= 600:
		return false, ErrProtocol.With("status %d", t.status)
	case t.status >= 500:
		return t.skim(r), Err5xx.With("%d %s", t.status, t.excerpt())
	case t.status >= 400:
		return t.skim(r), Err4xx.Wrap(&status{t.status, t.excerpt()})
	case t.status >= 300:
		return false, ErrRedirect.With("%d", t.status)
	case t.only != 0 && t.status != t.only:
		return false, ErrStatus.With("%d, want %d", t.status, t.only)
	case len(h.ContentEncoding()) > 0 && !bytes.EqualFold(h.ContentEncoding(), []byte("identity")):
		return false, ErrEncoding.With("%s", clip(string(h.ContentEncoding()), 20))
	case length > t.limit:
		return false, ErrBodyLarge.With("%d bytes", length)
	}
	err = t.resp.ReadBody(r, t.limit)
	if err == nil && length == -1 {
		err = h.ReadTrailer(r)
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
	}
	if err != nil {
		return false, readFault(err, cn.fault, true)
	}
	if r.Buffered() > 0 && length != -2 {
		return false, ErrProtocol.With("bytes after the answer")
	}
	return !h.ConnectionClose(), nil
}

// head reads one header, whole, before it is parsed: a dripped header is then
// parsed once and not at each drop.
func (t *try) head(r *bufio.Reader, cn *conn) error {
	seen, end := 0, -1
	for end < 0 {
		b, _ := r.Peek(r.Buffered())
		if i := bytes.Index(b[max(0, seen-3):], []byte("\r\n\r\n")); i >= 0 {
			end = max(0, seen-3) + i + 4
			break
		}
		seen = len(b)
		if seen == r.Size() {
			return ErrProtocol.With("header over %d bytes", r.Size())
		}
		if _, err := r.Peek(seen + 1); err != nil {
			return readFault(err, cn.fault, false)
		}
	}
	raw, _ := r.Peek(end)
	if !bytes.HasPrefix(raw, []byte("HTTP/1.")) {
		return ErrProtocol.With("no HTTP/1 status line")
	}
	if twoLengths(raw) {
		return ErrProtocol.With("both a length and chunks")
	}
	if err := t.resp.Header.Read(r); err != nil {
		return readFault(err, nil, false)
	}
	t.status = t.resp.StatusCode()
	return nil
}

// twoLengths says whether a header gives the body's length in both ways, which
// two readers may read differently. [RFC 9112 6.3]
func twoLengths(header []byte) bool {
	var length, coding bool
	for line := range bytes.SplitSeq(header, []byte{'\n'}) {
		name, _, _ := bytes.Cut(line, []byte{':'})
		name = bytes.TrimSpace(name)
		length = length || bytes.EqualFold(name, []byte("Content-Length"))
		coding = coding || bytes.EqualFold(name, []byte("Transfer-Encoding"))
	}
	return length && coding
}

// skim takes the body of an answer whose status said all, if it is here
// already, so that the connection can be kept. It never waits.
func (t *try) skim(r *bufio.Reader) (clean bool) {
	n := t.resp.Header.ContentLength()
	if t.status == 204 && n < 0 && len(t.resp.Header.Peek("Transfer-Encoding")) == 0 {
		n = 0
	}
	if n < 0 || n != r.Buffered() || t.resp.Header.ConnectionClose() {
		return false
	}
	if n > 0 {
		b, _ := r.Peek(n)
		t.resp.SetBody(b)
		_, _ = r.Discard(n)
	}
	return true
}

// excerpt is the start of an error's body, for the log.
func (t *try) excerpt() string { return clip(string(t.resp.Body()), 100) }

// deadlineOf is ctx's deadline; begin has made sure that there is one.
func deadlineOf(ctx context.Context) time.Time {
	d, _ := ctx.Deadline()
	return d
}
