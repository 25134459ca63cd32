package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	bolt "go.etcd.io/bbolt"

	"sidecar/commitments"
)

// begin starts one batch, in the open transaction.
func (s *store) begin() (batch, error) {
	if err := s.take(); err != nil {
		return nil, err
	}
	if err := s.gather(); err != nil {
		s.give()
		return nil, err
	}
	t := s.open
	t.before, t.fresh = t.head, t.fresh[:0]
	return t, nil
}

// view runs do on what the writer has, batches under way included: whoever asks
// says up to which record it believes.
func (s *store) view(do func(index) error) error {
	if err := s.take(); err != nil {
		return err
	}
	if t := s.open; t != nil {
		defer s.give()
		return guarded(func() error { return do(t) })
	}
	s.give()
	return guarded(func() error {
		return s.db.View(func(tx *bolt.Tx) error {
			t, err := openBuckets(tx)
			if err != nil {
				return err
			}
			return do(t)
		})
	})
}

// buckets are the buckets of one transaction, with the head as it will be.
type buckets struct {
	store *store // of a batch
	tx    *bolt.Tx

	meta, records, entries, resources, requests, pages *bolt.Bucket

	before, head head
	fresh        [][]byte // records of the batch
}

func openBuckets(tx *bolt.Tx) (*buckets, error) {
	t := &buckets{
		tx:   tx,
		meta: tx.Bucket(bucketMeta), records: tx.Bucket(bucketRecords), entries: tx.Bucket(bucketEntries),
		resources: tx.Bucket(bucketResources), requests: tx.Bucket(bucketRequests), pages: tx.Bucket(bucketPages),
	}
	for _, b := range []*bolt.Bucket{t.meta, t.records, t.entries, t.resources, t.requests, t.pages} {
		if b == nil {
			return nil, errors.New("a bucket is missing")
		}
	}
	// Keys of these two only grow: full pages, no splitting in half.
	t.records.FillPercent, t.entries.FillPercent = 1, 1
	var err error
	t.head, err = parseHead(t.meta.Get(keyHead))
	t.before = t.head
	return t, err
}

func (t *buckets) end() head { return t.head }

// rollback ends a batch. One that put something is an error's, and takes all
// that the database has not yet taken over with it; the journal has it.
func (t *buckets) rollback() error {
	if t.head != t.before {
		t.store.abandon(nil)
	}
	t.store.give()
	return nil
}

// commit makes the batch durable. Readers need not wait for the disk.
func (t *buckets) commit() error {
	s := t.store
	s.give()
	err := s.journal.put(t.fresh, t.head)
	if taken := s.take(); taken != nil {
		return errors.Join(err, taken)
	}
	defer s.give()
	if err != nil {
		s.abandon(err)
		return err
	}
	if s.gathered += len(t.fresh); s.gathered < s.disk.most && !s.journal.full() {
		return nil
	}
	return s.checkpoint()
}

// putEntry links a new entry to the chain, with its indexes.
func (t *buckets) putEntry(id commitments.PageID, e *Entry, body []byte) error {
	record, next := t.head.link(e.version(), recordEntry, body)
	return t.indexEntry(id, e, record, next)
}

// putSeal links the signature of an entry to the chain.
func (t *buckets) putSeal(seq uint64, at spot, version byte, body []byte) error {
	record, next := t.head.link(version, recordSeal, body)
	return t.indexSeal(seq, at, record, next)
}

// putRecord links a record of the journal.
func (t *buckets) putRecord(record []byte) error {
	r, next, err := t.head.next(record)
	if err != nil {
		return err
	}
	if r.Entry != nil {
		return t.indexEntry(r.Page, r.Entry, record, next)
	}
	at, err := t.spot(r.Seq)
	if err != nil {
		return err
	}
	return t.indexSeal(r.Seq, at, record, next)
}

func (t *buckets) indexEntry(id commitments.PageID, e *Entry, record []byte, next head) error {
	seq := number(next.Entries)
	errs := []error{
		t.records.Put(number(next.Records), record),
		t.entries.Put(seq, spot{record: next.Records}.bytes()),
		t.pages.Put(pageKey(id, next.Entries), []byte{}), // not nil: Get must find it before the commit, too
	}
	for _, name := range e.Resources {
		errs = append(errs, t.resources.Put([]byte(name), seq))
	}
	if e.Kind == KindCommitment {
		if hash := e.Draft.Commitment.RequestHash; t.requests.Get(hash[:]) == nil {
			errs = append(errs, t.requests.Put(hash[:], seq))
		}
	}
	t.head, t.fresh = next, append(t.fresh, record)
	return errors.Join(errs...)
}

func (t *buckets) indexSeal(seq uint64, at spot, record []byte, next head) error {
	at.seal = next.Records
	t.head, t.fresh = next, append(t.fresh, record)
	return errors.Join(t.records.Put(number(next.Records), record), t.entries.Put(number(seq), at.bytes()))
}

func (s spot) bytes() []byte {
	return binary.BigEndian.AppendUint64(number(s.record), s.seal)
}

func (t *buckets) spot(seq uint64) (spot, error) {
	b := t.entries.Get(number(seq))
	if len(b) != 16 {
		return spot{}, nil
	}
	return spot{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}, nil
}

func (t *buckets) holder(resource string) (uint64, error) {
	return position(t.resources.Get([]byte(resource))), nil
}

func (t *buckets) answer(request phase0.Hash32) (uint64, error) {
	return position(t.requests.Get(request[:])), nil
}

// receipt reads an entry, and its signature if a record before limit holds one.
func (t *buckets) receipt(seq, limit uint64) (Receipt, spot, error) {
	at, _ := t.spot(seq)
	if at.record == 0 {
		return Receipt{}, at, fmt.Errorf("no entry %d", seq)
	}
	var seal []byte
	if at.seal != 0 && at.seal < limit {
		if seal = t.records.Get(number(at.seal)); seal == nil {
			seal = []byte{} // named, and not there
		}
	}
	r, err := receiptOf(seq, t.records.Get(number(at.record)), seal)
	return r, at, err
}

func (t *buckets) lines(id commitments.PageID, limit uint64) (lines []Receipt, err error) {
	prefix := pageKey(id, 0)
	cursor := t.pages.Cursor()
	for k, _ := cursor.Seek(prefix); len(k) == len(prefix) && string(k[:56]) == string(prefix[:56]); k, _ = cursor.Next() {
		r, at, err := t.receipt(binary.BigEndian.Uint64(k[56:]), limit)
		if err != nil {
			return nil, err
		}
		if at.record >= limit {
			break
		}
		lines = append(lines, r)
	}
	return lines, nil
}

func number(n uint64) []byte { return binary.BigEndian.AppendUint64(make([]byte, 0, 16), n) }

// position reads what number wrote; 0 if it did not write b.
func position(b []byte) uint64 {
	if len(b) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

func pageKey(id commitments.PageID, seq uint64) []byte {
	k := binary.BigEndian.AppendUint64(make([]byte, 0, 64), uint64(id.Slot))
	k = append(k, id.Proposer[:]...)
	return binary.BigEndian.AppendUint64(k, seq)
}
