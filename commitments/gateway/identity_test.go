package gateway

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/ethereum/go-ethereum/accounts"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"

	"sidecar/chain"
	"sidecar/internal/quota"
)

// flashbots signs a body as a Flashbots client does: with go-ethereum's own
// text hash over the hexadecimal keccak256. v is what is added to 0 or 1.
func flashbots(t *testing.T, secret byte, body string, v byte) (header string, who bellatrix.ExecutionAddress) {
	t.Helper()
	key, err := crypto.ToECDSA(append(make([]byte, 31), secret))
	if err != nil {
		t.Fatal(err)
	}
	sig, err := crypto.Sign(accounts.TextHash([]byte(hexutil.Encode(crypto.Keccak256([]byte(body))))), key)
	if err != nil {
		t.Fatal(err)
	}
	sig[64] += v
	a := crypto.PubkeyToAddress(key.PublicKey)
	return a.Hex() + ":" + hexutil.Encode(sig), bellatrix.ExecutionAddress(a)
}

func TestSignerOf(t *testing.T) {
	body := `{"jsonrpc":"2.0","id":1,"method":"slots","params":[]}`
	for _, v := range []byte{0, 27} {
		header, want := flashbots(t, 1, body, v)
		if got, err := signerOf(header, []byte(body)); err != nil || got != want {
			t.Errorf("v+%d: got %x, %v, want %x", v, got, err, want)
		}
	}
	good, _ := flashbots(t, 1, body, 27)
	other, _ := flashbots(t, 2, body, 27)
	address, signature, _ := strings.Cut(good, ":")
	otherAddress, _, _ := strings.Cut(other, ":")
	for name, header := range map[string]string{
		"empty": "", "no signature": address, "another address": otherAddress + ":" + signature, "short": good[:len(good)-2], "long": good + "00",
		"not hex": good[:len(good)-2] + "zz", "no 0x": strings.TrimPrefix(good, "0x"), "zeros": address + ":0x" + strings.Repeat("00", 65), "v of 30": good[:len(good)-2] + "1e",
	} {
		if _, err := signerOf(header, []byte(body)); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := signerOf(good, []byte(body+" ")); !errors.Is(err, ErrSignature) {
		t.Errorf("another body: got %v", err)
	}
}

func hashOf(key string) string { h := sha256.Sum256([]byte(key)); return hex.EncodeToString(h[:]) }

func TestParseIdentities(t *testing.T) {
	text := "# searchers\n\nalice sha256:" + hashOf("secret") + " rate=10 burst=20 # first\nbob\taddress:0x00000000000000000000000000000000000000Bb\ncarol sha256:" + hashOf("c") + " rate=0.5\n"
	got, err := ParseIdentities([]byte(text))
	if err != nil || len(got) != 3 {
		t.Fatalf("got %+v, %v", got, err)
	}
	if a := got[0]; a.Name != "alice" || a.KeyHash != sha256.Sum256([]byte("secret")) || a.Rate != (quota.Rate{PerSecond: 10, Burst: 20}) {
		t.Errorf("alice: %+v", a)
	}
	if b := got[1]; b.Address != (bellatrix.ExecutionAddress{19: 0xbb}) || b.Rate.Limited() {
		t.Errorf("bob: %+v", b)
	}
	if c := got[2]; c.Rate != (quota.Rate{PerSecond: 0.5, Burst: 1}) {
		t.Errorf("carol: %+v", c)
	}
	for _, line := range []string{
		"alice", "alice secret", "alice sha256:00", "alice sha256:" + strings.Repeat("zz", 32), "alice address:00000000000000000000000000000000000000bb",
		"alice address:0x00", "alice sha256:" + hashOf("x") + " rate", "alice sha256:" + hashOf("x") + " rate=-1", "alice sha256:" + hashOf("x") + " rate=NaN",
		"alice sha256:" + hashOf("x") + " burst=5", "alice sha256:" + hashOf("x") + " speed=5", strings.Repeat("a", 65) + " sha256:" + hashOf("x"),
		"dave sha256:" + hashOf("secret"), "bob sha256:" + hashOf("new"), "dave address:0x00000000000000000000000000000000000000bb",
	} {
		if _, err := ParseIdentities([]byte(text + line + "\n")); !errors.Is(err, ErrIdentities) || line != "alice" && !strings.Contains(err.Error(), "line 6") {
			t.Errorf("%q: got %v", line, err)
		}
	}
}

// TestAddress: only a trusted proxy is believed, and only the last address that
// it, or another of ours, did not write itself.
func TestAddress(t *testing.T) {
	g := &Gateway{}
	g.Access = Access{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("127.0.0.1/32")}, ForwardedHeader: "X-Forwarded-For"}
	for _, tt := range []struct {
		remote, header, want string
		direct               bool
	}{
		{"1.2.3.4", "", "1.2.3.4", true},
		{"1.2.3.4", "9.9.9.9", "1.2.3.4", true},
		{"10.1.1.1", "9.9.9.9", "9.9.9.9", false},
		{"10.1.1.1", "6.6.6.6, 9.9.9.9", "9.9.9.9", false},
		{"10.1.1.1", "6.6.6.6, 9.9.9.9, 10.2.2.2", "9.9.9.9", false},
		{"127.0.0.1", "127.0.0.1", "127.0.0.1", false},
		{"10.1.1.1", " 2001:db8::1 ", "2001:db8::1", false},
		{"10.1.1.1", "::ffff:9.9.9.9", "9.9.9.9", false},
		{"10.1.1.1", "", "10.1.1.1", true},
		{"10.1.1.1", "9.9.9.9, unknown", "", false},
		{"10.1.1.1", "fe80::1%eth0", "", false},
	} {
		got, direct, err := g.address(asked{remote: netip.MustParseAddr(tt.remote), header: func(string) string { return tt.header }})
		if tt.want == "" {
			if !errors.Is(err, ErrForwarded) {
				t.Errorf("%+v: got %v, %v", tt, got, err)
			}
			continue
		}
		if err != nil || got.String() != tt.want || direct != tt.direct {
			t.Errorf("%+v: got %v, %v, %v", tt, got, direct, err)
		}
	}
	if a, b := block(netip.MustParseAddr("2001:db8::1")), block(netip.MustParseAddr("2001:db8::ffff:1")); a != b {
		t.Errorf("one /64: %s and %s", a, b)
	}
}

