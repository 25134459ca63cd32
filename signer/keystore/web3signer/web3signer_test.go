package web3signer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/internal/bls"
	"sidecar/internal/fetch"
	"sidecar/internal/mtls/mtlstest"
)

// Commit-Boost's published vector: key, and its signature for a module on Hoodi.
const (
	secretHex = "10942624b86262d6c92bf37e21086f469d0c4b635e5f4bd229f49ac10ba6f7d1"
	pubkeyHex = "0x883827193f7627cd04e621e1e8d56498362a52b2a30c9a1c72036eb935c4278dee23d38a24d2f7dda62689886f0c39f4"
	infoRoot  = "90238cf982769195c032b2ed2f51403265605818e9847ddbe45fc6e52661f8a6"
	published = "b653034a6da0e516cb999d6bbcd5ddd8dde9695322a94aefcd3049e6235e0f4f63b13d81ddcd80d4e1e698c3f88c3b440ae696650ccef2f22329afb4ffecec85a34523e25920ceced54c5bc31168174a3b352977750c222c1c25f72672467e5c"
)

var hoodi = chain.Spec{GenesisForkVersion: phase0.Version{0x10, 0x00, 0x09, 0x10}}.Domain(chain.DomainCommitBoost)

// server stands in for a Web3Signer, which is a Java program and not available
// to these tests. It is written from its OpenAPI document: it shares no code with
// the client, and computes domain and signing root itself.
type server struct {
	secret *bls.SecretKey
	domain [32]byte
	calls  atomic.Int32
	// answer replaces the answer to a request for a signature; nil is honest.
	answer func(w http.ResponseWriter, honest string)
	keys   string // replaces the list of keys
}

