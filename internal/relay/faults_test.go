package relay

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sidecar/chain"
	"sidecar/fault"
)

// shortBudget is that of relays which never finish.
const shortBudget = 120 * time.Millisecond

// faultCase is one way a relay can answer a getHeader.
type faultCase struct {
	name   string
	script script
	want   *fault.Fault // nil: none
	offers int
}

func checkFaults(t *testing.T, cases []faultCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			relay := newChaos(t, c.script)
			client := dialTo(t, relay.url, nil)
			timely(t, shortBudget, func() {
				offers, err := collect(t, client, budget(t, shortBudget), request())
				wantFault(t, err, c.want)
				if len(offers) != c.offers {
					t.Errorf("got %d offers, want %d", len(offers), c.offers)
				}
			})
		})
	}
}

//
func TestFaults_Transport(t *testing.T) {
	body := vector(t, "fulu_signed_builder_bid.ssz")
	good := answer("200 OK", typeSSZ, body)
	half := good[:len(good)-len(body)/2]
	head := good[:len(good)-len(body)]
	text := string(body)
	ok := func(headers string) string { return "HTTP/1.1 200 OK\r\n" + typeSSZ + headers + "\r\n" }
	checkFaults(t, []faultCase{
		{name: "good", script: raw(good), offers: 1},
		{name: "good chunked", script: raw(chunked(typeSSZ, text)), offers: 1},
		{name: "good up to the end", script: raw("HTTP/1.1 200 OK\r\n" + typeSSZ + "\r\n" + text), offers: 1},
		{name: "good HTTP/1.0", script: raw("HTTP/1.0 200 OK\r\n" + typeSSZ + "\r\n" + text), offers: 1},
		{name: "good after 100 and 103", script: raw("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + good), offers: 1},
		{name: "good in drops", script: drip(good, 40, time.Millisecond), offers: 1},
		{name: "no answer", script: silence, want: ErrTimeout},
		{name: "header dripped", script: drip(good, 1, 10*time.Millisecond), want: ErrTimeout},
		{name: "body dripped", script: func(c *chaos, conn net.Conn, n int) bool {
			return c.write(conn, head) && drip(text, 1, 10*time.Millisecond)(c, conn, n)
		}, want: ErrTimeout},
		{name: "reset before header", script: reset(""), want: ErrReset},
		{name: "reset in header", script: reset(head[:20]), want: ErrReset},
		{name: "reset in body", script: reset(half), want: ErrReset},
		{name: "reset in chunks", script: reset(chunked(typeSSZ, text)[:400]), want: ErrReset},
		{name: "reset in body up to the end", script: reset(ok("") + text), want: ErrReset},
		{name: "reset after body", script: reset(good), offers: 1},
		{name: "end before header", script: raw(""), want: ErrReset},
		{name: "end in header", script: raw(head[:20]), want: ErrReset},
		{name: "short body", script: raw(half), want: ErrShortBody},
		{name: "short chunks", script: raw(chunked(typeSSZ, text)[:400]), want: ErrShortBody},
		{name: "no last chunk", script: raw(strings.TrimSuffix(chunked(typeSSZ, text), "0\r\n\r\n")), want: ErrShortBody},
		{name: "body longer than said", script: raw(good + "x"), want: ErrProtocol},
		{name: "two lengths", script: raw(ok("Content-Length: 1252\r\nContent-Length: 1252\r\n") + text), want: ErrProtocol},
		{name: "two different lengths", script: raw(ok("Content-Length: 1252\r\nContent-Length: 1\r\n") + text), want: ErrProtocol},
		{name: "length and chunks", script: raw(chunked(typeSSZ+"content-length: 1252\r\n", text)), want: ErrProtocol},
		{name: "negative length", script: raw(ok("Content-Length: -1\r\n") + text), want: ErrProtocol},
		{name: "length overflows", script: raw(ok("Content-Length: 99999999999999999999\r\n") + text), want: ErrProtocol},
		{name: "huge length", script: raw(ok("Content-Length: 9223372036854775807\r\n") + text), want: ErrBodyLarge},
		{name: "huge chunk", script: raw(ok("Transfer-Encoding: chunked\r\n") + "7fffffff\r\n" + text), want: ErrBodyLarge},
		{name: "chunk size overflows", script: raw(ok("Transfer-Encoding: chunked\r\n") + "ffffffffffffffffff\r\n" + text), want: ErrProtocol},
		{name: "chunk size is no number", script: raw(ok("Transfer-Encoding: chunked\r\n") + "zz\r\n" + text), want: ErrProtocol},
		{name: "unknown transfer encoding", script: raw(ok("Transfer-Encoding: gzip\r\n") + text), want: ErrProtocol},
		{name: "bad trailer", script: raw(strings.TrimSuffix(chunked(typeSSZ, text), "\r\n") + "\x00: y\r\n\r\n"), want: ErrProtocol},
		{name: "no HTTP", script: raw("SSH-2.0-OpenSSH_9.9\r\n\r\n"), want: ErrProtocol},
		{name: "HTTP/2", script: raw("HTTP/2 200\r\n\r\n"), want: ErrProtocol},
		{name: "bad status", script: raw("HTTP/1.1 2x0 OK\r\n\r\n"), want: ErrProtocol},
		{name: "status 999", script: raw("HTTP/1.1 999 OK\r\nContent-Length: 0\r\n\r\n"), want: ErrProtocol},
		{name: "switching protocols", script: raw("HTTP/1.1 101 Switching Protocols\r\n\r\n"), want: ErrProtocol},
		{name: "10,000 interim answers", script: raw(strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 10_000)), want: ErrProtocol},
		{name: "10 MB of header", script: endless("HTTP/1.1 200 OK\r\n", "X-Junk: "+strings.Repeat("a", 1000)+"\r\n"), want: ErrProtocol},
		{name: "line without end", script: endless("HTTP/1.1 200 OK\r\nX-Junk: ", strings.Repeat("a", 1000)), want: ErrProtocol},
	})
}

//
func TestFaults_Answers(t *testing.T) {
	ssz, json := vector(t, "fulu_signed_builder_bid.ssz"), vector(t, "fulu_signed_builder_bid.json")
	version := func(v string) string {
		return "Content-Type: application/octet-stream\r\nEth-Consensus-Version: " + v + "\r\n"
	}
	edit := func(old, new string) script {
		out := bytes.Replace(json, []byte(old), []byte(new), 1)
		if bytes.Equal(out, json) {
			t.Fatalf("%s is not in the vector", old)
		}
		return raw(answer("200 OK", typeJSON, out))
	}
	cases := []faultCase{
		{name: "json", script: raw(answer("200 OK", typeJSON, json)), offers: 1},
		{name: "json with charset", script: raw(answer("200 OK", "content-type: Application/JSON ; charset=utf-8\r\n", json)), offers: 1},
		{name: "json without type", script: raw(answer("200 OK", "", json)), offers: 1},
		{name: "identity", script: raw(answer("200 OK", typeSSZ+"Content-Encoding: identity\r\n", ssz)), offers: 1},
		{name: "206", script: raw(answer("206 Partial", typeSSZ, ssz)), offers: 1},
		{name: "204", script: raw("HTTP/1.1 204 No Content\r\n\r\n")},
		{name: "204 with body", script: raw(answer("204 No Content", typeSSZ, ssz))},
		{name: "204 with endless body", script: endless("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", "5\r\nhello\r\n")},
		{name: "empty", script: raw(answer("200 OK", typeSSZ, nil)), want: ErrEmpty},
		{name: "html", script: raw(answer("200 OK", "Content-Type: text/html\r\n", json)), want: ErrType},
		{name: "ssz without type", script: raw(answer("200 OK", "Eth-Consensus-Version: fulu\r\n", ssz)), want: ErrType},
		{name: "gzip unlabelled", script: raw(answer("200 OK", typeJSON, squeeze(t, json))), want: ErrDecode},
		{name: "ssz as json", script: raw(answer("200 OK", typeJSON, ssz)), want: ErrDecode},
		{name: "json as ssz", script: raw(answer("200 OK", typeSSZ, json)), want: ErrDecode},
		{name: "ssz no version", script: raw(answer("200 OK", "Content-Type: application/octet-stream\r\n", ssz)), want: ErrFork},
		{name: "ssz unknown version", script: raw(answer("200 OK", version("osaka"), ssz)), want: ErrFork},
		{name: "ssz other fork", script: raw(answer("200 OK", version("electra"), ssz)), want: ErrFork},
		{name: "ssz short by one", script: raw(answer("200 OK", typeSSZ, ssz[:len(ssz)-1])), want: ErrDecode},
		{name: "ssz long by one", script: raw(answer("200 OK", typeSSZ, append(bytes.Clone(ssz), 0))), want: ErrDecode},
		{name: "ssz one byte", script: raw(answer("200 OK", typeSSZ, ssz[:1])), want: ErrDecode},
		{name: "json other fork", script: edit(`"fulu"`, `"electra"`), want: ErrFork},
		{name: "json no version", script: edit(`"version":"fulu",`, ``), want: ErrFork},
		{name: "json cut", script: raw(answer("200 OK", typeJSON, json[:len(json)-1])), want: ErrDecode},
		{name: "json trailing", script: raw(answer("200 OK", typeJSON, append(bytes.Clone(json), '!'))), want: ErrDecode},
		{name: "json deep", script: raw(answer("200 OK", typeJSON, bytes.Repeat([]byte(`{"data":`), 10_000))), want: ErrDecode},
		{name: "json array", script: raw(answer("200 OK", typeJSON, []byte(`[]`))), want: ErrDecode},
		{name: "json number for string", script: edit(`"gas_limit":"1"`, `"gas_limit":1`), want: ErrDecode},
		{name: "json hex without 0x", script: edit(`"parent_hash":"0x`, `"parent_hash":"`), want: ErrDecode},
	}
	for _, e := range []string{"gzip", "deflate", "br", "zstd", "gzip, identity"} {
		bomb := endless("HTTP/1.1 200 OK\r\n"+typeJSON+"Content-Encoding: "+e+"\r\nContent-Length: 5000000\r\n\r\n", string(squeeze(t, make([]byte, 1<<20))))
		cases = append(cases, faultCase{name: e, script: bomb, want: ErrEncoding})
	}
	for _, s := range []int{400, 401, 403, 404, 405, 409, 410, 418, 429, 451} {
		cases = append(cases, faultCase{name: strconv.Itoa(s), script: raw(answer(strconv.Itoa(s)+" X", typeJSON, []byte(`{"code":1,"message":"no"}`))), want: Err4xx})
	}
	for _, s := range []int{500, 502, 503, 504} {
		cases = append(cases, faultCase{name: strconv.Itoa(s), script: raw(answer(strconv.Itoa(s)+" X", "Content-Type: text/html\r\n", []byte(`<html>`))), want: Err5xx})
	}
	checkFaults(t, cases)
}

func squeeze(t *testing.T, b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(b)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// a refusal is final.
func TestFaults_NoRetry(t *testing.T) {
	for _, status := range []string{"400 X", "404 X", "429 X", "500 X", "503 X"} {
		relay := newChaos(t, raw(answer(status, "", nil)))
		_, err := collect(t, dialTo(t, relay.url, nil), budget(t, time.Second), request())
		if n := relay.requests.Load(); err == nil || n != 1 {
			t.Errorf("%s: %d requests, %v", status, n, err)
		}
	}
}

// the place a redirect points to is never visited.
func TestFaults_Redirect(t *testing.T) {
	var hits atomic.Int32
	canary := serve(t, func(http.ResponseWriter, *http.Request) { hits.Add(1) })
	for _, status := range []int{300, 301, 302, 303, 304, 307, 308} {
		url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", canary)
			w.WriteHeader(status)
		})
		c := dialTo(t, url, nil)
		_, err := collect(t, c, budget(t, time.Second), request())
		wantFault(t, err, ErrRedirect)
		wantFault(t, c.Status(budget(t, time.Second)), ErrRedirect)
		wantFault(t, c.Register(budget(t, time.Second), 0, []byte("[]"), func() []byte { return nil }, ""), ErrRedirect)
	}
	if n := hits.Load(); n != 0 {
		t.Errorf("canary hit %d times", n)
	}
}

