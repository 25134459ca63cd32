package ledger

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/internal/ledger/pgtest"
)

// pgPatience is how long a test waits for what takes a lease, or a restart.
const pgPatience = 20 * time.Second

// TestServer_Killed kills the server in mid-load and starts it again: what was
// answered is there, nothing is there twice, and both sidecars go on by themselves.
func TestServer_Killed(t *testing.T) {
	s := pgtest.Own(t)
	where := pgCase(s.DSN()).create(t)
	c := newContest(t, where)
	a, b := sidecarAt(t, where, "a"), sidecarAt(t, where, "b")
	stopA, stopB := c.enter(8, "a", a), c.enter(8, "b", b)
	for _, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGQUIT, syscall.SIGKILL, syscall.SIGINT} {
		known := a.Len()
		c.wait(100)
		within(t, pgPatience, "both show it", func() bool { return a.Len() > known && b.Len() > known })
		s.End(signal)
		// While it is gone both refuse, at once, and show what they know.
		within(t, pgPatience, "they see it", func() bool { return a.Standing().Trouble != nil && b.Standing().Trouble != nil })
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		if _, err := a.Append(ctx, page(2), constant(promise(1, "meanwhile"))); !errors.Is(err, ErrDatabase) && !errors.Is(err, ErrLease) {
			t.Errorf("got %v, want %v", err, ErrDatabase)
		}
		cancel()
		if len(a.Page(page(1)).Promises) < int(known) || len(b.Page(page(1)).Promises) < int(known) {
			t.Errorf("%v: %d and %d promises are shown while the server is gone", signal, len(a.Page(page(1)).Promises), len(b.Page(page(1)).Promises))
		}
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
	}
	c.wait(100)
	stopA()
	stopB()
	if a.Poisoned() != nil || b.Poisoned() != nil {
		t.Errorf("poisoned: %v, %v", a.Poisoned(), b.Poisoned())
	}
	c.judge()
}

// TestServer_ConnectionsCut ends every connection again and again in mid-load.
func TestServer_ConnectionsCut(t *testing.T) {
	where := pgCase(testDSN(t)).create(t)
	dsn, _ := readDSN(where)
	c := newContest(t, where)
	name := "cut " + unique()
	a, b := sidecarAt(t, where, name+" a"), sidecarAt(t, where, name+" b")
	stopA, stopB := c.enter(8, "a", a), c.enter(8, "b", b)
	for range 30 {
		c.wait(20)
		sql(t, dsn, `select pg_terminate_backend(pid) from pg_stat_activity where application_name like $1`, "sidecar ledger "+name+"%")
	}
	c.wait(100)
	stopA()
	stopB()
	if a.Poisoned() != nil || b.Poisoned() != nil {
		t.Errorf("poisoned: %v, %v", a.Poisoned(), b.Poisoned())
	}
	c.judge()
}

// TestServer_Lossy: a server that may lose a commit is refused, when a ledger is
// made and opened, and when it comes back so under an open one.
func TestServer_Lossy(t *testing.T) {
	s := pgtest.Own(t)
	e := pgCase(s.DSN())
	where := e.create(t)
	l := sidecarAt(t, where, "open")
	for _, setting := range []string{"fsync=off", "full_page_writes=off"} {
		s.End(syscall.SIGINT)
		if err := s.Start(setting); err != nil {
			t.Fatal(err)
		}
		if _, err := e.open(where, "holesky", holesky); !errors.Is(err, ErrLossy) {
			t.Errorf("%s: open: got %v, want %v", setting, err, ErrLossy)
		}
		if err := CreatePostgres(pgConfig(emptySchema(t, s.DSN()))); !errors.Is(err, ErrLossy) {
			t.Errorf("%s: create: got %v, want %v", setting, err, ErrLossy)
		}
		within(t, pgPatience, "the open one refuses", func() bool {
			_, err := l.Append(context.Background(), page(1), constant(promise(1, "r")))
			return errors.Is(err, ErrLossy)
		})
	}
	s.End(syscall.SIGINT)
	// What only the session decides, the session decides.
	if err := s.Start("synchronous_commit=off"); err != nil {
		t.Fatal(err)
	}
	within(t, pgPatience, "it writes again", func() bool {
		_, err := l.Append(context.Background(), page(1), constant(promise(1, "r")))
		return err == nil
	})
}

