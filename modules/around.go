package modules

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/fault"
)

// Faults of a module that misbehaves.
var (
	ErrPanic   = fault.Define("module_panic", fault.Internal, "A module panicked; the call failed and nothing else.")
	ErrTimeout = fault.Define("module_timeout", fault.Timeout, "A module did not answer within its budget.")

	ErrStuck = fault.Define("module_stuck", fault.Timeout, "A module has so many calls that do not end that it is asked nothing more.")

	// ErrUnpriced is of a module that asks nothing for its promises.
	ErrUnpriced = fault.Define("module_unpriced", fault.NotFound, "The module that serves this commitment type names no price: its promises are free.")
)

// Budgets says how long each call of a module may take; 0 sets no limit. A price
// and a review have the time of a draft.
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

// maxStuck is how many calls of one module and one operation may go on after
// nobody waits for them.
const maxStuck = 16

// WithTimeout returns m with a deadline on every call; a call that fails because
// time ran out, the budget's or the caller's, fails with ErrTimeout. A module that
// does not heed its context keeps nobody waiting: its call goes on alone, and when
// maxStuck calls of an operation do so the module is asked for it no more until one
// of them ends.
// What such a call answers in the end is dropped.
func WithTimeout(m Module, b Budgets) Module {
	budgets := [...]time.Duration{opSlot: b.Slot, opCommit: b.Commit, opVerify: b.Verify, opAudit: b.Audit, opPrice: b.Commit, opReview: b.Commit, opOffer: b.Slot}
	// Each operation has its own: requests that do not end must not keep a bid from
	// being verified, or the promises that stand are broken for want of a header.
	var stuck [len(budgets)]atomic.Int32
	return &around{m, m.Info(), func(ctx context.Context, op operation, do func(context.Context) error) error {
		if d := budgets[op]; d > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, d)
			defer cancel()
		}
		err := ctx.Err()
		if err == nil {
			left := &stuck[op]
			if left.Load() >= maxStuck {
				return ErrStuck.With("%s of module %s", op, m.Info().ID)
			}
			err = await(ctx, left, do)
		}
		if err != nil && (errors.Is(err, context.DeadlineExceeded) || errors.Is(ctx.Err(), context.DeadlineExceeded)) {
			return ErrTimeout.Wrap(err)
		}
		return err
	}}
}

// ended is how a call ended: with an error, or a panic and where it came from.
type ended struct {
	err   error
	panic string
}

// await runs do until it ends, or ctx does; what is left behind then counts in
// left until it ends.
func await(ctx context.Context, left *atomic.Int32, do func(context.Context) error) error {
	if ctx.Done() == nil {
		return do(ctx)
	}
	const running, over, abandoned = 0, 1, 2
	var state atomic.Int32
	done := make(chan ended, 1)
	go func() { // nobody can end it but the module itself: that is why it is counted
		var e ended
		defer func() {
			if p := recover(); p != nil {
				e.panic = fmt.Sprintf("%v\n%s", p, debug.Stack())
			}
			if !state.CompareAndSwap(running, over) {
				left.Add(-1)
			}
			done <- e
		}()
		e.err = do(ctx)
	}()
	select {
	case e := <-done:
		if e.panic != "" {
			panic(e.panic)
		}
		return e.err
	case <-ctx.Done():
		left.Add(1)
		if !state.CompareAndSwap(running, abandoned) {
			left.Add(-1) // it ended just now
		}
		return ctx.Err()
	}
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
	opReview
	opOffer
)

func (o operation) String() string {
	return [...]string{"slot", "commit", "verify", "audit", "price", "review", "offer"}[o]
}

// around is a module with something done around every call.
type around struct {
	inner Module
	info  Info
	call  func(ctx context.Context, op operation, do func(context.Context) error) error
}

func (a *around) Info() Info { return a.info }

// answer is what a call answers; the zero value after an error, since a call that
// was left behind may answer later.
func answer[T any](ctx context.Context, a *around, op operation, ask func(context.Context) (T, error)) (T, error) {
	var got, none T
	err := a.call(ctx, op, func(ctx context.Context) error {
		t, err := ask(ctx)
		if err == nil {
			got = t
		}
		return err
	})
	if err != nil {
		return none, err
	}
	return got, nil
}

func (a *around) Slot(ctx context.Context, req commitments.Request) (phase0.Slot, error) {
	return answer(ctx, a, opSlot, func(ctx context.Context) (phase0.Slot, error) { return a.inner.Slot(ctx, req) })
}

func (a *around) Commit(ctx context.Context, view commitments.View, req commitments.Request) (commitments.Draft, error) {
	return answer(ctx, a, opCommit, func(ctx context.Context) (commitments.Draft, error) { return a.inner.Commit(ctx, view, req) })
}

func (a *around) Verify(ctx context.Context, page commitments.Page, cand commitments.Candidate) error {
	return a.call(ctx, opVerify, func(ctx context.Context) error { return a.inner.Verify(ctx, page, cand) })
}

func (a *around) Audit(ctx context.Context, page commitments.Page, block commitments.Block) ([]commitments.Verdict, error) {
	return answer(ctx, a, opAudit, func(ctx context.Context) ([]commitments.Verdict, error) { return a.inner.Audit(ctx, page, block) })
}

// Price asks the module, if it is a Pricer. Fault: ErrUnpriced, if it is not.
func (a *around) Price(ctx context.Context, view commitments.View, req commitments.Request) (commitments.Price, error) {
	inner, ok := a.inner.(Pricer)
	if !ok {
		return commitments.Price{}, ErrUnpriced.With("module %s", a.info.ID)
	}
	return answer(ctx, a, opPrice, func(ctx context.Context) (commitments.Price, error) { return inner.Price(ctx, view, req) })
}
