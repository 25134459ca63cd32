package relay

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"sidecar/internal/metrics"

	"sidecar/chain"
	"sidecar/fault"
	"sidecar/internal/wire"
)

// post is what a relay saw of a POST.
type post struct{ uri, kind, accept, version, date, agent, body string }

// inbox answers posts and keeps them.
type inbox struct {
	mu    sync.Mutex
	posts []post
}

func (in *inbox) handler(answer func(w http.ResponseWriter, p post)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		h := r.Header
		p := post{r.RequestURI, h.Get("Content-Type"), h.Get("Accept"), h.Get("Eth-Consensus-Version"), h.Get("Date-Milliseconds"), h.Get("User-Agent"), string(body)}
		in.mu.Lock()
		in.posts = append(in.posts, p)
		in.mu.Unlock()
		answer(w, p)
	}
}

func (in *inbox) kinds() (kinds []string) {
	for _, p := range in.posts {
		kinds = append(kinds, strings.TrimPrefix(p.kind, "application/"))
	}
	return kinds
}

func TestRegister(t *testing.T) {
	var in inbox
	url := serve(t, in.handler(func(http.ResponseWriter, post) {}))
	c := dialTo(t, url, func(cfg *Config) { cfg.Params = map[string]string{"id": "1"} })
	never := func() []byte { t.Error("other encoding asked for"); return nil }
	body := []byte("[ {\"as\":\t\"received\"} ]")
	if err := c.Register(budget(t, time.Second), wire.JSON, body, never, "bn"); err != nil {
		t.Fatal(err)
	}
	got := in.posts[0]
	if got.uri != "/eth/v1/builder/validators?id=1" || got.kind != "application/json" || got.body != string(body) || len(got.date) != 13 || got.agent != "sidecar/test bn" {
		t.Errorf("got %+v", got)
	}
	for _, size := range []int{1 << 10, 1<<10 + 1} {
		url := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, size)) })
		want := map[int]*fault.Fault{1<<10 + 1: ErrBodyLarge}[size]
		wantFault(t, dialTo(t, url, nil).Register(budget(t, time.Second), wire.JSON, body, never, ""), want)
	}
}

// A relay without SSZ is asked once with it, then no more for an hour or until
// JSON fails as well.
func TestRegister_OtherEncoding(t *testing.T) {
	var in inbox
	jsonStatus := 200
	url := serve(t, in.handler(func(w http.ResponseWriter, p post) {
		if p.kind == "application/octet-stream" {
			w.WriteHeader(http.StatusUnsupportedMediaType)
			return
		}
		w.WriteHeader(jsonStatus)
	}))
	c := dialTo(t, url, nil)
	now := time.Now()
	c.clock = chain.NewClock(chain.Spec{SlotDuration: time.Second}, func() time.Time { return now })
	send := func() error {
		return c.Register(budget(t, time.Second), wire.SSZ, []byte("ssz"), func() []byte { return []byte("json") }, "")
	}
	step := func(want *fault.Fault, kinds ...string) {
		t.Helper()
		in.posts = nil
		wantFault(t, send(), want)
		if got := in.kinds(); fmt.Sprint(got) != fmt.Sprint(kinds) {
			t.Errorf("sent %v, want %v", got, kinds)
		}
		for _, p := range in.posts {
			if want := map[string]string{"application/json": "json", "application/octet-stream": "ssz"}[p.kind]; p.body != want {
				t.Errorf("%s: body %q", p.kind, p.body)
			}
		}
	}
	step(nil, "octet-stream", "json")
	step(nil, "json")
	now = now.Add(refusalTime)
	step(nil, "octet-stream", "json")
	jsonStatus = 415
	step(Err4xx, "json", "octet-stream") // forgets
	jsonStatus = 200
	step(nil, "octet-stream", "json")
	jsonStatus = 500
	step(Err5xx, "json")
	step(Err5xx, "octet-stream", "json")

	// JSON refused: SSZ once, and nothing to remember.
	in.posts = nil
	url = serve(t, in.handler(func(w http.ResponseWriter, p post) {
		if p.kind == "application/json" {
			w.WriteHeader(http.StatusUnsupportedMediaType)
		}
	}))
	c = dialTo(t, url, nil)
	for range 2 {
		if err := c.Register(budget(t, time.Second), wire.JSON, []byte("json"), func() []byte { return []byte("ssz") }, ""); err != nil {
			t.Error(err)
		}
	}
	if got := fmt.Sprint(in.kinds()); got != "[json octet-stream json octet-stream]" {
		t.Errorf("sent %v", got)
	}
	// No other encoding to be had.
	wantFault(t, c.Register(budget(t, time.Second), wire.JSON, []byte("x"), func() []byte { return nil }, ""), Err4xx)
}

