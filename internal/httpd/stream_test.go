package httpd

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// streamTable has a stream that says what it was asked and then one line for
// every tick, an echo over WebSocket, and an ordinary route beside them.
func streamTable(tick <-chan string, left chan<- error) []Route {
	events := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprintf(w, "data: %s %s %s\n\n", r.PathValue("name"), r.URL.Query().Get("q"), r.Header.Get("X-Own"))
		flush := http.NewResponseController(w)
		_ = flush.Flush()
		for {
			select {
			case line := <-tick:
				fmt.Fprintf(w, "data: %s\n\n", line)
				_ = flush.Flush()
			case <-r.Context().Done():
				left <- r.Context().Err()
				return
			}
		}
	}
	echo := func(w http.ResponseWriter, r *http.Request) {
		up := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
		c, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close()
		for {
			kind, b, err := c.ReadMessage()
			if err != nil {
				return
			}
			_ = c.WriteMessage(kind, b)
		}
	}
	return []Route{
		{Name: "events", Method: "GET", Path: "/events/{name}", Stream: http.HandlerFunc(events)},
		{Name: "echo", Method: "GET", Path: "/echo", Stream: http.HandlerFunc(echo)},
		{Name: "plain", Method: "POST", Path: "/plain", MaxBody: 1 << 20, Serve: func(_ context.Context, r Request) (Response, error) {
			return Response{ContentType: "text/plain", Body: []byte(fmt.Sprint(len(r.Body)))}, nil
		}},
	}
}

func within30(t *testing.T, what string, c <-chan error) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(30 * time.Second):
		t.Fatalf("never: %s", what)
	}
}

// TestStream: events come as they happen, on a connection that served an
// ordinary request before, and the handler hears when the caller leaves.
func TestStream(t *testing.T) {
	tick, left := make(chan string), make(chan error, 1)
	r := start(t, Config{Routes: streamTable(tick, left), Headers: [][2]string{{"X-Ours", "1"}}})
	c := r.dial(t)
	in := bufio.NewReader(c)
	fmt.Fprintf(c, "POST /plain HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
	res, err := http.ReadResponse(in, nil)
	if err != nil || res.StatusCode != 200 {
		t.Fatalf("plain: %v", err)
	}
	_, _ = io.Copy(io.Discard, res.Body)
	fmt.Fprintf(c, "GET /events/a%%20b?q=7 HTTP/1.1\r\nHost: x\r\nX-Own: mine\r\n\r\n")
	if res, err = http.ReadResponse(in, nil); err != nil || res.StatusCode != 200 || res.Header.Get("X-Ours") != "1" || res.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Fatalf("stream: %v %+v", err, res)
	}
	body := bufio.NewReader(res.Body)
	want := func(line string) {
		t.Helper()
		if got, err := body.ReadString('\n'); err != nil || got != "data: "+line+"\n" {
			t.Fatalf("got %q, %v, want %q", got, err, line)
		}
		_, _ = body.ReadString('\n')
	}
	want("a b 7 mine")
	for i := range 3 {
		tick <- fmt.Sprint(i)
		want(fmt.Sprint(i))
	}
	_ = c.Close()
	within30(t, "the handler hears that the caller left", left)
}

// TestStream_WebSocket: a stream may take its connection for itself.
func TestStream_WebSocket(t *testing.T) {
	r := start(t, Config{Routes: streamTable(nil, nil)})
	c := r.dial(t)
	head := "GET /echo HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	frame := "\x81\x82\x00\x00\x00\x00hi" // a masked text frame, masked with zeros
	if _, err := io.WriteString(c, head); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(c)
	res, err := http.ReadResponse(in, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("got %+v, %v", res, err)
	}
	got := make([]byte, 4)
	if _, err := io.WriteString(c, frame); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(in, got); err != nil || string(got) != "\x81\x02hi" {
		t.Errorf("got %x, %v", got, err)
	}
}

// TestStream_Drain: a stop ends streams at once, and Run waits for them.
func TestStream_Drain(t *testing.T) {
	left := make(chan error, 1)
	r := start(t, Config{Routes: streamTable(nil, left), Drain: time.Minute})
	c := r.dial(t)
	fmt.Fprintf(c, "GET /events/a HTTP/1.1\r\nHost: x\r\n\r\n")
	if _, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil {
		t.Fatal(err)
	}
	r.stop()
	within30(t, "the stream's context ends", left)
	select {
	case err := <-r.done:
		if err != nil {
			t.Errorf("Run: %v", err)
		}
		r.done <- err
	case <-time.After(30 * time.Second):
		t.Fatal("Run did not return")
	}
}

