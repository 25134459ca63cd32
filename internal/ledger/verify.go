package ledger

import (
	"errors"
	"fmt"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	bolt "go.etcd.io/bbolt"

	"sidecar/commitments"
)

// Verify checks a ledger that no process has open: the chain, and every index
// against it. It writes nothing. Faults: ErrMissing, ErrBroken, ErrLocked, ErrNewer.
func Verify(path string) (Summary, error) { return Walk(path, nil) }

// Walk is Verify that also shows each record, in order. An error from show ends
// the walk and is returned as it is.
func Walk(path string, show func(Record) error) (sum Summary, err error) {
	s, err := openStore(path, true, nil)
	if err != nil {
		return sum, err
	}
	var shown error
	err = guarded(func() error {
		return s.db.View(func(tx *bolt.Tx) error {
			if err := s.whole(tx); err != nil {
				return err
			}
			sum, err = walk(tx, func(_ *buckets, r Record) error {
				if show != nil {
					shown = show(r)
				}
				return shown
			})
			return err
		})
	})
	s.wedged = isPanic(err)
	err = errors.Join(err, s.close())
	if shown != nil {
		return sum, shown
	}
	return sum, named(err)
}

// Records shows every record of an open ledger, in order, checking the chain.
// It reads a snapshot; show must not call this ledger, and should be quick: the
// writer waits for it when the file outgrows its map. Faults: ErrPoisoned, ErrBroken, show's.
func (l *Ledger) Records(show func(Record) error) error {
	if err := l.Poisoned(); err != nil {
		return ErrPoisoned.Wrap(err)
	}
	var shown error
	err := guarded(func() error {
		return l.store.db.View(func(tx *bolt.Tx) error {
			_, err := walk(tx, func(_ *buckets, r Record) error {
				shown = show(r)
				return shown
			})
			return err
		})
	})
	if shown != nil {
		return shown
	}
	return named(err)
}

// named gives an unnamed error of a walk its fault.
func named(err error) error {
	if err == nil || errors.Is(err, ErrNewer) {
		return err
	}
	return ErrBroken.Wrap(err)
}

func isPanic(err error) bool {
	var p errPanic
	return errors.As(err, &p)
}

// walk checks the whole ledger in a transaction and shows each record.
func walk(tx *bolt.Tx, show func(*buckets, Record) error) (sum Summary, err error) {
	t, err := openBuckets(tx)
	if err != nil {
		return sum, err
	}
	m, err := t.readMeta()
	if err != nil {
		return sum, err
	}
	sum = m.summary()
	at := head{}
	if at.Hash, err = m.hash(); err != nil {
		return sum, err
	}
	var n indexed
	cursor := t.records.Cursor()
	for k, v := cursor.First(); k != nil; k, v = cursor.Next() {
		if string(k) != string(number(at.Records+1)) {
			return sum, fmt.Errorf("record %d is missing", at.Records+1)
		}
		var r Record
		if r, at, err = at.next(v); err != nil {
			return sum, fmt.Errorf("record %d: %w", at.Records+1, err)
		}
		if err := n.check(t, r); err != nil {
			return sum, fmt.Errorf("record %d: %w", r.Number, err)
		}
		if r.Entry != nil {
			sum.Newest = max(sum.Newest, r.Page.Slot)
		}
		if err := show(t, r); err != nil {
			return sum, err
		}
	}
	sum.Records, sum.Entries, sum.Seals, sum.Head = at.Records, at.Entries, n.seals, at.Hash
	if at != t.head {
		return sum, fmt.Errorf("the chain ends at record %d, its head says %d", at.Records, t.head.Records)
	}
	return sum, n.compare(t, at.Entries)
}

// indexed counts what the records put into the indexes.
type indexed struct{ seals, resources, requests uint64 }

