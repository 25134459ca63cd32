package httpd

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

func rawRoutes() []Route {
	return []Route{
		{Name: "get", Method: "GET", Path: "/", Serve: say("ok")},
		{Name: "post", Method: "POST", Path: "/p", MaxBody: 1 << 20, Serve: echo},
		{Name: "tiny", Method: "POST", Path: "/tiny", MaxBody: 10, Serve: echo},
	}
}

// evil is a request that must never be answered: it hides behind others.
const evil = "GET / HTTP/1.1\r\nHost: evil\r\n\r\n"

func TestRaw(t *testing.T) {
	r := start(t, Config{Routes: rawRoutes(), MaxHeader: 1024})
	const host = "Host: h\r\n"
	for _, c := range []struct {
		name, request string
		want          []int // statuses; the connection ends behind the last
	}{
		{"both framings", "POST /p HTTP/1.1\r\n" + host + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + evil, []int{400}},
		{"both framings, other order", "POST /p HTTP/1.1\r\n" + host + "transfer-encoding: chunked\r\ncontent-length: 0\r\n\r\n0\r\n\r\n" + evil, []int{400}},
		{"both on a bodiless route", "GET / HTTP/1.1\r\n" + host + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + evil, []int{400}},
		{"two lengths", "POST /p HTTP/1.1\r\n" + host + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello" + evil, []int{400}},
		{"same length twice", "POST /p HTTP/1.1\r\n" + host + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello" + evil, []int{400}},
		{"length list", "POST /p HTTP/1.1\r\n" + host + "Content-Length: 5, 5\r\n\r\nhello" + evil, []int{400}},
		{"signed length", "POST /p HTTP/1.1\r\n" + host + "Content-Length: +5\r\n\r\nhello" + evil, []int{400}},
		{"negative length", "POST /p HTTP/1.1\r\n" + host + "Content-Length: -1\r\n\r\n" + evil, []int{400}},
		{"huge length", "POST /p HTTP/1.1\r\n" + host + "Content-Length: 99999999999999999999\r\n\r\n" + evil, []int{400}},
		{"identity", "POST /p HTTP/1.1\r\n" + host + "Transfer-Encoding: identity\r\n\r\n" + evil, []int{400}},
		{"identity and length", "POST /p HTTP/1.1\r\n" + host + "Transfer-Encoding: identity\r\nContent-Length: 3\r\n\r\nabc" + evil, []int{400}},
		{"gzip, chunked", "POST /p HTTP/1.1\r\n" + host + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + evil, []int{400}},
		{"chunked twice", "POST /p HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + evil, []int{400}},
		{"chunked with 1.0", "POST /p HTTP/1.0\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + evil, []int{400}},
		{"space before colon", "POST /p HTTP/1.1\r\n" + host + "Content-Length : 5\r\n\r\nhello" + evil, []int{400}},
		{"folded", "GET / HTTP/1.1\r\n" + host + "X-A: b\r\n c\r\n\r\n" + evil, []int{400}},
		{"folded coding", "POST /p HTTP/1.1\r\n" + host + "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + evil, []int{400}},
		{"bare line feed", "GET / HTTP/1.1\r\n" + host + "X-A: b\nX-B: c\r\n\r\n" + evil, []int{400}},
		{"blank bare line", "GET / HTTP/1.1\r\n" + host + "\n" + evil, []int{400}},
		{"control in value", "GET / HTTP/1.1\r\n" + host + "X-A: b\x00c\r\n\r\n" + evil, []int{400}},
		{"bare return in value", "GET / HTTP/1.1\r\n" + host + "X-A: b\rX-B: c\r\n\r\n" + evil, []int{400}},
		{"no host", "GET / HTTP/1.1\r\nX: y\r\n\r\n" + evil, []int{400}},
		{"two hosts", "GET / HTTP/1.1\r\n" + host + host + "\r\n" + evil, []int{400}},
		{"no version", "GET /\r\n\r\n" + evil, []int{400}},
		{"version 3.7", "GET / HTTP/3.7\r\n" + host + "\r\n" + evil, []int{505}},
		{"version 2.0", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", []int{505}},
		{"version 1.2", "GET / HTTP/1.2\r\n" + host + "\r\n" + evil, []int{505}},
		{"tls hello", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", []int{400}},
		{"large header", "GET / HTTP/1.1\r\n" + host + "X-A: " + strings.Repeat("a", 2000) + "\r\n\r\n", []int{431}},
		{"large target", "GET /" + strings.Repeat("a", 2000) + " HTTP/1.1\r\n" + host + "\r\n", []int{431}},
		{"bad chunk", "POST /p HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n" + evil, []int{400}},
		{"negative chunk", "POST /p HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n" + evil, []int{400}},
		{"huge chunk", "POST /p HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nhello\r\n0\r\n\r\n" + evil, []int{400}},
		{"chunk without end", "POST /p HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n" + evil, []int{400}},
		{"trailer", "POST /p HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Timeout-Ms: 1\r\n\r\n" + evil, []int{400}},
		{"chunks over the limit", "POST /tiny HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n8\r\n12345678\r\n8\r\n12345678\r\n0\r\n\r\n" + evil, []int{413}},
		{"chunks unread", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + evil, []int{405}},
		{"chunks ignored", "GET / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" + evil, []int{200}},
		{"body ignored, next served", "GET / HTTP/1.1\r\n" + host + "Content-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\n" + host + "Connection: close\r\n\r\n", []int{200, 200}},
		{"chunks served, next served", "POST /p HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1\r\n" + host + "Connection: close\r\n\r\n", []int{200, 200}},
		{"pipeline", "GET / HTTP/1.1\r\n" + host + "\r\nPOST /p HTTP/1.1\r\n" + host + "Content-Length: 2\r\n\r\nhiGET /x HTTP/1.1\r\n" + host + "Connection: close\r\n\r\n", []int{200, 200, 404}},
		{"close in capitals", "GET / HTTP/1.1\r\n" + host + "Connection: X, Close\r\n\r\n" + evil, []int{200}},
		{"1.0", "GET / HTTP/1.0\r\n\r\n" + evil, []int{200}},
		{"absolute form", "GET http://other/ HTTP/1.1\r\n" + host + "Connection: close\r\n\r\n", []int{200}},
		{"connect", "CONNECT h:1 HTTP/1.1\r\n" + host + "Connection: close\r\n\r\n", []int{404}},
		{"asterisk", "OPTIONS * HTTP/1.1\r\n" + host + "Connection: close\r\n\r\n", []int{404}},
		{"upgrade", "GET / HTTP/1.1\r\n" + host + "Connection: Upgrade, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n", []int{200}},
		{"expect", "POST /p HTTP/1.1\r\n" + host + "Content-Length: 2\r\nExpect: 100-Continue\r\nConnection: close\r\n\r\nhi", []int{100, 200}},
		{"expect, too large", "POST /tiny HTTP/1.1\r\n" + host + "Content-Length: 200\r\nExpect: 100-continue\r\n\r\n" + evil, []int{413}},
		{"expect, nowhere", "POST /nowhere HTTP/1.1\r\n" + host + "Content-Length: 2\r\nExpect: 100-continue\r\n\r\n" + evil, []int{404}},
		{"expect, both framings", "POST /p HTTP/1.1\r\n" + host + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n" + evil, []int{400}},
	} {
		got := r.raw(t, c.request)
		statuses, bodies := answers(t, got)
		if !slices.Equal(statuses, c.want) {
			t.Errorf("%s: got %v, want %v: %q", c.name, statuses, c.want, got)
			continue
		}
		if last := len(c.want) - 1; c.want[last] >= 400 {
			reason(t, c.want[last], bodies[last])
			if !strings.Contains(got, "Content-Type: application/json\r\n") || !strings.Contains(got, "Connection: close\r\n") {
				t.Errorf("%s: %q", c.name, got)
			}
		}
	}
	if status, _, body := r.do(t, "GET", "/", ""); status != 200 || body != "ok" {
		t.Errorf("afterwards: %d %q", status, body)
	}
}

func TestRaw_LogKeepsSecrets(t *testing.T) {
	r := start(t, Config{Routes: rawRoutes()})
	for _, req := range []string{
		"GET / HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer hunter2\x00\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer hunter2\r\nbroken hunter2\r\n\r\n",
		"GET / hunter2\r\n\r\n",
		"POST /p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nhunter2\r\n",
		"GET /hunter2 HTTP/1.1\r\nHost: h\r\nAuthorization: hunter2\r\nConnection: close\r\n\r\n",
	} {
		r.raw(t, req)
	}
	if l := r.logs.String(); strings.Contains(l, "hunter2") || !strings.Contains(l, "malformed") {
		t.Errorf("log: %s", l)
	}
}

func TestSlow(t *testing.T) {
	r := start(t, Config{Routes: rawRoutes(), ReadTimeout: 150 * time.Millisecond, IdleTimeout: 300 * time.Millisecond})
	for _, c := range []struct {
		name, request string
		want          []int
		least         time.Duration
	}{
		{"nothing sent", "", nil, 150 * time.Millisecond},
		{"half a header", "GET / HTTP/1.1\r\nHost:", []int{408}, 150 * time.Millisecond},
		{"half a body", "POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc", []int{408}, 150 * time.Millisecond},
		{"half a large body", "POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("x", 9000), []int{408}, 150 * time.Millisecond},
		{"half a chunk", "POST /p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n10\r\nabc", []int{408}, 150 * time.Millisecond},
		{"idle", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", []int{200}, 300 * time.Millisecond},
	} {
		began := time.Now()
		got := r.raw(t, c.request)
		took := time.Since(began)
		if statuses, _ := answers(t, got); !slices.Equal(statuses, c.want) || took < c.least || took > c.least+2*time.Second {
			t.Errorf("%s: %q after %v", c.name, got, took)
		}
	}
}

func TestEarlyEnd(t *testing.T) {
	r := start(t, Config{Routes: rawRoutes()})
	for _, request := range []string{
		"", "GET", "GET / HTTP/1.1\r\nHost: h\r\n",
		"POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc",
		"POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("x", 9000),
		"POST /p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
		"POST /p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
	} {
		c := r.dial(t)
		_, _ = io.WriteString(c, request)
		_ = c.(interface{ CloseWrite() error }).CloseWrite()
		got, err := io.ReadAll(c)
		statuses, _ := answers(t, string(got))
		if err != nil || len(statuses) > 1 || len(statuses) == 1 && statuses[0] != 400 {
			t.Errorf("%q: %q, %v", request, got, err)
		}
	}
}

func TestExpect_BodyIsAskedFor(t *testing.T) {
	r := start(t, Config{Routes: rawRoutes()})
	tr := r.http.Transport.(*http.Transport)
	tr.ExpectContinueTimeout = 3 * time.Second
	began := time.Now()
	status, _, body := r.do(t, "POST", "/p", "hello", "Expect", "100-continue")
	if took := time.Since(began); status != 200 || body != "hello" || took > 2*time.Second {
		t.Errorf("%d %q after %v", status, body, took)
	}
	if status, _, _ = r.do(t, "POST", "/tiny", strings.Repeat("x", 11), "Expect", "100-continue"); status != 413 {
		t.Errorf("too large: %d", status)
	}
}
