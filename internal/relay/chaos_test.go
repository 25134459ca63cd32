package relay

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// chaos is a relay that speaks raw TCP. Its script is run for each request,
// after the request has been read whole; returning true keeps the connection.
type chaos struct {
	url      string
	requests atomic.Int32
	conns    atomic.Int32
	sent     atomic.Int64
	stop     chan struct{}
}

type script func(c *chaos, conn net.Conn, request int) (keep bool)

func newChaos(t testing.TB, run script) *chaos {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &chaos{url: "http://" + l.Addr().String(), stop: make(chan struct{})}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			c.conns.Add(1)
			mu.Lock()
			open = append(open, conn)
			mu.Unlock()
			wg.Go(func() { defer conn.Close(); c.serve(conn, run) })
		}
	})
	t.Cleanup(func() {
		close(c.stop)
		_ = l.Close()
		mu.Lock()
		for _, conn := range open {
			_ = conn.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return c
}

func (c *chaos) serve(conn net.Conn, run script) {
	r := bufio.NewReader(conn)
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		if _, err := io.Copy(io.Discard, req.Body); err != nil {
			return
		}
		if !run(c, conn, int(c.requests.Add(1))) {
			return
		}
	}
}

// write sends s and says whether the peer is still there.
func (c *chaos) write(conn net.Conn, s string) bool {
	n, err := io.WriteString(conn, s)
	c.sent.Add(int64(n))
	return err == nil
}

// wait sleeps, or says no if the test is over.
func (c *chaos) wait(d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-c.stop:
		return false
	}
}

// raw answers with the bytes of s and closes.
func raw(s string) script {
	return func(c *chaos, conn net.Conn, _ int) bool { c.write(conn, s); return false }
}

// drip answers a few bytes at a time.
func drip(s string, step int, every time.Duration) script {
	return func(c *chaos, conn net.Conn, _ int) bool {
		for ; len(s) > 0; s = s[min(step, len(s)):] {
			if !c.write(conn, s[:min(step, len(s))]) || !c.wait(every) {
				return false
			}
		}
		return true
	}
}

// reset answers with s and then resets the connection.
func reset(s string) script {
	return func(c *chaos, conn net.Conn, _ int) bool {
		c.write(conn, s)
		if s != "" {
			c.wait(20 * time.Millisecond) // so that it is read before the reset overtakes it
		}
		_ = conn.(*net.TCPConn).SetLinger(0)
		return false
	}
}

// endless answers with head and then with chunk after chunk.
func endless(head, chunk string) script {
	return func(c *chaos, conn net.Conn, _ int) bool {
		for ok := c.write(conn, head); ok; ok = c.write(conn, chunk) {
		}
		return false
	}
}

// silence never answers.
func silence(c *chaos, _ net.Conn, _ int) bool { <-c.stop; return false }

// answer is a well-formed HTTP answer.
func answer(status string, headers string, body []byte) string {
	return fmt.Sprintf("HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n%s", status, headers, len(body), body)
}

const (
	typeSSZ  = "Content-Type: application/octet-stream\r\nEth-Consensus-Version: fulu\r\n"
	typeJSON = "Content-Type: application/json\r\n"
)

// timely runs f, which must return by its deadline. The machine may be busy:
// one in ten runs must show it.
func timely(t *testing.T, budget time.Duration, f func()) {
	t.Helper()
	var took time.Duration
	for range 10 {
		start := time.Now()
		f()
		if took = time.Since(start); took <= budget+lateness {
			return
		}
	}
	t.Errorf("took %v of %v", took, budget)
}

// chunked writes body as chunks.
func chunked(headers, body string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "HTTP/1.1 200 OK\r\n%sTransfer-Encoding: chunked\r\n\r\n", headers)
	for _, part := range []string{body[:len(body)/2], body[len(body)/2:]} {
		fmt.Fprintf(&b, "%x\r\n%s\r\n", len(part), part)
	}
	return b.String() + "0\r\n\r\n"
}

// acceptKey is the server's half of a WebSocket handshake. [RFC 6455 4.2.2]
func acceptKey(key string) string {
	h := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(h[:])
}
