package httpd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sidecar/internal/metrics"
)

func TestNew_Refuses(t *testing.T) {
	for name, edit := range map[string]func(*Config){
		"no name":   func(c *Config) { c.Name = "" },
		"no log":    func(c *Config) { c.Log = nil },
		"no clock":  func(c *Config) { c.Clock = nil },
		"header":    func(c *Config) { c.MaxHeader = 1 },
		"conns":     func(c *Config) { c.MaxConns = -1 },
		"drain":     func(c *Config) { c.Drain = -1 },
		"bad route": func(c *Config) { c.Routes = []Route{{}} },
	} {
		var cfg Config
		fill(&cfg)
		edit(&cfg)
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: config was taken", name)
		}
	}
}

func TestListen_Taken(t *testing.T) {
	r := start(t, Config{})
	cfg := Config{}
	fill(&cfg)
	cfg.Addr = r.Addr().String()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(); !errors.Is(err, ErrListen) || !strings.Contains(err.Error(), cfg.Addr) {
		t.Errorf("Listen = %v", err)
	}
	if err := s.Run(context.Background()); !errors.Is(err, ErrListen) || s.Addr() != nil {
		t.Errorf("Run = %v", err)
	}
	r.do(t, "GET", "/", "") // it serves by now
	if err := r.ServeListener(context.Background(), newMemory()); !errors.Is(err, ErrListen) {
		t.Errorf("second ServeListener = %v", err)
	}
	cfg.Addr = "127.0.0.1:0"
	if s, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Listen(), s.Close()); err != nil {
		t.Error(err)
	}
}

