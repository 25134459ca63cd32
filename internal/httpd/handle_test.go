package httpd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sidecar/fault"
)

func TestRequest(t *testing.T) {
	var kept Request
	before := time.Now()
	r := start(t, Config{Headers: [][2]string{{"X-Sidecar-Version", "9"}}, Routes: []Route{{
		Name: "r", Method: "POST", Path: "/a/{one}/{two}", MaxBody: 100,
		Serve: func(ctx context.Context, r Request) (Response, error) {
			kept = r
			left := time.Duration(0)
			if d, ok := ctx.Deadline(); ok {
				left = time.Until(d).Round(time.Second)
			}
			return Response{Status: 201, Header: [][2]string{{"X-Own", "yes"}}, Value: map[string]any{
				"one": r.Param("one"), "two": r.Param("two"), "three": r.Param("three"),
				"q": r.Query("q"), "none": r.Query("none"), "h": r.Header("x-many"), "a": r.Header("Absent"),
				"type": r.Header("content-type"), "body": string(r.Body), "left": left.String(),
			}}, nil
		}}}})
	status, h, body := r.do(t, "POST", "/a/x%20y/z?q=1%2B+2", "hello", "X-Many", "a", "X-Many", "b,c", "Content-Type", "text/x")
	want := `{"a":"","body":"hello","h":"a, b,c","left":"10s","none":"","one":"x y","q":"1+ 2","three":"","two":"z","type":"text/x"}`
	if status != 201 || body != want {
		t.Errorf("got %d %s\nwant 201 %s", status, body, want)
	}
	if h.Get("X-Own") != "yes" || h.Get("X-Sidecar-Version") != "9" || h.Get("Content-Type") != "application/json" || h.Get("Server") != "" {
		t.Errorf("header %v", h)
	}
	if _, err := http.ParseTime(h.Get("Date")); err != nil {
		t.Errorf("Date: %v", err)
	}
	if h.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("header %v", h)
	}
	if kept.Remote != netip.MustParseAddr("127.0.0.1") {
		t.Errorf("remote %v", kept.Remote)
	}
	if d := kept.Received.Sub(before); d < 0 || d > 5*time.Second {
		t.Errorf("received %v after the test began", d)
	}
	if got := kept.Param("one") + kept.Query("q") + kept.Header("X-Many"); got != "" {
		t.Errorf("after its end the request still says %q", got)
	}
}

func TestNoRoute(t *testing.T) {
	r := start(t, Config{Routes: []Route{
		{Name: "a", Method: "GET", Path: "/a", Serve: say("a")},
		{Name: "b", Method: "POST", Path: "/a", Serve: say("b")},
	}})
	for _, c := range []struct {
		method, path, reason, allow string
		status                      int
	}{
		{"GET", "/b", "not_found", "", 404},
		{"GET", "/a/", "not_found", "", 404},
		{"DELETE", "/a", "method_not_allowed", "GET, POST", 405},
		{"OPTIONS", "/a", "method_not_allowed", "GET, POST", 405},
	} {
		status, h, body := r.do(t, c.method, c.path, "")
		if got := reason(t, status, body); status != c.status || got != c.reason || h.Get("Allow") != c.allow {
			t.Errorf("%s %s: %d %s Allow %q", c.method, c.path, status, got, h.Get("Allow"))
		}
	}
	if status, _, body := r.do(t, "HEAD", "/a", ""); status != 405 || body != "" {
		t.Errorf("HEAD: %d %q", status, body)
	}
}

