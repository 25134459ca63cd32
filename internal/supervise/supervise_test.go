//go:build unix

package supervise

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sidecar/chain"
	"sidecar/fault"
	"sidecar/internal/metrics"
)

// TestMain is the child, too: a real process that misbehaves as it is told.
func TestMain(m *testing.M) {
	if mode := os.Getenv("SUPERVISE_CHILD"); mode != "" {
		child(mode)
		return
	}
	goleak.VerifyTestMain(m)
}

func child(mode string) {
	mode, arg, _ := strings.Cut(mode, ":")
	switch mode {
	case "crash":
		fmt.Fprintln(os.Stderr, "I crash")
		os.Exit(3)
	case "environment":
		fmt.Println(strings.Join(os.Environ(), "|"))
	case "deaf":
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("deaf")
		time.Sleep(time.Hour)
	case "serve": // says what it is asked
		l, err := net.Listen("tcp", arg)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("well\n"))
			_ = conn.Close()
		}
	case "flood": // a GiB on one line, with what terminals obey
		b := bytes.Repeat([]byte("\x1b[31m\x00\xff"), 1<<17)
		for range 1 << 30 / len(b) {
			_, _ = os.Stdout.Write(b)
		}
	case "lines":
		b := bytes.Repeat([]byte("x\n"), 1<<19)
		for range 8 {
			_, _ = os.Stdout.Write(b)
		}
	case "grandchild": // leaves one behind that holds our output and ignores signals
		c := exec.Command(os.Args[0])
		c.Env = []string{"SUPERVISE_CHILD=deaf"}
		c.Stdout = os.Stdout
		if err := c.Start(); err != nil {
			fmt.Println(err)
		}
		fmt.Println("grandchild", c.Process.Pid)
		if arg == "stay" {
			time.Sleep(time.Hour)
		}
	}
}

// logbook collects log lines.
type logbook struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logbook) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// all are the values of an attribute, in order.
func (l *logbook) all(attr string) (out []string) {
	s := bufio.NewScanner(strings.NewReader(l.text()))
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		if _, v, ok := strings.Cut(s.Text(), " "+attr+"="); ok {
			v, _, _ = strings.Cut(v, " ")
			out = append(out, v)
		}
	}
	return out
}

// kept is a child under supervision for the length of a test.
type kept struct {
	*testing.T
	log    logbook
	meter  *metrics.Registry
	cancel context.CancelFunc
	ended  chan error
}

func keep(t *testing.T, mode string, c Config) *kept {
	t.Helper()
	k := &kept{T: t, meter: metrics.NewRegistry(), ended: make(chan error, 1)}
	c.Name, c.Clock = "m", chain.NewClock(chain.Spec{}, nil)
	if c.Command == nil {
		c.Command = []string{os.Args[0]}
	}
	c.Env = append(c.Env, "SUPERVISE_CHILD="+mode)
	c.Log, c.Metrics = slog.New(slog.NewTextHandler(&k.log, nil)), NewMetrics(k.meter)
	one, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	k.cancel = cancel
	go func() { k.ended <- one.Run(ctx) }()
	t.Cleanup(func() { k.stop(20 * time.Second) })
	return k
}

// stop ends it, and wants it gone within a time.
func (k *kept) stop(within time.Duration) {
	k.Helper()
	k.cancel()
	select {
	case err := <-k.ended:
		if err != nil {
			k.Errorf("Run: %v", err)
		}
		k.ended <- nil
	case <-time.After(within):
		k.Fatalf("Run goes on after %v", within)
	}
	for _, pid := range k.log.all("pid") {
		if alive(pid) {
			k.Errorf("process %s is left", pid)
		}
	}
}

func (k *kept) await(what string, is func() bool) {
	k.Helper()
	for end := time.Now().Add(30 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			k.Fatalf("never: %s; log:\n%.4000s", what, k.log.text())
		}
	}
}

// alive says whether a process runs; a zombie that nobody reaped does not.
func alive(pid string) bool {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return false
	}
	_, rest, _ := bytes.Cut(stat, []byte(") "))
	return len(rest) > 0 && rest[0] != 'Z' && rest[0] != 'X'
}

func TestCrashLoop(t *testing.T) {
	k := keep(t, "crash", Config{First: 40 * time.Millisecond, Last: 320 * time.Millisecond})
	k.await("six lives", func() bool { return len(k.log.all("pid")) >= 6 })
	pauses := k.log.all("again_in_ms")
	if got := strings.Join(pauses[:5], " "); got != "40 80 160 320 320" {
		t.Errorf("pauses %s", got)
	}
	if text := k.log.text(); !strings.Contains(text, `line="I crash"`) || !strings.Contains(text, "exit status 3") || !strings.Contains(text, "reason="+ErrExited.Code) {
		t.Errorf("log %s", text)
	}
	if n, _ := k.meter.Value(`sidecar_child_restarts_total{module="m",reason="module_exited"}`); n < 5 {
		t.Errorf("%v restarts", n)
	}
	k.stop(2 * time.Second)
	if n, ok := k.meter.Value(`sidecar_child_up{module="m"}`); !ok || n != 0 {
		t.Errorf("up %v", n)
	}
}

