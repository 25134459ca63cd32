// Package beacon reads a beacon node: its chain, its health, who proposes
// when, and which block a slot got.
//
// It promises bounded answers in bounded time, and that a wrong, slow or silent
// node is an error or an old answer that expires, never a panic. It never
// writes to the node and never follows a redirect.
package beacon

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
	"sidecar/fault"
)

// Faults of this package.
var (
	ErrUnavailable = fault.Define("beacon_unavailable", fault.Unavailable, "The beacon node does not answer, or cannot answer yet.")
	ErrSyncing     = fault.Define("beacon_syncing", fault.Unavailable, "The beacon node is syncing, optimistic, or without its execution node.")
	ErrOtherChain  = fault.Define("beacon_other_chain", fault.Conflict, "The beacon node follows another network than the one configured.")
	ErrBadAnswer   = fault.Define("beacon_bad_answer", fault.Upstream, "The beacon node's answer does not say what its API promises.")
)

// errNotFound is a 404: for a block it may mean a missed slot.
var errNotFound = errors.New("not found")

// Body limits, in bytes.
const (
	limitSmall = 1 << 20  // headers, duties, spec
	limitBlock = 64 << 20 // a block in JSON: 10 MiB of RLP is 20 MiB of hex, plus the beacon part
)

// Config is what New needs.
type Config struct {
	URL     string // http(s)://host[:port][/prefix]
	Spec    chain.Spec
	Clock   *chain.Clock
	Log     *slog.Logger  // Optional.
	Metrics *Metrics      // Optional.
	HTTP    *http.Client  // Optional. It must not follow redirects or have a Timeout: the event stream has no end.
	Timeout time.Duration // of one request; default 5 s
}

// Client reads one beacon node. Its methods may be called from any goroutine.
type Client struct {
	base    *url.URL
	spec    chain.Spec
	clock   *chain.Clock
	log     *slog.Logger
	metrics *Metrics
	http    *http.Client
	timeout time.Duration
}

// New checks cfg; it does not dial.
func New(cfg Config) (*Client, error) {
	base, err := url.Parse(cfg.URL)
	if err != nil || base.Host == "" || (base.Scheme != "http" && base.Scheme != "https") {
		return nil, errors.New("beacon node: the URL must be http(s)://host[:port]") // never the URL itself: it may hold a password
	}
	if cfg.Clock == nil {
		return nil, errors.New("beacon node: no clock")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 5 * time.Second
	}
	if cfg.HTTP == nil {
		cfg.HTTP = newHTTP(cfg.Timeout)
	}
	return &Client{base, cfg.Spec, cfg.Clock, cfg.Log, cfg.Metrics, cfg.HTTP, cfg.Timeout}, nil
}

// newHTTP makes a client for one host: few connections, no redirects, no
// transparent decompression, no proxy from the environment.
func newHTTP(timeout time.Duration) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			MaxConnsPerHost:        8,
			MaxIdleConnsPerHost:    4,
			IdleConnTimeout:        30 * time.Second,
			ResponseHeaderTimeout:  timeout,
			TLSHandshakeTimeout:    timeout,
			MaxResponseHeaderBytes: 64 << 10,
			DisableCompression:     true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// retryAfter is how long a node that is too busy asked us to wait.
type retryAfter struct {
	error
	wait time.Duration
}

func (r retryAfter) Unwrap() error { return r.error }

// get reads one JSON answer into out; a nil out returns the body as it came.
// Faults: ErrUnavailable, ErrBadAnswer; errNotFound for 404.
func (c *Client) get(ctx context.Context, endpoint, path string, limit int64, out any) ([]byte, error) {
	return c.getQuery(ctx, endpoint, path, "", limit, out)
}

func (c *Client) getQuery(ctx context.Context, endpoint, path, query string, limit int64, out any) ([]byte, error) {
	body, err := c.fetch(ctx, path, query, limit)
	if err == nil && out != nil {
		if uerr := json.Unmarshal(body, out); uerr != nil {
			err = ErrBadAnswer.Wrap(uerr)
		}
	}
	c.metrics.request(endpoint, err)
	return body, err
}

func (c *Client) fetch(ctx context.Context, path, query string, limit int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	res, err := c.open(ctx, path, query, "application/json")
	if err != nil {
		return nil, ErrUnavailable.Wrap(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, statusError(res)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, limit+1))
	if err != nil {
		return nil, ErrUnavailable.Wrap(err)
	}
	if int64(len(body)) > limit {
		return nil, ErrBadAnswer.With("more than %d bytes", limit)
	}
	return body, nil
}

// open sends a GET below the base URL. Errors do not repeat the URL.
func (c *Client) open(ctx context.Context, path, query, accept string) (*http.Response, error) {
	u := c.base.JoinPath(path)
	if query != "" {
		if u.RawQuery != "" {
			u.RawQuery += "&"
		}
		u.RawQuery += query
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, errors.New("request cannot be made")
	}
	req.Header.Set("Accept", accept)
	res, err := c.http.Do(req)
	if uerr := (*url.Error)(nil); errors.As(err, &uerr) {
		err = uerr.Err
	}
	return res, err
}

