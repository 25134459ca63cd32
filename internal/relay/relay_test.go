package relay

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/holiman/uint256"
	"go.uber.org/goleak"

	"sidecar/chain"
	"sidecar/fault"
	"sidecar/internal/bls"
	"sidecar/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lateness is how long after its deadline a call may return.
const lateness = 25 * time.Millisecond

func vector(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// testKey is the public key of the relays here.
var testKey = sync.OnceValue(func() phase0.BLSPubKey {
	seed := sha256.Sum256([]byte("relay"))
	seed[0] &= 0x3f
	k, err := bls.ParseSecretKey(seed[:])
	if err != nil {
		panic(err)
	}
	return k.PublicKey()
})

// relayURL puts the key into a server's URL.
func relayURL(server string) string {
	scheme, host, _ := strings.Cut(server, "://")
	return fmt.Sprintf("%s://%#x@%s", scheme, testKey(), host)
}

func testClock() *chain.Clock {
	return chain.NewClock(chain.Spec{SlotDuration: 12 * time.Second, SlotsPerEpoch: 32}, nil)
}

// dialTo makes a client of a server. configure may change its Config.
func dialTo(t testing.TB, server string, configure func(*Config)) *Client {
	t.Helper()
	cfg := Config{ID: "r", URL: relayURL(server), AllowPrivate: true, Version: "test"}
	if configure != nil {
		configure(&cfg)
	}
	c, err := New(cfg, testClock())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// serve starts a well-behaved server.
func serve(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func budget(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func request() HeaderRequest {
	return HeaderRequest{Slot: 7, SlotStart: time.Now(), Fork: chain.Fulu, ParentHash: phase0.Hash32{1}, Pubkey: phase0.BLSPubKey{2}, UserAgent: "bn/1"}
}

// collect runs Offers and returns what it emitted, in the order of Started.
func collect(t testing.TB, c *Client, ctx context.Context, r HeaderRequest) ([]Offer, error) {
	t.Helper()
	var mu sync.Mutex
	var offers []Offer
	over := false
	err := c.Offers(ctx, r, func(o Offer) {
		mu.Lock()
		defer mu.Unlock()
		if over {
			t.Error("emit after Offers returned")
		}
		offers = append(offers, o)
	})
	mu.Lock()
	defer mu.Unlock()
	over = true
	return offers, err
}

// newest is the offer that replaces the others.
func newest(offers []Offer) (o Offer) {
	for _, c := range offers {
		if o.Bid == nil || c.Started.After(o.Started) {
			o = c
		}
	}
	return o
}

// bidWorth is the vector's bid with another value.
func bidWorth(t testing.TB, wei uint64) *wire.Bid {
	t.Helper()
	b, err := wire.DecodeBid(chain.Fulu, wire.SSZ, vector(t, "fulu_signed_builder_bid.ssz"))
	if err != nil {
		t.Fatal(err)
	}
	return wire.NewBid(chain.Fulu, b.Header, b.Commitments, b.ExecutionRequests, *uint256.NewInt(wei), b.Pubkey)
}

// answerSSZ writes a bid as a good relay does.
func answerSSZ(w http.ResponseWriter, body []byte) {
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Eth-Consensus-Version", "fulu")
	_, _ = w.Write(body)
}

func wantFault(t testing.TB, err error, want *fault.Fault) {
	t.Helper()
	if want == nil {
		if err != nil {
			t.Errorf("got %v, want no fault", err)
		}
		return
	}
	if !errors.Is(err, want) || fault.Code(err) != want.Code {
		t.Errorf("got %v, want %s", err, want.Code)
	}
}

func TestNew_URL(t *testing.T) {
	key := fmt.Sprintf("%#x", testKey())
	infinity := "0xc0" + strings.Repeat("00", 47)
	for name, c := range map[string]struct {
		url, host, address, id string
		want                   *fault.Fault
	}{
		"http":            {url: "http://" + key + "@relay.example", host: "relay.example", address: "relay.example:80", id: "relay.example"},
		"https port":      {url: "https://" + key + "@relay.example:8443/path?x=1", host: "relay.example:8443", address: "relay.example:8443", id: "relay.example"},
		"ipv6":            {url: "https://" + key + "@[::1]", host: "[::1]", address: "[::1]:443", id: "::1"},
		"upper case":      {url: "HTTPS://" + key + "@relay.example", host: "relay.example", address: "relay.example:443", id: "relay.example"},
		"no key":          {url: "https://relay.example", want: ErrURL},
		"short key":       {url: "https://0x1234@relay.example", want: ErrURL},
		"no 0x":           {url: "https://" + key[2:] + "@relay.example", want: ErrURL},
		"infinity":        {url: "https://" + infinity + "@relay.example", want: ErrURL},
		"not on curve":    {url: "https://" + key[:96] + "ff@relay.example", want: ErrURL},
		"password":        {url: "https://" + key + ":x@relay.example", want: ErrURL},
		"no host":         {url: "https://" + key + "@", want: ErrURL},
		"websocket":       {url: "wss://" + key + "@relay.example", want: ErrURL},
		"file":            {url: "file:///etc/passwd", want: ErrURL},
		"empty":           {url: "", want: ErrURL},
		"control in host": {url: "https://" + key + "@a\nb", want: ErrURL},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := New(Config{URL: c.url}, testClock())
			wantFault(t, err, c.want)
			if err != nil {
				return
			}
			defer got.Close()
			if got.target.host != c.host || got.target.address != c.address || got.Name() != c.id || got.Pubkey() != testKey() {
				t.Errorf("got %+v, name %s", got.target, got.Name())
			}
		})
	}
}

func TestNew_Config(t *testing.T) {
	for name, cfg := range map[string]Config{
		"header name":  {Headers: map[string]string{"A B": "x"}},
		"header value": {Headers: map[string]string{"A": "x\r\nHost: y"}},
		"host header":  {Headers: map[string]string{"host": "x"}},
		"gzip":         {Headers: map[string]string{"Accept-Encoding": "gzip"}},
		"frequency":    {Frequency: time.Millisecond},
		"negative":     {TargetFirst: -1},
		"dialect":      {Dialect: "other"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg.URL = relayURL("http://relay.example")
			_, err := New(cfg, testClock())
			wantFault(t, err, ErrConfig)
		})
	}
}

func TestOffers_Request(t *testing.T) {
	var got *http.Request
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		answerSSZ(w, vector(t, "fulu_signed_builder_bid.ssz"))
	})
	c := dialTo(t, url, func(cfg *Config) {
		cfg.Headers = map[string]string{"X-Api-Key": "k", "Authorization": "Bearer t"}
		cfg.Params = map[string]string{"id": "a b", "z": "1"}
		cfg.Version = "1.2"
	})
	offers, err := collect(t, c, budget(t, time.Second), request())
	if err != nil || len(offers) != 1 {
		t.Fatalf("got %d offers, %v", len(offers), err)
	}
	wantURI := fmt.Sprintf("/eth/v1/builder/header/7/%#x/%#x?id=a+b&z=1", request().ParentHash, request().Pubkey)
	if got.RequestURI != wantURI {
		t.Errorf("got %s, want %s", got.RequestURI, wantURI)
	}
	for name, want := range map[string]string{
		"User-Agent": "sidecar/1.2 bn/1", "Accept": "application/octet-stream;q=1.0,application/json;q=0.9",
		"X-Api-Key": "k", "Authorization": "Bearer t", "Accept-Encoding": "", "Content-Length": "",
	} {
		if v := got.Header.Get(name); v != want {
			t.Errorf("%s: got %q, want %q", name, v, want)
		}
	}
	if ms := got.Header.Get("Date-Milliseconds"); len(ms) != 13 {
		t.Errorf("Date-Milliseconds %q", ms)
	}
	if ms := got.Header.Get("X-Timeout-Ms"); ms < "800" || ms > "999" || len(ms) != 3 {
		t.Errorf("X-Timeout-Ms %q", ms)
	}
	if got := offers[0].Bid.Encode(wire.SSZ); !bytes.Equal(got, vector(t, "fulu_signed_builder_bid.ssz")) {
		t.Error("the bid is not the one sent")
	}
}