func block(t testing.TB, enc wire.Encoding) *wire.BlindedBlock {
	t.Helper()
	b, err := wire.DecodeBlindedBlock(chain.Fulu, enc, vector(t, "fulu_signed_blinded_beacon_block."+enc.String()))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// S-01.
func TestSubmit(t *testing.T) {
	payload := vector(t, "fulu_execution_payload_and_blobs_bundle.ssz")
	for _, enc := range []wire.Encoding{wire.JSON, wire.SSZ} {
		var in inbox
		url := serve(t, in.handler(func(w http.ResponseWriter, p post) {
			if strings.HasPrefix(p.uri, "/eth/v2") {
				w.WriteHeader(http.StatusAccepted)
				return
			}
			answerSSZ(w, payload)
		}))
		c, b := dialTo(t, url, nil), block(t, enc)
		p, err := c.SubmitV1(budget(t, time.Second), b, "bn")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := p.Encode(wire.SSZ); err != nil || !bytes.Equal(got, payload) {
			t.Errorf("payload changed, %v", err)
		}
		if err := c.SubmitV2(budget(t, time.Second), b, "bn"); err != nil {
			t.Fatal(err)
		}
		want := []post{
			{"/eth/v1/builder/blinded_blocks", enc.ContentType(), acceptAny, "fulu", "", "sidecar/test bn", string(b.Body)},
			{"/eth/v2/builder/blinded_blocks", enc.ContentType(), "", "fulu", "", "sidecar/test bn", string(b.Body)},
		}
		for i, got := range in.posts {
			got.date = ""
			if got != want[i] {
				t.Errorf("%v %d: got %.200v", enc, i, got)
			}
		}
	}
}

// S-02.
func TestSubmit_OtherEncoding(t *testing.T) {
	for _, status := range []int{406, 415} {
		var in inbox
		url := serve(t, in.handler(func(w http.ResponseWriter, p post) {
			if p.kind == "application/octet-stream" {
				w.WriteHeader(status)
				return
			}
			w.WriteHeader(http.StatusAccepted)
		}))
		c, b := dialTo(t, url, nil), block(t, wire.SSZ)
		for range 2 {
			if err := c.SubmitV2(budget(t, time.Second), b, ""); err != nil {
				t.Fatal(err)
			}
		}
		if got := fmt.Sprint(in.kinds()); got != "[octet-stream json json]" {
			t.Errorf("sent %v", got)
		}
		if again, err := wire.DecodeBlindedBlock(chain.Fulu, wire.JSON, []byte(in.posts[1].body)); err != nil || again.BlockHash != b.BlockHash {
			t.Errorf("the other encoding is another block, %v", err)
		}
	}
}

func TestSubmit_Faults(t *testing.T) {
	payload := vector(t, "fulu_execution_payload_and_blobs_bundle.ssz")
	for name, c := range map[string]struct {
		script script
		v1, v2 *fault.Fault
	}{
		"payload":      {raw(answer("200 OK", typeSSZ, payload)), nil, nil},
		"202":          {raw(answer("202 Accepted", "", nil)), ErrStatus, nil},
		"202 endless":  {endless("HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n"), ErrStatus, nil},
		"201":          {raw(answer("201 Created", typeSSZ, payload)), ErrStatus, ErrStatus},
		"204":          {raw("HTTP/1.1 204 No Content\r\n\r\n"), ErrStatus, ErrStatus},
		"404":          {raw(answer("404 Not Found", "", nil)), Err4xx, ErrNoV2},
		"400":          {raw(answer("400 Bad", "", nil)), Err4xx, Err4xx},
		"500":          {raw(answer("500 Bad", "", nil)), Err5xx, Err5xx},
		"empty":        {raw(answer("200 OK", typeSSZ, nil)), ErrEmpty, nil},
		"no version":   {raw(answer("200 OK", "Content-Type: application/octet-stream\r\n", payload)), ErrFork, nil},
		"short":        {raw(answer("200 OK", typeSSZ, payload[:len(payload)-1])), ErrDecode, nil},
		"html":         {raw(answer("200 OK", "Content-Type: text/html\r\n", payload)), ErrType, nil},
		"too large":    {endless("HTTP/1.1 200 OK\r\n"+typeSSZ+"Content-Length: 20971521\r\n\r\n", "x"), ErrBodyLarge, nil},
		"silent":       {silence, ErrTimeout, ErrTimeout},
		"always reset": {reset(""), ErrReset, ErrReset},
		"always short": {raw(answer("200 OK", typeSSZ, payload)[:5000]), ErrShortBody, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, b := dialTo(t, newChaos(t, c.script).url, nil), block(t, wire.SSZ)
			timely(t, shortBudget, func() {
				_, err := client.SubmitV1(budget(t, shortBudget), b, "")
				wantFault(t, err, c.v1)
			})
			timely(t, shortBudget, func() { wantFault(t, client.SubmitV2(budget(t, shortBudget), b, ""), c.v2) })
		})
	}
}