// TestAfter shows that the answer is out and the connection free while After
// still runs, that it also runs for a refusal, and that its panic is caught.
func TestAfter(t *testing.T) {
	release, ran := make(chan struct{}), make(chan string, 3)
	r := start(t, Config{Routes: []Route{
		{Name: "a", Method: "GET", Path: "/a", Serve: func(context.Context, Request) (Response, error) {
			return Response{Body: []byte("a"), After: func() { <-release; ran <- "a" }}, nil
		}},
		{Name: "f", Method: "GET", Path: "/f", Serve: func(context.Context, Request) (Response, error) {
			return Response{After: func() { ran <- "f"; panic("late") }}, ErrNotFound
		}},
		{Name: "b", Method: "GET", Path: "/b", Serve: say("b")},
	}})
	if _, _, body := r.do(t, "GET", "/a", ""); body != "a" {
		t.Errorf("body %q", body)
	}
	if _, _, body := r.do(t, "GET", "/b", ""); body != "b" {
		t.Errorf("body %q", body)
	}
	if status, _, _ := r.do(t, "GET", "/f", "", "Connection", "close"); status != 404 {
		t.Errorf("status %d", status)
	}
	if got := <-ran; got != "f" {
		t.Errorf("%s ran first", got)
	}
	r.stop()
	select {
	case err := <-r.done:
		t.Fatalf("Run returned before After: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(release)
	if err := <-r.done; err != nil {
		t.Error(err)
	}
	r.done <- nil
	if got := <-ran; got != "a" || len(ran) != 0 {
		t.Errorf("ran %s, %d more", got, len(ran))
	}
	if !strings.Contains(r.logs.String(), "After panicked") {
		t.Error("the panic is not in the log")
	}
}

func TestDrain(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	r := start(t, Config{Routes: []Route{
		{Name: "ok", Method: "GET", Path: "/ok", Serve: say("ok")},
		{Name: "slow", Method: "GET", Path: "/slow", Serve: func(ctx context.Context, _ Request) (Response, error) {
			close(entered)
			<-release
			return Response{Body: []byte("done")}, ctx.Err()
		}},
	}})
	untouched, idle, busy := r.dial(t), r.dial(t), r.dial(t)
	buf := make([]byte, 512)
	_, _ = io.WriteString(idle, "GET /ok HTTP/1.1\r\nHost: h\r\n\r\n")
	if _, err := idle.Read(buf); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(busy, "GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
	<-entered
	r.stop()
	for name, c := range map[string]net.Conn{"untouched": untouched, "idle": idle} {
		_ = c.SetReadDeadline(time.Now().Add(time.Second))
		if n, err := c.Read(buf); n != 0 || errors.Is(err, context.DeadlineExceeded) || err == nil {
			t.Errorf("%s connection: %q, %v", name, buf[:n], err)
		}
		var timeout net.Error
		if _, err := c.Read(buf); errors.As(err, &timeout) && timeout.Timeout() {
			t.Errorf("%s connection stays open", name)
		}
	}
	if _, err := net.Dial("tcp", r.Addr().String()); err == nil {
		t.Error("still accepting")
	}
	close(release)
	got, _ := io.ReadAll(busy)
	if !strings.HasSuffix(string(got), "\r\n\r\ndone") || !strings.Contains(string(got), "Connection: close") {
		t.Errorf("busy connection: %q", got)
	}
	if err := <-r.done; err != nil {
		t.Errorf("Run = %v", err)
	}
	r.done <- nil
}

func TestDrain_Cut(t *testing.T) {
	entered := make(chan struct{})
	r := start(t, Config{Drain: 50 * time.Millisecond, Routes: []Route{{Name: "slow", Method: "GET", Path: "/", Timeout: time.Hour,
		Serve: func(ctx context.Context, _ Request) (Response, error) {
			close(entered)
			<-ctx.Done()
			return Response{}, ctx.Err()
		}}}})
	c := r.dial(t)
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	<-entered
	r.stop()
	err := <-r.done
	if !errors.Is(err, ErrDrain) || !strings.Contains(err.Error(), "1 connections") {
		t.Errorf("Run = %v", err)
	}
	r.done <- err
}

func TestLimits(t *testing.T) {
	for _, c := range []struct {
		limit string
		cfg   Config
	}{
		{"server", Config{MaxConns: 2}},
		{"address", Config{MaxConnsPerIP: 2}},
	} {
		reg := metrics.NewRegistry()
		c.cfg.Metrics = NewMetrics(reg)
		c.cfg.Routes = []Route{{Name: "ok", Method: "GET", Path: "/", Serve: say("ok")}}
		r := start(t, c.cfg)
		const get = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
		a, b := r.dial(t), r.dial(t)
		third, err := io.ReadAll(r.dial(t))
		statuses, bodies := answers(t, string(third))
		if err != nil || len(statuses) != 1 || statuses[0] != 503 || reason(t, 503, bodies[0]) != "too_many_connections" {
			t.Errorf("%s: third connection: %q, %v", c.limit, third, err)
		}
		if got, want := scrape(t, reg), `refused_total{limit="`+c.limit+`",server="test"} 1`; !strings.Contains(got, want) {
			t.Errorf("%s: metrics lack %s: %s", c.limit, want, got)
		}
		for _, conn := range []net.Conn{a, b} { // those that are in are served
			_, _ = io.WriteString(conn, get)
			if got, _ := io.ReadAll(conn); !strings.HasSuffix(string(got), "ok") {
				t.Errorf("%s: %q", c.limit, got)
			}
		}
		waitFor(t, func() bool { return strings.Contains(scrape(t, reg), `connections{server="test"} 0`) })
		if got := r.raw(t, get); !strings.HasSuffix(got, "ok") { // and their places are free again
			t.Errorf("%s: %q", c.limit, got)
		}
	}
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for range 200 {
		if ok() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Error("waited in vain")
}

// scrape returns the metrics as text.
func scrape(t *testing.T, reg *metrics.Registry) string {
	t.Helper()
	w := httptest.NewRecorder()
	reg.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	return w.Body.String()
}

// sick is a listener that cannot accept for a while.
type sick struct {
	net.Listener
	fails atomic.Int32
}

func (s *sick) Accept() (net.Conn, error) {
	if s.fails.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return s.Listener.Accept()
}

func TestAccept_OutOfDescriptors(t *testing.T) {
	cfg := Config{Routes: []Route{{Name: "ok", Method: "GET", Path: "/", Serve: say("ok")}}}
	l := fill(&cfg)
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln := &sick{Listener: inner}
	ln.fails.Store(3)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.ServeListener(ctx, ln) }()
	r := &running{Server: s, logs: l}
	s.ln = inner
	if got := r.raw(t, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"); !strings.HasSuffix(got, "ok") {
		t.Errorf("got %q", got)
	}
	if n := strings.Count(l.String(), "Connection not accepted"); n != 1 {
		t.Errorf("%d log lines, want 1", n)
	}
	_ = inner.Close() // the listener goes without our doing
	if err := <-done; !errors.Is(err, ErrListen) {
		t.Errorf("ServeListener = %v", err)
	}
	stop()
}

func TestMetricsAndLog(t *testing.T) {
	reg := metrics.NewRegistry()
	r := start(t, Config{Metrics: NewMetrics(reg), Routes: []Route{
		{Name: "ok", Method: "GET", Path: "/ok", Serve: say("ok")},
		{Name: "late", Method: "GET", Path: "/late", Timeout: time.Millisecond, Serve: func(context.Context, Request) (Response, error) {
			time.Sleep(2 * overrunGrace)
			return Response{Status: 202}, nil
		}},
	}})
	r.do(t, "GET", "/ok", "")
	r.do(t, "GET", "/ok", "")
	r.do(t, "GET", "/late", "")
	r.do(t, "GET", "/nowhere", "")
	r.raw(t, "nonsense\r\n\r\n")
	got := scrape(t, reg)
	for _, want := range []string{
		`sidecar_http_requests_total{route="late",server="test",status="202"} 1`,
		`sidecar_http_requests_total{route="ok",server="test",status="200"} 2`,
		`sidecar_http_requests_total{route="unknown",server="test",status="400"} 1`,
		`sidecar_http_requests_total{route="unknown",server="test",status="404"} 1`,
		`sidecar_http_handler_overruns_total{route="late",server="test"} 1`,
		`sidecar_http_requests_in_flight{server="test"} 0`,
		`sidecar_http_request_duration_seconds_bucket{route="late",server="test",le="0.05"} 0`,
		`sidecar_http_request_duration_seconds_count{route="ok",server="test"} 2`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	l := r.logs.String()
	for _, want := range []string{"server=test route=ok status=200 ms=", "req_id=", "route=unknown status=404", "reason=not_found"} {
		if !strings.Contains(l, want) {
			t.Errorf("log lacks %q: %s", want, l)
		}
	}
}

func TestTLS(t *testing.T) {
	cert := httptest.NewTLSServer(http.NotFoundHandler())
	defer cert.Close()
	r := start(t, Config{TLS: cert.TLS, Routes: []Route{{Name: "p", Method: "POST", Path: "/", MaxBody: 1 << 20, Serve: echo}}})
	tr := cert.Client().Transport.(*http.Transport).Clone()
	tr.ForceAttemptHTTP2 = false
	defer tr.CloseIdleConnections()
	client := &http.Client{Transport: tr, Timeout: 5 * time.Second}
	for _, n := range []int{1, 100000} {
		res, err := client.Post(strings.Replace(r.url, "http:", "https:", 1), "", strings.NewReader(strings.Repeat("x", n)))
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if res.StatusCode != 200 || len(b) != n {
			t.Errorf("%d, %d bytes", res.StatusCode, len(b))
		}
	}
	if status, _, _ := (&running{Server: r.Server, url: r.url, http: r.http}).tryPlain(); status == 200 {
		t.Error("plain text was served")
	}
}

func (r *running) tryPlain() (int, string, error) {
	res, err := r.http.Get(r.url)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, string(b), err
}

// TestConcurrent shows that requests do not see each other's bodies.
func TestConcurrent(t *testing.T) {
	r := start(t, Config{Routes: []Route{{Name: "p", Method: "POST", Path: "/", MaxBody: 1 << 20, Serve: echo}}})
	errs := make(chan error, 8)
	for w := range 8 {
		go func() {
			for i := range 30 {
				want := bytes.Repeat([]byte{byte('a' + w)}, 1+i*i*40)
				res, err := r.http.Post(r.url, "", bytes.NewReader(want))
				if err != nil {
					errs <- err
					return
				}
				got, err := io.ReadAll(res.Body)
				_ = res.Body.Close()
				if err != nil || !bytes.Equal(got, want) {
					errs <- fmt.Errorf("worker %d: %d bytes, want %d: %v", w, len(got), len(want), err)
					return
				}
			}
			errs <- nil
		}()
	}
	for range 8 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}
