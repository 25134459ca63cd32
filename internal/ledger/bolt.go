package ledger

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"sidecar/commitments"
)

// lockWait is how long Open waits for another process to let go of the file.
const lockWait = 500 * time.Millisecond

// The buckets. All but meta and records are indexes of the records, written in
// the same transaction and checked against them when the ledger is opened.
var (
	bucketMeta      = []byte("meta")      // "meta" → JSON, "head" → head
	bucketRecords   = []byte("records")   // record number → record
	bucketEntries   = []byte("entries")   // seq → number of its record, number of its seal or 0
	bucketResources = []byte("resources") // resource → seq
	bucketRequests  = []byte("requests")  // request hash → seq of the first promise that answers it
	bucketPages     = []byte("pages")     // slot, proposer, seq → nothing
	keyMeta         = []byte("meta")
	keyHead         = []byte("head")
)

// steps are the durable steps of create, so that a test can break each.
type steps struct {
	commit  func(*bolt.Tx) error
	publish func(temporary, path string) error
	syncDir func(dir string) error
}

func diskSteps() steps { return steps{commit: commitTx, publish: os.Link, syncDir: syncDir} }

func commitTx(tx *bolt.Tx) error { return tx.Commit() }

func syncDir(dir string) error {
	d, err := os.Open(dir) // #nosec G304 -- the operator names the path
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// create builds the ledger under another name and links it to path when it is
// complete. A crash before the link leaves a stray temporary file and no ledger.
func create(path, network string, version phase0.Version, do steps) (err error) {
	if _, err := os.Lstat(path); err == nil {
		return ErrExists.With("%s", path)
	}
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, filepath.Base(path)+".new-") // mode 0600
	if err != nil {
		return fmt.Errorf("create ledger: %w", err)
	}
	defer func() { _ = os.Remove(f.Name()) }()
	if err := f.Close(); err != nil {
		return fmt.Errorf("create ledger: %w", err)
	}
	if err := initialise(f.Name(), network, version, do); err != nil {
		return fmt.Errorf("create ledger: %w", err)
	}
	// The link fails if somebody made a ledger meanwhile; a rename would replace it.
	if err := do.publish(f.Name(), path); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return ErrExists.With("%s", path)
		}
		return fmt.Errorf("create ledger: %w", err)
	}
	// A crash before this sync may forget the name; nothing was promised yet.
	if err := do.syncDir(dir); err != nil {
		return fmt.Errorf("create ledger: %w", err)
	}
	return nil
}

func initialise(path, network string, version phase0.Version, do steps) error {
	m := meta{Schema: schema, Network: network, ForkVersion: version[:], Instance: make([]byte, 16)}
	_, _ = rand.Read(m.Instance) // never fails [crypto/rand]
	body, err := encodeBody(m)
	if err != nil {
		return err
	}
	first := head{}
	if first.Hash, err = m.hash(); err != nil {
		return err
	}
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: lockWait, FreelistType: bolt.FreelistMapType})
	if err != nil {
		return err
	}
	err = func() error {
		tx, err := db.Begin(true)
		if err != nil {
			return err
		}
		for _, name := range [][]byte{bucketMeta, bucketRecords, bucketEntries, bucketResources, bucketRequests, bucketPages} {
			if _, err := tx.CreateBucket(name); err != nil {
				return errors.Join(err, tx.Rollback())
			}
		}
		b := tx.Bucket(bucketMeta)
		if err := errors.Join(b.Put(keyMeta, body), b.Put(keyHead, first.bytes())); err != nil {
			return errors.Join(err, tx.Rollback())
		}
		return do.commit(tx)
	}()
	return errors.Join(err, db.Close())
}

// store is the open file.
type store struct {
	db     *bolt.DB
	file   *os.File
	commit func(*bolt.Tx) error
	wedged bool // the database panicked and holds its locks; written by the writer only
}

// openStore opens and locks the file. It never creates one. A damaged file can
// make the database panic, or fault on a page beyond the file's end: both end
// as ErrBroken.
func openStore(path string, readOnly bool, commit func(*bolt.Tx) error) (*store, error) {
	s := &store{commit: commit}
	options := &bolt.Options{
		Timeout:      lockWait,
		FreelistType: bolt.FreelistMapType,
		ReadOnly:     readOnly,
		OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
			f, err := openFull(name, flag, mode)
			s.file = f
			return f, err
		},
	}
	err := guarded(func() (err error) {
		s.db, err = bolt.Open(path, 0o600, options)
		return err
	})
	switch {
	case err == nil:
		return s, nil
	case errors.Is(err, fs.ErrNotExist):
		return nil, ErrMissing.With("%s", path)
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, ErrLocked.With("%s", path)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	if s.file != nil {
		_ = unlock(s.file) // a panic left it open, with its lock
	}
	return nil, ErrBroken.Wrap(err)
}

// openFull opens a file that exists and is not empty: the database would make
// a new ledger of either.
func openFull(name string, flag int, mode os.FileMode) (*os.File, error) {
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	f, err := os.OpenFile(name, flag&^os.O_CREATE, mode) // #nosec G304 -- the operator names the path
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || info.Size() == 0 {
		return nil, errors.Join(errors.New("empty file"), err, f.Close())
	}
	return f, nil
}

// whole checks that the file is as long as its database says: a tail may be
// missing whose pages hold nothing today.
func (s *store) whole(tx *bolt.Tx) error {
	info, err := s.file.Stat()
	if err != nil {
		return err
	}
	if info.Size() < tx.Size() {
		return fmt.Errorf("the file has %d bytes of %d", info.Size(), tx.Size())
	}
	return nil
}

// guarded turns a panic, or a fault of the memory map, into an error.
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

