package ledger

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

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
			func(l *Ledger, r Receipt) error { return l.Seal(ctx, r, make([]byte, 96)) },
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

// TestMain turns the test binary into the victim of TestCrash_Kill, and its like.
func TestMain(m *testing.M) {
	if path := os.Getenv("LEDGER_VICTIM"); path != "" {
		play := victim
		if os.Getenv("LEDGER_ENGINE") == "postgres" {
			play = pgVictim
		}
		if err := play(path, os.Getenv("LEDGER_ROUND")); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
	}
	code := m.Run()
	stopSharedServer()
	os.Exit(code)
}

// victim promises and seals until it is killed, and prints what it released.
func victim(path, round string) error {
	l, err := Open(config(path))
	if err != nil {
		return err
	}
	fmt.Println("open")
	lines := make(chan string)
	for worker := range 4 {
		go func() {
			for n := 0; ; n++ {
				resource := fmt.Sprintf("r/%d/%d", worker, n) // every round fights for the same ones
				e := promise(n, resource)
				copy(e.Root[:], round)
				r, err := l.Append(context.Background(), page(1), constant(e))
				if errors.Is(err, ErrSlashable) {
					continue
				}
				if err != nil {
					lines <- "error " + err.Error()
					return
				}
				signature := append(r.Entry.Root[:], make([]byte, 64)...)
				if err := l.Seal(context.Background(), r, signature); err != nil {
					lines <- "error " + err.Error()
					return
				}
				lines <- "released " + resource + " " + hex.EncodeToString(r.Entry.Root[:])
			}
		}()
	}
	for line := range lines {
		if _, err := fmt.Println(line); err != nil {
			return err
		}
	}
	return nil
}

// TestCrash_Kill kills a process at random moments. Over all that was ever
// released, every resource has one root, and every release is in the ledger.
func TestCrash_Kill(t *testing.T) {
	rounds := 20
	if testing.Short() {
		rounds = 3
	}
	l, path := fresh(t)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	released := map[string]string{}
	for round := range rounds {
		killOnce(t, path, round, released)
	}
	if len(released) == 0 {
		t.Fatal("nothing was ever released: the test proves nothing")
	}
	stored := map[string]Record{}
	seals := map[uint64]string{}
	sum, err := Walk(path, func(r Record) error {
		if r.Entry != nil {
			stored[r.Entry.Resources[0]] = r
		} else {
			seals[r.Seq] = hex.EncodeToString(r.Seal[:32])
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for resource, root := range released {
		r, ok := stored[resource]
		if !ok || hex.EncodeToString(r.Entry.Root[:]) != root || seals[r.Seq] != root {
			t.Errorf("%s was released with root %s and is not in the ledger so", resource, root)
		}
	}
	t.Logf("%d releases, %d entries, %d seals", len(released), sum.Entries, sum.Seals)
}

func killOnce(t *testing.T, path string, round int, released map[string]string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	child := exec.CommandContext(ctx, os.Args[0])
	child.Env = append(os.Environ(), "LEDGER_VICTIM="+path, fmt.Sprintf("LEDGER_ROUND=round %d", round))
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		word := strings.Fields(lines.Text())
		switch {
		case len(word) == 0:
		case word[0] == "open":
			delay := time.Duration(rand.Int64N(int64(80 * time.Millisecond)))
			defer time.AfterFunc(delay, func() { _ = child.Process.Kill() }).Stop()
		case word[0] == "released" && len(word) == 3 && len(word[2]) == 64:
			if root, ok := released[word[1]]; ok && root != word[2] {
				t.Errorf("%s was released twice, with roots %s and %s", word[1], root, word[2])
			}
			released[word[1]] = word[2]
		case word[0] == "error":
			t.Errorf("round %d: %s", round, lines.Text())
		}
	}
	_ = child.Wait() // killed
}