// check compares the index entries of one record.
func (n *indexed) check(t *buckets, r Record) error {
	at, ok := t.spot(r.Seq)
	if !ok {
		return errors.New("not indexed by its entry")
	}
	if r.Entry == nil {
		if n.seals++; at.seal != r.Number || at.record >= r.Number {
			return errors.New("index names another seal")
		}
		return nil
	}
	if at.record != r.Number {
		return errors.New("index names another record")
	}
	if t.pages.Get(pageKey(r.Page, r.Seq)) == nil {
		return errors.New("not indexed by its page")
	}
	for _, name := range r.Entry.Resources {
		if n.resources++; string(t.resources.Get([]byte(name))) != string(number(r.Seq)) {
			return errors.New("index names another holder of the resource")
		}
	}
	if r.Entry.Kind == KindCommitment {
		hash := r.Entry.Draft.Commitment.RequestHash
		switch first := string(t.requests.Get(hash[:])); {
		case first == string(number(r.Seq)):
			n.requests++
		case len(first) != 8 || first > string(number(r.Seq)):
			return errors.New("index names another answer of the request")
		}
	}
	return nil
}

// compare finds index entries that no record made.
func (n *indexed) compare(t *buckets, entries uint64) error {
	var seals uint64
	count := func(b *bolt.Bucket) (keys uint64) {
		cursor := b.Cursor()
		for k, v := cursor.First(); k != nil; k, v = cursor.Next() {
			keys++
			if b == t.entries && string(v[8:]) != string(number(0)) {
				seals++
			}
		}
		return keys
	}
	if count(t.entries) != entries || seals != n.seals || count(t.pages) != entries ||
		count(t.resources) != n.resources || count(t.requests) != n.requests {
		return errors.New("an index holds more than the records")
	}
	return nil
}

// open opens, verifies and replays a ledger, and starts its writer.
func open(path, network string, version phase0.Version, commit func(*bolt.Tx) error) (*Ledger, error) {
	s, err := openStore(path, false, commit)
	if err != nil {
		return nil, err
	}
	var b *book
	var sum Summary
	err = guarded(func() error {
		// What a crashed process wrote may be in the page cache only. Nothing may
		// be answered from it before it is on disk.
		if err := s.db.Sync(); err != nil {
			return err
		}
		return s.db.View(func(tx *bolt.Tx) (err error) {
			b, sum, err = replay(tx)
			return err
		})
	})
	s.wedged = isPanic(err)
	err = named(err)
	if err == nil && (sum.Network != network || sum.GenesisForkVersion != version) {
		err = ErrChain.With("ledger of %q (genesis fork version %#x)", sum.Network, sum.GenesisForkVersion)
	}
	if err != nil {
		_ = s.close()
		return nil, err
	}
	l := &Ledger{
		store: s, next: b, book: b.clone(),
		queue: make(chan *request), closing: make(chan struct{}), done: make(chan struct{}),
	}
	go l.run() // until Close, which waits for it
	return l, nil
}

// replay builds the book from the chain by the functions the writer uses.
func replay(tx *bolt.Tx) (*book, Summary, error) {
	b := newBook()
	sum, err := walk(tx, func(t *buckets, r Record) error {
		id := r.Page
		var entry *Entry
		if r.Entry == nil {
			stored, _, err := t.receipt(r.Seq, 0)
			if err != nil {
				return err
			}
			id, entry = stored.Page, &stored.Entry
		}
		if err := b.recall(t, id, r.Number); err != nil {
			return err
		}
		if r.Entry != nil {
			b.set(withEntry(b.latest(id), r.Seq, r.Entry))
			b.seq = r.Seq
		} else {
			b.set(withSeal(b.latest(id), r.Seq, entry, r.Seal, true)) // nobody else has this page yet
		}
		b.records = r.Number
		for _, id := range b.sweep() {
			b.drop(id)
		}
		return nil
	})
	return b, sum, err
}

// recall brings a page that was swept back into memory, from the records before limit.
func (b *book) recall(t *buckets, id commitments.PageID, limit uint64) error {
	if id.Slot >= b.floor || b.pages[id] != nil {
		return nil
	}
	p, err := t.page(id, limit)
	if err != nil || p == nil {
		return err
	}
	b.set(p)
	return nil
}
