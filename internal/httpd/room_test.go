package httpd

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// TestMakeRoom: connections without a request lock nobody out, and a request under
// way is never cut off for a newcomer.
func TestMakeRoom(t *testing.T) {
	for name, cfg := range map[string]Config{"server": {MaxConns: 2}, "address": {MaxConnsPerIP: 2}} {
		t.Run(name, func(t *testing.T) {
			entered, release := make(chan struct{}, 8), make(chan struct{})
			cfg.MakeRoom = true
			cfg.Routes = []Route{{Name: "ok", Method: "GET", Path: "/", Serve: say("ok")},
				{Name: "slow", Method: "GET", Path: "/slow", Serve: func(context.Context, Request) (Response, error) {
					entered <- struct{}{}
					<-release
					return Response{Body: []byte("late")}, nil
				}}}
			r := start(t, cfg)
			get := func(c net.Conn, path string) { _, _ = io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: h\r\n\r\n") }
			answer := func(c net.Conn) string {
				t.Helper()
				res, err := http.ReadResponse(bufio.NewReader(c), nil)
				if err != nil {
					return err.Error()
				}
				defer res.Body.Close()
				body, _ := io.ReadAll(res.Body)
				return string(body)
			}
			// A connection may be closed only once the server knows that its answer is out.
			idle := func() {
				t.Helper()
				for end := time.Now().Add(30 * time.Second); r.busy() > 0; time.Sleep(time.Millisecond) {
					if time.Now().After(end) {
						t.Fatal("a connection stays active after its answer")
					}
				}
			}
			enter := func() {
				t.Helper()
				select {
				case <-entered:
				case <-time.After(30 * time.Second):
					t.Fatal("the request did not arrive")
				}
			}
			first := r.dial(t)
			get(first, "/")
			if got := answer(first); got != "ok" {
				t.Fatal(got)
			}
			idle()
			busy := r.dial(t)
			get(busy, "/slow")
			enter()
			// Full: the one that has nothing to do goes.
			third := r.dial(t)
			get(third, "/slow")
			enter()
			if n, err := first.Read(make([]byte, 1)); n != 0 || err == nil {
				t.Error("the connection without a request is still there")
			}
			// Full of requests: one more is refused.
			refused, _ := io.ReadAll(r.dial(t))
			if !strings.Contains(string(refused), "too_many_connections") {
				t.Errorf("one too many: %q", refused)
			}
			close(release)
			for _, c := range []net.Conn{busy, third} {
				if got := answer(c); got != "late" {
					t.Errorf("a request under way: %q", got)
				}
			}
			// And both may go now, one after the other.
			for range 5 {
				idle()
				c := r.dial(t)
				get(c, "/")
				if got := answer(c); got != "ok" {
					t.Errorf("a newcomer: %q", got)
				}
			}
		})
	}
}

// busy counts the connections with a request.
func (s *Server) busy() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if c.state.Load() == active {
			n++
		}
	}
	return n
}

// TestMakeRoom_Share: whoever has its share makes room for itself only, also where
// the server is full.
func TestMakeRoom_Share(t *testing.T) {
	cfg := Config{MaxConns: 3, MaxConnsPerIP: 2, MakeRoom: true}
	fill(&cfg)
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	other, greedy := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	for i, from := range []netip.Addr{other, greedy, greedy} { // the other's is without a request for longest
		near, far := net.Pipe()
		t.Cleanup(func() { _ = far.Close() })
		c := newConn(near, from)
		c.since.Store(int64(i))
		s.conns[c] = struct{}{}
		s.peers[block(from)]++
	}
	if limit := s.full(greedy); limit == "" || !s.makeRoom(greedy, limit) {
		t.Fatalf("no room: limit %q", limit)
	}
	if s.peers[block(other)] != 1 || s.peers[block(greedy)] != 1 {
		t.Errorf("connections by address: %v; want one of each", s.peers)
	}
}