// S-03: the first connection is reset, in the middle of whatever.
func TestSubmit_Reset(t *testing.T) {
	good := answer("200 OK", typeSSZ, vector(t, "fulu_execution_payload_and_blobs_bundle.ssz"))
	for name, first := range map[string]script{"at once": reset(""), "in header": reset(good[:30]), "in body": reset(good[:500]), "ended": raw("")} {
		relay := newChaos(t, func(c *chaos, conn net.Conn, n int) bool {
			if n == 1 {
				return first(c, conn, n)
			}
			return c.write(conn, good)
		})
		_, err := dialTo(t, relay.url, nil).SubmitV1(budget(t, time.Second), block(t, wire.SSZ), "")
		if n := relay.requests.Load(); err != nil || n != 2 {
			t.Errorf("%s: %d requests, %v", name, n, err)
		}
	}
}

// A getHeader is not lost to a connection that the relay closed meanwhile, and
// is not sent twice to a relay that closes new ones.
func TestPool_Stale(t *testing.T) {
	good := answer("200 OK", typeSSZ, vector(t, "fulu_signed_builder_bid.ssz"))
	relay := newChaos(t, func(c *chaos, conn net.Conn, n int) bool {
		if n == 2 { // the first reuse: gone just as the request comes in
			return false
		}
		return c.write(conn, good)
	})
	c := dialTo(t, relay.url, nil)
	for range 4 {
		if offers, err := collect(t, c, budget(t, time.Second), request()); err != nil || len(offers) != 1 {
			t.Fatalf("got %d offers, %v", len(offers), err)
		}
	}
	if conns, n := relay.conns.Load(), relay.requests.Load(); conns != 2 || n != 5 {
		t.Errorf("%d connections and %d requests, want 2 and 5", conns, n)
	}
}

// A connection with an end or unasked bytes on it is not used again.
func TestPool_Peek(t *testing.T) {
	good := answer("200 OK", typeSSZ, vector(t, "fulu_signed_builder_bid.ssz"))
	for name, after := range map[string]script{
		"closed":  func(*chaos, net.Conn, int) bool { return false },
		"unasked": func(c *chaos, conn net.Conn, _ int) bool { return c.write(conn, good) },
	} {
		relay := newChaos(t, func(c *chaos, conn net.Conn, n int) bool {
			return c.write(conn, good) && c.wait(10*time.Millisecond) && after(c, conn, n)
		})
		c := dialTo(t, relay.url, nil)
		for range 3 {
			if _, err := collect(t, c, budget(t, time.Second), request()); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			time.Sleep(30 * time.Millisecond)
		}
		if conns, n := relay.conns.Load(), relay.requests.Load(); conns != 3 || n != 3 {
			t.Errorf("%s: %d connections and %d requests, want 3 and 3", name, conns, n)
		}
	}
}

func TestStatus(t *testing.T) {
	for status, want := range map[int]*fault.Fault{200: nil, 202: nil, 204: nil, 301: ErrRedirect, 404: Err4xx, 503: Err5xx} {
		url := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/eth/v1/builder/status" {
				t.Errorf("path %s", r.URL.Path)
			}
			w.WriteHeader(status)
		})
		wantFault(t, dialTo(t, url, nil).Status(budget(t, time.Second)), want)
	}
}

func TestMetrics(t *testing.T) {
	reg := metrics.NewRegistry()
	statuses := []int{200, 202, 404}
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		w.WriteHeader(statuses[0])
		statuses = statuses[1:]
	})
	c := dialTo(t, url, func(cfg *Config) { cfg.Metrics = NewMetrics(reg) })
	b := block(t, wire.SSZ)
	for range 3 {
		_ = c.SubmitV2(budget(t, time.Second), b, "")
	}
	_, _ = collect(t, c, budget(t, time.Second), request())
	for metric, want := range map[string]float64{
		`sidecar_relay_lenient_total{relay="r",what="v2_status_200"}`:                                1,
		`sidecar_relay_requests_total{endpoint="blinded_blocks_v2",outcome="ok",relay="r"}`:          2,
		`sidecar_relay_requests_total{endpoint="blinded_blocks_v2",outcome="relay_no_v2",relay="r"}`: 1,
		`sidecar_relay_requests_total{endpoint="header",outcome="none",relay="r"}`:                   1,
		`sidecar_relay_request_duration_seconds_count{endpoint="blinded_blocks_v2",relay="r"}`:       3,
		`sidecar_relay_request_duration_seconds_count{endpoint="header",relay="r"}`:                  1,
	} {
		if got, _ := reg.Value(metric); got != want {
			t.Errorf("%s: got %v, want %v", metric, got, want)
		}
	}
}
