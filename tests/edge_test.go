package tests

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
)

// TestEdge sends what no beacon node should. The answer is a status with a
// named body, the process goes on, and getHeader is never an error of ours.
func TestEdge(t *testing.T) {
	t.Parallel()
	n := newNetwork(time.Hour, 0)
	r := newRelay(t, n, "only", 1, 1)
	p := start(t, n.toml()+"[pbs]\nport = 0\n"+r.entry("relays"))
	parent, key := parentOf("edge").String(), validator(1).String()
	header := "/eth/v1/builder/header/"
	good := header + "40/" + parent + "/" + key

	for _, c := range []struct {
		name, method, path string
		body               string
		headers            []string
		status             int
		reason             string
	}{
		{"no such path", "GET", "/eth/v1/builder/nothing", "", nil, 404, "not_found"},
		{"root", "GET", "/", "", nil, 404, "not_found"},
		{"trailing slash", "GET", "/eth/v1/builder/status/", "", nil, 404, "not_found"},
		{"parameter missing", "GET", header + "40/" + parent, "", nil, 404, "not_found"},
		{"parameter empty", "GET", header + "40//" + key, "", nil, 404, "not_found"},
		{"wrong method", "POST", "/eth/v1/builder/status", "", nil, 405, "method_not_allowed"},
		{"HEAD", "DELETE", good, "", nil, 405, "method_not_allowed"},
		{"GET of a block", "GET", v1, "", nil, 405, "method_not_allowed"},
		{"slot is a word", "GET", header + "head/" + parent + "/" + key, "", nil, 400, "invalid_parameter"},
		{"slot is negative", "GET", header + "-1/" + parent + "/" + key, "", nil, 400, "invalid_parameter"},
		{"slot in hex", "GET", header + "0x28/" + parent + "/" + key, "", nil, 400, "invalid_parameter"},
		{"slot beyond 64 bits", "GET", header + "18446744073709551616/" + parent + "/" + key, "", nil, 400, "invalid_parameter"},
		{"slot with a sign", "GET", header + "+40/" + parent + "/" + key, "", nil, 400, "invalid_parameter"},
		{"parent without 0x", "GET", header + "40/" + parent[2:] + "/" + key, "", nil, 400, "invalid_parameter"},
		{"parent too short", "GET", header + "40/" + parent[:64] + "/" + key, "", nil, 400, "invalid_parameter"},
		{"parent not hex", "GET", header + "40/0x" + strings.Repeat("zz", 32) + "/" + key, "", nil, 400, "invalid_parameter"},
		{"key too long", "GET", good + "00", "", nil, 400, "invalid_parameter"},
		{"key is markup", "GET", header + "40/" + parent + "/%3Cscript%3E", "", nil, 400, "invalid_parameter"},
		{"path traversal", "GET", header + "..%2f..%2fstatus/" + parent + "/" + key, "", nil, 400, "invalid_parameter"},
		{"header in XML", "GET", good, "", []string{"Accept", "application/xml"}, 406, "not_acceptable"},
		{"header in nothing", "GET", good, "", []string{"Accept", "application/json;q=0, application/octet-stream;q=0"}, 406, "not_acceptable"},
		{"Accept is garbage", "GET", good, "", []string{"Accept", ";;;=,"}, 406, "not_acceptable"},
		{"v1 block in XML", "POST", v1, "{}", []string{"Accept", "text/html"}, 406, "not_acceptable"},
		{"registrations as form", "POST", "/eth/v1/builder/validators", "[]", []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, "unsupported_media_type"},
		{"block as text", "POST", v2, "{}", []string{"Content-Type", "text/plain"}, 415, "unsupported_media_type"},
		{"block in gzip", "POST", v2, "\x1f\x8b", []string{"Content-Encoding", "gzip"}, 415, "unsupported_media_type"},
		{"registrations not JSON", "POST", "/eth/v1/builder/validators", "{", nil, 400, "decode"},
		{"registrations are an object", "POST", "/eth/v1/builder/validators", "{}", nil, 400, "decode"},
		{"registrations of half a byte", "POST", "/eth/v1/builder/validators", `[{"message":{"pubkey":"0x0"}}]`, nil, 400, "decode"},
		{"registrations in SSZ cut", "POST", "/eth/v1/builder/validators", strings.Repeat("x", 179), []string{"Content-Type", mediaSSZ}, 400, "decode"},
		{"block is empty", "POST", v1, "", nil, 400, "decode"},
		{"block is null", "POST", v1, "null", nil, 400, "decode"},
		{"block is deep", "POST", v2, strings.Repeat(`{"message":`, 5000), nil, 400, "decode"},
		{"block in SSZ of nothing", "POST", v2, strings.Repeat("\xff", 200), []string{"Content-Type", mediaSSZ}, 400, "decode"},
		{"web page", "GET", "/eth/v1/builder/status", "", []string{"Origin", "https://evil.example"}, 403, "browser_refused"},
		{"host of a thousand headers", "GET", good, "", []string{"X-Long", strings.Repeat("a", 9000)}, 431, "header_too_large"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var body []byte
			if c.method == "POST" {
				body = []byte(c.body)
			}
			p.must(t, c.method, c.path, body, c.headers...).refused(t, c.status, c.reason)
		})
	}
	t.Run("registrations of 20 MiB and a byte", func(t *testing.T) {
		p.must(t, "POST", "/eth/v1/builder/validators", []byte("["+strings.Repeat(" ", 20<<20-1)+"]"), "Content-Type", mediaJSON).refused(t, 413, "body_too_large")
		wantBare(t, p.must(t, "POST", "/eth/v1/builder/validators", []byte("["+strings.Repeat(" ", 20<<20-2)+"]"), "Content-Type", mediaJSON), 200)
	})
	t.Run("slots of getHeader", func(t *testing.T) {
		for _, slot := range []uint64{2, 39, 1 << 31, 1 << 40, 1 << 62, 1<<63 - 1, 1 << 63, 1<<64 - 1} {
			a := p.must(t, "GET", fmt.Sprintf("%s%d/%s/%s", header, slot, parent, key), nil)
			if a.status != 200 && a.status != 204 {
				t.Errorf("slot %d: answer %d %q, want 200 or 204", slot, a.status, a.body)
			}
		}
	})
	t.Run("X-Timeout-Ms", func(t *testing.T) {
		for _, value := range []string{"0", "-1", "1e9", "99999999999999999999", "soon", "9223372036854775807"} {
			a := p.must(t, "GET", good, nil, "X-Timeout-Ms", value)
			if a.status != 200 {
				t.Errorf("%q: answer %d, want the bid", value, a.status)
			}
		}
		slow := phase0.Hash32(parentOf("slow"))
		r.plan(slow, func(c *call) bool { return c.wait(500*time.Millisecond) && honest(c) })
		if a := p.must(t, "GET", headerPath(41, slow, validator(1)), nil, "X-Timeout-Ms", "200"); a.status != 204 || a.took > 400*time.Millisecond {
			t.Errorf("answer %d after %v, want 204 within the caller's 200 ms", a.status, a.took)
		}
	})
	t.Run("raw sockets", func(t *testing.T) { rawSockets(t, p) })
	t.Run("still well", func(t *testing.T) {
		a := p.must(t, "GET", good, nil, "Accept", "application/octet-stream;q=0.5, application/json;q=0.9")
		if bid := decodeBid(t, a, mediaJSON, "fulu"); !verified(bid, r.secret.PublicKey()) {
			t.Error("the bid is not the relay's")
		}
		for _, name := range []string{"Content-Encoding", "Server"} {
			if a.header.Get(name) != "" {
				t.Errorf("%s: %q", name, a.header.Get(name))
			}
		}
	})
}

