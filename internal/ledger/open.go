package ledger

import (
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	bolt "go.etcd.io/bbolt"

	"sidecar/commitments"
)

// open opens a file, and the ledger in it.
func open(path, network string, version phase0.Version, commit func(*bolt.Tx) error) (*Ledger, error) {
	s, err := openStore(path, false, commit)
	if err != nil {
		return nil, err
	}
	// What a crashed process wrote may be in the page cache only. Nothing may be
	// answered from it before it is on disk.
	if err := guarded(s.db.Sync); err != nil {
		if isPanic(err) {
			s.wedge()
		}
		return nil, errors.Join(ErrBroken.Wrap(err), s.close())
	}
	return start(s, network, version)
}

// start verifies and replays an engine's records, and starts the writer. An
// engine that cannot be started is closed.
func start(e engine, network string, version phase0.Version) (*Ledger, error) {
	b := newBook()
	sum, err := e.walk(b.replay)
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
	l.tend()
	go l.run() // until Close, which waits for it
	return l, nil
}

// replay applies one record to a book that nobody else has.
func (b *book) replay(t index, r Record) error {
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
		b.seq = r.Seq
	} else {
		b.set(withSeal(b.latest(id), r.Seq, entry, r.Seal, own))
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