// reading stops at the limit, whatever the framing.
func TestFaults_EndlessBody(t *testing.T) {
	junk := strings.Repeat("x", 1<<14)
	for name, s := range map[string]script{
		"length":  endless("HTTP/1.1 200 OK\r\n"+typeJSON+"Content-Length: 5242881\r\n\r\n", junk),
		"chunked": endless("HTTP/1.1 200 OK\r\n"+typeJSON+"Transfer-Encoding: chunked\r\n\r\n", fmt.Sprintf("%x\r\n%s\r\n", len(junk), junk)),
		"to end":  endless("HTTP/1.1 200 OK\r\n"+typeJSON+"\r\n", junk),
	} {
		t.Run(name, func(t *testing.T) {
			relay := newChaos(t, s)
			c := dialTo(t, relay.url, nil)
			_, err := collect(t, c, budget(t, 5*time.Second), request())
			wantFault(t, err, ErrBodyLarge)
			wantFault(t, c.Status(budget(t, 5*time.Second)), ErrBodyLarge)
			// What the relay could send includes both sockets' buffers.
			if n := relay.sent.Load(); n > headerLimit+24<<20 {
				t.Errorf("relay could send %d bytes", n)
			}
		})
	}
}

//
func TestFaults_Connect(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	mute := newChaos(t, silence)
	for name, c := range map[string]struct {
		url  string
		want *fault.Fault
	}{
		"refused":       {"http://" + closed.Addr().String(), ErrConnect},
		"black hole":    {"http://" + blackHole(t), ErrConnect},
		"no such name":  {"http://relay.invalid", ErrConnect},
		"tls never":     {"https" + strings.TrimPrefix(mute.url, "http"), ErrTLS},
		"tls to a http": {"https" + strings.TrimPrefix(newChaos(t, raw("HTTP/1.1 400 Bad Request\r\n\r\n")).url, "http"), ErrTLS},
	} {
		t.Run(name, func(t *testing.T) {
			for _, call := range []func(*Client) error{
				func(c *Client) error { _, err := collect(t, c, budget(t, shortBudget), request()); return err },
				func(c *Client) error { return c.Status(budget(t, shortBudget)) },
			} {
				client := dialTo(t, c.url, nil)
				timely(t, shortBudget, func() { wantFault(t, call(client), c.want) })
			}
		})
	}
}

// blackHole is an address that drops handshakes: its backlog is full.
func blackHole(t *testing.T) string {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
	for range 4 {
		c, err := net.DialTimeout("tcp", address, 50*time.Millisecond)
		if err == nil {
			t.Cleanup(func() { _ = c.Close() })
		}
	}
	return address
}

// A client that is told another fork asks for that one.
func TestOffers_ForkOfSlot(t *testing.T) {
	relay := newChaos(t, raw(answer("200 OK", typeSSZ, vector(t, "fulu_signed_builder_bid.ssz"))))
	r := request()
	r.Fork = chain.Electra
	_, err := collect(t, dialTo(t, relay.url, nil), budget(t, time.Second), r)
	wantFault(t, err, ErrFork)
}
