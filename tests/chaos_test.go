package tests

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
)

const (
	minBid       = 1e9  // wei, as configured
	healthyValue = 5e9  // of the relay that is well
	chaosValue   = 10e9 // of the one that is not
)

// answerWithin is the promise, measured at the client's socket, with a little
// for a busy machine. Beacon nodes give up after a second.
var answerWithin = map[bool]time.Duration{false: time.Second, true: 1500 * time.Millisecond}[raceFlag != ""]

// chaosBench is one sidecar between relays of every kind of badness. Which of
// them a request meets is chosen by its validator, that is by mux.
type chaosBench struct {
	process        *process
	admin          string
	chaos, healthy *fakeRelay
	network        *network
	slot           atomic.Uint64 // last used; each request has its own
	keys           map[string]phase0.BLSPubKey
}

// TestChaos is the table of relay faults: whatever a relay does, getHeader is
// answered in time, with the best of the other relays' bids or with 204.
func TestChaos(t *testing.T) {
	t.Parallel()
	c := newChaosBench(t)
	idle := c.measures(t)
	t.Run("modes", func(t *testing.T) {
		for i, m := range modes(t) {
			t.Run(m.id+" "+m.name, func(t *testing.T) {
				t.Parallel()
				c.try(t, m, "pair", "chaos", i%2 == 0)
				c.try(t, m, "alone", "chaos", i%2 == 1)
			})
		}
		for _, m := range streamModes() {
			t.Run(m.id+" "+m.name, func(t *testing.T) {
				t.Parallel()
				c.try(t, m, "stream", "streaming", false)
			})
		}
		for _, m := range connectModes() {
			t.Run(m.id+" "+m.name, func(t *testing.T) {
				t.Parallel()
				c.try(t, m, m.name, m.name, false)
				c.try(t, m, m.name+" alone", m.name, true)
			})
		}
		for _, set := range []string{"crowd", "crowd alone"} {
			t.Run("R-59 "+set, func(t *testing.T) {
				t.Parallel()
				c.try(t, mode{answer: silence, bid: refused}, set, "", false)
			})
		}
	})
	c.settle(t, idle)
}

// connectModes are the faults of relays that show while connecting. Their names
// are the relays'.
func connectModes() []mode {
	return []mode{
		{id: "R-01", name: "refusing", reason: "relay_connect"},
		{id: "R-02", name: "unaccepting", reason: "relay_connect|relay_timeout"},
		{id: "R-04", name: "handshaking", reason: "relay_tls"},
		{id: "R-53", name: "nameless", reason: "relay_connect"},
		{id: "R-60", name: "self-signed", reason: "relay_tls"},
	}
}

func newChaosBench(t *testing.T) *chaosBench {
	c := &chaosBench{network: newNetwork(time.Hour, 0), keys: map[string]phase0.BLSPubKey{}}
	c.slot.Store(1000)
	c.chaos = newRelay(t, c.network, "chaos", 1, chaosValue)
	c.healthy = newRelay(t, c.network, "healthy", 2, healthyValue)
	admin := freePort(t)
	c.admin = fmt.Sprintf("http://127.0.0.1:%d", admin)
	var b strings.Builder
	fmt.Fprintf(&b, "%s[pbs]\nport = 0\nmin_bid_eth = 0.000000001\n[metrics]\nstart_port = %d\n[logs.stdout]\nlevel = \"debug\"\n", c.network.toml(), admin)
	b.WriteString(c.healthy.entry("relays"))
	c.mux(&b, "pair", c.chaos.entry("mux.relays"), c.healthy.entry("mux.relays"))
	c.mux(&b, "alone", c.chaos.entry("mux.relays"))
	c.mux(&b, "stream", strings.Replace(c.chaos.entry("mux.relays"), "chaos", "streaming", 1)+"get_header = \"stream\"\n")

	self := httptest.NewUnstartedServer(http.NotFoundHandler())
	self.Config.ErrorLog = log.New(io.Discard, "", 0)
	self.StartTLS()
	t.Cleanup(self.Close)
	silent := newRelay(t, c.network, "handshaking", 3, 0)
	for name, at := range map[string]string{
		"refusing": fmt.Sprintf("http://KEY@127.0.0.1:%d", freePort(t)), "unaccepting": "http://KEY@" + unaccepting(t),
		"handshaking": "https://KEY@" + silent.address, "nameless": "http://KEY@relay.invalid", "self-signed": "https://KEY@" + self.Listener.Addr().String(),
	} {
		entry := fmt.Sprintf("[[mux.relays]]\nid = %q\nurl = %q\n", name, strings.Replace(at, "KEY", c.chaos.secret.PublicKey().String(), 1))
		c.mux(&b, name, entry, c.healthy.entry("mux.relays"))
		c.mux(&b, name+" alone", entry)
	}
	var crowd strings.Builder
	for i := range byte(63) {
		fmt.Fprintf(&crowd, "[[mux.relays]]\nid = \"crowd-%d\"\nurl = \"http://%s@%s\"\n", i, secretKey(t, 100+i).PublicKey(), c.chaos.address)
	}
	c.mux(&b, "crowd", crowd.String(), c.healthy.entry("mux.relays"))
	c.mux(&b, "crowd alone", crowd.String())
	c.process = start(t, b.String())
	return c
}

