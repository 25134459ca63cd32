// Package remote carries the Module interface over HTTP and JSON: Dial is the
// sidecar's side, Serve the module's. The schema is in docs/modules.md.
//
// It promises that a module in another process costs its own promises at worst:
// every call ends by its budget, every answer is bounded and checked before it is
// believed, faults cross by code (errors.Is holds), and a module that is down is
// refused at once, by name. It keeps no state but whether the module answers.
package remote

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/fault"
	"sidecar/internal/fetch"
	"sidecar/modules"
)

// Faults of a module in another process.
var (
	ErrUnreachable = fault.Define("module_unreachable", fault.Upstream, "A remote module cannot be talked to: it does not listen, hangs up, or has not answered its health check.")
	ErrAnswer      = fault.Define("module_answer_invalid", fault.Upstream, "A remote module's answer is not what docs/modules.md says, or is too large.")
	ErrFailed      = fault.Define("module_failed", fault.Upstream, "A remote module answered with an error that names no reason.")
	ErrVersion     = fault.Define("module_mismatch", fault.Upstream, "A remote module speaks another version, or serves other types than the configuration says.")
	ErrSecret      = fault.Define("module_secret_refused", fault.Upstream, "A remote module does not take our secret.")
	ErrAskTooLarge = fault.Define("module_ask_too_large", fault.Unavailable, "A page is larger than what may be sent to a remote module.")
)

// Version is the version of the schema that this package speaks.
const Version = 1

// Limits and defaults.
const (
	MaxAsk    = 64 << 20 // bytes of what is sent to a module: a block's transactions in hexadecimal
	MaxAnswer = 8 << 20  // bytes of what it may answer

	minSecret = 16 // characters
	maxCodes  = 64 // reasons of one module that we remember; more are ErrFailed

	probeEvery   = 500 * time.Millisecond
	probeTimeout = time.Second
)

// DefaultBudgets bound the calls of a module. Verify is on the path of a
// proposal; the Builder API bounds it again, by what is left of its own time.
var DefaultBudgets = modules.Budgets{Slot: 100 * time.Millisecond, Commit: time.Second, Verify: 100 * time.Millisecond, Audit: 10 * time.Second}

// Config is what Dial and New need.
type Config struct {
	// ID and SigningID are the module's in our file. Without an ID the module's
	// own name is taken.
	ID        string
	SigningID phase0.Root

	URL    string // http or https; /module/v1/… is appended. Required.
	Secret Secret // shared with the module, at least 16 characters. Required.

	// CommitmentTypes are what the module may promise, ConstraintTypes what it
	// may ask of builders. New requires them: they hold while the module is down.
	// Dial takes the module's own if there are none.
	CommitmentTypes, ConstraintTypes []uint64

	// Events of our slots, which the module is told while Run runs, if it takes
	// them. Optional.
	Events modules.Events

	Budgets   modules.Budgets // of each call; a zero is its DefaultBudgets
	MaxAsk    int64           // bytes; default MaxAsk
	MaxAnswer int64           // bytes; default MaxAnswer
	Clock     *chain.Clock    // tells the module how long it has. Optional.
	Log       *slog.Logger    // Optional.
}

// Dial asks the module who it is and returns it. Faults: those of New, and of a
// module that cannot be talked to.
func Dial(ctx context.Context, c Config) (modules.Module, error) {
	m, err := newClient(c)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	said, err := m.ask(ctx)
	if err != nil {
		return nil, err
	}
	if m.info.ID == "" {
		m.info.ID = said.ID
	}
	if len(m.info.CommitmentTypes) == 0 {
		m.info.CommitmentTypes, m.info.ConstraintTypes = said.CommitmentTypes, said.ConstraintTypes
	}
	if err := m.agree(said); err != nil {
		return nil, err
	}
	m.state.Store(&state{})
	return modules.WithTimeout(m, m.budgets), nil
}

// New returns the module without asking it: it may be started later. The result
// is a modules.Runner that watches it. Errors: a config that is wrong.
func New(c Config) (modules.Module, error) {
	if c.ID == "" || len(c.CommitmentTypes) == 0 {
		return nil, errors.New("remote module: id and commitment types are required")
	}
	m, err := newClient(c)
	if err != nil {
		return nil, err
	}
	return modules.WithTimeout(m, m.budgets), nil
}

// client is a module in another process. Its methods may be called from any
// goroutine.
type client struct {
	base    string
	secret  Secret
	info    modules.Info // constant once Dial or New returned
	budgets modules.Budgets
	limits  struct{ ask, answer int64 }
	clock   *chain.Clock
	log     *slog.Logger

	// Verify has connections of its own: a flood of requests must not keep a
	// proposal waiting for one. So have events, and only one.
	verify, others, telling *http.Client
	events                  modules.Events // nil: none are told

	state   atomic.Pointer[state] // nil: not known, ask before the next call
	shaking chan struct{}         // holds one token: one handshake at a time

	mu    sync.Mutex
	codes map[string]bool // reasons the module has given; under mu
}

// state is what the last handshake said: nil is up.
type state struct{ down error }

