package ledger

import (
	"bytes"
	"fmt"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
	"sidecar/commitments"
)

// Why a ledger holds.
const (
	holdNew        = "new_ledger"
	holdNoWitness  = "witness_missing"
	holdUnreadable = "witness_unreadable"
	holdOther      = "witness_of_another_ledger"
	holdGap        = "heartbeat_gap"
	holdClock      = "clock_went_back"
	holdAdopted    = "adopted"

	holdVouched = "vouched" // of a shared ledger: it does not hold, by the operator's word
)

// What vouches for the time in which nobody watched. See docs/decisions/003-hold.md.
const (
	// gapAllowed is two slots of 12 s: too short for another copy to be brought up,
	// to promise, and to be put back.
	gapAllowed = 24 * time.Second
	// gapVouched is how soon a start must follow the operator's statement.
	gapVouched = 10 * time.Minute
)

// Hold says that a ledger promises nothing for slots up to and including Until:
// another copy of it may have. What stands is still answered. The zero Hold is none.
type Hold struct {
	Until  phase0.Slot
	Reason string
}

// evidence is what is known of a ledger when it is opened.
type evidence struct {
	sum       Summary
	atWitness [32]byte  // hash of the record that the witness counts up to, if the ledger has it
	host      string    // this machine; "" if unknown
	bound     string    // the machine the ledger names; "" if none
	witness   *witness  // nil: none that can be read
	looked    time.Time // when the locks were ours and the witness was read: verifying the chain may take long, and is no pause
	why       string    // the reason to hold, if there is none
	shared    bool      // others may have led: the lease tells of pauses, and the witness of nothing but what it counts
}

// judge decides whether a ledger may promise: at once (no hold), from a slot on,
// or never (an error). It is pure but for the clock.
// Faults: ErrRolledBack, ErrOtherHost.
func judge(ev evidence, clock *chain.Clock, lookahead phase0.Slot) (Hold, error) {
	now := clock.Now()
	hold := func(reason string) Hold { return Hold{clock.SlotAt(now) + lookahead, reason} }
	if ev.host != "" && ev.bound != "" && ev.bound != ev.host {
		return Hold{}, ErrOtherHost.With("it belongs to machine %.8s, this is %.8s", ev.bound, ev.host)
	}
	var h Hold
	if b := born(ev.sum, clock, lookahead); b != nil {
		h = *b
	}
	w := ev.witness
	if w == nil {
		if ev.why != "" {
			h = longer(h, hold(ev.why))
		}
		return h, nil
	}
	if !bytes.Equal(w.Instance, ev.sum.instance()) {
		return longer(h, hold(holdOther)), nil
	}
	if w.Host != "" && ev.host != "" && w.Host != ev.host {
		return Hold{}, ErrOtherHost.With("its witness is of machine %.8s, this is %.8s", w.Host, ev.host)
	}
	if w.Records > ev.sum.Records {
		return Hold{}, ErrRolledBack.With("the witness counts %d records, the ledger %d", w.Records, ev.sum.Records)
	}
	if w.Records > 0 && !bytes.Equal(w.Head, ev.atWitness[:]) {
		return Hold{}, ErrRolledBack.With("record %d is not the one the witness saw; the ledger has %d", w.Records, ev.sum.Records)
	}
	h = longer(h, Hold{phase0.Slot(w.HoldUntil), w.HoldReason})
	if ev.shared {
		return h, nil
	}
	beat := time.UnixMilli(w.Time)
	allowed := gapAllowed
	if w.Vouched {
		allowed = gapVouched
	}
	switch gap := ev.looked.Sub(beat); {
	case gap < -gapAllowed:
		h = longer(h, Hold{clock.SlotAt(beat) + lookahead, holdClock})
	case gap > allowed:
		h = longer(h, hold(holdGap))
	case w.Vouched:
		return Hold{}, nil
	}
	return h, nil
}

// longer is the hold that lasts longer, the first of equals.
func longer(x, y Hold) Hold {
	if y.Until > x.Until {
		return y
	}
	return x
}

// Hold returns for which slots the ledger promises nothing, and why; the zero
// Hold if it never held. A hold that is over is still returned.
func (l *Ledger) Hold() Hold {
	if h := l.hold.Load(); h != nil {
		return *h
	}
	return Hold{}
}

// fresh says whether a new entry of a signed kind may stand. Repeats do not come
// here. Faults: ErrKeysLocked, ErrHolding, ErrSlashable.
func (w *writing) fresh(id commitments.PageID, e *Entry) error {
	if !e.Kind.Signed() {
		return nil
	}
	if w.ledger.keys.isLost() {
		return ErrKeysLocked.With("another sidecar took the lock")
	}
	if e.Kind == KindProxy {
		return nil // it names no slot and contradicts nothing, whoever signed what before
	}
	if h := w.ledger.hold.Load(); h != nil && id.Slot <= h.Until {
		return ErrHolding.With("nothing new is promised for slots up to %d (%s)", uint64(h.Until), h.Reason)
	}
	if least, ok := w.next.least[e.Key]; ok && id.Slot < least {
		return ErrSlashable.With("an import forbids key %.20s… slots below %d", e.Key.String(), uint64(least))
	}
	return nil
}

// OnlyRepeat makes an error of decide's conditional: if what it decided stands in
// the ledger already, that is the answer, and err only if it does not.
func OnlyRepeat(err error) error { return onlyRepeat{err} }

type onlyRepeat struct{ error }

func (e onlyRepeat) Unwrap() error { return e.error }

func (h Hold) String() string {
	if h.Until == 0 {
		return "none"
	}
	return fmt.Sprintf("slots up to %d (%s)", uint64(h.Until), h.Reason)
}
