package ledger

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	bolt "go.etcd.io/bbolt"

	"sidecar/commitments"
)

var errDisk = errors.New("disk error")

// breaks are the ways a batch's durable step fails: not done, cut off, done but
// reported as failed, and by a panic.
var breaks = map[string]func(f *os.File, frame []byte, off int64) error{
	"failed": func(*os.File, []byte, int64) error { return errDisk },
	"cut off": func(f *os.File, frame []byte, off int64) error {
		return errors.Join(appendSync(f, frame[:frameHead+40], off), errDisk)
	},
	"failed but persisted": func(f *os.File, frame []byte, off int64) error {
		return errors.Join(appendSync(f, frame, off), errDisk)
	},
	"panicked": func(*os.File, []byte, int64) error {
		panic("a sector that cannot be")
	},
}

// commitBreaks are the same of the database, when it takes over.
var commitBreaks = map[string]func(*bolt.Tx) error{
	"failed":               func(tx *bolt.Tx) error { return errors.Join(tx.Rollback(), errDisk) },
	"failed but persisted": func(tx *bolt.Tx) error { return errors.Join(tx.Commit(), errDisk) },
	"panicked":             func(*bolt.Tx) error { panic("a page that cannot be") },
}

// broken is a disk of which one step breaks.
func broken(change func(*disk)) disk {
	d := realDisk()
	change(&d)
	return d
}

// durableSteps are the writer's, each with what shows that it was done.
func durableSteps() map[string]struct {
	run  func(l *Ledger, r Receipt) error
	done func(p commitments.Page) bool
} {
	ctx := context.Background()
	return map[string]struct {
		run  func(l *Ledger, r Receipt) error
		done func(p commitments.Page) bool
	}{
		"entry": {
			func(l *Ledger, r Receipt) error {
				_, err := l.Append(ctx, r.Page, constant(promise(2, "second")))
				return err
			},
			func(p commitments.Page) bool { return len(p.Promises) == 2 },
		},
		"seal": {
			func(l *Ledger, r Receipt) error { return sealed(l, ctx, r, make([]byte, 96)) },
			func(p commitments.Page) bool { return len(p.Promises[0].Signature) == 96 },
		},
		"verdict": {
			func(l *Ledger, r Receipt) error {
				_, err := l.Append(ctx, r.Page, constant(verdict(1, commitments.Kept)))
				return err
			},
			func(p commitments.Page) bool { return len(p.Verdicts) == 1 },
		},
	}
}

// TestCrash_Writer breaks every durable step of the writer each way, and then
// reopens: what was released is there, what was not may be, and nothing else.
func TestCrash_Writer(t *testing.T) {
	for name, step := range durableSteps() {
		for way, breakIt := range breaks {
			t.Run(name+" "+way, func(t *testing.T) {
				l, path := fresh(t)
				first := must(t, l, page(7), promise(1, "first"))
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
				l, err := openWith(config(path), broken(func(d *disk) { d.append = breakIt }), replaceFile)
				if err != nil {
					t.Fatal(err)
				}
				// Poisoned for good: even what would succeed now is refused; reads go on.
				for range 2 {
					if err := step.run(l, first); !errors.Is(err, ErrPoisoned) || l.Poisoned() == nil {
						t.Fatalf("got %v, want %v", err, ErrPoisoned)
					}
				}
				if p := l.Page(page(7)); step.done(p) || len(p.Promises) != 1 || l.Len() != 1 {
					t.Errorf("not durable, and shown: %+v", p)
				}
				if _, _, ok := l.Find(hashOf(1)); !ok {
					t.Error("a poisoned ledger does not read")
				}
				if err := l.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
				if _, err := Verify(path); err != nil {
					t.Fatalf("verify: %v", err)
				}
				l = reopen(t, nil, path)
				if got, want := step.done(l.Page(page(7))), way == "failed but persisted"; got != want {
					t.Errorf("after reopening: done %v, want %v", got, want)
				}
				if err := step.run(l, first); err != nil || !step.done(l.Page(page(7))) {
					t.Errorf("again after reopening: %v", err)
				}
			})
		}
	}
}

