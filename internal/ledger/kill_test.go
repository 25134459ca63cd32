package ledger

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"sidecar/internal/ledger/pgtest"
)

// TestMain turns the test binary into the victim of the tests below.
func TestMain(m *testing.M) {
	if path := os.Getenv("LEDGER_VICTIM"); path != "" {
		signal.Ignore(syscall.SIGXFSZ) // a file that may not grow is an error, not the end
		var err error
		if os.Getenv("LEDGER_ENGINE") == "postgres" {
			err = pgVictim(path, os.Getenv("LEDGER_ROUND"))
		} else {
			err = victim(path, os.Getenv("LEDGER_ROUND"), os.Getenv("LEDGER_KILL"))
		}
		if err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	code := m.Run()
	pgtest.Stop()
	os.Exit(code)
}

// watched is a ledger with a witness and a lock of its keys.
func watched(path string) Config {
	c := config(path)
	c.Witness, c.KeyLock, c.Host = path+".witness", path+".lock", "here"
	return c
}

// executioner kills this process at its n-th durable step, before or after it.
type executioner struct {
	step  atomic.Int64
	at    int64
	after bool
}

// newExecutioner reads "12 before" or "12 after"; "" kills nobody.
func newExecutioner(order string) *executioner {
	x := &executioner{at: -1}
	if n, when, ok := strings.Cut(order, " "); ok {
		x.at, _ = strconv.ParseInt(n, 10, 64)
		x.after = when == "after"
	}
	return x
}

func (x *executioner) around(do func() error) error {
	mine := x.step.Add(1) == x.at
	if mine && !x.after {
		die()
	}
	err := do()
	if mine {
		die()
	}
	return err
}

func die() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// victim promises and seals until it is killed, and prints what it released.
func victim(path, round, order string) error {
	x := newExecutioner(order)
	d := disk{
		commit: func(tx *bolt.Tx) error { return x.around(tx.Commit) },
		append: func(f *os.File, frame []byte, off int64) error {
			return x.around(func() error { return appendSync(f, frame, off) })
		},
		size: 6 * frameAlign, most: 16, // the database takes over often
	}
	l, err := openWith(watched(path), d,
		func(path string, body []byte) error { return x.around(func() error { return replaceFile(path, body) }) })
	if err != nil {
		return err
	}
	from, _ := strconv.Atoi(os.Getenv("LEDGER_FROM"))
	fmt.Println("open")
	lines := make(chan string)
	for worker := range 4 {
		go func() {
			for n := from; ; n++ {
				resource := fmt.Sprintf("r/%d/%d", worker, n) // every round fights for some of the last one's
				e := promise(n, resource)
				copy(e.Root[:], round)
				if worker%2 == 1 {
					e = proxied(e)
				}
				r, err := l.Append(context.Background(), page(1), constant(e))
				if errors.Is(err, ErrSlashable) {
					continue
				}
				if err != nil {
					lines <- "error " + err.Error()
					return
				}
				if _, err := l.Seal(context.Background(), r, inkFor(r)); err != nil {
					lines <- "error " + err.Error()
					return
				}
				lines <- "released " + resource + " " + hex.EncodeToString(r.Entry.Root[:])
			}
		}()
	}
	for line := range lines {
		if _, err := fmt.Println(line); err != nil || strings.HasPrefix(line, "error") {
			return err
		}
	}
	return nil
}

// killing is a ledger whose process is killed over and over.
type killing struct {
	path     string
	released map[string]string // resource → root, over all that was ever released
	kills    int
	next     int      // about the highest number of a resource so far
	errors   []string // what victims complained about
}

func newKilling(t *testing.T) *killing {
	t.Helper()
	k := &killing{path: filepath.Join(t.TempDir(), "ledger.db"), released: map[string]string{}}
	if err := Create(watched(k.path)); err != nil {
		t.Fatal(err)
	}
	return k
}

// run runs a victim behind a wrapper until it dies, of delay if nothing else.
func (k *killing) run(t *testing.T, delay time.Duration, order string, wrapper ...string) {
	t.Helper()
	k.kills++
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	args := append(wrapper, os.Args[0])
	child := exec.CommandContext(ctx, args[0], args[1:]...)
	child.Env = append(os.Environ(), "LEDGER_VICTIM="+k.path, fmt.Sprintf("LEDGER_ROUND=round %d", k.kills), "LEDGER_KILL="+order, fmt.Sprintf("LEDGER_FROM=%d", max(0, k.next-5)))
	child.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a wrapper's child dies with it
	kill := func() error { return syscall.Kill(-child.Process.Pid, syscall.SIGKILL) }
	child.Cancel = kill
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	k.listen(t, out, func() { time.AfterFunc(delay, func() { _ = kill() }) })
	_ = child.Wait() // killed
}

func (k *killing) listen(t *testing.T, out io.Reader, opened func()) {
	t.Helper()
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		word := strings.Fields(lines.Text())
		switch {
		case len(word) == 0:
		case word[0] == "open":
			opened()
		case word[0] == "released" && len(word) == 3 && len(word[2]) == 64: // not a line cut short
			if root, ok := k.released[word[1]]; ok && root != word[2] {
				t.Errorf("%s was released twice, with roots %s and %s", word[1], root, word[2])
			}
			k.released[word[1]] = word[2]
			if n, err := strconv.Atoi(word[1][strings.LastIndexByte(word[1], '/')+1:]); err == nil {
				k.next = max(k.next, n)
			}
		case word[0] == "error":
			k.errors = append(k.errors, lines.Text())
		}
	}
}