func (c *chaosBench) mux(b *strings.Builder, id string, relays ...string) {
	c.keys[id] = validator(byte(len(c.keys) + 1))
	fmt.Fprintf(b, "[[mux]]\nid = %q\nvalidator_pubkeys = [%q]\n%s", id, c.keys[id].String(), strings.Join(relays, ""))
}

// try asks for a header and judges the answer. The machine may be busy: of
// three calls one must be in time, and none may be wrong.
func (c *chaosBench) try(t *testing.T, m mode, set, relay string, ssz bool) {
	t.Helper()
	var took time.Duration
	for range 3 {
		slot := phase0.Slot(c.slot.Add(1))
		parent := parentOf(fmt.Sprint(slot))
		c.chaos.plan(parent, m.answer)
		media := map[bool]string{true: mediaSSZ, false: mediaJSON}[ssz]
		a, err := c.process.ask(http.MethodGet, headerPath(slot, parent, c.keys[set]), nil, "Accept", media)
		if err != nil {
			t.Fatalf("%s: getHeader: %v", set, err)
		}
		c.judge(t, m, set, media, a)
		c.named(t, m, set, relay, slot)
		if took = a.took; took <= answerWithin {
			return
		}
	}
	t.Errorf("%s: answer after %v, want it within %v", set, took, answerWithin)
}

// judge checks whose bid came back.
func (c *chaosBench) judge(t *testing.T, m mode, set, media string, a *answer) {
	t.Helper()
	lonely := set == "alone" || set == "stream" || strings.HasSuffix(set, " alone")
	winner := c.healthy
	switch {
	case m.bid == wins, m.bid == onlyAlone && lonely:
		winner = c.chaos
	case lonely:
		if a.status != http.StatusNoContent || len(a.body) > 0 {
			t.Errorf("%s: answer %d %.300q, want 204", set, a.status, a.body)
		}
		return
	}
	if bid := decodeBid(t, a, media, "fulu"); !verified(bid, winner.secret.PublicKey()) {
		t.Errorf("%s: the bid is not a signed one of relay %s", set, winner.name)
	}
}

// named checks that the log says why a relay's bid did not win.
func (c *chaosBench) named(t *testing.T, m mode, set, relay string, slot phase0.Slot) {
	t.Helper()
	if m.reason == "" {
		return
	}
	line := c.process.await(2*time.Second, func(l logLine) bool {
		return l.text("slot") == strconv.FormatUint(uint64(slot), 10) && l.text("relay") == relay && l.text("reason") != ""
	})
	if got := line.text("reason"); got == "" || !strings.Contains("|"+m.reason+"|", "|"+got+"|") {
		t.Errorf("%s: the log gives the reason %q, want %s", set, got, m.reason)
	}
}

