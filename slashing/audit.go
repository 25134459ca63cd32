// Package slashing judges our own blocks against what we promised for them.
//
// It promises that every promise gets a verdict, in the ledger, once its block
// can be read, and that silence is never one: a node that does not answer
// leaves the promise unjudged. It signs nothing and never changes a promise.
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
	// Beacon knows the canonical block of a slot, or that there is none.
	Beacon interface {
		Block(ctx context.Context, slot phase0.Slot) (beacon.BlockInfo, error)
	}
	// Execution reads a block with its transactions.
	Execution interface {
		BlockByHash(ctx context.Context, hash phase0.Hash32) (commitments.Block, error)
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

	// After is how many slots after its own a page is judged, so that late
	// blocks and short reorganisations are over. Default 2.
	After uint64

	Log     *slog.Logger // Optional.
	Metrics *Metrics     // Optional.
}

// Auditor judges the pages whose slots have passed.
type Auditor struct {
	Config
	first phase0.Slot // no page of an earlier slot is unjudged; Run's own
	tries map[commitments.PageID]try
}

// try is a page that could not be judged.
type try struct {
	next time.Time
	wait time.Duration
}

// New checks c and fills in its defaults.
func New(c Config) (*Auditor, error) {
	if c.Clock == nil || c.Book == nil || c.Signer == nil || c.Module == nil || c.Beacon == nil || c.Execution == nil {
		return nil, errors.New("auditor: clock, book, signer, module, beacon and execution are required")
	}
	if c.After == 0 {
		c.After = 2
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Auditor{Config: c, tries: map[commitments.PageID]try{}}, nil
}

// Run judges at every slot, and again whatever could not be judged before,
// until ctx ends. It then returns nil.
func (a *Auditor) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		again := a.round(ctx)
		wait := a.Clock.Until(a.Clock.Start(a.Clock.Slot() + 1))
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

// round judges every page that is due, and returns when the next retry is.
func (a *Auditor) round(ctx context.Context) (again time.Time) {
	now := a.Clock.Slot()
	first, open := now, 0
	for _, p := range a.Book.Pages(a.first) {
		due := len(unjudged(p))
		if due == 0 {
			continue
		}
		open += due
		first = min(first, p.Slot)
		if uint64(p.Slot)+a.After >= uint64(now) || ctx.Err() != nil { // slot + After must have passed
			continue
		}
		t := a.tries[p.PageID]
		if a.Clock.Until(t.next) <= 0 {
			if t = a.attempt(ctx, p, t); t.next.IsZero() {
				open -= due
				continue
			}
		}
		if again.IsZero() || t.next.Before(again) {
			again = t.next
		}
	}
	a.first = first
	a.Metrics.unjudged(open)
	return again
}

// attempt judges one page; the zero try means that it is done.
func (a *Auditor) attempt(ctx context.Context, p commitments.Page, before try) try {
	ctx, cancel := context.WithTimeout(ctx, auditTimeout)
	defer cancel()
	err := a.judge(ctx, p)
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

// judge asks for the block of a page, has its module judge it, and writes the
// verdicts down. A verdict written twice is the same verdict: after a crash
// here, the rest of the page is judged again.
func (a *Auditor) judge(ctx context.Context, p commitments.Page) error {
	block, err := a.block(ctx, p.Slot)
	if err != nil {
		return err
	}
	verdicts, err := a.Module.Audit(ctx, p, block)
	if err != nil {
		return err
	}
	open := unjudged(p)
	known := map[phase0.Hash32]bool{}
	for i := range p.Promises {
		known[p.Promises[i].Commitment.RequestHash] = true
	}
	for _, v := range verdicts {
		if !known[v.RequestHash] {
			return ErrVerdict.With("a request hash that is not on the page of slot %d", p.Slot)
		}
		if !open[v.RequestHash] || v.Outcome == commitments.Unknown || v.Outcome > commitments.Excused {
			continue
		}
		if err := a.record(ctx, p.PageID, v); err != nil {
			return err
		}
		delete(open, v.RequestHash)
	}
	if len(open) > 0 {
		return ErrUndecided.With("%d promises of slot %d have no verdict", len(open), p.Slot)
	}
	return nil
}

// block reads the canonical block of a slot, from both sides of the node.
func (a *Auditor) block(ctx context.Context, slot phase0.Slot) (commitments.Block, error) {
	info, err := a.Beacon.Block(ctx, slot)
	switch {
	case err != nil:
		return commitments.Block{}, err
	case info.Slot != slot:
		return commitments.Block{}, ErrUndecided.With("block of slot %d, asked for %d", info.Slot, slot)
	case info.Missed:
		return commitments.Block{Slot: slot, Missed: true}, nil
	case info.Optimistic:
		return commitments.Block{}, ErrUndecided.With("the block of slot %d is not verified yet", slot)
	}
	b, err := a.Execution.BlockByHash(ctx, info.ExecutionHash)
	if err != nil {
		return commitments.Block{}, err
	}
	if b.Hash != info.ExecutionHash {
		return commitments.Block{}, ErrUndecided.With("the execution node answered with another block than that of slot %d", slot)
	}
	b.Slot = slot
	return b, nil
}

func (a *Auditor) record(ctx context.Context, id commitments.PageID, v commitments.Verdict) error {
	if err := a.Signer.Note(ctx, id, ledger.Entry{Kind: ledger.KindVerdict, Module: moduleName, Verdict: &v}); err != nil {
		return err
	}
	a.Metrics.judged(v.Outcome)
	level := slog.LevelInfo
	switch v.Outcome {
	case commitments.Broken:
		level = slog.LevelError
	case commitments.Excused:
		level = slog.LevelWarn
	}
	a.Log.Log(ctx, level, "Promise judged", "slot", uint64(id.Slot), "outcome", v.Outcome.String(), "reason", v.Reason, "request_hash", v.RequestHash.String())
	return nil
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

// unjudged is the set of promises on a page without a final verdict.
func unjudged(p commitments.Page) map[phase0.Hash32]bool {
	var open map[phase0.Hash32]bool
	for i := range p.Promises {
		hash := p.Promises[i].Commitment.RequestHash
		if v, ok := latest(p, hash); ok && v.Outcome != commitments.Unknown {
			continue
		}
		if open == nil {
			open = map[phase0.Hash32]bool{}
		}
		open[hash] = true
	}
	return open
}