func TestOffers_NoCredentials(t *testing.T) {
	var auth string
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		auth = r.Header.Get("Authorization")
		w.WriteHeader(http.StatusNoContent)
	})
	c := dialTo(t, url, nil)
	offers, err := collect(t, c, budget(t, time.Second), request())
	if err != nil || len(offers) != 0 || auth != "" {
		t.Errorf("got %d offers, %v, authorization %q", len(offers), err, auth)
	}
}

func TestOffers_JSONFallback(t *testing.T) {
	for _, status := range []int{406, 415} {
		var accepts []string
		url := serve(t, func(w http.ResponseWriter, r *http.Request) {
			accepts = append(accepts, r.Header.Get("Accept"))
			if strings.Contains(r.Header.Get("Accept"), "octet") {
				http.Error(w, "no", status)
				return
			}
			w.Header().Set("Content-Type", "application/json; charset=utf-8")
			_, _ = w.Write(vector(t, "fulu_signed_builder_bid.json"))
		})
		c := dialTo(t, url, nil)
		for range 2 {
			if offers, err := collect(t, c, budget(t, time.Second), request()); err != nil || len(offers) != 1 {
				t.Fatalf("got %d offers, %v", len(offers), err)
			}
		}
		if got := strings.Join(accepts, " "); got != acceptAny+" "+acceptJSON+" "+acceptJSON {
			t.Errorf("%d: asked for %s", status, got)
		}
	}
}

func TestOffers_PrivateAddress(t *testing.T) {
	hits := 0
	url := serve(t, func(http.ResponseWriter, *http.Request) { hits++ })
	for _, stream := range []bool{false, true} {
		c := dialTo(t, url, func(cfg *Config) { cfg.AllowPrivate = false; cfg.Stream = stream })
		_, err := collect(t, c, budget(t, time.Second), request())
		wantFault(t, err, ErrPrivate)
	}
	if hits != 0 {
		t.Errorf("%d connections", hits)
	}
}

func TestCalls_NoTime(t *testing.T) {
	hits := 0
	c := dialTo(t, serve(t, func(http.ResponseWriter, *http.Request) { hits++ }), nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantFault(t, c.Status(ctx), ErrTimeout)
	_, err := collect(t, c, ctx, request())
	wantFault(t, err, ErrTimeout)
	c.Close()
	wantFault(t, c.Status(t.Context()), ErrClosed)
	if hits != 0 {
		t.Errorf("%d requests", hits)
	}
}