func newServer(t *testing.T) *server {
	t.Helper()
	b, err := hex.DecodeString(secretHex)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := bls.ParseSecretKey(b)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{secret: secret}
	var forkData [64]byte // genesis fork version of Hoodi, zero validators root
	copy(forkData[:], []byte{0x10, 0x00, 0x09, 0x10})
	root := sha256.Sum256(forkData[:])
	copy(s.domain[:], "mmoC")
	copy(s.domain[4:], root[:28])
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.calls.Add(1)
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	switch r.Method + " " + r.URL.Path {
	case "GET /api/v1/eth2/publicKeys":
		if s.keys != "" {
			_, _ = io.WriteString(w, s.keys)
			return
		}
		_ = json.NewEncoder(w).Encode([]string{pubkeyHex})
	case "POST /signer/v1/request_signature":
		var req map[string]string
		if err := json.NewDecoder(r.Body).Decode(&req); err != nil || len(req) != 3 || req["type"] != "consensus" || !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if req["pubkey"] != pubkeyHex {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		object, err := hex.DecodeString(strings.TrimPrefix(req["object_root"], "0x"))
		if err != nil || len(object) != 32 {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		sig := s.secret.Sign(sha256.Sum256(append(object, s.domain[:]...)))
		honest := fmt.Sprintf("%q", sig.String())
		if s.answer != nil {
			s.answer(w, honest)
			return
		}
		_, _ = io.WriteString(w, honest)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// start serves on a real socket, to clients with a certificate only.
func (s *server) start(t *testing.T) Config {
	t.Helper()
	ca := mtlstest.New(t)
	h := httptest.NewUnstartedServer(s)
	h.TLS = ca.Server(t, "web3signer")
	h.StartTLS()
	t.Cleanup(h.Close)
	mine := ca.Issue(t, "sidecar")
	return Config{URL: h.URL, Domain: hoodi, CertPath: mine.Cert, KeyPath: mine.Key, CAPath: ca.CAPath, Timeout: 5 * time.Second}
}

func open(t *testing.T, c Config) *Holder {
	t.Helper()
	h, err := Open(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

func message(t *testing.T) (commitments.Key, commitments.Message) {
	t.Helper()
	root, err := hex.DecodeString(infoRoot)
	if err != nil {
		t.Fatal(err)
	}
	key, err := hex.DecodeString(pubkeyHex[2:])
	if err != nil {
		t.Fatal(err)
	}
	return commitments.BLSKey(phase0.BLSPubKey(key)), commitments.Message{Object: phase0.Root(root), Domain: hoodi}
}

// TestSign_Vector: the message of a module's request, through Web3Signer's own
// hashing, is signed as Commit-Boost publishes it.
func TestSign_Vector(t *testing.T) {
	h := open(t, newServer(t).start(t))
	key, m := message(t)
	if got := h.Keys(); len(got) != 1 || got[0] != key {
		t.Errorf("keys: %v", got)
	}
	got, err := h.Sign(context.Background(), key, m)
	if err != nil || hex.EncodeToString(got) != published {
		t.Errorf("got %x, %v", got, err)
	}
}

func TestSign_RefusesBeforeAsking(t *testing.T) {
	s := newServer(t)
	h := open(t, s.start(t))
	key, m := message(t)
	calls := s.calls.Load()
	builder := m
	builder.Domain = chain.Spec{GenesisForkVersion: phase0.Version{0x10, 0x00, 0x09, 0x10}}.Domain(chain.DomainBuilder)
	mainnet := m
	mainnet.Domain = chain.Spec{}.Domain(chain.DomainCommitBoost)
	for name, other := range map[string]commitments.Message{"builder": builder, "another network": mainnet, "none": {Object: m.Object}} {
		if _, err := h.Sign(context.Background(), key, other); !errors.Is(err, ErrDomain) {
			t.Errorf("domain %s: got %v, want %v", name, err, ErrDomain)
		}
	}
	if _, err := h.Sign(context.Background(), commitments.BLSKey(phase0.BLSPubKey{1}), m); !errors.Is(err, ErrNotHeld) {
		t.Errorf("another key: got %v, want %v", err, ErrNotHeld)
	}
	if n := s.calls.Load(); n != calls {
		t.Errorf("the server was asked %d times", n-calls)
	}
}

func TestSign_Answers(t *testing.T) {
	text := func(status int, body string) func(http.ResponseWriter, string) {
		return func(w http.ResponseWriter, _ string) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	cases := map[string]struct {
		answer func(http.ResponseWriter, string)
		want   error
	}{
		"honest":            {nil, nil},
		"without quotation": {func(w http.ResponseWriter, honest string) { _, _ = io.WriteString(w, strings.Trim(honest, `"`)) }, nil},
		"with a line end":   {func(w http.ResponseWriter, honest string) { _, _ = io.WriteString(w, honest+"\n") }, nil},
		"half a quotation":  {func(w http.ResponseWriter, honest string) { _, _ = io.WriteString(w, honest[:len(honest)-1]) }, ErrAnswer},
		"too short":         {text(200, `"0x12"`), ErrAnswer},
		"not hex":           {text(200, `"0x`+strings.Repeat("zz", 96)+`"`), ErrAnswer},
		"an object":         {text(200, `{"signature":"0x"}`), ErrAnswer},
		"nothing":           {text(200, ""), ErrAnswer},
		"too much":          {text(200, strings.Repeat(" ", maxSignature+1)), fetch.ErrTooLarge},
		"not found":         {text(404, ""), ErrRefused},
		"locked":            {text(412, "Signing operation failed due to slashing protection rules"), ErrRefused},
		"broken":            {text(500, "stack trace"), ErrRefused},
		"no content":        {text(204, ""), ErrRefused},
		"elsewhere": {func(w http.ResponseWriter, _ string) {
			w.Header().Set("Location", "https://example.org")
			w.WriteHeader(307)
		}, fetch.ErrRedirect},
		"hangs up": {func(http.ResponseWriter, string) { panic(http.ErrAbortHandler) }, fetch.ErrUnreachable},
		"silent":   {func(http.ResponseWriter, string) { time.Sleep(700 * time.Millisecond) }, fetch.ErrTimeout},
		"slow to end": {func(w http.ResponseWriter, honest string) {
			_, _ = io.WriteString(w, honest[:10])
			_ = http.NewResponseController(w).Flush()
			time.Sleep(700 * time.Millisecond)
		}, fetch.ErrTimeout},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			conf := s.start(t)
			conf.Timeout = 500 * time.Millisecond
			h := open(t, conf)
			s.answer = c.answer
			key, m := message(t)
			got, err := h.Sign(context.Background(), key, m)
			if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) || err == nil && hex.EncodeToString(got) != published {
				t.Errorf("got %x, %v, want %v", got, err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "stack trace") {
				t.Errorf("the server's text goes on: %v", err)
			}
		})
	}
}

// TestSign_Lies: a wrong signature is passed on; the signer verifies all of them.
func TestSign_Lies(t *testing.T) {
	s := newServer(t)
	h := open(t, s.start(t))
	s.answer = func(w http.ResponseWriter, honest string) {
		_, _ = io.WriteString(w, strings.Replace(honest, "0xb6", "0xa6", 1))
	}
	key, m := message(t)
	got, err := h.Sign(context.Background(), key, m)
	if err != nil || bls.Verify(key.BLS, m.Root(), phase0.BLSSignature(got)) {
		t.Errorf("got %x, %v", got, err)
	}
}

func TestOpen_Refuses(t *testing.T) {
	s := newServer(t)
	good := s.start(t)
	stranger := mtlstest.New(t)
	theirs := stranger.Issue(t, "sidecar")
	change := func(f func(*Config)) Config {
		c := good
		f(&c)
		return c
	}
	for name, c := range map[string]struct {
		config Config
		want   error
	}{
		"no certificate":      {change(func(c *Config) { c.CertPath, c.KeyPath = "", "" }), fetch.ErrUnreachable},
		"certificate unknown": {change(func(c *Config) { c.CertPath, c.KeyPath = theirs.Cert, theirs.Key }), fetch.ErrUnreachable},
		"server unknown":      {change(func(c *Config) { c.CAPath = stranger.CAPath }), fetch.ErrUnreachable},
		"nobody there":        {change(func(c *Config) { c.URL = "https://127.0.0.1:1" }), fetch.ErrUnreachable},
		"another path":        {change(func(c *Config) { c.URL += "/x" }), fetch.ErrStatus},
	} {
		if _, err := Open(context.Background(), c.config); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	for name, list := range map[string]struct {
		text string
		want error
	}{"an object": {`{}`, fetch.ErrJSON}, "short key": {`["0x12"]`, ErrAnswer}, "zero key": {`["0x` + strings.Repeat("00", 48) + `"]`, ErrAnswer}} {
		s.keys = list.text
		if _, err := Open(context.Background(), good); !errors.Is(err, list.want) {
			t.Errorf("%s: got %v, want %v", name, err, list.want)
		}
	}
	for name, c := range map[string]Config{
		"no url": change(func(c *Config) { c.URL = "" }), "no domain": change(func(c *Config) { c.Domain = phase0.Domain{} }), "no timeout": change(func(c *Config) { c.Timeout = 0 }),
	} {
		if _, err := Open(context.Background(), c); err == nil {
			t.Errorf("%s is let pass", name)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Open(ctx, good); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v", err)
	}
}
