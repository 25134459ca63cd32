package tests

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var buildDir string // of the binary; removed by TestMain

func TestMain(m *testing.M) {
	code := m.Run()
	if buildDir != "" {
		_ = os.RemoveAll(buildDir)
	}
	os.Exit(code)
}

// sidecarBinary is cmd/sidecar, built once per run.
var sidecarBinary = sync.OnceValues(func() (string, error) {
	var err error
	if buildDir, err = os.MkdirTemp("", "sidecar-tests-"); err != nil {
		return "", err
	}
	path := filepath.Join(buildDir, "sidecar")
	args := []string{"build", "-ldflags", "-X main.version=v0.0.0-test", "-o", path}
	if raceFlag != "" {
		args = append(args, raceFlag)
	}
	out, err := exec.Command("go", append(args, "../cmd/sidecar")...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build cmd/sidecar: %w\n%s", err, out)
	}
	return path, nil
})

// stopWithin is what a supervisor grants: SIGTERM to exit.
const stopWithin = 5 * time.Second

// process is a running sidecar.
type process struct {
	t       testing.TB
	cmd     *exec.Cmd
	builder string // address of the Builder API
	exited  chan struct{}
	err     error // of Wait, once exited is closed

	mu     sync.Mutex
	lines  []logLine
	output []byte // everything it wrote
}

// logLine is a record of the JSON log.
type logLine map[string]any

func (l logLine) text(key string) string {
	switch v := l[key].(type) {
	case nil:
		return ""
	case float64:
		return fmt.Sprintf("%.0f", v)
	default:
		return fmt.Sprint(v)
	}
}

// command makes a call of the binary in a directory of its own, without the
// environment of the tests.
func command(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	path, err := sidecarBinary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = t.TempDir()
	cmd.Env = []string{"HOME=" + cmd.Dir, "GORACE=halt_on_error=1 atexit_sleep_ms=0"}
	return cmd
}

// start runs the sidecar on a configuration until the test ends. It then must
// stop in time, with status 0 and without having panicked.
func start(t testing.TB, config string) *process {
	t.Helper()
	p := launch(t, config)
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("output of the sidecar, its end:\n%s", tail(p.text(), 6000))
		}
	})
	return p
}

// launch is start without the end.
func launch(t testing.TB, config string) *process {
	t.Helper()
	cmd := command(t, "run", "--config", "sidecar.toml")
	if err := os.WriteFile(filepath.Join(cmd.Dir, "sidecar.toml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, cmd: cmd, exited: make(chan struct{})}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	read := make(chan struct{})
	go func() { defer close(read); defer r.Close(); p.read(r) }()
	go func() { <-read; p.err = cmd.Wait(); close(p.exited) }()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-p.exited })

	running := p.await(20*time.Second, func(l logLine) bool { return l.text("msg") == "Sidecar is running" })
	if running == nil {
		t.Fatalf("the sidecar does not run:\n%s", p.text())
	}
	p.builder = running.text("builder")
	return p
}

func (p *process) read(r io.Reader) {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		p.mu.Lock()
		p.output = append(p.output, line...)
		var record logLine
		if json.Unmarshal(line, &record) == nil {
			p.lines = append(p.lines, record)
		}
		p.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (p *process) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return string(p.output)
}

// await returns the first log line that matches, or nil if none came in time.
func (p *process) await(within time.Duration, match func(logLine) bool) logLine {
	deadline := time.Now().Add(within)
	for from := 0; ; time.Sleep(5 * time.Millisecond) {
		p.mu.Lock()
		fresh := p.lines[from:]
		from = len(p.lines)
		p.mu.Unlock()
		if i := slices.IndexFunc(fresh, match); i >= 0 {
			return fresh[i]
		}
		select {
		case <-p.exited:
			return nil
		default:
		}
		if time.Now().After(deadline) {
			return nil
		}
	}
}

// stop asks the sidecar to end and checks how it does.
func (p *process) stop() {
	p.t.Helper()
	select {
	case <-p.exited:
		return // the test ended it, and looked
	default:
	}
	took, err := p.terminate(stopWithin)
	if err != nil {
		p.t.Errorf("after SIGTERM: %v in %v, want exit status 0 within %v", err, took, stopWithin)
	}
	p.healthy()
}

// terminate sends SIGTERM and waits for the end.
func (p *process) terminate(within time.Duration) (time.Duration, error) {
	begin := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return 0, err
	}
	select {
	case <-p.exited:
		return time.Since(begin), p.err
	case <-time.After(within):
		return time.Since(begin), context.DeadlineExceeded
	}
}

// healthy checks what no input may ever lead to.
func (p *process) healthy() {
	p.t.Helper()
	for _, sign := range []string{"panic", "DATA RACE", "goroutine ", "fatal error"} {
		if i := strings.Index(p.text(), sign); i >= 0 {
			p.t.Errorf("%q in the output:\n%s", sign, tail(p.text()[:min(i+2000, len(p.text()))], 4000))
		}
	}
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

// client talks to the sidecar as a beacon node does: no redirects, no
// compression, and one connection for each request.
var client = &http.Client{
	Timeout:       30 * time.Second,
	Transport:     &http.Transport{DisableCompression: true, DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// answer is what came back, and how long it took at the socket.
type answer struct {
	status int
	header http.Header
	body   []byte
	took   time.Duration
}

// ask sends a request. Headers come in pairs.
func (p *process) ask(method, path string, body []byte, headers ...string) (*answer, error) {
	var r io.Reader
	if body != nil {
		r = strings.NewReader(string(body))
	}
	req, err := http.NewRequest(method, "http://"+p.builder+path, r)
	if err != nil {
		return nil, err
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	begin := time.Now()
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	a := &answer{status: resp.StatusCode, header: resp.Header}
	a.body, err = io.ReadAll(resp.Body)
	a.took = time.Since(begin)
	return a, err
}

// must is ask for a request that has to be answered.
func (p *process) must(t testing.TB, method, path string, body []byte, headers ...string) *answer {
	t.Helper()
	a, err := p.ask(method, path, body, headers...)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

// refusal is the body of every error.
type refusal struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Reason  string `json:"reason"`
}

// refused checks a status, and the error body that goes with it.
func (a *answer) refused(t testing.TB, status int, reason string) {
	t.Helper()
	var r refusal
	d := json.NewDecoder(strings.NewReader(string(a.body)))
	d.DisallowUnknownFields()
	err := d.Decode(&r)
	switch {
	case a.status != status || err != nil:
		t.Errorf("answer %d %q (%v), want %d %s", a.status, a.body, err, status, reason)
	case r.Code != status || r.Reason != reason || r.Message == "":
		t.Errorf("error body %s, want code %d and reason %s", a.body, status, reason)
	case a.header.Get("Content-Type") != "application/json":
		t.Errorf("content type of an error: %q", a.header.Get("Content-Type"))
	}
}

// freePort finds a port that nobody listens on. Another process may take it
// before it is used; no test depends on more than that being rare.
func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