// check compares everything ever released with the ledger.
func (k *killing) check(t *testing.T) {
	t.Helper()
	if len(k.released) == 0 {
		t.Fatal("nothing was ever released: the test proves nothing")
	}
	stored := map[string]Record{}
	seals := map[uint64]string{}
	sum, err := Walk(k.path, func(r Record) error {
		if r.Entry != nil {
			stored[r.Entry.Resources[0]] = r
		} else {
			seals[r.Seq] = hex.EncodeToString(r.Seal[:32])
			if len(r.Seal) == 65 && (!bytes.Equal(r.Proxy.Signature[:32], r.Seal[:32]) || len(r.Proxy.Branch) != 2) {
				t.Errorf("entry %d lost its proxy's signature: %+v", r.Seq, r.Proxy)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for resource, root := range k.released {
		r, ok := stored[resource]
		if !ok || hex.EncodeToString(r.Entry.Root[:]) != root || seals[r.Seq] != root {
			t.Errorf("%s was released with root %s and is not in the ledger so", resource, root)
		}
	}
	if w, err := readWitness(watched(k.path).Witness); err != nil || w.Records > sum.Records {
		t.Errorf("witness of %d records, ledger of %d: %v", w.Records, sum.Records, err)
	}
	t.Logf("%d kills, %d releases, %d entries, %d seals", k.kills, len(k.released), sum.Entries, sum.Seals)
}

// TestCrash_Kill kills a process at every durable step of its first ones, ledger
// and witness, before and after it, and at random moments. LEDGER_KILLS says how
// often; `make crash` takes its time. Over all that was ever released, every
// resource has one root, and every release is in the ledger.
func TestCrash_Kill(t *testing.T) {
	kills := 40
	if n, err := strconv.Atoi(os.Getenv("LEDGER_KILLS")); err == nil {
		kills = n
	}
	k := newKilling(t)
	for n := 0; k.kills < kills; n++ {
		k.run(t, 10*time.Second, fmt.Sprintf("%d before", 1+n%60), nil...)
		k.run(t, 10*time.Second, fmt.Sprintf("%d after", 1+n%60), nil...)
		k.run(t, time.Duration(rand.Int64N(int64(80*time.Millisecond))), "")
		k.run(t, time.Duration(rand.Int64N(int64(80*time.Millisecond))), "")
	}
	if len(k.errors) > 0 {
		t.Errorf("victims complained: %q", k.errors[:min(5, len(k.errors))])
	}
	k.check(t)
}

// TestCrash_FullDisk lets the ledger's file not grow any more. What was released
// before is there; the ledger is poisoned, and well again when there is room.
func TestCrash_FullDisk(t *testing.T) {
	prlimit, err := exec.LookPath("prlimit")
	if err != nil {
		t.Skip("prlimit(1) is not installed: the file cannot be kept from growing")
	}
	for _, size := range []int{40 << 10, 64 << 10, 128 << 10, 256 << 10} {
		k := newKilling(t)
		k.run(t, 3*time.Second, "", prlimit, fmt.Sprintf("--fsize=%d", size))
		if len(k.errors) == 0 || !strings.Contains(k.errors[0], ErrPoisoned.Code) {
			t.Errorf("%d bytes: victims said %q, want %s", size, k.errors, ErrPoisoned.Code)
		}
		k.errors = nil
		k.run(t, 100*time.Millisecond, "")
		if len(k.errors) > 0 {
			t.Errorf("%d bytes, and then room: %q", size, k.errors)
		}
		k.check(t)
	}
}

// TestCrash_SyncFails has fdatasync fail once, at its n-th call: what a retry
// would claim to be durable is not. [security: decision 17]
func TestCrash_SyncFails(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err == nil {
		err = exec.Command(strace, "-qq", "-o", os.DevNull, "true").Run()
	}
	if err != nil {
		t.Skipf("strace cannot trace here (%v): the failing sync is injected in TestCrash_Writer only", err)
	}
	k := newKilling(t)
	for _, n := range []int{2, 3, 5, 8, 13} {
		k.run(t, 5*time.Second, "", strace, "-f", "-qq", "-o", os.DevNull, "-e", "trace=fdatasync", "-e", fmt.Sprintf("inject=fdatasync:error=EIO:when=%d", n))
		if len(k.errors) == 0 {
			t.Errorf("sync %d failed, and nobody said so", n)
		}
		for _, said := range k.errors {
			if !strings.Contains(said, ErrPoisoned.Code) && !strings.Contains(said, ErrBroken.Code) {
				t.Errorf("sync %d: %q, want %s", n, said, ErrPoisoned.Code)
			}
		}
		k.errors = nil
		k.run(t, 100*time.Millisecond, "")
		if len(k.errors) > 0 {
			t.Errorf("after sync %d failed: %q", n, k.errors)
		}
	}
	k.check(t)
}
