// Package execution reads an execution node over JSON-RPC, and proves and
// verifies transactions under the headers of its chain.
//
// It believes a node about accounts only, and two nodes only where they agree;
// blocks and headers are recomputed from their parts and must hash to what was
// asked. Answers are bounded in size and time. A wrong, slow or silent node is an
// error, never a panic.
package execution

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"golang.org/x/sync/singleflight"

	"sidecar/chain"
	"sidecar/fault"
	"sidecar/internal/fetch"
	"sidecar/modules"
)

// Faults of this package.
var (
	ErrUnavailable  = fault.Define("execution_unavailable", fault.Unavailable, "The execution node does not answer, or has no state to read.")
	ErrBadAnswer    = fault.Define("execution_bad_answer", fault.Upstream, "The execution node's answer does not say what its API promises, or does not hash to what was asked.")
	ErrRefused      = fault.Define("execution_refused", fault.Upstream, "The execution node answered with a JSON-RPC error.")
	ErrUnknownBlock = fault.Define("execution_block_unknown", fault.NotFound, "The execution node does not know this block.")
	ErrDisagree     = fault.Define("execution_disagree", fault.Unavailable, "The two execution nodes tell different heads of one height, or different accounts at one head.")
	ErrLagging      = fault.Define("execution_lagging", fault.Unavailable, "One of the two execution nodes is at an earlier block than the other.")
	ErrBehind       = fault.Define("execution_behind", fault.Unavailable, "The execution node's head is more than 32 slots old: it is not synced, or the chain stands still.")
	ErrStateGone    = fault.Define("execution_state_gone", fault.Unavailable, "The execution node no longer has the state of a block; ordinary nodes keep about 128.")
	ErrHeader       = fault.Define("execution_header_encoding", fault.Invalid, "An execution header is not the canonical RLP of a header since Cancun.")
	ErrTrie         = fault.Define("trie_proof_invalid", fault.Invalid, "A trie proof does not prove a transaction under its root.")
)

var _ modules.State = (*Client)(nil)

// Limits and times.
const (
	limitSmall     = 1 << 20  // bytes of an answer
	limitBlock     = 32 << 20 // a block of 10 MiB is a little more than twice that in hex
	defaultTimeout = 2 * time.Second
	headLife       = 500 * time.Millisecond // how old a head may be that accounts are read at
	maxBehind      = 32                     // slots
	maxAccounts    = 4096                   // remembered at one head
	maxParents     = 64                     // remembered headers
	maxConns       = 16                     // to the node
)

// Config is what New needs.
type Config struct {
	URL string // http(s)://host[:port][/path] of the node's JSON-RPC
	// SecondURL is another node, for heads and accounts: what is not the same from
	// both is not believed. Optional.
	SecondURL string

	Spec    chain.Spec
	Clock   *chain.Clock
	Log     *slog.Logger  // Optional.
	Metrics *Metrics      // Optional.
	HTTP    *http.Client  // Optional; default fetch.New. It must not follow redirects.
	Timeout time.Duration // of one request; default 2 s
}

// Client reads one execution node, and heads and accounts from a second if there
// is one. Its methods may be called from any goroutine.
type Client struct {
	url     string
	spec    chain.Spec
	clock   *chain.Clock
	log     *slog.Logger
	metrics *Metrics
	http    *http.Client
	timeout time.Duration
	second  *Client            // nil with one node
	flights singleflight.Group // heads and accounts being read

	mu       sync.Mutex // guards the rest; never held during a request
	head     modules.Head
	headAt   time.Time // when it was last told; zero before the first
	askedAt  time.Time // when somebody last wanted the head
	trouble  error     // of the last attempt to read the head
	accounts map[bellatrix.ExecutionAddress]*known
	blobs    blobSchedule
	parents  map[phase0.Hash32]Parent
	order    []phase0.Hash32 // of parents, oldest first
}

// New checks cfg; it does not dial.
func New(cfg Config) (*Client, error) {
	for _, at := range []string{cfg.URL, cfg.SecondURL} {
		if at == "" && cfg.URL != "" {
			continue
		}
		base, err := url.Parse(at)
		if err != nil || base.Host == "" || (base.Scheme != "http" && base.Scheme != "https") {
			return nil, errors.New("execution node: the URL must be http(s)://host[:port]") // never the URL itself: it may hold a secret
		}
	}
	if cfg.Clock == nil {
		return nil, errors.New("execution node: no clock")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.HTTP == nil {
		cfg.HTTP = fetch.New(fetch.Options{Timeout: cfg.Timeout, MaxConnsPerHost: maxConns})
	}
	c := &Client{
		url: cfg.URL, spec: cfg.Spec, clock: cfg.Clock, log: cfg.Log, metrics: cfg.Metrics, http: cfg.HTTP, timeout: cfg.Timeout,
		accounts: map[bellatrix.ExecutionAddress]*known{}, parents: map[phase0.Hash32]Parent{},
	}
	if cfg.SecondURL != "" {
		cfg.URL, cfg.SecondURL = cfg.SecondURL, ""
		var err error
		c.second, err = New(cfg)
		return c, err
	}
	return c, nil
}

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// ChainID returns the chain id of the node, and of the second one. Faults:
// ErrUnavailable, ErrBadAnswer, ErrRefused, ErrDisagree.
func (c *Client) ChainID(ctx context.Context) (uint64, error) {
	id, its, err := both(c, func(node *Client) (id quantity, err error) {
		err = node.call(ctx, limitSmall, call{"eth_chainId", nil, &id})
		return id, err
	})
	if err == nil && id != its {
		err = ErrDisagree.With("about the chain id: %d and %d", id, its)
	}
	return uint64(id), err
}

// Call runs a read-only call of a contract at the latest block and returns what
// it returned. Faults: ErrUnavailable, ErrBadAnswer, ErrRefused (a revert too).
func (c *Client) Call(ctx context.Context, to [20]byte, data []byte) ([]byte, error) {
	var out hexBytes
	arg := map[string]hexBytes{"to": to[:], "input": data}
	if err := c.call(ctx, limitSmall, call{"eth_call", []any{arg, "latest"}, &out}); err != nil {
		return nil, err
	}
	return out, nil
}

// SendRawTransaction gives the node a signed transaction in EIP-2718 form and
// returns its hash. Faults: ErrUnavailable, ErrBadAnswer, ErrRefused.
func (c *Client) SendRawTransaction(ctx context.Context, tx []byte) (phase0.Hash32, error) {
	var hash hash32
	err := c.call(ctx, limitSmall, call{"eth_sendRawTransaction", []any{hexBytes(tx)}, &hash})
	return phase0.Hash32(hash), err
}

// raw keeps an answer as it came.
type raw struct{ json.RawMessage }

// null says whether the node answered that it has no such thing.
func (r raw) null() bool { return len(r.RawMessage) == 0 || string(r.RawMessage) == "null" }