func statusError(res *http.Response) error {
	switch {
	case res.StatusCode == http.StatusNotFound:
		return errNotFound
	case res.StatusCode == http.StatusTooManyRequests || res.StatusCode >= 500:
		err := ErrUnavailable.With("status %d", res.StatusCode)
		if s, perr := strconv.ParseUint(res.Header.Get("Retry-After"), 10, 16); perr == nil {
			return retryAfter{err, time.Duration(s) * time.Second} // #nosec G115 -- 16 bits
		}
		return err
	default:
		return ErrBadAnswer.With("status %d", res.StatusCode)
	}
}

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Head is the block the node believes to be the tip.
type Head struct {
	Slot          phase0.Slot
	Root          phase0.Root
	ProposerIndex phase0.ValidatorIndex
	Optimistic    bool // the execution payload is not yet verified
}

type headerJSON struct {
	Optimistic bool `json:"execution_optimistic"`
	Finalized  bool `json:"finalized"`
	Data       struct {
		Root   *phase0.Root `json:"root"`
		Header struct {
			Message messageJSON `json:"message"`
		} `json:"header"`
	} `json:"data"`
}

// messageJSON is what a block and its header have in common.
type messageJSON struct {
	Slot          *phase0.Slot           `json:"slot"`
	ProposerIndex *phase0.ValidatorIndex `json:"proposer_index"`
	ParentRoot    *phase0.Root           `json:"parent_root"`
	StateRoot     *phase0.Root           `json:"state_root"`
	BodyRoot      *phase0.Root           `json:"body_root"` // of a header only
}

func (m messageJSON) complete() bool {
	return m.Slot != nil && m.ProposerIndex != nil && m.ParentRoot != nil && m.StateRoot != nil
}

func (c *Client) header(ctx context.Context, id string) (headerJSON, error) {
	var h headerJSON
	if _, err := c.get(ctx, "header", "/eth/v1/beacon/headers/"+id, limitSmall, &h); err != nil {
		return h, err
	}
	if h.Data.Root == nil || !h.Data.Header.Message.complete() {
		return h, ErrBadAnswer.With("header without its fields")
	}
	return h, nil
}

// Root returns the root of the canonical block of a slot; zero if the node has
// none, or does not serve headers. Faults: ErrUnavailable, ErrBadAnswer.
// [Beacon API: getBlockHeader]
func (c *Client) Root(ctx context.Context, slot phase0.Slot) (phase0.Root, error) {
	h, err := c.header(ctx, strconv.FormatUint(uint64(slot), 10))
	if errors.Is(err, errNotFound) {
		return phase0.Root{}, nil
	}
	if err != nil {
		return phase0.Root{}, err
	}
	if *h.Data.Header.Message.Slot != slot {
		return phase0.Root{}, ErrBadAnswer.With("header of slot %d, asked for %d", *h.Data.Header.Message.Slot, slot)
	}
	return *h.Data.Root, nil
}

// Orphaned says whether the node knows of a block of this slot that is not
// canonical. Not every node keeps them. Faults: ErrUnavailable, ErrBadAnswer.
// [Beacon API: getBlockHeaders]
func (c *Client) Orphaned(ctx context.Context, slot phase0.Slot) (bool, error) {
	var v struct {
		Data []struct {
			Canonical *bool `json:"canonical"`
		} `json:"data"`
	}
	_, err := c.getQuery(ctx, "headers", "/eth/v1/beacon/headers", "slot="+strconv.FormatUint(uint64(slot), 10), limitSmall, &v)
	if errors.Is(err, errNotFound) {
		return false, nil
	}
	for _, h := range v.Data {
		if h.Canonical != nil && !*h.Canonical {
			return true, nil
		}
	}
	return false, err
}

// Head asks for the head. Faults: ErrUnavailable, ErrBadAnswer.
// [Beacon API: getBlockHeader]
func (c *Client) Head(ctx context.Context) (Head, error) {
	h, err := c.header(ctx, "head")
	if err != nil {
		return Head{}, named(err, "head")
	}
	m := h.Data.Header.Message
	return Head{*m.Slot, *h.Data.Root, *m.ProposerIndex, h.Optimistic}, nil
}

// Finality is the node's checkpoints at its head.
type Finality struct {
	Justified, Finalized phase0.Checkpoint
}

// Finality asks for the checkpoints. Faults: ErrUnavailable, ErrBadAnswer.
// [Beacon API: getStateFinalityCheckpoints]
func (c *Client) Finality(ctx context.Context) (Finality, error) {
	type checkpoint struct {
		Epoch *phase0.Epoch `json:"epoch"`
		Root  *phase0.Root  `json:"root"`
	}
	var v struct {
		Data struct {
			Justified checkpoint `json:"current_justified"`
			Finalized checkpoint `json:"finalized"`
		} `json:"data"`
	}
	if _, err := c.get(ctx, "finality", "/eth/v1/beacon/states/head/finality_checkpoints", limitSmall, &v); err != nil {
		return Finality{}, named(err, "checkpoints")
	}
	j, f := v.Data.Justified, v.Data.Finalized
	if j.Epoch == nil || j.Root == nil || f.Epoch == nil || f.Root == nil {
		return Finality{}, ErrBadAnswer.With("checkpoints without their fields")
	}
	return Finality{phase0.Checkpoint{Epoch: *j.Epoch, Root: *j.Root}, phase0.Checkpoint{Epoch: *f.Epoch, Root: *f.Root}}, nil
}

// named makes a fault of a 404 where 404 has no meaning of its own.
func named(err error, what string) error {
	if errors.Is(err, errNotFound) {
		return ErrUnavailable.With("no %s", what)
	}
	return err
}