func TestFaults(t *testing.T) {
	kinds := []struct {
		kind   fault.Kind
		status int
	}{
		{fault.Invalid, 400}, {fault.Unauthorized, 401}, {fault.Forbidden, 403}, {fault.NotFound, 404},
		{fault.NotAllowed, 405}, {fault.NotAcceptable, 406}, {fault.Conflict, 409}, {fault.TooLarge, 413},
		{fault.Unsupported, 415}, {fault.Rejected, 422}, {fault.Busy, 429}, {fault.Internal, 500},
		{fault.Upstream, 502}, {fault.Unavailable, 503}, {fault.Timeout, 504},
	}
	var err error
	r := start(t, Config{Routes: []Route{{Name: "f", Method: "GET", Path: "/f", Serve: func(context.Context, Request) (Response, error) {
		return Response{Body: []byte("not this"), Header: [][2]string{{"X-Kept", "1"}}}, err
	}}}})
	for _, k := range kinds {
		f := fault.Define(fmt.Sprintf("kind_%d", k.kind), k.kind, "Some help.")
		err = fmt.Errorf("outer: %w", f.With("slot %d", 5))
		status, h, body := r.do(t, "GET", "/f", "")
		if got := reason(t, status, body); status != k.status || got != f.Code || Status(err) != k.status {
			t.Errorf("kind %d: %d %s", k.kind, status, body)
		}
		if told := strings.Contains(body, "slot 5"); told == (k.kind == fault.Internal) {
			t.Errorf("kind %d: body %s", k.kind, body)
		}
		if (h.Get("Retry-After") == "1") != (k.kind == fault.Busy) || (h.Get("WWW-Authenticate") != "") != (k.kind == fault.Unauthorized) {
			t.Errorf("kind %d: header %v", k.kind, h)
		}
		if h.Get("Content-Type") != "application/json" || h.Get("X-Kept") != "1" {
			t.Errorf("kind %d: header %v", k.kind, h)
		}
	}
	named := fault.Define("named_thing", fault.Invalid, "The help.")
	for _, c := range []struct {
		err             error
		status          int
		reason, message string
	}{
		{named, 400, "named_thing", "The help."},
		{named.With("x\n\x1b"), 400, "named_thing", `x\n\u001b`},
		{named.With("%s", strings.Repeat("é", 400)), 400, "named_thing", strings.Repeat("é", 150) + `…"`},
		{errors.New("secret"), 500, "internal", "Internal error."},
		{fmt.Errorf("x: %w", context.DeadlineExceeded), 504, "deadline_exceeded", "context deadline exceeded"},
	} {
		err = c.err
		status, _, body := r.do(t, "GET", "/f", "")
		if got := reason(t, status, body); status != c.status || got != c.reason || !strings.Contains(body, c.message) || strings.Contains(body, "secret") {
			t.Errorf("%v: %d %s", c.err, status, body)
		}
	}
	if l := r.logs.String(); !strings.Contains(l, "level=ERROR") || !strings.Contains(l, "secret") {
		t.Error("an unnamed error is not in the log")
	}
}

func TestPanic(t *testing.T) {
	r := start(t, Config{Routes: []Route{
		{Name: "p", Method: "GET", Path: "/p", Serve: func(context.Context, Request) (Response, error) { panic("ouch") }},
		{Name: "v", Method: "GET", Path: "/v", Serve: func(context.Context, Request) (Response, error) {
			return Response{Value: func() {}}, nil
		}},
		{Name: "s", Method: "GET", Path: "/s", Serve: func(context.Context, Request) (Response, error) {
			return Response{Status: 42}, nil
		}},
		{Name: "ok", Method: "GET", Path: "/ok", Serve: say("ok")},
	}})
	for _, path := range []string{"/p", "/v", "/s"} {
		status, _, body := r.do(t, "GET", path, "")
		if reason(t, status, body) != "internal" || status != 500 || strings.Contains(body, "ouch") {
			t.Errorf("%s: %d %s", path, status, body)
		}
		if status, _, body = r.do(t, "GET", "/ok", ""); status != 200 || body != "ok" {
			t.Errorf("after %s: %d %q", path, status, body)
		}
	}
	if l := r.logs.String(); !strings.Contains(l, "panic: ouch") || !strings.Contains(l, "handle_test.go") {
		t.Errorf("log lacks the panic or its stack: %s", l)
	}
}

