package modules

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/fault"
)

// Faults of a module that misbehaves.
var (
	ErrPanic   = fault.Define("module_panic", fault.Internal, "A module panicked; the call failed and nothing else.")
	ErrTimeout = fault.Define("module_timeout", fault.Timeout, "A module did not answer within its budget.")

	// ErrUnpriced is of a module that asks nothing for its promises.
	ErrUnpriced = fault.Define("module_unpriced", fault.NotFound, "The module that serves this commitment type names no price: its promises are free.")
)

// Budgets says how long each call of a module may take; 0 sets no limit. A price
// has the time of a draft.
type Budgets struct {
	Slot, Commit, Verify, Audit time.Duration
}

// WithRecovery returns m with its panics turned into ErrPanic and logged.
func WithRecovery(m Module, log *slog.Logger) Module {
	return &around{m, m.Info(), func(ctx context.Context, op operation, do func(context.Context) error) (err error) {
		defer func() {
			if p := recover(); p != nil {
				log.Error("Module panicked", "module", m.Info().ID, "operation", op.String(), "panic", p, "stack", string(debug.Stack()))
				err = ErrPanic.With("%s of module %s", op, m.Info().ID)
			}
		}()
		return do(ctx)
	}}
}

// WithTimeout returns m with a deadline on every call; a call that fails because
// time ran out, the budget's or the caller's, fails with ErrTimeout. It relies on
// m to heed its context, as package moduletest demands.
func WithTimeout(m Module, b Budgets) Module {
	budgets := [...]time.Duration{opSlot: b.Slot, opCommit: b.Commit, opVerify: b.Verify, opAudit: b.Audit, opPrice: b.Commit}
	return &around{m, m.Info(), func(ctx context.Context, op operation, do func(context.Context) error) error {
		if d := budgets[op]; d > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, d)
			defer cancel()
		}
		err := ctx.Err()
		if err == nil {
			err = do(ctx)
		}
		if err != nil && (errors.Is(err, context.DeadlineExceeded) || errors.Is(ctx.Err(), context.DeadlineExceeded)) {
			return ErrTimeout.Wrap(err)
		}
		return err
	}}
}

// RunnerOf returns the Runner in m, however decorated.
func RunnerOf(m Module) (Runner, bool) {
	for {
		if r, ok := m.(Runner); ok {
			return r, true
		}
		a, ok := m.(*around)
		if !ok {
			return nil, false
		}
		m = a.inner
	}
}

// operation is one of a module's calls.
type operation int

const (
	opSlot operation = iota
	opCommit
	opVerify
	opAudit
	opPrice
)

func (o operation) String() string {
	return [...]string{"slot", "commit", "verify", "audit", "price"}[o]
}

// around is a module with something done around every call.
type around struct {
	inner Module
	info  Info
	call  func(ctx context.Context, op operation, do func(context.Context) error) error
}

func (a *around) Info() Info { return a.info }

func (a *around) Slot(ctx context.Context, req commitments.Request) (slot phase0.Slot, err error) {
	err = a.call(ctx, opSlot, func(ctx context.Context) (err error) {
		slot, err = a.inner.Slot(ctx, req)
		return err
	})
	return slot, err
}

func (a *around) Commit(ctx context.Context, view commitments.View, req commitments.Request) (d commitments.Draft, err error) {
	err = a.call(ctx, opCommit, func(ctx context.Context) (err error) {
		d, err = a.inner.Commit(ctx, view, req)
		return err
	})
	return d, err
}

func (a *around) Verify(ctx context.Context, page commitments.Page, cand commitments.Candidate) error {
	return a.call(ctx, opVerify, func(ctx context.Context) error { return a.inner.Verify(ctx, page, cand) })
}

func (a *around) Audit(ctx context.Context, page commitments.Page, block commitments.Block) (v []commitments.Verdict, err error) {
	err = a.call(ctx, opAudit, func(ctx context.Context) (err error) {
		v, err = a.inner.Audit(ctx, page, block)
		return err
	})
	return v, err
}

// Price asks the module, if it is a Pricer. Fault: ErrUnpriced, if it is not.
func (a *around) Price(ctx context.Context, view commitments.View, req commitments.Request) (p commitments.Price, err error) {
	inner, ok := a.inner.(Pricer)
	if !ok {
		return p, ErrUnpriced.With("module %s", a.info.ID)
	}
	err = a.call(ctx, opPrice, func(ctx context.Context) (err error) {
		p, err = inner.Price(ctx, view, req)
		return err
	})
	return p, err
}