// proxied is a house behind a trusted proxy on this machine: callers are who the
// header says.
func proxied(t *testing.T, edit ...func(*Config)) *house {
	t.Helper()
	return open(t, append([]func(*Config){func(c *Config) {
		c.Access.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		c.Access.Rate = quota.Rate{PerSecond: 1, Burst: 3}
	}}, edit...)...)
}

// as asks with headers, in the order name, value.
func as(t *testing.T, method, url, body string, header ...string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return do(t, req)
}

// TestRates: each address and each identity has its own, and hears when to come
// back; REST and JSON-RPC say so in their own ways.
func TestRates(t *testing.T) {
	h := proxied(t, func(c *Config) {
		c.Access.Identities = []Identity{{Name: "alice", KeyHash: sha256.Sum256([]byte("k1")), Rate: quota.Rate{PerSecond: 1, Burst: 6}}}
	})
	url := h.serve()
	slots := func(header ...string) (int, http.Header, string) {
		return as(t, "GET", url+rest+"slots", "", header...)
	}
	for i := range 3 {
		if status, _, body := slots("X-Forwarded-For", "9.9.9.9"); status != 200 {
			t.Fatalf("call %d: got %d %s", i, status, body)
		}
	}
	status, header, body := slots("X-Forwarded-For", "9.9.9.9")
	if status != 429 || header.Get("Retry-After") != "1" || !strings.Contains(body, `"reason":"rate_limited"`) {
		t.Errorf("the fourth: got %d %v %s", status, header, body)
	}
	status, header, body = as(t, "POST", url, `{"jsonrpc":"2.0","id":1,"method":"slots"}`, "X-Forwarded-For", "9.9.9.9")
	want := `{"jsonrpc":"2.0","id":null,"error":{"code":-32005,"message":"Too many requests","data":{"reason":"rate_limited","detail":"again in 1000 ms","retry_after_ms":1000}}}`
	if status != 429 || header.Get("Retry-After") != "1" || body != want {
		t.Errorf("JSON-RPC: got %d %v %s", status, header, body)
	}
	if status, _, _ := slots("X-Forwarded-For", "8.8.8.8"); status != 200 {
		t.Errorf("another address: got %d", status)
	}
	for i := range 7 { // an identity's limit is its own, wherever it asks from
		status, _, body := slots("X-Forwarded-For", "9.9.9.9", "X-Api-Key", "k1")
		if want := map[bool]int{true: 429, false: 200}[i == 6]; status != want {
			t.Errorf("alice, call %d: got %d %s, want %d", i, status, body, want)
		}
	}
	if status, _, _ := slots(); status != 200 {
		t.Error("a process of this machine is limited")
	}
	h.setSlot(100, 2*time.Second)
	if status, _, _ := slots("X-Forwarded-For", "9.9.9.9"); status != 200 {
		t.Errorf("two seconds later: got %d", status)
	}
}