// rawSockets sends what no HTTP client would.
func rawSockets(t *testing.T, p *process) {
	for name, c := range map[string]struct {
		send string
		want string // statuses of the answer; "" for a closed connection
	}{
		"garbage":             {"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", "400"},
		"HTTP/2":              {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400 404 405 505"},
		"length and chunks":   {"POST " + v2 + " HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"},
		"two lengths":         {"POST " + v2 + " HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}}", "400"},
		"negative length":     {"POST " + v2 + " HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", "400"},
		"bad chunks":          {"POST " + v2 + " HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "400"},
		"HTTP/1.0":            {"GET /eth/v1/builder/status HTTP/1.0\r\n\r\n", "200"},
		"space in the target": {"GET /eth/v1 /builder/status HTTP/1.1\r\nHost: x\r\n\r\n", "400 404 505"},
		"pipelined":           {strings.Repeat("GET /eth/v1/builder/status HTTP/1.1\r\nHost: x\r\n\r\n", 20), "200"},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", p.builder)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			_, _ = io.WriteString(conn, c.send)
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatalf("no answer: %v", err)
			}
			_ = resp.Body.Close()
			if got := fmt.Sprint(resp.StatusCode); !strings.Contains(c.want, got) {
				t.Errorf("answer %s, want %s", got, c.want)
			}
		})
	}
}