// TestCrash_Checkpoint breaks the database when it takes over from the journal:
// while batches come, at the end, and at the next start. The journal has it all.
func TestCrash_Checkpoint(t *testing.T) {
	for way, breakIt := range commitBreaks {
		t.Run(way, func(t *testing.T) {
			l, path := fresh(t)
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			var on atomic.Bool
			commit := func(tx *bolt.Tx) error {
				if on.Load() {
					return breakIt(tx)
				}
				return tx.Commit()
			}
			l, err := openWith(config(path), broken(func(d *disk) { d.commit, d.most = commit, 3 }), replaceFile)
			if err != nil {
				t.Fatal(err)
			}
			first := must(t, l, page(7), promise(1, "first"))
			seal(t, l, first, 1)
			on.Store(true)
			if _, err := l.Append(context.Background(), page(7), constant(promise(2, "second"))); !errors.Is(err, ErrPoisoned) {
				t.Errorf("got %v, want %v", err, ErrPoisoned)
			}
			if l.Len() != 1 {
				t.Errorf("%d entries are shown, and one was released", l.Len())
			}
			if err := l.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
			if sum, err := Verify(path); err != nil || sum.Entries != 2 || sum.Seals != 1 {
				t.Errorf("verify: %+v, %v", sum, err)
			}
			// The next start breaks in the same way; the one after it is whole.
			again, err := openWith(config(path), broken(func(d *disk) { d.commit = breakIt }), replaceFile)
			if persisted := way == "failed but persisted"; (err == nil) != persisted { // nothing is left to take over then
				t.Errorf("a start whose commit fails: %v", err)
			}
			if err == nil {
				_ = again.Close() // fails in the same way
			}
			l = reopen(t, nil, path)
			if p := l.Page(page(7)); len(p.Promises) != 2 || len(p.Promises[0].Signature) == 0 {
				t.Errorf("after reopening: %+v", p)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			if left, err := hasJournal(path); left || err != nil {
				t.Errorf("after a clean end there is a journal: %v, %v", left, err)
			}
		})
	}
}

// TestJournal_Missing: a ledger without the journal it speaks of does not open,
// and one that was put back beside a newer journal does not either.
func TestJournal_Missing(t *testing.T) {
	l, path := fresh(t)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	l, err = openWith(config(path), broken(func(d *disk) { d.most = 2 }), replaceFile)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 5 {
		must(t, l, page(7), promise(n+1, fmt.Sprint(n)))
	}
	copied := filepath.Join(t.TempDir(), "ledger.db")
	copyFile(t, path, copied)
	copyFile(t, journalPath(path), journalPath(copied))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if sum, err := Verify(copied); err != nil || sum.Entries != 5 {
		t.Fatalf("as after a crash: %+v, %v", sum, err)
	}
	writeFile(t, path, string(old))
	copyFile(t, journalPath(copied), journalPath(path))
	if err := os.Remove(journalPath(copied)); err != nil {
		t.Fatal(err)
	}
	for name, at := range map[string]string{"without its journal": copied, "put back": path} {
		if _, err := Verify(at); !errors.Is(err, ErrRolledBack) {
			t.Errorf("%s: verify: got %v, want %v", name, err, ErrRolledBack)
		}
		if _, err := Open(config(at)); !errors.Is(err, ErrRolledBack) {
			t.Errorf("%s: got %v, want %v", name, err, ErrRolledBack)
		}
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	body, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, to, string(body))
}

// TestCrash_Create breaks each step of making a ledger: there is a whole one or none.
func TestCrash_Create(t *testing.T) {
	cases := map[string]struct {
		do     func(*steps)
		exists bool
	}{
		"commit failed":            {func(s *steps) { s.commit = commitBreaks["failed"] }, false},
		"commit persisted":         {func(s *steps) { s.commit = commitBreaks["failed but persisted"] }, false},
		"publish failed":           {func(s *steps) { s.publish = func(_, _ string) error { return errDisk } }, false},
		"publish persisted":        {func(s *steps) { s.publish = func(a, b string) error { return errors.Join(os.Link(a, b), errDisk) } }, true},
		"directory sync failed":    {func(s *steps) { s.syncDir = func(string) error { return errDisk } }, true},
		"directory sync persisted": {func(s *steps) { s.syncDir = func(d string) error { return errors.Join(syncDir(d), errDisk) } }, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "ledger.db")
			do := diskSteps()
			c.do(&do)
			if err := createWith(path, do); !errors.Is(err, errDisk) {
				t.Fatalf("got %v, want %v", err, errDisk)
			}
			l, err := Open(config(path))
			if c.exists != (err == nil) || err != nil && !errors.Is(err, ErrMissing) {
				t.Fatalf("open: %v; want a ledger: %v", err, c.exists)
			}
			if err == nil {
				_ = l.Close()
				return
			}
			if err := Create(config(path)); err != nil {
				t.Errorf("second try: %v", err)
			}
		})
	}
}
