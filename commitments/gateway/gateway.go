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
	"fmt"
	"log/slog"
	"runtime/debug"
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
	"sidecar/internal/quota"
	"sidecar/modules"
)

// Faults of this package.
var (
	ErrNotOurs   = fault.Define("not_our_slot", fault.Rejected, "None of our validators proposes in a slot this request can use.")
	ErrTooLate   = fault.Define("too_late", fault.Rejected, "The slot no longer takes commitments.")
	ErrTooEarly  = fault.Define("too_early", fault.Rejected, "The slot is too far ahead to take commitments.")
	ErrNoPath    = fault.Define("no_path", fault.Rejected, "No relay or builder at hand is proven to take the constraints that would keep this promise, and to prove its bids.")
	ErrSlasher   = fault.Define("slasher_refused", fault.Rejected, "The request names a contract as its slasher that the operator does not promise under.")
	ErrExclusive = fault.Define("sold_elsewhere", fault.Rejected, "The validator's slots are sold through another protocol and never promised here.")
	ErrForeign   = fault.Define("foreign_delegation", fault.Rejected, "The validator's key delegated this slot to someone else: the slot is stopped, and the key may be in use in two places.")
	ErrFullGas   = fault.Define("slot_full_gas", fault.Rejected, "The slot has no gas left for this request.")
	ErrFullBytes = fault.Define("slot_full_bytes", fault.Rejected, "The slot has no bytes left for this request.")
	ErrFullCount = fault.Define("slot_full_count", fault.Rejected, "The slot holds as many promises as it may.")
	ErrNoPromise = fault.Define("commitment_not_found", fault.NotFound, "No promise answers this request hash.")
	ErrBusy      = fault.Define("gateway_busy", fault.Busy, "The gateway works on as many requests as it may.")
	ErrHolding   = fault.Define("holding", fault.Unavailable, "The gateway promises nothing for this slot: another copy of its ledger may have.")
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
		Recent(requestHash phase0.Hash32) (commitments.Promise, commitments.PageID, bool) // Find in memory
		Version() uint64                                                                  // grows with every change
	}
)

// Config is what New needs.
type Config struct {
	Spec  chain.Spec
	Clock *chain.Clock

	// Lead is how long before its slot a page closes, unless its path wants the
	// constraints earlier. Default: 4 s, or a third of a slot if that is less.
	Lead time.Duration
	// PostsEnd is how long before the slot the last attempt begins to hand over
	// constraints. Default: 500 ms, or a quarter of the least lead if that is less.
	PostsEnd time.Duration
	// MinAcks is how many targets must be a path for a page, and must take its
	// constraints. Default 1.
	MinAcks int
	// MaxUnproven is for how many slots a relay may return unproven bids before it
	// is no path any more. Default 2; negative: any number.
	MaxUnproven   int
	MaxSlotsAhead uint64           // default 64
	Limit         commitments.Cost // of all promises of one slot
	// GasPercent of the gas limit at the slot is the limit of gas, in place of
	// Limit.Gas, once Head tells a gas limit. Head returns the latest execution block
	// that is known and never waits. Optional.
	GasPercent uint64
	Head       func() (modules.Head, bool)
	MaxCount   int // promises of one slot; default 128
	// MaxRequests is how many API calls run at a time. As many requests for promises
	// may wait for half a second, those that offer most first; others are ErrBusy.
	// Default 128.
	MaxRequests int
	// MaxSubscribers is how many may be told what becomes of requests as it
	// happens. Default 256.
	MaxSubscribers int
	Access         Access // of callers. Optional

	Modules  func() []modules.Module // the first that serves a type gets its requests
	Signer   Signer
	Schedule Schedule
	Views    Views
	Targets  func() []Target // all of them, each once
	// TargetsFor are those that serve a proposer: no other may hear of its
	// slots, and no other's bid would be taken. Default: Targets.
	TargetsFor func(proposer phase0.BLSPubKey) []Target
	// Slashers are the contracts that promises may name, beside the zero address.
	// Optional: without any, whatever a request says.
	Slashers []bellatrix.ExecutionAddress
	// ReceiversFor are the builders that may see a proposer's constraints before the
	// block; empty: anybody may. Optional.
	ReceiversFor func(proposer phase0.BLSPubKey) []phase0.BLSPubKey
	// SignatureForm is how the answers to callers write committers' signatures.
	// Default commitments.FormV27.
	SignatureForm commitments.SignatureForm
	// Collateral is what is known of what is at stake. It waits for nothing. Optional.
	Collateral func() commitments.Collateral
	// Exclusive names the protocol that a proposer's slots are sold through
	// elsewhere; "" if none. Optional.
	Exclusive func(proposer phase0.BLSPubKey) string

	// Events of our slots: what the ledger does not tell of a promise's life.
	// Optional.
	Events modules.Events

	Delegate  phase0.BLSPubKey // the proxy key that promises
	Committer bellatrix.ExecutionAddress
	// Parties says who promises for a proposer; without a delegate, the two above
	// do. Optional.
	Parties func(proposer phase0.BLSPubKey) Party
	// SigningID is that of all the gateway has signed: delegations, constraints and
	// promises. A contract that judges promises knows one. It must not be a module's:
	// whoever has blind roots signed under it could promise anything. Nonces are
	// slots, of promises ledger positions; numbers in the messages keep them apart.
	SigningID phase0.Root

	Quoter Quoter // Optional: without one there are no quotes.
	// Holds says whether nothing new is promised for a slot whatever is offered: no
	// price is named for it. Optional.
	Holds   func(phase0.Slot) bool
	Log     *slog.Logger // Optional.
	Metrics *Metrics     // Optional.
}