// pgVictim fights until it is killed, and prints what it released.
func pgVictim(where, name string) error {
	l, err := OpenPostgres(shortLease(where, name))
	if err != nil {
		return err
	}
	fmt.Println("open")
	lines := make(chan string)
	for worker := range 4 {
		go func() {
			for n := 0; ; n++ {
				resource := fmt.Sprintf("r/%d/%d", worker, n)
				root, err := release(context.Background(), l, name, resource)
				switch {
				case err == nil:
					lines <- "released " + resource + " " + hex.EncodeToString(root[:])
				case !errors.Is(err, ErrSlashable):
					lines <- "error " + err.Error()
					return
				}
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

// follow starts a victim and reads what it releases until it ends.
func (c *contest) follow(name string) (process *os.Process, gone chan struct{}) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	child := exec.CommandContext(ctx, os.Args[0]) // #nosec G204
	child.Env = append(os.Environ(), "LEDGER_VICTIM="+c.where, "LEDGER_ROUND="+name, "LEDGER_ENGINE=postgres")
	out, err := child.StdoutPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		c.t.Fatal(err)
	}
	gone = make(chan struct{})
	go func() {
		defer close(gone)
		defer cancel()
		for lines := bufio.NewScanner(out); lines.Scan(); {
			word := strings.Fields(lines.Text())
			switch {
			case len(word) == 3 && word[0] == "released" && len(word[2]) == 64:
				var root phase0.Root
				_, _ = hex.Decode(root[:], []byte(word[2]))
				c.release(name, word[1], root)
			case len(word) > 0 && word[0] == "error":
				c.t.Errorf("%s: %s", name, lines.Text())
			}
		}
		_ = child.Wait()
	}()
	c.t.Cleanup(func() { _ = child.Process.Kill(); <-gone })
	return child.Process, gone
}

// TestLease_LeaderKilled kills a leading process at its work, again and again:
// the standby takes over when the lease runs out, and contradicts nothing.
func TestLease_LeaderKilled(t *testing.T) {
	where := pgCase(testDSN(t)).create(t)
	c := newContest(t, where)
	last, lastGone := c.follow("process 0")
	for round := range 4 {
		within(t, pgPatience, "the leader releases", func() bool { return c.releasedBy(fmt.Sprintf("process %d", round)) > 20 })
		next, nextGone := c.follow(fmt.Sprintf("process %d", round+1))
		time.Sleep(time.Duration(round) * 37 * time.Millisecond)
		_ = last.Kill()
		<-lastGone
		last, lastGone = next, nextGone
	}
	within(t, pgPatience, "the last leads", func() bool { return c.releasedBy("process 4") > 20 })
	_ = last.Kill()
	<-lastGone
	c.judge()
}

// TestLease_LeaderAsleep stops a leading process for longer than its lease. When
// it wakes it believes that it leads, in the middle of whatever it was doing.
func TestLease_LeaderAsleep(t *testing.T) {
	where := pgCase(testDSN(t)).create(t)
	c := newContest(t, where)
	sleeper, gone := c.follow("sleeper")
	within(t, pgPatience, "the sleeper leads", func() bool { return c.releasedBy("sleeper") > 20 })
	l := sidecarAt(t, where, "watch")
	stop := c.enter(4, "watch", l)
	for range 3 {
		_ = sleeper.Signal(syscall.SIGSTOP)
		within(t, pgPatience, "the watch leads", func() bool { return l.Standing().Leads })
		c.wait(50)
		_ = sleeper.Signal(syscall.SIGCONT)
		c.wait(200)
		if !l.Standing().Leads { // the watch was kept from renewing for as long as a lease
			t.Log("the sleeper took the lease back; what counts is judged at the end")
		}
		// The watch gives up, so that the sleeper leads again.
		stop()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		before := c.releasedBy("sleeper")
		within(t, pgPatience, "the sleeper leads again", func() bool { return c.releasedBy("sleeper") > before+20 })
		l = sidecarAt(t, where, "watch")
		stop = c.enter(4, "watch", l)
	}
	stop()
	_ = sleeper.Kill()
	<-gone
	c.judge()
}