// TestRates_Batch: a batch costs what its requests would cost one by one.
func TestRates_Batch(t *testing.T) {
	h := proxied(t)
	one := `{"jsonrpc":"2.0","id":%d,"method":"slots"}`
	var items []string
	for i := range 5 {
		items = append(items, fmt.Sprintf(one, i))
	}
	status, _, body := as(t, "POST", h.serve(), "["+strings.Join(items, ",")+"]", "X-Forwarded-For", "9.9.9.9")
	if status != 200 || strings.Count(body, `"result"`) != 3 || strings.Count(body, `"reason":"rate_limited"`) != 2 {
		t.Fatalf("got %d %s", status, body)
	}
	for i := range 5 { // each is told, by its id
		if !strings.Contains(body, fmt.Sprintf(`"id":%d,`, i)) {
			t.Errorf("request %d has no answer: %s", i, body)
		}
	}
}

// TestIdentities: who is who, and who is turned away.
func TestIdentities(t *testing.T) {
	body := `{"jsonrpc":"2.0","id":1,"method":"slots"}`
	signed, who := flashbots(t, 1, body, 27)
	stranger, _ := flashbots(t, 2, body, 27)
	h := proxied(t, func(c *Config) {
		c.Access.Rate = quota.Rate{}
		c.Access.Require = true
		c.Access.Identities = []Identity{{Name: "alice", KeyHash: sha256.Sum256([]byte("k1"))}, {Name: "bob", Address: who}}
	})
	url := h.serve()
	for _, tt := range []struct {
		name   string
		header []string
		status int
		reason string
	}{
		{"nobody", nil, 401, "identity_required"},
		{"a key", []string{"X-Api-Key", "k1"}, 200, ""},
		{"a bearer", []string{"Authorization", "Bearer k1"}, 200, ""},
		{"a wrong key", []string{"X-Api-Key", "k2"}, 401, "api_key_unknown"},
		{"a wrong key and a signature", []string{"X-Api-Key", "k2", "X-Flashbots-Signature", signed}, 401, "api_key_unknown"},
		{"a hash as key", []string{"X-Api-Key", hashOf("k1")}, 401, "api_key_unknown"},
		{"another scheme", []string{"Authorization", "Basic k1"}, 401, "identity_required"},
		{"a signature", []string{"X-Flashbots-Signature", signed}, 200, ""},
		{"a stranger's", []string{"X-Flashbots-Signature", stranger}, 401, "identity_required"},
		{"a broken one", []string{"X-Flashbots-Signature", signed[:60]}, 401, "identity_signature_invalid"},
		{"a broken proxy", []string{"X-Api-Key", "k1", "X-Forwarded-For", "?"}, 400, "forwarded_address_invalid"},
	} {
		status, header, got := as(t, "POST", url, body, tt.header...)
		if status != tt.status || tt.reason != "" && !strings.Contains(got, `"reason":"`+tt.reason+`"`) {
			t.Errorf("%s: got %d %s, want %d %s", tt.name, status, got, tt.status, tt.reason)
		}
		if tt.status == 200 && strings.Contains(got, `"error"`) || header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: got %s %v", tt.name, got, header)
		}
	}
	if status, _, got := as(t, "GET", url+rest+"slots", ""); status != 401 || !strings.Contains(got, "identity_required") {
		t.Errorf("REST: got %d %s", status, got)
	}
	// Without a file, whoever signs is served.
	h.Access.Identities = nil
	if status, _, got := as(t, "POST", url, body, "X-Flashbots-Signature", stranger); status != 200 {
		t.Errorf("without a file: got %d %s", status, got)
	}
	if status, _, _ := as(t, "POST", url, body); status != 401 {
		t.Errorf("without a file, unsigned: got %d", status)
	}
}