// Gateway makes promises and sends what keeps them.
type Gateway struct {
	Config
	domain                 phase0.Domain
	paths                  *paths
	standing               *standing
	leastLead              time.Duration  // of any target, when New was called
	places                 *quota.Places  // MaxRequests
	line                   *quota.Line    // before them, as long again
	buckets                *quota.Buckets // of callers
	diary                  *diary
	hub                    *hub
	flights                singleflight.Group // delegations being made, by page
	draining               atomic.Bool
	quotes                 quotes
	writeWithin, heartbeat time.Duration // of subscribers
	waitFor                time.Duration // in the line

	mu      sync.Mutex      // over the rest, but wg
	work    context.Context // of everything in the background; Run ends it
	cancel  context.CancelFunc
	ended   bool
	wg      sync.WaitGroup
	sending map[commitments.PageID]bool   // pages whose constraints are under way or done
	shut    map[commitments.PageID]bool   // pages that reached their cut-off
	foreign map[commitments.PageID]string // pages that another delegate holds, and the relay that said so
	states  map[string]string             // why each target was no path when last seen
}

// New checks c and fills in its defaults.
func New(c Config) (*Gateway, error) {
	if c.Clock == nil || c.Modules == nil || c.Signer == nil || c.Schedule == nil || c.Views == nil || c.Targets == nil {
		return nil, errors.New("gateway: clock, modules, signer, schedule, views and targets are required")
	}
	if c.Delegate.IsZero() {
		return nil, errors.New("gateway: no delegate key")
	}
	for _, m := range c.Modules() {
		if id := m.Info().SigningID; id == c.SigningID || id == commitments.QuoteSigningID {
			return nil, errors.New("gateway: module " + m.Info().ID + " has the gateway's signing id")
		}
	}
	if c.TargetsFor == nil {
		c.TargetsFor = func(phase0.BLSPubKey) []Target { return c.Targets() }
	}
	c.MinAcks = max(c.MinAcks, 1)
	if c.MaxUnproven == 0 {
		c.MaxUnproven = 2
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
		c.MaxRequests = 128
	}
	if c.MaxSubscribers <= 0 {
		c.MaxSubscribers = 256
	}
	if c.Access.ForwardedHeader == "" {
		c.Access.ForwardedHeader = "X-Forwarded-For"
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	g := &Gateway{
		Config: c, domain: c.Spec.Domain(chain.DomainCommitBoost), paths: newPaths(c.Clock, c.Spec.SlotDuration), standing: newStanding(c.MaxUnproven),
		places: quota.NewPlaces(c.MaxRequests), buckets: quota.NewBuckets(maxCallers), diary: newDiary(c.Clock), hub: newHub(c.MaxSubscribers), writeWithin: writeWithin, heartbeat: heartbeat, waitFor: queueFor,
		sending: map[commitments.PageID]bool{}, shut: map[commitments.PageID]bool{},
		foreign: map[commitments.PageID]string{}, leastLead: c.Lead,
	}
	for _, t := range c.Targets() {
		if t.Lead > 0 {
			g.leastLead = min(g.leastLead, t.Lead)
		}
	}
	if g.PostsEnd <= 0 {
		g.PostsEnd = 500 * time.Millisecond
	}
	g.PostsEnd = min(g.PostsEnd, g.leastLead/4)
	g.line = quota.NewLine(g.places, c.MaxRequests)
	g.work, g.cancel = context.WithCancel(context.Background())
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
	if g.ended {
		return false
	}
	work := g.work
	g.wg.Go(func() { _ = g.contain(func() error { f(work); return nil }) })
	return true
}

// contain runs f. A panic, which a bug of ours could be that a hostile relay has
// found, ends f, and not the process: the Builder API is in it.
func (g *Gateway) contain(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			g.Log.Error("Work in the background panicked", "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return f()
}

// begun lets Run begin again after it ended before its time, as after a panic:
// what it began is over, and the pages that it had under way are not.
func (g *Gateway) begun() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended {
		g.ended = false
		g.work, g.cancel = context.WithCancel(context.Background())
		clear(g.sending)
	}
}

// stop ends what spawn began, and waits for it.
func (g *Gateway) stop() {
	g.mu.Lock()
	g.ended = true
	cancel := g.cancel
	g.mu.Unlock()
	cancel()
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

// Settles is how long before its slot a page has changed for the last time: half
// the least lead. What is not on disk by then is not signed any more, for a header
// may be served for the slot from then on, from a page that does not show it.
func (g *Gateway) Settles() time.Duration { return g.leastLead / 2 }

func (g *Gateway) settled(slot phase0.Slot) time.Time { return g.Clock.Start(slot).Add(-g.Settles()) }
