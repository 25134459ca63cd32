package ledger

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
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
	keyHost         = []byte("host") // in meta: the machine the file belongs to; not part of the chain
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
func create(path string, m meta, host string, do steps) (err error) {
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
	if err := initialise(f.Name(), m, host, do); err != nil {
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

func initialise(path string, m meta, host string, do steps) error {
	body, err := encodeBody(m)
	if err != nil {
		return err
	}
	first, err := m.first()
	if err != nil {
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
		if err := errors.Join(b.Put(keyMeta, body), b.Put(keyHead, first.bytes()), b.Put(keyHost, []byte(host))); err != nil {
			return errors.Join(err, tx.Rollback())
		}
		return do.commit(tx)
	}()
	return errors.Join(err, db.Close())
}

// store is the open file, and its journal.
type store struct {
	path    string
	db      *bolt.DB
	file    *os.File
	disk    disk
	journal *journal      // nil while nobody writes
	wedged  bool          // the database panicked and holds its locks; written by the writer only
	stuck   chan struct{} // closed then

	turn     chan struct{} // of capacity 1: held by whoever uses what follows
	open     *buckets      // the transaction of the batches that only the journal has; nil after a checkpoint
	gathered int           // records in it
	failed   error         // it is lost
}

// openStore opens and locks the file. It never creates one. A damaged file can
// make the database panic, or fault on a page beyond the file's end: both end
// as ErrBroken.
func openStore(path string, readOnly bool, d disk) (*store, error) {
	s := &store{path: path, disk: d, turn: make(chan struct{}, 1), stuck: make(chan struct{})}
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

// host reads which machine the file belongs to; "" if it does not say.
func (s *store) host() (host string, err error) {
	err = guarded(func() error {
		return s.db.View(func(tx *bolt.Tx) error {
			if b := tx.Bucket(bucketMeta); b != nil {
				host = string(b.Get(keyHost))
			}
			return nil
		})
	})
	return host, err
}

// rebind makes a file that nobody has open belong to a machine.
func rebind(path, host string) error {
	s, err := openStore(path, false, realDisk())
	if err != nil {
		return err
	}
	err = guarded(func() error {
		return s.db.Update(func(tx *bolt.Tx) error { return tx.Bucket(bucketMeta).Put(keyHost, []byte(host)) })
	})
	if isPanic(err) {
		s.wedge()
	}
	if err = errors.Join(err, s.close()); err != nil {
		return fmt.Errorf("bind ledger to this machine: %w", err)
	}
	return nil
}

func (s *store) wedge() {
	if !s.wedged {
		s.wedged = true
		close(s.stuck)
	}
}

// close closes the database. One that panicked holds its own locks; then only
// the file is closed, which gives up its lock.
func (s *store) close() error {
	switch {
	case s.wedged && s.journal != nil:
		return errors.Join(unlock(s.file), s.journal.file.Close())
	case s.wedged:
		return unlock(s.file)
	case s.journal == nil:
		return s.db.Close()
	}
	return s.finish()
}
