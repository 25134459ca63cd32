package relay

import (
	"bytes"
	"context"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"sidecar/chain"
	"sidecar/internal/wire"
)

// Names of endpoints in metrics.
const (
	endHeader       = "header"
	endProofs       = "header_with_proofs"
	endStream       = "header_stream"
	endValidators   = "validators"
	endBlockV1      = "blinded_blocks_v1"
	endBlockV2      = "blinded_blocks_v2"
	endStatus       = "status"
	endCapabilities = "capabilities"
	endDelegation   = "delegation"
	endConstraints  = "constraints"
	endDelegations  = "delegations"
	endHeld         = "relay_constraints"
)

// Limits of answers in bytes. [Commit-Boost: response caps]
const (
	headerLimit  = 5 << 20
	payloadLimit = 20 << 20
	smallLimit   = 1 << 10
	listLimit    = 64 << 10 // capabilities

	delegationsLimit = 4 << 20 // also what fabric holds of constraints
)

const (
	acceptAny  = "application/octet-stream;q=1.0,application/json;q=0.9"
	acceptJSON = "application/json"

	headVersion = "Eth-Consensus-Version"
	headTimeout = "X-Timeout-Ms"
	headDate    = "Date-Milliseconds"
)

// newTry makes a try for path, with what every request carries. The caller
// must release it.
func (c *Client) newTry(endpoint, method, path, userAgent string, limit int) *try {
	t := &try{endpoint: endpoint, limit: limit, phase: new(atomic.Uint32), req: fasthttp.AcquireRequest(), resp: fasthttp.AcquireResponse()}
	t.resp.Header.SetNoDefaultContentType(true)
	h := &t.req.Header
	h.SetMethod(method)
	h.SetRequestURI(path + c.target.query)
	h.SetHost(c.target.host)
	h.SetUserAgent(c.userAgent(userAgent))
	for _, kv := range c.extra {
		h.Set(kv[0], kv[1])
	}
	return t
}

// release gives t's messages back. Nothing may point into them any more.
func (t *try) release() {
	fasthttp.ReleaseRequest(t.req)
	fasthttp.ReleaseResponse(t.resp)
}

// userAgent is ours and, after a space, the beacon node's. A node sends the same
// each time, so the last one is kept. [builder-specs: User-Agent]
func (c *Client) userAgent(incoming string) string {
	if incoming == "" {
		return c.agent
	}
	if last := c.lastAgent.Load(); last != nil && last[0] == incoming {
		return last[1]
	}
	full := c.agent + " " + strings.TrimSpace(clip(incoming, 200))
	c.lastAgent.Store(&[2]string{strings.Clone(incoming), full})
	return full
}

// stamp sets Date-Milliseconds, and X-Timeout-Ms to what ctx has left.
// [builder-specs: getHeader; Commit-Boost: per attempt]
func (c *Client) stamp(ctx context.Context, t *try, timeout bool) {
	now := c.clock.Now()
	t.req.Header.Set(headDate, strconv.FormatInt(now.UnixMilli(), 10))
	if timeout {
		left := max(deadlineOf(ctx).Sub(now).Milliseconds(), 1)
		t.req.Header.Set(headTimeout, strconv.FormatInt(left, 10))
	}
}

// run performs t, lets read look at a successful answer, and records it all.
// read may be nil; it is not called for a 204.
func (c *Client) run(ctx context.Context, t *try, read func() error) error {
	return c.runChecked(ctx, t, func(err error) error {
		if err == nil && read != nil && t.status != fasthttp.StatusNoContent {
			err = read()
		}
		return err
	})
}

// runChecked performs t, lets judge turn the outcome into the call's, and
// records that.
func (c *Client) runChecked(ctx context.Context, t *try, judge func(error) error) error {
	started := t.started
	if started.IsZero() {
		started = c.clock.Now()
	}
	err := judge(c.roundTrip(ctx, t))
	none := t.status == fasthttp.StatusNoContent
	c.cfg.Metrics.observe(c.cfg.ID, t.endpoint, c.clock.Now().Sub(started), none, err)
	return err
}

// otherEncoding says whether the relay refused the encoding and nothing else.
func otherEncoding(status int) bool {
	return status == fasthttp.StatusNotAcceptable || status == fasthttp.StatusUnsupportedMediaType
}

// content checks the form of an answer that is a message of fork: not empty, of
// a known type and, in SSZ, which names no fork itself, of the right fork.
func (c *Client) content(t *try, fork chain.Fork) (wire.Encoding, error) {
	body, h := t.resp.Body(), &t.resp.Header
	if len(body) == 0 {
		return 0, ErrEmpty
	}
	kind, _, _ := bytes.Cut(h.ContentType(), []byte(";"))
	switch kind = bytes.TrimSpace(kind); {
	case bytes.EqualFold(kind, []byte("application/json")):
		return wire.JSON, nil
	case bytes.EqualFold(kind, []byte("application/octet-stream")):
		version := h.Peek(headVersion)
		if len(version) == 0 || chain.ParseFork(string(version)) != fork {
			return 0, ErrFork.With("%s is %q, want %s", headVersion, clip(string(version), 16), fork)
		}
		return wire.SSZ, nil
	case len(kind) == 0 && body[0] == '{':
		c.cfg.Metrics.tolerated(c.cfg.ID, "untyped_json")
		return wire.JSON, nil
	default:
		return 0, ErrType.With("%q", clip(string(kind), 40))
	}
}

// refusalTime is how long a relay that refused SSZ is spared it.
const refusalTime = time.Hour

func (c *Client) refuses(m *atomic.Int64) bool { return c.clock.Now().UnixNano() < m.Load() }

func (c *Client) remember(m *atomic.Int64) { m.Store(c.clock.Now().Add(refusalTime).UnixNano()) }