// TestSeats: one caller cannot have all places, strangers leave room for those
// we know, and who is turned away hears 429.
func TestSeats(t *testing.T) {
	h := proxied(t, func(c *Config) {
		c.Access.Rate = quota.Rate{}
		c.MaxRequests = 8
		c.Access.Identities = []Identity{{Name: "alice", KeyHash: sha256.Sum256([]byte("k1"))}}
	})
	inside, leave := make(chan struct{}, 8), make(chan struct{})
	h.module.stall = func() { inside <- struct{}{}; <-leave }
	url, done := h.serve(), make(chan int, 16)
	send := func(n byte, header ...string) {
		go func() {
			status, _, _ := as(t, "POST", url+rest+"commitmentRequest", text(t, request('a'+n, 1)), header...)
			done <- status
		}()
	}
	send(0, "X-Forwarded-For", "9.9.9.1")
	send(1, "X-Forwarded-For", "9.9.9.1")
	<-inside
	<-inside
	promise := func(n byte, header ...string) (int, string) {
		status, _, body := as(t, "POST", url+rest+"commitmentRequest", text(t, request('a'+n, 1)), header...)
		return status, body
	}
	if status, body := promise(2, "X-Forwarded-For", "9.9.9.1"); status != 429 || !strings.Contains(body, "gateway_busy") { // a quarter of 8
		t.Errorf("a third call of one address: got %d %s", status, body)
	}
	send(3, "X-Forwarded-For", "9.9.9.2")
	send(4, "X-Forwarded-For", "9.9.9.3")
	<-inside
	<-inside
	if status, _ := promise(5, "X-Forwarded-For", "9.9.9.4"); status != 429 { // 60 percent of 8 are 4
		t.Errorf("one more stranger: got %d", status)
	}
	if status, _, _ := as(t, "GET", url+rest+"slots", "", "X-Forwarded-For", "9.9.9.4"); status != 429 {
		t.Errorf("a stranger's question: got %d", status)
	}
	send(6, "X-Api-Key", "k1", "X-Forwarded-For", "9.9.9.4")
	<-inside
	close(leave)
	for range 5 {
		if status := <-done; status != 200 {
			t.Errorf("who had a place: got %d", status)
		}
	}
	if n := h.places.Used(); n != 0 {
		t.Errorf("%d places stay taken", n)
	}
}

// BenchmarkGreet is what finding out who asks costs a call, with its place.
func BenchmarkGreet(b *testing.B) {
	clock := chain.NewClock(testSpec(), nil)
	g := &Gateway{places: quota.NewPlaces(128), buckets: quota.NewBuckets(maxCallers), diary: newDiary(clock)}
	g.line = quota.NewLine(g.places, 128)
	g.Clock, g.Access = clock, Access{Rate: quota.Rate{PerSecond: 1e9, Burst: 1e9}, ForwardedHeader: "X-Forwarded-For"}
	none := func(string) string { return "" }
	for name, from := range map[string]string{"local": "127.0.0.1", "stranger": "9.9.9.9"} {
		b.Run(name, func(b *testing.B) {
			a := asked{remote: netip.MustParseAddr(from), header: none}
			for b.Loop() {
				c, err := g.greet(a)
				if err != nil {
					b.Fatal(err)
				}
				leave, err := g.seatFor(b.Context(), c, nil)
				if err != nil {
					b.Fatal(err)
				}
				leave()
			}
		})
	}
}

// TestLocal_Proxy: a proxy on this machine that is not configured as trusted does
// not make the whole world a caller of this machine, without limits.
func TestLocal_Proxy(t *testing.T) {
	h := open(t, func(c *Config) { c.Access.Rate = quota.Rate{PerSecond: 1, Burst: 1} })
	ask := func(forwarded string) (caller, error) {
		return h.greet(asked{remote: netip.MustParseAddr("127.0.0.1"), header: func(name string) string {
			if name == "X-Forwarded-For" {
				return forwarded
			}
			return ""
		}})
	}
	if c, err := ask(""); err != nil || !c.local {
		t.Errorf("a caller of this machine: %+v, %v", c, err)
	}
	if c, err := ask("203.0.113.9"); err != nil || c.local {
		t.Errorf("a stranger behind a proxy: %+v, %v", c, err)
	}
	if _, err := ask("203.0.113.9"); !errors.Is(err, ErrRate) {
		t.Errorf("its second call: %v, want %v", err, ErrRate)
	}
}
