package relay

import (
	"bytes"
	"context"
	"strconv"
	"sync/atomic"
	"time"
)

// Asked is a getHeader that is on its way. Its owner calls Soon at most once
// and, unless Soon took the answer, Hear once.
type Asked struct {
	client  *Client
	end     func() // of begin
	ctx     context.Context
	request HeaderRequest
	try     *try
}

// Ask sends a getHeader over a kept connection, does not wait for the answer, and
// gives it until soon to be had by Soon.
// It returns nil where there is more to it than that: no connection is at hand,
// or the relay is asked by timing games, by stream or for proofs. Offers is for
// those.
//
// One goroutine can so ask all relays of an auction and hear those that answer
// at once. A goroutine for each of them has to be woken, on another thread, to
// send and again to hear: with three relays a quarter of what getHeader costs
// beside its signature.
func (c *Client) Ask(ctx context.Context, r HeaderRequest, soon time.Time) *Asked {
	if c.cfg.Stream || c.cfg.Games || r.WithProofs {
		return nil
	}
	ctx, end, err := c.begin(ctx)
	if err != nil {
		return nil
	}
	cn := c.pool.get()
	if cn == nil {
		end()
		return nil
	}
	t := c.newHeader(ctx, &r, c.headerAccept(&r), new(atomic.Uint32))
	broken, err := false, cn.SetDeadline(soon)
	if err == nil {
		broken, err = c.send(cn, t)
	}
	if err != nil || broken {
		cn.drop() // a new connection may do better
		t.release()
		end()
		return nil
	}
	t.sent, t.reader = cn, c.buf.reader(cn)
	return &Asked{c, end, ctx, r, t}
}

// Soon takes the answer if it is here, whole, in time: done, with the offer if it
// is one, and err as of Offers. Otherwise nothing is lost and Hear goes on.
// Answers that ask for another request are left to Hear, too.
func (a *Asked) Soon(emit func(Offer)) (done bool, err error) {
	if !a.try.arrived() {
		return false, nil
	}
	return true, a.hear(emit)
}

// Hear waits for the answer and does all that Offers does, by the deadline of
// Ask's context.
func (a *Asked) Hear(emit func(Offer)) error { return a.hear(emit) }

func (a *Asked) hear(emit func(Offer)) error {
	defer a.end()
	h := &hearing{emit: emit}
	defer h.close()
	a.client.attempt(h, 1, func() (Offer, bool, error) {
		return a.client.finishHeader(a.ctx, &a.request, a.try)
	})
	return h.verdict()
}

// arrived waits until an answer of status 200 or 204 is in the reader's buffer,
// to its last byte, at most until the connection's deadline. It is what keeps a
// relay that drips from holding up the others.
func (t *try) arrived() bool {
	for {
		b, _ := t.reader.Peek(t.reader.Buffered())
		whole, hopeless := wholeAnswer(b)
		if whole || hopeless || len(b) == t.reader.Size() {
			return whole
		}
		if _, err := t.reader.Peek(len(b) + 1); err != nil {
			return false // whatever it is, it comes again
		}
	}
}

var (
	status200     = []byte("HTTP/1.1 200 ")
	status204     = []byte("HTTP/1.1 204 ")
	headEnd       = []byte("\r\n\r\n")
	contentLength = []byte("Content-Length:")
)

// wholeAnswer says whether b holds an answer of status 200 or 204 to its last
// byte, or can never be seen to. It judges nothing else: receive does.
func wholeAnswer(b []byte) (whole, hopeless bool) {
	if len(b) < len(status200) {
		return false, false
	}
	none := bytes.HasPrefix(b, status204)
	if !none && !bytes.HasPrefix(b, status200) {
		return false, true
	}
	end := bytes.Index(b, headEnd)
	switch {
	case end < 0:
		return false, false
	case none:
		return true, false
	}
	for line := range bytes.SplitSeq(b[:end], []byte("\r\n")) {
		if len(line) < len(contentLength) || !bytes.EqualFold(line[:len(contentLength)], contentLength) {
			continue
		}
		n, err := strconv.Atoi(string(bytes.TrimSpace(line[len(contentLength):])))
		if err != nil || n < 0 {
			return false, true
		}
		return len(b)-end-len(headEnd) >= n, false
	}
	return false, true // chunked, or up to the end
}
