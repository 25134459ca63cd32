package ledger

import (
	"errors"
	"fmt"
	"time"

	"sidecar/commitments"
)

// shared is an engine whose ledger several sidecars have open. One of them
// leads: it holds the lease, and only it writes. The others stand by and follow.
// Only the writer calls these.
type shared interface {
	engine
	// tend renews our lease when that is due, takes it when nobody holds it, and
	// returns the head if it looked at it.
	tend() (h head, looked bool, err error)
	// after shows the records behind a number, in order and as they are stored,
	// until show returns errEnough.
	after(record uint64, show func(t index, record []byte) error) error
	// pace is how often tend wants to be called.
	pace() time.Duration
	standing() Standing
	// holds is the hold that all sidecars keep, as tend saw it. vouched says that
	// the operator ended every hold.
	holds() (h Hold, vouched bool)
}

var errEnough = errors.New("enough")

// asideError ends a batch, and not the ledger: memory goes back to what is known
// to be durable, and what was durable after all is found by following.
type asideError struct{ error }

func (e asideError) Unwrap() error { return e.error }

// aside makes a fault end the batch only.
func aside(err error) error { return asideError{err} }

// Standing says what a sidecar may do with its ledger just now.
type Standing struct {
	Leads   bool      // it may write; always, with a ledger of its own
	Holder  string    // who holds the lease of a shared ledger, as far as is known
	Token   uint64    // the fencing token of that lease
	Seen    time.Time // when the database last answered; zero with a ledger of one's own
	Trouble error     // what last kept the database from answering; nil if it answers
}

// Standing returns what this sidecar may do. It reads memory.
func (l *Ledger) Standing() Standing {
	if s, ok := l.engine.(shared); ok {
		st := s.standing()
		st.Leads = st.Leads && l.Poisoned() == nil
		return st
	}
	return Standing{Leads: l.Poisoned() == nil}
}

// tend is what the writer does between batches of a shared ledger.
func (l *Ledger) tend() {
	s, ok := l.engine.(shared)
	if !ok || l.Poisoned() != nil {
		return
	}
	err := guarded(func() error {
		h, looked, err := s.tend()
		if err != nil || !looked {
			return err
		}
		l.heed(s) // before anything is written
		return l.follow(s, h)
	})
	if err != nil {
		_ = l.fail(err) // nobody waits for the answer
	}
	l.meter().leads(s.standing().Leads)
}

// heed keeps the hold that all sidecars keep.
func (l *Ledger) heed(s shared) {
	switch h, vouched := s.holds(); {
	case vouched:
		l.hold.Store(&Hold{})
	case h.Until > l.Hold().Until:
		l.hold.Store(&h)
	}
}

// fail deals with a batch that may not be durable, and returns what its callers
// are told.
func (l *Ledger) fail(err error) error {
	var a asideError
	if errors.As(err, &a) {
		if l.torn { // nobody saw what next holds beyond book, so it never was
			l.next, l.torn = l.book.clone(), false
		}
		return a.error
	}
	// The disk may or may not hold the batch. Only a restart can tell.
	if isPanic(err) {
		l.engine.wedge()
	}
	l.poison.Store(&err)
	l.meter().poisoned()
	return ErrPoisoned.Wrap(err)
}

// follow brings memory up to h, a head that the database showed: by what another
// sidecar wrote, or by a batch of our own of which the outcome was not known.
// The records must continue the chain as it is known here. If they do not, the
// database is not the one it was, and the ledger is poisoned.
func (l *Ledger) follow(s shared, h head) error {
	if h == l.at {
		return nil
	}
	if h.Records <= l.at.Records {
		return ErrBroken.With("the database holds %d records, and not the %d it held", h.Records, l.at.Records)
	}
	at, touched := l.at, map[commitments.PageID]bool{}
	l.torn = true
	err := s.after(at.Records, func(t index, raw []byte) error {
		r, next, err := at.next(raw)
		if err != nil {
			return fmt.Errorf("record %d: %w", at.Records+1, err)
		}
		id, err := l.next.apply(t, r, false)
		if err != nil {
			return err
		}
		at, touched[id] = next, true
		if at.Records == h.Records {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return named(err)
	}
	if at != h {
		return ErrBroken.With("the chain ends at record %d, its head says %d", at.Records, h.Records)
	}
	l.at = h
	l.publish(touched)
	return nil
}

// fetcher is a batch that is far from its database: what it will look up it
// fetches at once. A wrong guess costs only time.
type fetcher interface {
	fetch(resources []string, seqs []uint64) error
}

// lookups says what a batch will look up, by asking each request to decide on the
// view that the batch begins with. A refusal stands, as if the request had come
// first; an entry does not: the request is asked again in its turn.
func (w *writing) lookups(batch []*request) (resources []string, seqs []uint64) {
	for _, r := range batch {
		if r.decide == nil {
			if r.merged == nil {
				seqs = append(seqs, r.receipt.Seq)
			}
			continue
		}
		if r.id.Slot < w.next.floor && w.next.pages[r.id] == nil {
			continue // its page may have to be recalled first
		}
		e, err := decided(r.decide, w.next.view(r.id))
		if unless := (onlyRepeat{}); err != nil && !errors.As(err, &unless) {
			r.err = err
		} else if e.check() == nil {
			resources = append(resources, e.Resources...)
		}
	}
	return resources, seqs
}
