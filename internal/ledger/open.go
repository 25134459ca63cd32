package ledger

import (
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"sidecar/commitments"
)

// openWith is Open with the steps that make things durable.
func openWith(c Config, d disk, replace func(path string, body []byte) error) (*Ledger, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	s, err := openStore(c.Path, false, d)
	if err != nil {
		return nil, err
	}
	// What a crashed process wrote may be in the page cache only. Nothing may be
	// answered from it before it is on disk.
	if err := guarded(func() error { return errors.Join(s.db.Sync(), s.recover()) }); err != nil {
		if isPanic(err) {
			s.wedge()
		}
		return nil, errors.Join(named(err), s.close())
	}
	g := &watch{Config: c, replace: replace}
	if g.bound, err = s.host(); err != nil {
		return nil, errors.Join(ErrBroken.Wrap(err), s.close())
	}
	if err := g.look(); err != nil {
		return nil, errors.Join(err, s.close())
	}
	if err := guarded(s.startJournal); err != nil {
		return nil, errors.Join(ErrPoisoned.Wrap(err), s.close(), g.keys.release())
	}
	l, err := start(s, c.Network, c.GenesisForkVersion, g)
	if err != nil {
		return nil, errors.Join(err, g.keys.release())
	}
	return l, nil
}

// start verifies and replays an engine's records, and starts the writer. An
// engine that cannot be started is closed.
func start(e engine, network string, version phase0.Version, g *watch) (*Ledger, error) {
	b, known := newBook(), map[uint64]Receipt{}
	sum, err := e.walk(func(t index, r Record) error {
		g.saw(r)
		return b.replay(remembering{t, known}, r)
	})
	if err == nil && (sum.Network != network || sum.GenesisForkVersion != version) {
		err = ErrChain.With("ledger of %q (genesis fork version %#x)", sum.Network, sum.GenesisForkVersion)
	}
	if err != nil {
		if isPanic(err) {
			e.wedge()
		}
		_ = e.close()
		return nil, err
	}
	l := &Ledger{
		engine: e, next: b, book: b.clone(), at: sum.end(),
		queue: make(chan *request), closing: make(chan struct{}), done: make(chan struct{}),
	}
	at := l.at
	l.durable.Store(&at)
	if err := g.begin(l, sum); err != nil {
		_ = e.close()
		return nil, err
	}
	l.tend()
	go l.run() // until Close, which waits for it
	return l, nil
}

// remembering is an index that knows the entries of late: a replay need not read
// and decode them again for their signatures.
type remembering struct {
	index
	known map[uint64]Receipt
}

// maxRemembered bounds what is known.
const maxRemembered = 4096

func (t remembering) note(r Record) {
	if r.Entry == nil || !r.Entry.Kind.Signed() {
		return
	}
	if len(t.known) >= maxRemembered {
		clear(t.known)
	}
	t.known[r.Seq] = Receipt{Seq: r.Seq, Page: r.Page, Entry: *r.Entry}
}

// receipt is of an entry that has no signature before limit, where it is known.
func (t remembering) receipt(seq, limit uint64) (Receipt, spot, error) {
	if r, ok := t.known[seq]; ok {
		delete(t.known, seq)
		return r, spot{}, nil
	}
	return t.index.receipt(seq, limit)
}

// replay applies one record to a book that nobody else has.
func (b *book) replay(t remembering, r Record) error {
	t.note(r)
	if _, err := b.apply(t, r, true); err != nil {
		return err
	}
	for _, id := range b.sweep() {
		b.drop(id)
	}
	return nil
}

// apply applies one record by the functions the writer uses, and returns the
// page it changed. own says that nobody else has the book's pages.
func (b *book) apply(t index, r Record, own bool) (commitments.PageID, error) {
	id := r.Page
	var entry *Entry
	if r.Entry == nil {
		stored, _, err := t.receipt(r.Seq, r.Number)
		if err != nil {
			return id, err
		}
		id, entry = stored.Page, &stored.Entry
	}
	if err := b.recall(t, id, r.Number); err != nil {
		return id, err
	}
	if r.Entry != nil {
		b.set(withEntry(b.latest(id), r.Seq, r.Entry))
		b.forbid(r.Entry)
		b.seq = r.Seq
	} else {
		b.set(withSeal(b.latest(id), r.Seq, entry, Ink{r.Seal, r.Proxy}, own))
	}
	b.records = r.Number
	return id, nil
}

// recall brings a page that was swept back into memory, from the records before limit.
func (b *book) recall(t index, id commitments.PageID, limit uint64) error {
	if id.Slot >= b.floor || b.pages[id] != nil {
		return nil
	}
	p, err := pageOf(t, id, limit)
	if err != nil || p == nil {
		return err
	}
	b.set(p)
	return nil
}

// guarded turns a panic, or a fault of a memory map, into an error.
func guarded(do func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = errPanic{r}
		}
	}()
	return do()
}

type errPanic struct{ value any }

func (e errPanic) Error() string { return fmt.Sprintf("database panicked: %v", e.value) }

func isPanic(err error) bool {
	var p errPanic
	return errors.As(err, &p)
}
