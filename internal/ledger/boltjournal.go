package ledger

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	bolt "go.etcd.io/bbolt"
)

// The writer keeps one transaction of the database open over many batches. A
// batch is durable by the journal alone; the transaction is committed when the
// journal is full, when somebody reads the whole ledger, and at the end.

// disk is what makes things durable, so that a test can break each step.
type disk struct {
	commit func(*bolt.Tx) error                            // the database takes over
	append func(f *os.File, frame []byte, off int64) error // the journal has a batch
	size   int64                                           // of the journal
	most   int                                             // records in the journal
}

func realDisk() disk {
	return disk{commit: commitTx, append: appendSync, size: journalSize, most: journalMost}
}

var (
	errWedged  = errors.New("the database panicked")
	errNoTx    = errors.New("the transaction is lost")
	keyJournal = []byte("journal") // in meta: there is a journal, without which the ledger is not whole
)

// take waits for the open transaction, which the writer and readers share.
func (s *store) take() error {
	select {
	case s.turn <- struct{}{}:
		return nil
	case <-s.stuck:
		return errWedged
	}
}

func (s *store) give() { <-s.turn }

// gather opens the transaction if there is none. What the journal holds is in
// the database then, and it begins anew. The writer calls it, in its turn.
func (s *store) gather() error {
	if s.failed != nil {
		return s.failed
	}
	if s.open != nil {
		return nil
	}
	tx, err := s.db.Begin(true)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	t, err := openBuckets(tx)
	if err != nil {
		return errors.Join(err, tx.Rollback())
	}
	t.store = s
	s.open, s.gathered, s.journal.off = t, 0, 0
	return nil
}

// checkpoint has the database take over what the journal holds.
func (s *store) checkpoint() error {
	t := s.open
	if t == nil {
		return s.failed
	}
	s.open = nil
	err := t.meta.Put(keyHead, t.head.bytes())
	if err == nil {
		err = s.disk.commit(t.tx)
	} else {
		_ = t.tx.Rollback()
	}
	if err != nil {
		s.failed = fmt.Errorf("commit: %w", err)
	}
	return s.failed
}

// abandon forgets the transaction: what was durable is read back from the journal
// when the ledger is next opened.
func (s *store) abandon(why error) {
	if s.failed == nil {
		s.failed = errors.Join(errNoTx, why)
	}
	if t := s.open; t != nil {
		s.open = nil
		_ = t.tx.Rollback()
	}
}

// startJournal begins to journal. From here on the file says that it is not the
// whole ledger.
func (s *store) startJournal() (err error) {
	if s.journal, err = openJournal(s.path, s.disk); err != nil {
		return err
	}
	return s.mark(true)
}

// mark notes whether the ledger has a journal.
func (s *store) mark(has bool) error {
	if err := s.gather(); err != nil {
		return err
	}
	had := s.open.meta.Get(keyJournal) != nil
	switch {
	case had == has && s.gathered == 0:
		err := s.open.tx.Rollback()
		s.open = nil
		return err
	case has:
		if err := s.open.meta.Put(keyJournal, []byte{1}); err != nil {
			return err
		}
	default:
		if err := s.open.meta.Delete(keyJournal); err != nil {
			return err
		}
	}
	return s.checkpoint()
}

// recover has the database take over what a crash left in the journal.
func (s *store) recover() error {
	tx, err := s.db.Begin(true)
	if err != nil {
		return err
	}
	added, err := s.replay(tx)
	if err != nil || !added {
		return errors.Join(err, tx.Rollback())
	}
	return s.disk.commit(tx)
}

// replay adds the journal to a transaction, and says whether it held anything
// new. A journal that is named and not there is an error: the ledger would be
// shorter than what was released.
func (s *store) replay(tx *bolt.Tx) (added bool, err error) {
	t, err := openBuckets(tx)
	if err != nil {
		return false, err
	}
	err = replayJournal(journalPath(s.path), t.end, t.putRecord)
	switch {
	case errors.Is(err, fs.ErrNotExist) && t.meta.Get(keyJournal) != nil:
		return false, s.lacking()
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil || t.head == t.before:
		return false, err
	}
	return true, t.meta.Put(keyHead, t.head.bytes())
}

func (s *store) lacking() error {
	return ErrRolledBack.With("its journal %s is not there", journalPath(s.path))
}

// snapshot shows all that is durable to do. The writer goes on meanwhile.
func (s *store) snapshot(do func(tx *bolt.Tx) error) error {
	return guarded(func() error {
		tx, err := s.reader()
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }()
		return do(tx)
	})
}

func (s *store) reader() (*bolt.Tx, error) {
	if s.journal == nil { // nobody writes: a ledger under inspection
		tx, err := s.db.Begin(!s.db.IsReadOnly()) // never committed
		if err != nil {
			return nil, err
		}
		if _, err := s.replay(tx); err != nil {
			return nil, errors.Join(err, tx.Rollback())
		}
		return tx, nil
	}
	if err := s.take(); err != nil {
		return nil, err
	}
	defer s.give()
	if err := s.checkpoint(); err != nil {
		return nil, err
	}
	return s.db.Begin(false)
}

// finish ends a ledger that was written to. What cannot be finished is left as
// after a crash.
func (s *store) finish() error {
	if s.failed != nil {
		s.abandon(nil)
		return errors.Join(s.db.Close(), s.journal.file.Close())
	}
	err := guarded(func() error { return s.mark(false) })
	switch {
	case isPanic(err):
		return errors.Join(err, unlock(s.file), s.journal.file.Close())
	case err != nil:
		return errors.Join(err, s.db.Close(), s.journal.file.Close())
	}
	return errors.Join(s.db.Close(), s.journal.remove())
}
