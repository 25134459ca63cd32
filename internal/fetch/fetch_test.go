package fetch

import (
	"compress/gzip"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sidecar/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// upstream is a server that misbehaves as its path says.
func upstream(t *testing.T) *httptest.Server {
	t.Helper()
	hung := make(chan struct{})
	mux := http.NewServeMux()
	answer := func(path, body string) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) })
	}
	answer("/good", `{"a":1,"unknown":[2]}`)
	answer("/broken", `{"a":`)
	answer("/trailing", `{"a":1} {}`)
	answer("/ten", "0123456789")
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		_ = json.NewEncoder(w).Encode(map[string]any{"method": r.Method, "body": string(b), "header": r.Header})
	})
	mux.HandleFunc("/stream", func(w http.ResponseWriter, _ *http.Request) {
		for range 20 {
			_, _ = io.WriteString(w, "0123456789")
			w.(http.Flusher).Flush()
		}
	})
	mux.HandleFunc("/redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/good", http.StatusFound) })
	mux.HandleFunc("/unmodified", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotModified) })
	mux.HandleFunc("/500", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "bad\x1b[2J"+strings.Repeat("x", 500), 500)
	})
	mux.HandleFunc("/gzip", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = io.WriteString(z, `{"a":1}`)
		_ = z.Close()
	})
	mux.HandleFunc("/header", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-A", strings.Repeat("a", 100<<10)) })
	mux.HandleFunc("/hang", func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-hung:
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("/trickle", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "{")
		w.(http.Flusher).Flush()
		select {
		case <-hung:
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("/hangup", func(w http.ResponseWriter, _ *http.Request) {
		c, _, _ := w.(http.Hijacker).Hijack()
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{")
		_ = c.Close()
	})
	s := httptest.NewServer(mux)
	t.Cleanup(func() { close(hung); s.Close() })
	return s
}

func TestGetJSON(t *testing.T) {
	s := upstream(t)
	client := New(Options{Timeout: 200 * time.Millisecond})
	defer client.CloseIdleConnections()
	for _, c := range []struct {
		path string
		want *fault.Fault
	}{
		{"/good", nil}, {"/broken", ErrJSON}, {"/trailing", ErrJSON}, {"/stream", ErrTooLarge}, {"/redirect", ErrRedirect},
		{"/unmodified", ErrRedirect}, {"/500", ErrStatus}, {"/nowhere", ErrStatus}, {"/gzip", ErrEncoding},
		{"/header", ErrUnreachable}, {"/hang", ErrTimeout}, {"/trickle", ErrTimeout}, {"/hangup", ErrUnreachable},
	} {
		var out struct{ A int }
		err := GetJSON(context.Background(), client, s.URL+c.path+"?key=hunter2", 100, &out)
		if c.path == "/500" || c.path == "/nowhere" {
			err = GetJSON(context.Background(), client, s.URL+c.path+"?key=hunter2", 1000, &out)
		}
		if c.want == nil {
			if err != nil || out.A != 1 {
				t.Errorf("%s: %+v, %v", c.path, out, err)
			}
			continue
		}
		if !errors.Is(err, c.want) || fault.Of(err).Kind != fault.Upstream {
			t.Errorf("%s: %v, want %v", c.path, err, c.want)
		}
		if text := err.Error(); strings.Contains(text, "hunter2") || strings.ContainsRune(text, 0x1b) || len(text) > 400 {
			t.Errorf("%s: text %q", c.path, text)
		}
	}
	var se *StatusError
	if err := GetJSON(context.Background(), client, s.URL+"/500", 1000, nil); !errors.As(err, &se) || se.Status != 500 || len(se.Body) != 508 {
		t.Errorf("StatusError %+v", se)
	}
}

func TestGetJSON_Unreachable(t *testing.T) {
	client := New(Options{})
	for _, url := range []string{"http://127.0.0.1:1/hunter2", "ftp://127.0.0.1/hunter2", "http://user:hunter2@127.0.0.1:1/", "http://%zz/", "file:///etc/passwd", ""} {
		err := GetJSON(context.Background(), client, url, 10, nil)
		if !errors.Is(err, ErrUnreachable) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestDo_Context(t *testing.T) {
	s := upstream(t)
	client := New(Options{})
	defer client.CloseIdleConnections()
	req, err := http.NewRequest(http.MethodGet, s.URL+"/hang", nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, _, err := Do(ctx, client, req, 1); !errors.Is(err, ErrUnreachable) || !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	ctx, cancel = context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, _, _, err := Do(ctx, client, req, 1); !errors.Is(err, ErrTimeout) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("deadline: %v", err)
	}
}

func TestDo_Limit(t *testing.T) {
	s := upstream(t)
	client := New(Options{})
	defer client.CloseIdleConnections()
	for _, c := range []struct {
		path  string
		limit int64
		ok    bool
	}{{"/ten", 10, true}, {"/ten", 9, false}, {"/ten", 0, false}, {"/ten", -1, false}, {"/stream", 200, true}, {"/stream", 199, false}} {
		req, _ := http.NewRequest(http.MethodGet, s.URL+c.path, nil)
		status, header, body, err := Do(context.Background(), client, req, c.limit)
		if c.ok != (err == nil) || c.ok && (status != 200 || int64(len(body)) != c.limit || header == nil) || !c.ok && !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s %d: %d, %d bytes, %v", c.path, c.limit, status, len(body), err)
		}
	}
}

func TestPostJSON(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1") // not asked for
	s := upstream(t)
	client := New(Options{})
	defer client.CloseIdleConnections()
	var out struct {
		Method, Body string
		Header       http.Header
	}
	if err := PostJSON(context.Background(), client, s.URL+"/echo", 1000, map[string]int{"x": 1}, &out); err != nil {
		t.Fatal(err)
	}
	h := out.Header
	if out.Method != "POST" || out.Body != `{"x":1}` || h.Get("Content-Type") != "application/json" || h.Get("Accept") != "application/json" || h.Get("Accept-Encoding") != "" {
		t.Errorf("%+v", out)
	}
	if err := PostJSON(context.Background(), client, s.URL+"/echo", 1000, func() {}, nil); err == nil {
		t.Error("a function was encoded")
	}
}

func TestTLS(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto[5:8]) }))
	s.EnableHTTP2 = true
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS10} //nolint:gosec // what is refused
	s.StartTLS()
	defer s.Close()
	roots := s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	defer s.Client().CloseIdleConnections()
	var version float64
	client := New(Options{TLS: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS10}, TLSTimeout: 3 * time.Second}) //nolint:gosec // raised
	defer client.CloseIdleConnections()
	if err := GetJSON(context.Background(), client, s.URL, 10, &version); err != nil || version != 1.1 {
		t.Errorf("HTTP/%v, %v", version, err)
	}
	if got := client.Transport.(*http.Transport).TLSClientConfig.MinVersion; got != tls.VersionTLS12 {
		t.Errorf("lowest version %x", got)
	}
	stranger := New(Options{TLSTimeout: 3 * time.Second})
	if err := GetJSON(context.Background(), stranger, s.URL, 10, &version); !errors.Is(err, ErrUnreachable) {
		t.Errorf("unknown authority: %v", err)
	}
}

func TestMaxConnsPerHost(t *testing.T) {
	s := upstream(t)
	dials := make(chan struct{}, 10)
	client := New(Options{MaxConnsPerHost: 1, Timeout: 100 * time.Millisecond, Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		dials <- struct{}{}
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}})
	defer client.CloseIdleConnections()
	done := make(chan error, 3)
	for range 3 {
		go func() { done <- GetJSON(context.Background(), client, s.URL+"/hang", 10, nil) }()
	}
	time.Sleep(40 * time.Millisecond)
	if n := len(dials); n != 1 {
		t.Errorf("%d connections at once", n)
	}
	for range 3 {
		if err := <-done; !errors.Is(err, ErrTimeout) {
			t.Error(err)
		}
	}
}
