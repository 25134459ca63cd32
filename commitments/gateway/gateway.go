// Package gateway serves the Commitments API to searchers, and sends the
// constraints that keep our word to the relays.
//
// It promises an answer only after the promise and its signature are on disk,
// never more than a slot's limits, and one constraints message per page, the
// same bytes however often it is sent. It holds no key and no durable state,
// and calls no module under the ledger's lock.
package gateway

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"golang.org/x/sync/singleflight"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/fault"
	"sidecar/internal/ledger"
	"sidecar/modules"
)

// Faults of this package.
var (
	ErrNotOurs   = fault.Define("not_our_slot", fault.Rejected, "None of our validators proposes in a slot this request can use.")
	ErrTooLate   = fault.Define("too_late", fault.Rejected, "The slot no longer takes commitments.")
	ErrTooEarly  = fault.Define("too_early", fault.Rejected, "The slot is too far ahead to take commitments.")
	ErrNoPath    = fault.Define("no_path", fault.Rejected, "No relay at hand honours the constraints that would keep this promise.")
	ErrFullGas   = fault.Define("slot_full_gas", fault.Rejected, "The slot has no gas left for this request.")
	ErrFullBytes = fault.Define("slot_full_bytes", fault.Rejected, "The slot has no bytes left for this request.")
	ErrFullCount = fault.Define("slot_full_count", fault.Rejected, "The slot holds as many promises as it may.")
	ErrNoPromise = fault.Define("commitment_not_found", fault.NotFound, "No promise answers this request hash.")
	ErrBusy      = fault.Define("gateway_busy", fault.Busy, "The gateway works on as many requests as it may.")
	ErrDraining  = fault.Define("draining", fault.Unavailable, "The gateway is shutting down and makes no new promises.")
)

// What a decision under the lock says to this package, and to no one else.
var (
	errOvertaken  = errors.New("overtaken")       // ask the module again
	errNoPromises = errors.New("nothing to send") // the page promises nothing
)

const (
	moduleName     = "gateway"       // who signs delegations and constraints, for policy
	requestTimeout = 2 * time.Second // of one API call
	farthest       = 8192            // bounds MaxSlotsAhead
)

// What the gateway needs, and nothing more.
type (
	// Signer is the only road to a signature.
	Signer interface {
		Sign(ctx context.Context, id commitments.PageID, decide func(commitments.View) (ledger.Entry, error)) (ledger.Receipt, error)
		Note(ctx context.Context, id commitments.PageID, e ledger.Entry) error
	}
	// Schedule knows which of our validators propose. Ready returns why it may
	// not be relied on now.
	Schedule interface {
		Ready() error
		Proposer(slot phase0.Slot) (phase0.BLSPubKey, phase0.ValidatorIndex, bool)
	}
	// Views reads the ledger.
	Views interface {
		View(id commitments.PageID) commitments.View
		Page(id commitments.PageID) commitments.Page
		Pages(first phase0.Slot) []commitments.Page
		Find(requestHash phase0.Hash32) (commitments.Promise, commitments.PageID, bool)
	}
	// Relay is where delegations and constraints go.
	Relay interface {
		Name() string
		HonoursConstraints() bool
		Capabilities(ctx context.Context) ([]uint64, error)
		PostDelegation(ctx context.Context, d commitments.SignedDelegation) error
		PostConstraints(ctx context.Context, s commitments.SignedConstraints) error
	}
)

// Config is what New needs.
type Config struct {
	Spec  chain.Spec
	Clock *chain.Clock

	// Lead is how long before its slot a page closes. Default: 4 s, or a third
	// of a slot if that is less.
	Lead          time.Duration
	MaxSlotsAhead uint64           // default 64
	Limit         commitments.Cost // of all promises of one slot
	// GasPercent of the gas limit at the slot is the limit of gas, in place of
	// Limit.Gas, once Head tells a gas limit. Head returns the latest execution block
	// that is known and never waits. Optional.
	GasPercent uint64
	Head       func() (modules.Head, bool)
	MaxCount      int              // promises of one slot; default 128
	MaxRequests   int              // API calls at a time; one more is ErrBusy. Default 64

	Modules  func() []modules.Module // the first that serves a type gets its requests
	Signer   Signer
	Schedule Schedule
	Views    Views
	Relays   func() []Relay // all of them, each once
	// RelaysFor are those that serve a proposer: no other may hear of its
	// slots, and no other's bid would be taken. Default: Relays.
	RelaysFor func(proposer phase0.BLSPubKey) []Relay

	Delegate  phase0.BLSPubKey // the proxy key that promises
	Committer bellatrix.ExecutionAddress
	// SigningID is that of delegations and constraints messages. It must not be
	// a module's: their nonces are slots, a module's are ledger positions.
	SigningID phase0.Root

	Quoter  Quoter       // Optional: without one there are no quotes.
	Log     *slog.Logger // Optional.
	Metrics *Metrics     // Optional.
}