// close closes the database. One that panicked holds its own locks; then only
// the file is closed, which gives up its lock.
func (s *store) close() error {
	if s.wedged {
		return unlock(s.file)
	}
	return s.db.Close()
}

// buckets are the buckets of one transaction, with the head as it will be.
type buckets struct {
	meta, records, entries, resources, requests, pages *bolt.Bucket

	head head
}

func openBuckets(tx *bolt.Tx) (*buckets, error) {
	t := &buckets{
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
	return t, err
}

// readMeta reads whose ledger this is.
func (t *buckets) readMeta() (m meta, err error) {
	if err := decodeBody(t.meta.Get(keyMeta), &m); err != nil {
		return m, err
	}
	if m.Schema > schema {
		return m, ErrNewer.With("schema %d, this sidecar reads %d", m.Schema, schema)
	}
	if m.Schema < 1 || len(m.ForkVersion) != 4 || len(m.Instance) != 16 {
		return m, errors.New("meta does not make sense")
	}
	return m, nil
}

// putEntry links a new entry to the chain, with its indexes.
func (t *buckets) putEntry(id commitments.PageID, e *Entry, body []byte) error {
	record, next := t.head.link(recordEntry, body)
	seq := number(next.Entries)
	errs := []error{
		t.records.Put(number(next.Records), record),
		t.entries.Put(seq, spot{record: next.Records}.bytes()),
		t.pages.Put(pageKey(id, next.Entries), nil),
	}
	for _, name := range e.Resources {
		errs = append(errs, t.resources.Put([]byte(name), seq))
	}
	if e.Kind == KindCommitment {
		if hash := e.Draft.Commitment.RequestHash; t.requests.Get(hash[:]) == nil {
			errs = append(errs, t.requests.Put(hash[:], seq))
		}
	}
	t.head = next
	return errors.Join(errs...)
}

// putSeal links the signature of an entry to the chain.
func (t *buckets) putSeal(seq uint64, at spot, body []byte) error {
	record, next := t.head.link(recordSeal, body)
	at.seal = next.Records
	t.head = next
	return errors.Join(t.records.Put(number(next.Records), record), t.entries.Put(number(seq), at.bytes()))
}

// spot says which records hold an entry and its seal (0: none).
type spot struct{ record, seal uint64 }

func (s spot) bytes() []byte {
	return binary.BigEndian.AppendUint64(number(s.record), s.seal)
}

func (t *buckets) spot(seq uint64) (spot, bool) {
	b := t.entries.Get(number(seq))
	if len(b) != 16 {
		return spot{}, false
	}
	return spot{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}, true
}

// receipt reads an entry, and its signature if a record before limit holds one.
func (t *buckets) receipt(seq, limit uint64) (r Receipt, at spot, err error) {
	at, ok := t.spot(seq)
	if !ok {
		return r, at, fmt.Errorf("no entry %d", seq)
	}
	record := t.records.Get(number(at.record))
	if len(record) < recordHead {
		return r, at, fmt.Errorf("no record of entry %d", seq)
	}
	if r.Seq, r.Page, r.Entry, err = decodeEntry(record[recordHead:]); err != nil {
		return r, at, err
	}
	if at.seal == 0 || at.seal >= limit {
		return r, at, nil
	}
	var b sealBody
	record = t.records.Get(number(at.seal))
	if len(record) < recordHead {
		return r, at, fmt.Errorf("no seal of entry %d", seq)
	}
	err = decodeBody(record[recordHead:], &b)
	r.Signature = b.Signature
	return r, at, err
}

// page builds a page from the records before limit; nil if they do not name it.
func (t *buckets) page(id commitments.PageID, limit uint64) (p *commitments.Page, err error) {
	prefix := pageKey(id, 0)
	cursor := t.pages.Cursor()
	for k, _ := cursor.Seek(prefix); len(k) == len(prefix) && string(k[:56]) == string(prefix[:56]); k, _ = cursor.Next() {
		seq := binary.BigEndian.Uint64(k[56:])
		at, ok := t.spot(seq)
		if !ok {
			return nil, fmt.Errorf("no entry %d", seq)
		}
		if at.record >= limit {
			break
		}
		r, _, err := t.receipt(seq, limit)
		if err != nil {
			return nil, err
		}
		if p == nil {
			p = &commitments.Page{PageID: id}
		}
		p = withEntry(*p, seq, &r.Entry)
		if len(r.Signature) > 0 {
			p = withSeal(*p, seq, &r.Entry, r.Signature, true)
		}
	}
	return p, nil
}

// find looks a promise up on disk, as far as the records before limit go: what
// stands behind them may not be synced yet.
func (s *store) find(hash phase0.Hash32, limit uint64) (promise commitments.Promise, id commitments.PageID, ok bool) {
	_ = guarded(func() error {
		return s.db.View(func(tx *bolt.Tx) error {
			t, err := openBuckets(tx)
			if err != nil {
				return err
			}
			v := t.requests.Get(hash[:])
			if len(v) != 8 {
				return nil
			}
			r, at, err := t.receipt(binary.BigEndian.Uint64(v), limit)
			if err != nil || at.record >= limit || r.Entry.Draft == nil {
				return err
			}
			p := withSeal(*withEntry(commitments.Page{}, r.Seq, &r.Entry), r.Seq, &r.Entry, r.Signature, true)
			promise, id, ok = p.Promises[0], r.Page, true
			return nil
		})
	})
	return promise, id, ok
}

func number(n uint64) []byte { return binary.BigEndian.AppendUint64(make([]byte, 0, 16), n) }

func pageKey(id commitments.PageID, seq uint64) []byte {
	k := binary.BigEndian.AppendUint64(make([]byte, 0, 64), uint64(id.Slot))
	k = append(k, id.Proposer[:]...)
	return binary.BigEndian.AppendUint64(k, seq)
}