// unaccepting listens with a backlog that is full: further connections hang.
func unaccepting(t *testing.T) string {
	t.Helper()
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
		conn, err := net.DialTimeout("tcp", address, 100*time.Millisecond)
		if err != nil {
			break // full
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	return address
}

// streamModes are faults of the header stream. HTTP takes over.
func streamModes() []mode {
	over := func(s script) script {
		return func(c *call) bool {
			if !strings.Contains(c.URL.Path, "header_stream") {
				return honest(c)
			}
			return s(c)
		}
	}
	upgraded := func(frames string) script {
		return over(func(c *call) bool {
			sum := sha1.Sum([]byte(c.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
			c.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
				base64.StdEncoding.EncodeToString(sum[:]) + "\r\n\r\n" + frames)
			<-c.relay.stop
			return false
		})
	}
	return []mode{
		{"R-55", "stream refused", over(status(404)), "", wins},
		{"R-55", "stream with a bad accept key", over(raw("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: bm8=\r\n\r\n")), "", wins},
		{"R-56", "frame of a gigabyte", upgraded("\x82\x7f\x00\x00\x00\x00\x40\x00\x00\x00" + strings.Repeat("x", 100_000)), "", wins},
		{"R-56", "masked frame", upgraded("\x82\x82\x01\x02\x03\x04\x05\x06"), "", wins},
		{"R-56", "fragments without an end", upgraded("\x02\x01x" + strings.Repeat("\x00\x01x", 100_000)), "", wins},
		{"R-57", "ten thousand frames of nothing", upgraded(strings.Repeat("\x82\x02\x01\x06", 10_000)), "", wins},
		{"R-58", "silent stream", upgraded(""), "", wins},
	}
}

// TestChaosRedirect checks that no redirect is followed.
func TestChaosRedirect(t *testing.T) {
	t.Parallel()
	var hits atomic.Int32
	canary := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	defer canary.Close()
	n := newNetwork(time.Hour, 0)
	r := newRelay(t, n, "chaos", 1, chaosValue)
	p := start(t, n.toml()+"[pbs]\nport = 0\nregister_validator_retry_limit = 1\n"+r.entry("relays"))
	for i, code := range []int{301, 302, 303, 307, 308} {
		parent := parentOf(fmt.Sprint(code))
		elsewhere := raw(message(code, "Location: "+canary.URL+"/eth/v1/builder/status\r\nConnection: close\r\n", nil))
		r.plan(parent, elsewhere)
		r.others(elsewhere)
		slot := phase0.Slot(100 + i)
		if a := p.must(t, "GET", headerPath(slot, parent, validator(1)), nil); a.status != http.StatusNoContent {
			t.Errorf("%d: getHeader answers %d %q, want 204", code, a.status, a.body)
		}
		p.must(t, "GET", "/eth/v1/builder/status", nil).refused(t, 503, "relays_unavailable")
		for _, one := range recordings(t, "fulu-ssz/1-bn-to-boost")[1:2] {
			p.must(t, "POST", one.path, one.body, "Content-Type", mediaSSZ).refused(t, 502, "no_relay")
		}
	}
	if n := hits.Load(); n > 0 {
		t.Errorf("the canary was asked %d times, want never", n)
	}
}

// measures are what a leak would show in.
func (c *chaosBench) measures(t *testing.T) map[string]float64 {
	t.Helper()
	resp, err := client.Get(c.admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, m := range regexp.MustCompile(`(?m)^(go_goroutines|process_open_fds) (\S+)$`).FindAllSubmatch(text, -1) {
		out[string(m[1])], _ = strconv.ParseFloat(string(m[2]), 64)
	}
	return out
}

// settle checks that nothing of the chaos is left: goroutines, descriptors
// beyond the few kept connections, memory.
func (c *chaosBench) settle(t *testing.T, idle map[string]float64) {
	t.Helper()
	const spare = 5
	kept := 64.0 * 4 // relays × connections kept to one
	var now map[string]float64
	for range 50 {
		now = c.measures(t)
		if now["go_goroutines"] <= idle["go_goroutines"]+spare && now["process_open_fds"] <= idle["process_open_fds"]+kept {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if now["go_goroutines"] > idle["go_goroutines"]+spare || now["process_open_fds"] > idle["process_open_fds"]+kept || now["go_goroutines"] == 0 {
		t.Errorf("after the chaos %v, before it %v", now, idle)
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.process.cmd.Process.Pid))
	if err != nil {
		t.Skip("no /proc: ", err)
	}
	const limit = 256 << 10 // kB
	m := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(text)
	if m == nil {
		t.Fatal("no VmHWM in /proc")
	}
	if peak, _ := strconv.Atoi(string(m[1])); peak > limit && raceFlag == "" {
		t.Errorf("peak memory %d kB, want at most %d", peak, limit)
	}
	c.process.healthy()
}

func mustHex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.TrimPrefix(s, "0x"))
	if err != nil || bytes.Equal(b, nil) {
		t.Fatal("hex: ", err)
	}
	return b
}
