package httpd

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sidecar/chain"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func testClock() *chain.Clock {
	return chain.NewClock(chain.Spec{SlotDuration: 12 * time.Second, SlotsPerEpoch: 32}, nil)
}

// logs is a writer that may be read while servers write.
type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// running is a server under test.
type running struct {
	*Server
	url  string
	logs *logs
	stop context.CancelFunc
	done chan error
	http *http.Client
}

// fill gives cfg what every test server needs.
func fill(cfg *Config) *logs {
	l := &logs{}
	cfg.Name, cfg.Addr, cfg.Clock = "test", "127.0.0.1:0", testClock()
	cfg.Log = slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
	return l
}

// start runs a server until the test ends.
func start(t *testing.T, cfg Config) *running {
	t.Helper()
	l := fill(&cfg)
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &running{s, "http://" + s.Addr().String(), l, stop, make(chan error, 1), nil}
	tr := &http.Transport{}
	r.http = &http.Client{Transport: tr, Timeout: 5 * time.Second}
	go func() { r.done <- s.Run(ctx) }()
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		stop()
		select {
		case err := <-r.done:
			r.done <- err
		case <-time.After(5 * time.Second):
			t.Error("Run did not return")
		}
	})
	return r
}

// get answers status, header and body of a request.
func (r *running) do(t *testing.T, method, path, body string, header ...string) (int, http.Header, string) {
	t.Helper()
	var in io.Reader
	if body != "" {
		in = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(context.Background(), method, r.url+path, in)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	res, err := r.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header, string(b)
}

// dial opens a raw connection.
func (r *running) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", r.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(4 * time.Second))
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// raw sends bytes and returns everything that comes back until the server
// closes the connection.
func (r *running) raw(t *testing.T, request string) string {
	t.Helper()
	c := r.dial(t)
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatalf("after %q: %v", b, err)
	}
	return string(b)
}

// reason returns the field of an error body, and checks its code.
func reason(t *testing.T, status int, body string) string {
	t.Helper()
	var e struct {
		Code            int
		Message, Reason string
	}
	if err := json.Unmarshal([]byte(body), &e); err != nil {
		t.Fatalf("error body %q: %v", body, err)
	}
	if e.Code != status || e.Message == "" {
		t.Errorf("error body %q does not go with status %d", body, status)
	}
	return e.Reason
}

// answers parses what came over a raw connection.
func answers(t *testing.T, text string) (statuses []int, bodies []string) {
	t.Helper()
	br := bufio.NewReader(strings.NewReader(text))
	for {
		if _, err := br.Peek(1); err != nil {
			return statuses, bodies
		}
		res, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatalf("answer %q: %v", text, err)
		}
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatalf("answer %q: %v", text, err)
		}
		_ = res.Body.Close()
		statuses, bodies = append(statuses, res.StatusCode), append(bodies, string(b))
	}
}

// memory is a listener without sockets: synctest can see when it waits.
type memory struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newMemory() *memory { return &memory{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (m *memory) Accept() (net.Conn, error) {
	select {
	case c := <-m.conns:
		return c, nil
	case <-m.closed:
		return nil, net.ErrClosed
	}
}

func (m *memory) Close() error   { m.once.Do(func() { close(m.closed) }); return nil }
func (m *memory) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "memory"} }

func (m *memory) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	a, b := net.Pipe()
	select {
	case m.conns <- b:
		return a, nil
	case <-m.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func say(text string) Handler {
	return func(context.Context, Request) (Response, error) { return Response{Body: []byte(text)}, nil }
}

func echo(_ context.Context, r Request) (Response, error) {
	return Response{Body: r.Body, ContentType: mediaSSZ}, nil
}