// TestStream_Admission: what is refused before a handler is refused for streams,
// and a stream counts as a connection.
func TestStream_Admission(t *testing.T) {
	left := make(chan error, 2)
	r := start(t, Config{Routes: streamTable(nil, left), MaxConns: 1})
	for _, tt := range []struct {
		name, head, body string
		status           int
	}{
		{"a web page", "Origin: https://evil.example.org\r\n", "", 403},
		{"a body", "Content-Length: 3\r\n", "abc", 413},
		{"chunks", "Transfer-Encoding: chunked\r\n", "1\r\na\r\n0\r\n\r\n", 413},
		{"a folded line", "X-A: b\r\n c\r\n", "", 400},
	} {
		c := r.dial(t)
		fmt.Fprintf(c, "GET /events/a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s\r\n%s", tt.head, tt.body)
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || res.StatusCode != tt.status {
			t.Errorf("%s: got %+v, %v, want %d", tt.name, res, err, tt.status)
		}
		_ = c.Close()
		r.empty(t)
	}
	c := r.dial(t)
	fmt.Fprintf(c, "GET /events/a HTTP/1.1\r\nHost: x\r\n\r\n")
	if _, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil {
		t.Fatal(err)
	}
	second := r.dial(t)
	if res, err := http.ReadResponse(bufio.NewReader(second), nil); err != nil || res.StatusCode != 503 {
		t.Errorf("beyond the limit: got %+v, %v", res, err)
	}
	_ = c.Close()
	within30(t, "the stream ends", left)
	r.empty(t)
}

// empty waits until the server has no connection.
func (r *running) empty(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); r.each(func(*conn) {}) > 0; {
		if time.Now().After(end) {
			t.Fatal("connections stay open")
		}
		time.Sleep(time.Millisecond)
	}
}

// TestOrigins: pages of a listed origin may ask; the preflight says what.
func TestOrigins(t *testing.T) {
	r := start(t, Config{Routes: streamTable(nil, make(chan error, 1)), Origins: []string{"https://app.example.org"}})
	for _, tt := range []struct {
		name, method, path string
		header             []string
		status             int
		allow              string
	}{
		{"no page", "POST", "/plain", nil, 200, ""},
		{"a listed origin", "POST", "/plain", []string{"Origin", "https://app.example.org", "Sec-Fetch-Site", "cross-site"}, 200, "https://app.example.org"},
		{"another", "POST", "/plain", []string{"Origin", "https://app.example.org.evil.example"}, 403, ""},
		{"both", "POST", "/plain", []string{"Origin", "https://app.example.org", "Origin", "https://evil.example"}, 403, ""},
		{"null", "POST", "/plain", []string{"Origin", "null"}, 403, ""},
		{"a navigation", "POST", "/plain", []string{"Sec-Fetch-Site", "cross-site"}, 403, ""},
		{"preflight", "OPTIONS", "/plain", []string{"Origin", "https://app.example.org", "Access-Control-Request-Method", "POST"}, 204, "https://app.example.org"},
		{"preflight of another", "OPTIONS", "/plain", []string{"Origin", "https://evil.example", "Access-Control-Request-Method", "POST"}, 403, ""},
		{"no preflight", "OPTIONS", "/plain", []string{"Origin", "https://app.example.org"}, 405, "https://app.example.org"},
		{"preflight of nothing", "OPTIONS", "/none", []string{"Origin", "https://app.example.org", "Access-Control-Request-Method", "POST"}, 404, "https://app.example.org"},
	} {
		status, header, _ := r.do(t, tt.method, tt.path, "", tt.header...)
		if status != tt.status || header.Get("Access-Control-Allow-Origin") != tt.allow || header.Get("Vary") == "" {
			t.Errorf("%s: got %d, %v", tt.name, status, header)
		}
		if tt.name == "preflight" && (header.Get("Access-Control-Allow-Methods") != "POST" || !strings.Contains(header.Get("Access-Control-Allow-Headers"), "Content-Type") || header.Get("Access-Control-Max-Age") == "") {
			t.Errorf("preflight: got %v", header)
		}
	}
	off := start(t, Config{Routes: streamTable(nil, nil)})
	if status, header, _ := off.do(t, "OPTIONS", "/plain", "", "Origin", "https://app.example.org", "Access-Control-Request-Method", "POST"); status != 403 || header.Get("Access-Control-Allow-Origin") != "" || header.Get("Vary") != "" {
		t.Errorf("off: got %d, %v", status, header)
	}
}

// TestBodyMemory: bodies under way share what they may hold.
func TestBodyMemory(t *testing.T) {
	r := start(t, Config{Routes: streamTable(nil, nil), BodyMemory: 600 << 10})
	slow := make([]net.Conn, 2)
	for i := range slow { // two callers who announce half a megabyte and send some of it
		slow[i] = r.dial(t)
		fmt.Fprintf(slow[i], "POST /plain HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n%s", strings.Repeat("x", 9000))
	}
	for end := time.Now().Add(30 * time.Second); r.held.Load() < 600000; {
		if time.Now().After(end) {
			t.Fatalf("%d bytes held", r.held.Load())
		}
		time.Sleep(time.Millisecond)
	}
	if status, header, body := r.do(t, "POST", "/plain", strings.Repeat("x", 100<<10)); status != 429 || !strings.Contains(body, "server_busy") || header.Get("Retry-After") == "" {
		t.Errorf("got %d %s", status, body)
	}
	if status, _, body := r.do(t, "POST", "/plain", strings.Repeat("x", 20<<10)); status != 200 {
		t.Errorf("a small one: got %d %s", status, body)
	}
	for _, c := range slow {
		_ = c.Close()
	}
	for end := time.Now().Add(30 * time.Second); r.held.Load() != 0; {
		if time.Now().After(end) {
			t.Fatalf("%d bytes stay held", r.held.Load())
		}
		time.Sleep(time.Millisecond)
	}
	if status, _, body := r.do(t, "POST", "/plain", strings.Repeat("x", 100<<10)); status != 200 {
		t.Errorf("afterwards: got %d %s", status, body)
	}
}