var (
	_ modules.Module = (*client)(nil)
	_ modules.Runner = (*client)(nil)
)

func newClient(c Config) (*client, error) {
	u, err := url.Parse(c.URL)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "", u.User != nil, u.RawQuery != "", u.Fragment != "":
		return nil, errors.New("remote module: the URL is not http or https with a host and nothing but a path")
	case len(c.Secret) < minSecret:
		return nil, fmt.Errorf("remote module: the secret has fewer than %d characters", minSecret)
	}
	m := &client{
		base: strings.TrimRight(c.URL, "/") + path, secret: c.Secret, budgets: orDefault(c.Budgets), log: c.Log,
		info:    modules.Info{ID: c.ID, SigningID: c.SigningID, CommitmentTypes: slices.Clone(c.CommitmentTypes), ConstraintTypes: slices.Clone(c.ConstraintTypes)},
		shaking: make(chan struct{}, 1), codes: map[string]bool{}, events: c.Events,
	}
	m.limits.ask, m.limits.answer = c.MaxAsk, c.MaxAnswer
	if m.limits.ask <= 0 {
		m.limits.ask = MaxAsk
	}
	if m.limits.answer <= 0 {
		m.limits.answer = MaxAnswer
	}
	if m.clock = c.Clock; m.clock == nil {
		m.clock = chain.NewClock(chain.Spec{}, nil)
	}
	if m.log == nil {
		m.log = slog.New(slog.DiscardHandler)
	}
	longest := max(m.budgets.Slot, m.budgets.Commit, m.budgets.Verify, m.budgets.Audit, probeTimeout) + time.Second
	m.verify = fetch.New(fetch.Options{Timeout: longest, MaxConnsPerHost: 4})
	m.others = fetch.New(fetch.Options{Timeout: longest, MaxConnsPerHost: 16})
	m.telling = fetch.New(fetch.Options{Timeout: tellTimeout + time.Second, MaxConnsPerHost: 1})
	return m, nil
}

func orDefault(b modules.Budgets) modules.Budgets {
	for _, d := range []struct {
		to *time.Duration
		by time.Duration
	}{{&b.Slot, DefaultBudgets.Slot}, {&b.Commit, DefaultBudgets.Commit}, {&b.Verify, DefaultBudgets.Verify}, {&b.Audit, DefaultBudgets.Audit}} {
		if *d.to <= 0 {
			*d.to = d.by
		}
	}
	return b
}

// Info is what the configuration says of the module.
func (m *client) Info() modules.Info { return m.info }

// Slot asks the module. Faults: the module's, this package's.
func (m *client) Slot(ctx context.Context, req commitments.Request) (phase0.Slot, error) {
	var out slotAnswer
	if err := m.call(ctx, m.others, opSlot, slotAsk{Request: req}, &out); err != nil {
		return 0, err
	}
	return out.slot()
}

// Commit sends what the view holds of the module's own types, and checks that
// the draft answers this very request. Faults: the module's, this package's,
// modules.ErrDraft.
func (m *client) Commit(ctx context.Context, view commitments.View, req commitments.Request) (commitments.Draft, error) {
	var out draftAnswer
	hash := req.Hash()
	ask := commitAsk{View: viewOf(view, m.info.CommitmentTypes), Request: req, RequestHash: hash[:]}
	if err := m.call(ctx, m.others, opCommit, ask, &out); err != nil {
		return commitments.Draft{}, err
	}
	d, err := out.draft()
	if err != nil {
		return commitments.Draft{}, err
	}
	if c := &d.Commitment; c.Type != req.Type || c.RequestHash != hash || c.Slasher != req.Slasher {
		return commitments.Draft{}, modules.ErrDraft.With("module %s", m.info.ID)
	}
	return d, nil
}

// Price asks the module what the promise would cost. Faults: the module's, this
// package's, modules.ErrUnpriced.
func (m *client) Price(ctx context.Context, view commitments.View, req commitments.Request) (commitments.Price, error) {
	var out priceAnswer
	hash := req.Hash()
	ask := commitAsk{View: viewOf(view, m.info.CommitmentTypes), Request: req, RequestHash: hash[:]}
	if err := m.call(ctx, m.others, opPrice, ask, &out); err != nil {
		return commitments.Price{}, err
	}
	return out.price()
}

// Verify asks the module about a bid. Faults: the module's, this package's.
func (m *client) Verify(ctx context.Context, page commitments.Page, cand commitments.Candidate) error {
	ask, err := verifyAskOf(page, cand)
	if err != nil {
		return err
	}
	return m.call(ctx, m.verify, opVerify, ask, &struct{}{})
}

// Audit asks the module for its verdicts, which must be of promises on the page,
// each once. Faults: the module's, this package's.
func (m *client) Audit(ctx context.Context, page commitments.Page, block commitments.Block) ([]commitments.Verdict, error) {
	var out auditAnswer
	if err := m.call(ctx, m.others, opAudit, auditAsk{Page: pageOf(page), Block: blockOf(block)}, &out); err != nil {
		return nil, err
	}
	return out.verdicts(page)
}
