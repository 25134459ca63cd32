package ledger

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	bolt "go.etcd.io/bbolt"

	"sidecar/commitments"
)

var errDisk = errors.New("disk error")

// breaks are the two ways a durable step fails: not done, and done but reported as failed.
var breaks = map[string]func(*bolt.Tx) error{
	"failed":               func(tx *bolt.Tx) error { return errors.Join(tx.Rollback(), errDisk) },
	"failed but persisted": func(tx *bolt.Tx) error { return errors.Join(tx.Commit(), errDisk) },
	"panicked": func(tx *bolt.Tx) error {
		panic("a page that cannot be")
	},
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
				l, err := openWith(config(path), breakIt, replaceFile)
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

// TestCrash_Create breaks each step of making a ledger: there is a whole one or none.
func TestCrash_Create(t *testing.T) {
	cases := map[string]struct {
		do     func(*steps)
		exists bool
	}{
		"commit failed":            {func(s *steps) { s.commit = breaks["failed"] }, false},
		"commit persisted":         {func(s *steps) { s.commit = breaks["failed but persisted"] }, false},
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
