// Package slashing judges our own blocks against what we promised for them, and
// keeps what shows it.
//
// It promises that every promise gets a verdict, in the ledger, once both nodes
// agree on its block: provisional at the head, then justified, then final, and
// reached anew when the chain changes its mind. Silence is never a verdict. What
// nodes forget is captured at once. It signs nothing and changes no promise.
package slashing

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/fault"
	"sidecar/internal/beacon"
	"sidecar/internal/ledger"
	"sidecar/slashing/evidence"
)

// Faults of this package.
var (
	ErrUndecided = fault.Define("audit_undecided", fault.Unavailable, "The block of a promise cannot be judged yet.")
	ErrVerdict   = fault.Define("audit_verdict_invalid", fault.Internal, "A module judged something it was not asked about, or not all it was.")
)

const (
	moduleName   = "auditor"
	auditTimeout = 15 * time.Second // of one page
	retryFirst   = time.Second
	retryLast    = 5 * time.Minute
)

// What the auditor needs, and nothing more.
type (
	// Book reads the ledger.
	Book interface {
		Pages(first phase0.Slot) []commitments.Page
		Page(id commitments.PageID) commitments.Page
		Find(requestHash phase0.Hash32) (commitments.Promise, commitments.PageID, bool)
	}
	// Notary writes what is not signed into the ledger.
	Notary interface {
		Note(ctx context.Context, id commitments.PageID, e ledger.Entry) error
	}
	// Module judges its commitments.
	Module interface {
		Audit(ctx context.Context, page commitments.Page, block commitments.Block) ([]commitments.Verdict, error)
	}
)

// Config is what New needs.
type Config struct {
	Clock     *chain.Clock
	Spec      chain.Spec
	Book      Book
	Signer    Notary
	Module    Module
	Beacon    Beacon
	Execution Execution

	// After is how many slots after its own a page is first judged. Default 1.
	After uint64

	// Store keeps captures and evidence. Required.
	Store *Store

	Log     *slog.Logger // Optional.
	Metrics *Metrics     // Optional.
}

// Auditor judges the pages whose slots have passed. All but Config belongs to Run.
type Auditor struct {
	Config
	nodes
	rules  *rulebook
	first  phase0.Slot // no page of an earlier slot is unsettled
	tries  map[commitments.PageID]try
	known  map[commitments.PageID]judged
	pruned phase0.Slot // captures of earlier slots are gone
}

// judged is what a page was last judged by, so that nothing is read again while
// that stays canonical.
type judged struct {
	root phase0.Root // of the beacon block; zero: look again
	at   phase0.Slot // when
	done bool        // captured with its child; a fault has its evidence
}

// try is a page that could not be judged.
type try struct {
	next time.Time
	wait time.Duration
}

// New checks c and fills in its defaults.
func New(c Config) (*Auditor, error) {
	if c.Clock == nil || c.Book == nil || c.Signer == nil || c.Module == nil || c.Beacon == nil || c.Execution == nil || c.Store == nil {
		return nil, errors.New("auditor: clock, book, signer, module, beacon, execution and store are required")
	}
	if c.After == 0 {
		c.After = 1
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Auditor{
		Config: c, nodes: nodes{c.Spec, c.Beacon, c.Execution}, rules: &rulebook{spec: c.Spec, node: c.Execution},
		tries: map[commitments.PageID]try{}, known: map[commitments.PageID]judged{},
	}, nil
}

// Run judges in the middle of every slot, when its block is there and no header
// is awaited, and again whatever could not be judged before, until ctx ends. It
// then returns nil.
func (a *Auditor) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		again := a.round(ctx)
		wait := a.Clock.Until(a.Clock.Start(a.Clock.SlotAt(a.Clock.Now().Add(a.Spec.SlotDuration/2)) + 1).Add(-a.Spec.SlotDuration / 2))
		if !again.IsZero() {
			wait = min(wait, a.Clock.Until(again))
		}
		timer := time.NewTimer(max(wait, time.Millisecond))
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
	return nil
}

// round looks at every page that is due, and returns when the next retry is.
func (a *Auditor) round(ctx context.Context) (again time.Time) {
	now := a.Clock.Slot()
	first, open := now, 0
	var final *beacon.Finality
	for _, p := range a.Book.Pages(a.first) {
		left := unsettled(p)
		if left == 0 {
			delete(a.known, p.PageID)
			continue
		}
		first = min(first, p.Slot)
		open += left
		if uint64(p.Slot)+a.After > uint64(now) || ctx.Err() != nil {
			continue
		}
		t := a.tries[p.PageID]
		if a.Clock.Until(t.next) <= 0 {
			t = a.attempt(ctx, p, t, &final)
		}
		if !t.next.IsZero() && (again.IsZero() || t.next.Before(again)) {
			again = t.next
		}
	}
	a.first = first
	a.Metrics.unjudged(open)
	a.prune(first)
	return again
}

// prune forgets captures that no proof can use any more: of slots before the
// first unsettled one, further back than a chain can check.
func (a *Auditor) prune(first phase0.Slot) {
	old := first - min(first, evidence.Window)
	if old >= a.pruned+phase0.Slot(a.Spec.SlotsPerEpoch) {
		a.Store.prune(old)
		a.pruned = old
	}
}

// attempt looks at one page; the zero try means that all that is known by now is
// written down.
func (a *Auditor) attempt(ctx context.Context, p commitments.Page, before try, final **beacon.Finality) try {
	ctx, cancel := context.WithTimeout(ctx, auditTimeout)
	defer cancel()
	err := a.page(ctx, p, final)
	if err == nil {
		delete(a.tries, p.PageID)
		return try{}
	}
	wait := min(max(2*before.wait, min(retryFirst, a.Spec.SlotDuration)), retryLast)
	t := try{a.Clock.Now().Add(wait), wait}
	a.tries[p.PageID] = t
	a.Metrics.failed()
	a.Log.Warn("Promises cannot be judged yet", "slot", uint64(p.Slot), "reason", fault.Code(err), "error", err, "again_in_ms", wait.Milliseconds())
	return t
}

// Result returns the latest verdict on the promise that answers a request;
// false while there is none.
func (a *Auditor) Result(requestHash phase0.Hash32) (commitments.Verdict, bool) {
	_, id, ok := a.Book.Find(requestHash)
	if !ok {
		return commitments.Verdict{}, false
	}
	return latest(a.Book.Page(id), requestHash)
}

// latest returns the last verdict on a promise: a later one, after a
// reorganisation, replaces an earlier.
func latest(p commitments.Page, hash phase0.Hash32) (v commitments.Verdict, ok bool) {
	for i := range p.Verdicts {
		if p.Verdicts[i].RequestHash == hash {
			v, ok = p.Verdicts[i], true
		}
	}
	return v, ok
}

// unsettled counts the promises on a page without a verdict that stays.
func unsettled(p commitments.Page) (n int) {
	for i := range p.Promises {
		if v, ok := latest(p, p.Promises[i].Commitment.RequestHash); !ok || !v.Settled() {
			n++
		}
	}
	return n
}
