package relay

import (
	"context"
	"sync/atomic"

	"github.com/valyala/fasthttp"

	"sidecar/internal/wire"
)

// Paths of the Builder API.
const (
	pathStatus     = "/eth/v1/builder/status"
	pathValidators = "/eth/v1/builder/validators"
	pathBlocksV1   = "/eth/v1/builder/blinded_blocks"
	pathBlocksV2   = "/eth/v2/builder/blinded_blocks"
)

// Status asks whether the relay is up: nil for any 2xx.
func (c *Client) Status(ctx context.Context) error {
	ctx, end, err := c.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	t := c.newTry(endStatus, fasthttp.MethodGet, pathStatus, "", smallLimit)
	defer t.release()
	return c.run(ctx, t, nil)
}

// Register posts registrations: one attempt. On 406 or 415 it calls other for
// the body in the other encoding and tries that inside the same deadline; nil
// from other means that there is none. A relay that refused SSZ is sent JSON at
// once for an hour. It keeps nothing of body.
func (c *Client) Register(ctx context.Context, enc wire.Encoding, body []byte, other func() []byte, userAgent string) error {
	ctx, end, err := c.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	return c.inEither(ctx, &c.noRegistrations, enc, body, other, func(enc wire.Encoding, body []byte) (int, error) {
		t := c.newTry(endValidators, fasthttp.MethodPost, pathValidators, userAgent, smallLimit)
		defer t.release()
		t.req.Header.SetContentType(enc.ContentType())
		t.req.SetBodyRaw(body)
		c.stamp(ctx, t, false)
		err := c.run(ctx, t, nil)
		return t.status, err
	})
}

// SubmitV1 posts a signed blinded block and returns the payload: one attempt,
// in the encoding received, and on 406 or 415 in the other one. The caller
// compares the payload with the block. A connection that is reset is made anew
// once: a relay that has the block already answers as if it had not.
func (c *Client) SubmitV1(ctx context.Context, b *wire.BlindedBlock, userAgent string) (p *wire.Payload, err error) {
	err = c.submit(ctx, b, func(ctx context.Context, enc wire.Encoding, body []byte) (int, error) {
		t := c.newBlock(ctx, endBlockV1, pathBlocksV1, b, enc, body, userAgent)
		defer t.release()
		t.limit, t.only = payloadLimit, fasthttp.StatusOK
		t.req.Header.Set(fasthttp.HeaderAccept, acceptAny)
		err := c.run(ctx, t, func() error {
			enc, err := c.content(t, b.Fork)
			if err != nil {
				return err
			}
			// The payload keeps the body, so it leaves the pooled response.
			if p, err = wire.DecodePayload(b.Fork, enc, t.resp.SwapBody(nil)); err != nil {
				return decodeFault(err)
			}
			return nil
		})
		return t.status, err
	})
	return p, err
}

// SubmitV2 is SubmitV1 for the v2 endpoint: 202 (or 200, counted) and no
// payload; the answer's body is not waited for. Fault: ErrNoV2 for a 404.
func (c *Client) SubmitV2(ctx context.Context, b *wire.BlindedBlock, userAgent string) error {
	return c.submit(ctx, b, func(ctx context.Context, enc wire.Encoding, body []byte) (int, error) {
		t := c.newBlock(ctx, endBlockV2, pathBlocksV2, b, enc, body, userAgent)
		defer t.release()
		t.bodyless = true
		err := c.runChecked(ctx, t, func(err error) error {
			switch {
			case t.status == fasthttp.StatusNotFound:
				return ErrNoV2
			case err != nil || t.status == fasthttp.StatusAccepted:
				return err
			case t.status == fasthttp.StatusOK:
				c.cfg.Metrics.tolerated(c.cfg.ID, "v2_status_200")
				return nil
			default:
				return ErrStatus.With("%d, want 202", t.status)
			}
		})
		return t.status, err
	})
}

// submit sends b in the encoding received or, if that is refused, in the other.
func (c *Client) submit(ctx context.Context, b *wire.BlindedBlock, send func(context.Context, wire.Encoding, []byte) (int, error)) error {
	ctx, end, err := c.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	other := func() []byte {
		body, err := b.Convert(1 - b.Encoding)
		if err != nil {
			c.cfg.Log.Warn("Block has no other encoding", "relay", c.cfg.ID, "slot", uint64(b.Slot), "err", err)
			return nil
		}
		return body
	}
	return c.inEither(ctx, &c.noBlocks, b.Encoding, b.Body, other, func(enc wire.Encoding, body []byte) (int, error) {
		return send(ctx, enc, body)
	})
}

// newBlock is a try that carries a blinded block.
func (c *Client) newBlock(ctx context.Context, endpoint, path string, b *wire.BlindedBlock, enc wire.Encoding, body []byte, userAgent string) *try {
	t := c.newTry(endpoint, fasthttp.MethodPost, path, userAgent, smallLimit)
	t.insist = true
	t.req.Header.SetContentType(enc.ContentType())
	t.req.Header.Set(headVersion, b.Fork.String())
	t.req.SetBodyRaw(body)
	c.stamp(ctx, t, false)
	return t
}

// inEither calls send with a body and, if the relay refuses its encoding, with
// the other one. memory remembers a relay that takes JSON only.
func (c *Client) inEither(ctx context.Context, memory *atomic.Int64, enc wire.Encoding, body []byte, other func() []byte,
	send func(wire.Encoding, []byte) (int, error),
) error {
	fromMemory := false
	if enc == wire.SSZ && c.refuses(memory) {
		if converted := other(); converted != nil {
			original := body
			enc, body, fromMemory = wire.JSON, converted, true
			other = func() []byte { return original }
		}
	}
	status, err := send(enc, body)
	if err != nil && fromMemory {
		memory.Store(0) // what we remember may no longer hold
	}
	if err == nil || !otherEncoding(status) || ctx.Err() != nil {
		return err
	}
	if body = other(); body == nil {
		return err
	}
	if _, err = send(1-enc, body); err == nil && enc == wire.SSZ {
		c.remember(memory)
	}
	return err
}
