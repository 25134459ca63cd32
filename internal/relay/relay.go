// Package relay is the client of one relay: Builder API, Constraints API and
// header stream. It owns the connections to that relay and the reading of its
// answers, and is, with internal/httpd, the only importer of fasthttp.
//
// It promises that every call ends by its deadline, that no answer is read past
// its limit, that redirects are never followed and nothing is decompressed, and
// that each failure has a fault of its own. It never judges a bid: whether a
// signature, a parent or a value is right is the caller's question.
package relay

import (
	"context"
	"crypto/tls"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/internal/wire"
)

// Config is one relay as the operator describes it.
type Config struct {
	ID      string // default: the URL's hostname
	URL     string // scheme://0xPUBKEY@host[:port]; a path is dropped, as Commit-Boost drops it
	Headers map[string]string
	Params  map[string]string // query parameters of every request
	// Timing games. [Commit-Boost: enable_timing_games]
	Games       bool
	TargetFirst time.Duration // into the slot; 0: at once
	Frequency   time.Duration // between requests; 0: one request; else at least 10 ms
	// Stream asks for the header stream over WebSocket, and over HTTP if it
	// cannot be opened.
	Stream bool
	// StreamGrace is how long a stream, from the call on, may bring no bid before
	// HTTP is asked as well. 0: a third of the budget. Negative: never.
	StreamGrace time.Duration
	Constraints bool // takes delegations and constraints
	// Proofs says that its bids prove the constraints that someone else was told,
	// a builder; with Constraints they do anyway.
	Proofs bool
	// Dialect is how the Constraints API is spoken: DialectSpec (default) or DialectFabric.
	Dialect      string
	AllowPrivate bool // connect to loopback, private and link-local addresses

	Version string       // of the sidecar, for User-Agent
	TLS     *tls.Config  // nil: the system's roots; TLS 1.2 is the least either way
	Metrics *Metrics     // nil: none
	Log     *slog.Logger // nil: none
}

// HeaderRequest is one getHeader. The context's deadline is the budget.
type HeaderRequest struct {
	Slot       phase0.Slot
	SlotStart  time.Time
	Fork       chain.Fork
	ParentHash phase0.Hash32
	Pubkey     phase0.BLSPubKey
	UserAgent  string // of the beacon node
	WithProofs bool   // ask header_with_proofs; never together with Stream
}

// Offer is a bid as it arrived.
type Offer struct {
	Bid      *wire.Bid
	Proofs   []commitments.Constraint
	Started  time.Time // when its request was sent, or its frame arrived; a later one replaces an earlier
	Received time.Time
}

// fallbackBudget bounds a call whose context has no deadline.
const fallbackBudget = 12 * time.Second

// Client talks to one relay. It is safe for concurrent use.
type Client struct {
	cfg    Config
	clock  *chain.Clock
	target target
	agent  string
	extra  [][2]string // configured headers, ascending by name
	// lastAgent is a User-Agent that came in and the one that went out for it.
	lastAgent atomic.Pointer[[2]string]
	pool      *pool
	buf       buffers

	// Until when (unix nanoseconds) SSZ is not sent, or not asked for, because
	// the relay refused it.
	noRegistrations, noBlocks, noHeaders atomic.Int64

	life   sync.Mutex // guards closed and the first Add to work
	closed bool
	work   sync.WaitGroup // calls, and tries that outlived theirs
}

// New checks cfg and makes a client; it does not dial. Faults: ErrURL, ErrConfig.
func New(cfg Config, clock *chain.Clock) (*Client, error) {
	t, err := parseURL(cfg.URL)
	if err != nil {
		return nil, err
	}
	if err := check(&cfg); err != nil {
		return nil, err
	}
	if cfg.ID == "" {
		cfg.ID = t.hostname
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	t.query = encodeParams(cfg.Params)
	c := &Client{cfg: cfg, clock: clock, target: t, agent: "sidecar/" + cfg.Version, extra: sortHeaders(cfg.Headers)}
	c.pool = newPool(dialer{target: t, tls: tlsConfig(cfg.TLS, t.hostname), allowPrivate: cfg.AllowPrivate}, clock)
	return c, nil
}

// Name is the configured id, or the URL's host.
func (c *Client) Name() string { return c.cfg.ID }

// Pubkey is the key that signs this relay's bids.
func (c *Client) Pubkey() phase0.BLSPubKey { return c.target.pubkey }

// HonoursConstraints says whether the relay is configured for the Constraints API.
func (c *Client) HonoursConstraints() bool { return c.cfg.Constraints }

// ProvesBids says whether the relay is asked for proofs with its bids.
func (c *Client) ProvesBids() bool { return c.cfg.Constraints || c.cfg.Proofs }

// Close drops idle connections and waits for calls that are under way and for
// tries that outlived their call; each ends by the deadline of its call. Calls
// after Close fail with ErrClosed.
func (c *Client) Close() {
	c.life.Lock()
	c.closed = true
	c.life.Unlock()
	c.pool.close()
	c.work.Wait()
}

// begin bounds ctx and refuses a call that has no time left or a closed client.
// The caller calls the function returned when it is done. A context is expected
// to carry a deadline: while bytes are awaited nothing else can end a call.
func (c *Client) begin(ctx context.Context) (context.Context, context.CancelFunc, error) {
	if ctx.Err() != nil {
		return nil, nil, ErrTimeout.With("no time left")
	}
	c.life.Lock()
	defer c.life.Unlock()
	if c.closed {
		return nil, nil, ErrClosed
	}
	c.work.Add(1)
	cancel := context.CancelFunc(func() {})
	if _, ok := ctx.Deadline(); !ok {
		ctx, cancel = context.WithTimeout(ctx, fallbackBudget)
	}
	return ctx, func() { cancel(); c.work.Done() }, nil
}

// spawn runs f in a goroutine that Close waits for. The caller must be between
// begin and its end, so that the count of work cannot be zero here.
func (c *Client) spawn(f func()) { c.work.Go(f) }

// guard runs f. A panic, which only a bug of ours could be, is a fault.
func (c *Client) guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			c.cfg.Log.Error("Relay client panicked", "relay", c.cfg.ID, "panic", p)
			err = ErrPanic
		}
	}()
	return f()
}