func TestNotThere(t *testing.T) {
	k := keep(t, "", Config{Command: []string{"/nonexistent/module"}, First: time.Millisecond})
	k.await("two tries", func() bool { return len(k.log.all("again_in_ms")) >= 2 })
	if !strings.Contains(k.log.text(), "reason="+ErrStart.Code) {
		t.Errorf("log %s", k.log.text())
	}
	k.stop(time.Second)
}

func TestEnvironment(t *testing.T) {
	t.Setenv("CB_SIGNER_ADMIN_JWT", "a secret of ours")
	k := keep(t, "environment", Config{Env: []string{"CB_MODULE_ID=m"}, First: time.Minute})
	k.await("a line", func() bool { return strings.Contains(k.log.text(), "line=") })
	if text := k.log.text(); !strings.Contains(text, `line="CB_MODULE_ID=m|SUPERVISE_CHILD=environment"`) {
		t.Errorf("log %s", text)
	}
}

// TestStopped: a process that hangs is ended and started again.
func TestStopped(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	k := keep(t, "serve:"+addr, Config{Every: 100 * time.Millisecond, Misses: 10, First: 10 * time.Millisecond, Healthy: func(ctx context.Context) error {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if err != nil {
			return err
		}
		defer conn.Close()
		d, _ := ctx.Deadline()
		_ = conn.SetDeadline(d)
		_, err = conn.Read(make([]byte, 4))
		return err
	}})
	well := func() bool {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return false
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(50 * time.Millisecond))
		n, _ := conn.Read(make([]byte, 4))
		return n > 0
	}
	k.await("it serves", well)
	var pid int
	fmt.Sscan(k.log.all("pid")[len(k.log.all("pid"))-1], &pid)
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	k.await("the stopped one is gone", func() bool { return !alive(fmt.Sprint(pid)) })
	k.await("another serves", well)
	if !strings.Contains(k.log.text(), "reason="+ErrUnhealthy.Code) {
		t.Errorf("log %s", k.log.text())
	}
	k.stop(2 * time.Second)
}

func TestDeaf(t *testing.T) {
	k := keep(t, "deaf", Config{Grace: 300 * time.Millisecond})
	k.await("it is deaf", func() bool { return strings.Contains(k.log.text(), "line=deaf") })
	begun := time.Now()
	k.stop(5 * time.Second)
	if took := time.Since(begun); took < 300*time.Millisecond || took > 3*time.Second {
		t.Errorf("ended after %v, want 300ms and a little", took)
	}
}

// TestFlood: a GiB of garbage is a bounded number of bounded, harmless lines.
func TestFlood(t *testing.T) {
	for mode, most := range map[string]int{"flood": 1 << 13, "lines": 1 << 20} {
		t.Run(mode, func(t *testing.T) {
			k := keep(t, mode, Config{First: time.Hour})
			k.await("it ended", func() bool { return strings.Contains(k.log.text(), ErrExited.Code) })
			text := k.log.text()
			if len(text) > most*4 {
				t.Errorf("%d bytes in the log", len(text))
			}
			if i := strings.IndexFunc(text, func(r rune) bool { return r < ' ' && r != '\n' || r == 0x1b || r == '\ufffd' }); i >= 0 {
				t.Errorf("the log holds %q", text[i:i+1])
			}
			if n, _ := k.meter.Value(`sidecar_child_log_lines_dropped_total{module="m"}`); mode == "lines" && n < 1<<22-5000 {
				t.Errorf("%v lines dropped of %d", n, 1<<22)
			}
		})
	}
}

// TestGrandchildren: what a process started goes with it, and holds up nobody.
func TestGrandchildren(t *testing.T) {
	for _, how := range []string{"go", "stay"} {
		k := keep(t, "grandchild:"+how, Config{First: time.Hour, Grace: 200 * time.Millisecond})
		var pid string
		k.await("a grandchild", func() bool {
			_, rest, ok := strings.Cut(k.log.text(), `line="grandchild `)
			pid, _, _ = strings.Cut(rest, `"`)
			return ok
		})
		if how == "go" {
			k.await("an end", func() bool { return strings.Contains(k.log.text(), ErrExited.Code) })
		}
		k.stop(5 * time.Second)
		k.await("the grandchild is gone", func() bool { return !alive(pid) })
	}
}

func TestNew(t *testing.T) {
	for _, c := range []Config{{}, {Name: "m"}, {Name: "m", Command: []string{""}}, {Name: "m", Command: []string{"x"}}} {
		if _, err := New(c); err == nil {
			t.Errorf("%+v: no error", c)
		}
	}
	if fault.Code(ErrStart.With("x")) != "module_start_failed" {
		t.Error("code")
	}
}
