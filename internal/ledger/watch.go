package ledger

import (
	"errors"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
)

// watch is what stands around a ledger's engine: witness, lock of the keys, and
// the decision whether it may promise.
type watch struct {
	Config
	replace func(path string, body []byte) error
	keys    *keyLock
	evidence
}

// look takes the lock of the keys and reads the witness. The ledger's own lock is
// ours already: nobody else writes either.
func (g *watch) look() (err error) {
	g.host = g.Host
	if g.KeyLock != "" {
		g.keys, err = lockKeys(g.KeyLock, keyPace{keyLockBeat, keyLockStale}, func() {
			g.Log.Error("Another sidecar took the lock of the proxy keys: nothing more is promised", "path", g.KeyLock)
		})
		if err != nil {
			return err
		}
	}
	g.looked = g.Clock.Now()
	if g.Witness == "" {
		return nil
	}
	w, err := readWitness(g.Witness)
	switch {
	case err == nil:
		g.witness = &w
	case errors.Is(err, errNoWitness):
		if !g.shared {
			g.why = holdNoWitness
		}
	default:
		g.Log.Warn("The ledger's witness cannot be read", "path", g.Witness, "detail", err.Error())
		g.why = holdUnreadable
	}
	return nil
}

// saw remembers the record that the witness counts up to.
func (g *watch) saw(r Record) {
	if g != nil && g.witness != nil && r.Number == g.witness.Records {
		g.atWitness = r.Hash
	}
}

// begin decides, and begins to keep witness and lock of a ledger whose writer
// does not run yet. A nil watch watches nothing.
func (g *watch) begin(l *Ledger, sum Summary) error {
	if g == nil {
		return nil
	}
	g.sum = sum
	h, err := judge(g.evidence, g.Clock, g.Lookahead)
	if err != nil {
		return err
	}
	if h.Until > 0 {
		l.hold.Store(&h)
	}
	if h.Until > 0 && h.Until >= g.Clock.Slot() {
		g.Log.Warn("The ledger holds: nothing new is promised", "until_slot", uint64(h.Until), "reason", h.Reason)
		if n, first := l.book.uncarried(g.Clock.Slot(), h.Until); n > 0 {
			g.Log.Error("Promises stand for slots of the hold, and their constraints are not signed: they are not carried to the relays unless the operator ends the hold",
				"promises", n, "first_slot", uint64(first))
		}
	}
	l.keys = g.keys
	if g.Witness == "" {
		return nil
	}
	k := &keeper{
		path: g.Witness, clock: g.Clock, pace: witnessPace, replace: g.replace,
		failed: func(err error) {
			l.meter().unwitnessed()
			g.Log.Warn("The ledger's witness is behind: a restart will hold", "path", g.Witness, "detail", err.Error())
		},
		last:  witness{Instance: sum.instance(), Host: g.Host, HoldUntil: uint64(h.Until), HoldReason: h.Reason},
		grown: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}
	// A crash before this: the evidence is what it was, and so will the decision be.
	end := sum.end()
	k.last.Records, k.last.Head, k.last.Time = end.Records, end.Hash[:], g.Clock.Now().UnixMilli()
	if w := g.witness; g.Look && w != nil && w.Vouched && h.Until == 0 && w.Records == end.Records {
		k.last.Vouched, k.last.Time = true, w.Time // it is for a later start
	}
	if err := writeWitness(k.path, k.last, k.replace); err != nil {
		return err
	}
	l.witness = k
	beat := min(maxHeartbeat, max(time.Second, g.Clock.Start(1).Sub(g.Clock.Start(0))))
	go k.run(func() head { return *l.durable.Load() }, beat) // until end, which waits for it
	return nil
}

// uncarried counts the promises for slots from first to last that have no
// constraints yet, and names the earliest of these slots.
func (b *book) uncarried(first, last phase0.Slot) (n int, earliest phase0.Slot) {
	for _, p := range b.open { // ascending
		if p.Slot < first || p.Slot > last || p.Constraints != nil {
			continue
		}
		if n += len(p.Promises); earliest == 0 {
			earliest = p.Slot
		}
	}
	return n, earliest
}

// end ends what begin began, with a last word to the witness, and closes the
// engine. The writer calls it after its last batch.
func (l *Ledger) end() error {
	if l.witness != nil {
		close(l.witness.stop)
		<-l.witness.done
	}
	return errors.Join(l.engine.close(), l.keys.release())
}