// Gateway makes promises and sends what keeps them.
type Gateway struct {
	Config
	domain   phase0.Domain
	paths    *paths
	slots    chan struct{}      // cap MaxRequests
	flights  singleflight.Group // delegations being made, by page
	draining atomic.Bool
	quotes   quotes

	work    context.Context // of everything in the background; Run ends it
	cancel  context.CancelFunc
	mu      sync.Mutex // over stopped and sending
	stopped bool
	wg      sync.WaitGroup
	sending map[commitments.PageID]bool // pages whose constraints are under way or done
}

// New checks c and fills in its defaults.
func New(c Config) (*Gateway, error) {
	if c.Clock == nil || c.Modules == nil || c.Signer == nil || c.Schedule == nil || c.Views == nil || c.Relays == nil {
		return nil, errors.New("gateway: clock, modules, signer, schedule, views and relays are required")
	}
	if c.Delegate.IsZero() {
		return nil, errors.New("gateway: no delegate key")
	}
	for _, m := range c.Modules() {
		if id := m.Info().SigningID; id == c.SigningID || id == commitments.QuoteSigningID {
			return nil, errors.New("gateway: module " + m.Info().ID + " has the gateway's signing id")
		}
	}
	if c.RelaysFor == nil {
		c.RelaysFor = func(phase0.BLSPubKey) []Relay { return c.Relays() }
	}
	if c.Lead <= 0 {
		c.Lead = min(4*time.Second, c.Spec.SlotDuration/3)
	}
	if c.MaxSlotsAhead == 0 {
		c.MaxSlotsAhead = 64
	}
	c.MaxSlotsAhead = min(c.MaxSlotsAhead, farthest)
	if c.MaxCount <= 0 {
		c.MaxCount = 128
	}
	if c.MaxRequests <= 0 {
		c.MaxRequests = 64
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	g := &Gateway{
		Config: c, domain: c.Spec.Domain(chain.DomainCommitBoost), paths: newPaths(c.Clock, c.Spec.SlotDuration),
		slots: make(chan struct{}, c.MaxRequests), sending: map[commitments.PageID]bool{},
	}
	g.work, g.cancel = context.WithCancel(context.Background())
	g.paths.spawn = g.spawn
	return g, nil
}

// Drain refuses new promises from here on; old answers are still given, and
// constraints still sent until Run ends.
func (g *Gateway) Drain() { g.draining.Store(true) }

// spawn runs f in the background. Run waits for it. It returns false, and does
// nothing, once Run has ended.
func (g *Gateway) spawn(f func(ctx context.Context)) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stopped {
		return false
	}
	g.wg.Go(func() { f(g.work) })
	return true
}

// stop ends what spawn began, and waits for it.
func (g *Gateway) stop() {
	g.mu.Lock()
	g.stopped = true
	g.mu.Unlock()
	g.cancel()
	g.wg.Wait()
}

// module returns the module that serves a commitment type.
func (g *Gateway) module(t uint64) (modules.Module, modules.Info, error) {
	for _, m := range g.Modules() {
		if info := m.Info(); slices.Contains(info.CommitmentTypes, t) {
			return m, info, nil
		}
	}
	return nil, modules.Info{}, modules.ErrUnknownType.With("type %d", t)
}

// cutoff is when the page of a slot closes.
func (g *Gateway) cutoff(slot phase0.Slot) time.Time { return g.Clock.Start(slot).Add(-g.Lead) }

// Settles is how long before its slot a page has changed for the last time: half
// the lead. What is not on disk by then is not signed any more, for a header may
// be served for the slot from then on, from a page that does not show it.
func (g *Gateway) Settles() time.Duration { return g.Lead / 2 }

func (g *Gateway) settled(slot phase0.Slot) time.Time { return g.Clock.Start(slot).Add(-g.Settles()) }

// closed says whether the page of a slot has reached its cut-off.
func (g *Gateway) closed(slot phase0.Slot) bool { return g.Clock.Into(slot) >= -g.Lead }