func TestAnswerShapes(t *testing.T) {
	var resp Response
	r := start(t, Config{Routes: []Route{{Name: "a", Method: "GET", Path: "/a", Serve: func(context.Context, Request) (Response, error) { return resp, nil }}}})
	for _, c := range []struct {
		name      string
		resp      Response
		has, lack []string
	}{
		{"200 empty", Response{}, []string{"HTTP/1.1 200 OK\r\n", "Content-Length: 0\r\n"}, []string{"Content-Type:"}},
		{"200 empty typed", Response{ContentType: "application/json"}, []string{"Content-Length: 0\r\n"}, []string{"Content-Type:"}},
		{"202", Response{Status: 202}, []string{"HTTP/1.1 202 Accepted\r\n", "Content-Length: 0\r\n"}, []string{"Content-Type:", "chunked"}},
		{"204", Response{Status: 204}, []string{"HTTP/1.1 204 No Content\r\n"}, []string{"Content-Type:", "Content-Length", "Transfer-Encoding"}},
		{"204 body", Response{Status: 204, Body: []byte("never")}, nil, []string{"never", "Content-Length", "Content-Type:"}},
		{"204 value", Response{Status: 204, Value: 1}, nil, []string{"Content-Length", "Content-Type:"}},
		{"200", Response{Body: []byte("abc"), ContentType: "text/x"}, []string{"Content-Length: 3\r\n", "Content-Type: text/x\r\n", "\r\n\r\nabc"}, nil},
		{"untyped", Response{Body: []byte("abc")}, []string{"\r\n\r\nabc"}, []string{"Content-Type:"}},
		{"split", Response{Header: [][2]string{{"X-A", "b\r\nX-Evil: 1"}}}, []string{"X-A: b"}, []string{"\r\nX-Evil"}},
	} {
		resp = c.resp
		got := r.raw(t, "GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
		for _, want := range c.has {
			if !strings.Contains(got, want) {
				t.Errorf("%s: %q lacks %q", c.name, got, want)
			}
		}
		for _, bad := range append(c.lack, "Server:") {
			if strings.Contains(got, bad) {
				t.Errorf("%s: %q has %q", c.name, got, bad)
			}
		}
	}
}

func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := Config{Routes: []Route{{Name: "slow", Method: "GET", Path: "/", Timeout: time.Second, Serve: func(ctx context.Context, _ Request) (Response, error) {
			<-ctx.Done()
			return Response{}, ctx.Err()
		}}}}
		fill(&cfg)
		s, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		ln := newMemory()
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.ServeListener(ctx, ln) }()
		client := &http.Client{Transport: &http.Transport{DialContext: ln.Dial}}
		began := time.Now()
		res, err := client.Get("http://memory/")
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if took := time.Since(began); res.StatusCode != 504 || reason(t, 504, string(body)) != "deadline_exceeded" || took != time.Second {
			t.Errorf("%d %s after %v", res.StatusCode, body, took)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestBodies(t *testing.T) {
	r := start(t, Config{Routes: []Route{
		{Name: "small", Method: "POST", Path: "/small", MaxBody: 1000, Serve: echo},
		{Name: "large", Method: "POST", Path: "/large", MaxBody: 20 << 20, Serve: echo},
		{Name: "none", Method: "POST", Path: "/none", Serve: echo},
	}})
	chunked := func(n int) io.Reader { return io.MultiReader(strings.NewReader(strings.Repeat("x", n))) }
	for _, c := range []struct {
		path   string
		n      int
		status int
		echoed int
	}{
		{"/small", 0, 200, 0}, {"/small", 1, 200, 1}, {"/small", 1000, 200, 1000}, {"/small", 1001, 413, 0},
		{"/small", 9000, 413, 0}, {"/small", 5 << 20, 413, 0},
		{"/large", 8 << 10, 200, 8 << 10}, {"/large", 8<<10 + 1, 200, 8<<10 + 1}, {"/large", 40000, 200, 40000},
		{"/large", 20 << 20, 200, 20 << 20}, {"/large", 20<<20 + 1, 413, 0},
		{"/none", 10, 200, 0}, {"/none", 100 << 10, 200, 0},
		{"/nowhere", 10, 404, 0}, {"/nowhere", 1 << 20, 404, 0},
	} {
		for _, kind := range []string{"length", "chunked"} {
			var in io.Reader = strings.NewReader(strings.Repeat("x", c.n))
			if kind == "chunked" {
				in = chunked(c.n)
			}
			req, _ := http.NewRequestWithContext(context.Background(), "POST", r.url+c.path, in)
			res, err := r.http.Do(req)
			if err != nil {
				t.Errorf("%s %d %s: %v", c.path, c.n, kind, err)
				continue
			}
			body, _ := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if res.StatusCode != c.status || c.status == 200 && len(body) != c.echoed {
				t.Errorf("%s %d %s: %d, %d bytes, want %d, %d", c.path, c.n, kind, res.StatusCode, len(body), c.status, c.echoed)
			}
			if c.status == 413 && reason(t, 413, string(body)) != "body_too_large" {
				t.Errorf("%s: %s", c.path, body)
			}
		}
	}
	if status, _, body := r.do(t, "POST", "/small", "abc", "Content-Encoding", "gzip"); status != 415 || reason(t, status, body) != "unsupported_media_type" {
		t.Errorf("gzip: %d %s", status, body)
	}
	if status, _, body := r.do(t, "POST", "/small", "abc", "Content-Encoding", "identity", "Content-Type", "multipart/form-data; boundary=x"); status != 200 || body != "abc" {
		t.Errorf("identity: %d %s", status, body)
	}
}

func TestOrigin(t *testing.T) {
	routes := []Route{{Name: "a", Method: "GET", Path: "/a", Serve: say("a")}}
	closed, open := start(t, Config{Routes: routes}), start(t, Config{Routes: routes, AllowOrigin: true})
	for _, c := range []struct {
		name, value string
		refused     bool
	}{
		{"Origin", "http://evil.example", true}, {"Origin", "null", true},
		{"Sec-Fetch-Site", "cross-site", true}, {"Sec-Fetch-Site", "none", false}, {"Referer", "x", false},
	} {
		status, _, body := closed.do(t, "GET", "/a", "", c.name, c.value)
		if c.refused != (status == 403) || c.refused && reason(t, status, body) != "browser_refused" {
			t.Errorf("%s %s: %d", c.name, c.value, status)
		}
		if status, _, _ = open.do(t, "GET", "/a", "", c.name, c.value); status != 200 {
			t.Errorf("open: %s %s: %d", c.name, c.value, status)
		}
	}
}
