package relay

import (
	"context"
	"encoding/hex"
	"strconv"
	"sync/atomic"

	"github.com/valyala/fasthttp"

	"sidecar/internal/wire"
)

// Prefixes of getHeader's three forms.
const (
	pathHeader = "/eth/v1/builder/header/"
	pathStream = "/eth/v1/builder/header_stream/"
	pathProofs = "/constraints/v0/builder/header_with_proofs/"
)

// headerPath is prefix/slot/parent_hash/pubkey.
func headerPath(prefix string, r *HeaderRequest) string {
	b := make([]byte, 0, len(prefix)+190)
	b = append(b, prefix...)
	b = strconv.AppendUint(b, uint64(r.Slot), 10)
	b = append(b, "/0x"...)
	b = hex.AppendEncode(b, r.ParentHash[:])
	b = append(b, "/0x"...)
	b = hex.AppendEncode(b, r.Pubkey[:])
	return string(b)
}

// getHeader asks for a bid: SSZ first and, if that is refused, JSON in what is
// left. found is false for a 204. phase follows how far it has come.
func (c *Client) getHeader(ctx context.Context, r *HeaderRequest, phase *atomic.Uint32) (o Offer, found bool, err error) {
	return c.finishHeader(ctx, r, c.newHeader(ctx, r, c.headerAccept(r), phase))
}

// finishHeader is getHeader whose first try is made, and perhaps sent. It
// releases the try.
func (c *Client) finishHeader(ctx context.Context, r *HeaderRequest, t *try) (o Offer, found bool, err error) {
	accept, phase := t.accept, t.phase
	o, status, err := c.askHeader(ctx, r, t)
	if err != nil && accept == acceptAny && otherEncoding(status) && ctx.Err() == nil {
		if o, _, err = c.askHeader(ctx, r, c.newHeader(ctx, r, acceptJSON, phase)); err == nil {
			c.remember(&c.noHeaders)
		}
	}
	return o, o.Bid != nil, err
}

// headerAccept is what the relay is asked for: SSZ first, unless it refused that.
func (c *Client) headerAccept(r *HeaderRequest) string {
	if r.WithProofs || c.refuses(&c.noHeaders) {
		return acceptJSON
	}
	return acceptAny
}

// newHeader makes the try of one request. The caller must release it.
func (c *Client) newHeader(ctx context.Context, r *HeaderRequest, accept string, phase *atomic.Uint32) *try {
	prefix, endpoint := pathHeader, endHeader
	if r.WithProofs {
		prefix, endpoint = pathProofs, endProofs
	}
	t := c.newTry(endpoint, fasthttp.MethodGet, headerPath(prefix, r), r.UserAgent, headerLimit)
	t.phase, t.accept = phase, accept
	t.req.Header.Set(fasthttp.HeaderAccept, accept)
	c.stamp(ctx, t, true)
	t.started = c.clock.Now()
	return t
}

// askHeader performs and releases t. The offer has no bid for a 204.
func (c *Client) askHeader(ctx context.Context, r *HeaderRequest, t *try) (o Offer, status int, err error) {
	defer t.release()
	o.Started = t.started
	err = c.run(ctx, t, func() error {
		enc, err := c.content(t, r.Fork)
		if err != nil {
			return err
		}
		if r.WithProofs {
			return o.readProofs(r, enc, t.resp.Body())
		}
		if o.Bid, err = wire.DecodeBid(r.Fork, enc, t.resp.Body()); err != nil {
			return decodeFault(err)
		}
		return nil
	})
	o.Received = c.clock.Now()
	return o, t.status, err
}
