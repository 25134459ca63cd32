package httpd

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
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
			first := r.dial(t)
			get(first, "/")
			if got := answer(first); got != "ok" {
				t.Fatal(got)
			}
			busy := r.dial(t)
			get(busy, "/slow")
			<-entered
			// Full: the one that has nothing to do goes.
			third := r.dial(t)
			get(third, "/slow")
			<-entered
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
				c := r.dial(t)
				get(c, "/")
				if got := answer(c); got != "ok" {
					t.Errorf("a newcomer: %q", got)
				}
			}
		})
	}
}
