package ledger

import (
	"errors"
	"fmt"

	bolt "go.etcd.io/bbolt"
)

// Verify checks a ledger that no process has open: the chain, and every index
// against it. It writes nothing. Faults: ErrMissing, ErrBroken, ErrLocked, ErrNewer.
func Verify(path string) (Summary, error) { return Walk(path, nil) }

// Walk is Verify that also shows each record, in order. An error from show ends
// the walk and is returned as it is.
func Walk(path string, show func(Record) error) (sum Summary, err error) {
	left, err := hasJournal(path)
	if err != nil {
		return sum, ErrBroken.Wrap(err)
	}
	s, err := openStore(path, !left, realDisk())
	if err != nil {
		return sum, err
	}
	sum, err = s.walk(func(_ index, r Record) error {
		if show == nil {
			return nil
		}
		return show(r)
	})
	if isPanic(err) {
		s.wedge()
	}
	if closed := s.close(); closed != nil {
		err = errors.Join(err, closed)
	}
	return sum, err
}

// walk checks the whole ledger in one transaction and shows each record.
func (s *store) walk(show func(index, Record) error) (sum Summary, err error) {
	var shown error
	err = s.snapshot(func(tx *bolt.Tx) error {
		if err := s.whole(tx); err != nil {
			return err
		}
		sum, err = walk(tx, func(t *buckets, r Record) error {
			shown = show(t, r)
			return shown
		})
		return err
	})
	if shown != nil {
		return sum, shown
	}
	return sum, named(err)
}

// walk checks the whole ledger in a transaction and shows each record.
func walk(tx *bolt.Tx, show func(*buckets, Record) error) (sum Summary, err error) {
	t, err := openBuckets(tx)
	if err != nil {
		return sum, err
	}
	m, err := parseMeta(t.meta.Get(keyMeta))
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
	at, _ := t.spot(r.Seq)
	if at == (spot{}) {
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
