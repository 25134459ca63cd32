package api

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"go.uber.org/goleak"
	"golang.org/x/crypto/sha3"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/internal/bls"
	"sidecar/internal/ecdsa"
	"sidecar/internal/httpd"
	"sidecar/internal/ledger"
	"sidecar/internal/metrics"
	"sidecar/signer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.TrimPrefix(s, "0x"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// registry is the smallest registry of proxies that holds real keys. It is the
// signer's keystore, too.
type registry struct {
	mu      sync.Mutex
	bls     map[phase0.BLSPubKey]*bls.SecretKey
	ecdsa   map[commitments.Key]*ecdsa.SecretKey
	proxies []Proxy
	road    Signer
	spec    chain.Spec
	slot    func() phase0.Slot
	calls   atomic.Int64 // of keys
}

func (g *registry) Of(module string) (out []Proxy) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range g.proxies {
		if p.Module == module {
			out = append(out, p)
		}
	}
	return out
}

func (g *registry) Lookup(key commitments.Key) (Proxy, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.IndexFunc(g.proxies, func(p Proxy) bool { return p.Key == key })
	if i < 0 {
		return Proxy{}, false
	}
	return g.proxies[i], true
}

func (g *registry) Generate(ctx context.Context, module string, delegator phase0.BLSPubKey, isECDSA bool) (Proxy, error) {
	p := Proxy{Module: module, Delegator: delegator}
	if isECDSA {
		k, err := ecdsa.NewSecretKey()
		if err != nil {
			return p, err
		}
		p.Key = g.holdECDSA(k)
	} else {
		k, err := bls.NewSecretKey(nil)
		if err != nil {
			return p, err
		}
		p.Key = g.holdBLS(k)
	}
	return g.adopt(ctx, p)
}

func (g *registry) Revoke(_ context.Context, key commitments.Key) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.IndexFunc(g.proxies, func(p Proxy) bool { return p.Key == key })
	if i < 0 {
		return signer.ErrUnknownKey.With("%s", key)
	}
	g.proxies = slices.Delete(g.proxies, i, i+1)
	delete(g.bls, key.BLS)
	delete(g.ecdsa, key)
	return nil
}

// adopt has a proxy delegated down the signer's road.
func (g *registry) adopt(ctx context.Context, p Proxy) (Proxy, error) {
	e := ledger.Entry{Kind: ledger.KindProxy, Module: p.Module, Key: commitments.BLSKey(p.Delegator), Proxy: &commitments.ProxyDelegation{Delegator: p.Delegator, Proxy: p.Key}}
	m, err := signer.MessageOf(g.spec)(e)
	if err != nil {
		return p, err
	}
	e.Root = m.Root()
	r, err := g.road.Sign(ctx, commitments.PageID{Slot: g.slot(), Proposer: p.Delegator}, func(commitments.View) (ledger.Entry, error) { return e, nil })
	if err != nil {
		return p, err
	}
	p.Delegation = phase0.BLSSignature(r.Signature)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.proxies = append(g.proxies, p)
	return p, nil
}

func (g *registry) holdBLS(k *bls.SecretKey) commitments.Key {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.bls[k.PublicKey()] = k
	return commitments.BLSKey(k.PublicKey())
}

func (g *registry) holdECDSA(k *ecdsa.SecretKey) commitments.Key {
	g.mu.Lock()
	defer g.mu.Unlock()
	key := commitments.ECDSAKey(k.Address())
	g.ecdsa[key] = k
	return key
}

func (g *registry) Sign(_ context.Context, key commitments.Key, m commitments.Message) ([]byte, error) {
	g.calls.Add(1)
	g.mu.Lock()
	b, e := g.bls[key.BLS], g.ecdsa[key]
	g.mu.Unlock()
	switch {
	case b != nil:
		sig := b.Sign(m.Root())
		return sig[:], nil
	case e != nil:
		sig, err := e.Sign(m.Root())
		return sig[:], err
	}
	return nil, signer.ErrUnknownKey
}

// lines is a log that may be read while it is written.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// house is the API on a socket, over a real signer, ledger and keys.
type house struct {
	*Service
	keys     *registry
	book     *ledger.Ledger
	path     string // of the ledger
	policy   *Policy
	registry *metrics.Registry
	log      *lines
	url      string
	offset   atomic.Int64 // of the clock, ns
	validator
	seen func(route string, status int) // every answer
}

// validator is a consensus key and a second one.
type validator struct{ one, two phase0.BLSPubKey }

// Secrets of the tests' modules.
const (
	secretA     = "module-a-secret-module-a-secret-module-a"
	secretB     = "module-b-secret-module-b-secret-module-b"
	secretAdmin = "admin-secret-admin-secret-admin-secret-a"
)

var everyRoute = []string{RoutePubkeys, RouteSign, RouteGenerate, RouteIntents}

// modules are A, which may do everything with both validators, and B, which has
// proxies of its own and nothing else.
func (h *house) modules() []Module {
	return []Module{
		{ID: "MOD_A", SigningID: phase0.Root{0xa}, Secret: secretA, Grant: Grant{Keys: []phase0.BLSPubKey{h.one, h.two}, Consensus: true, Proxy: true, Routes: everyRoute, PerSlot: 1000}},
		{ID: "MOD_B", SigningID: phase0.Root{0xb}, Secret: secretB, Grant: Grant{AllKeys: true, Proxy: true, Routes: everyRoute[:3], PerSlot: 1000}},
	}
}

// newHouse serves Hoodi. adjust may change modules and configuration.
func newHouse(t testing.TB, adjust func(h *house, modules []Module, c *Config)) *house {
	t.Helper()
	h := &house{log: &lines{}, path: filepath.Join(t.TempDir(), "ledger.db")}
	h.keys = &registry{bls: map[phase0.BLSPubKey]*bls.SecretKey{}, ecdsa: map[commitments.Key]*ecdsa.SecretKey{}, spec: hoodi(t)}
	// The two keys of Commit-Boost's keystores. [Commit-Boost: test vectors B]
	for i, secret := range []string{"0x10942624b86262d6c92bf37e21086f469d0c4b635e5f4bd229f49ac10ba6f7d1", "0x0501e85d5bc2e95f70efda47409710a7cf01dd02ff238e3efec679b27331d917"} {
		k, err := bls.ParseSecretKey(unhex(t, secret))
		if err != nil {
			t.Fatal(err)
		}
		*[]*phase0.BLSPubKey{&h.one, &h.two}[i] = h.keys.holdBLS(k).BLS
	}
	if err := ledger.Create(h.ledgerConfig()); err != nil {
		t.Fatal(err)
	}
	h.open(t, adjust)
	return h
}

func hoodi(t testing.TB) chain.Spec {
	t.Helper()
	spec, ok := chain.Named("Hoodi")
	if !ok {
		t.Fatal("no Hoodi")
	}
	return spec
}

func (h *house) clock() *chain.Clock {
	return chain.NewClock(h.keys.spec, func() time.Time { return time.Now().Add(time.Duration(h.offset.Load())) })
}

// ledgerConfig is of new keys: nothing to hold for.
func (h *house) ledgerConfig() ledger.Config {
	return ledger.Config{Path: h.path, Network: h.keys.spec.Name, GenesisForkVersion: h.keys.spec.GenesisForkVersion, NewKeys: true, Clock: h.clock()}
}

// open starts everything over the ledger that is there.
func (h *house) open(t testing.TB, adjust func(h *house, modules []Module, c *Config)) {
	t.Helper()
	var err error
	h.registry = metrics.NewRegistry()
	if h.book, err = ledger.Open(h.ledgerConfig()); err != nil {
		t.Fatal(err)
	}
	clock := h.clock()
	h.keys.slot = clock.Slot
	road := &signer.Signer{Ledger: h.book, Keys: h.keys, Message: signer.MessageOf(h.keys.spec), Clock: clock}
	h.keys.road = road
	revocations := LedgerRevocations{Notes: road, Book: h.book, Clock: clock}
	c := Config{
		Spec: h.keys.spec, Clock: clock, Log: slog.New(slog.NewTextHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Metrics: NewMetrics(h.registry), Signer: road, FailLimit: 3, FailTimeout: 300 * time.Second,
		Consensus: func() []phase0.BLSPubKey {
			keys := []phase0.BLSPubKey{h.one, h.two}
			slices.SortFunc(keys, func(a, b phase0.BLSPubKey) int { return bytes.Compare(a[:], b[:]) })
			return keys
		},
	}
	modules := h.modules()
	c.Reload = func(context.Context) (Table, error) { return Table{Modules: modules, Admin: secretAdmin}, nil }
	if adjust != nil {
		adjust(h, modules, &c)
	}
	if h.policy, err = NewPolicy(Table{Modules: modules, Admin: secretAdmin}, h.keys, revocations); err != nil {
		t.Fatal(err)
	}
	road.Policy, c.Policy = h.policy, h.policy
	if h.Service, err = New(c); err != nil {
		t.Fatal(err)
	}
	h.listen(t, clock)
}

func (h *house) listen(t testing.TB, clock *chain.Clock) {
	t.Helper()
	server, err := httpd.New(httpd.Config{Name: "signer", Addr: "127.0.0.1:0", Routes: h.Routes(), Log: slog.New(slog.DiscardHandler), Clock: clock, Drain: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Listen(); err != nil {
		t.Fatal(err)
	}
	h.url = "http://" + server.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		_ = h.book.Close()
	})
}

// proxy gives a module a proxy key without the API.
func (h *house) proxy(t testing.TB, module string, isECDSA bool) commitments.Key {
	t.Helper()
	p, err := h.keys.Generate(t.Context(), module, h.one, isECDSA)
	if err != nil {
		t.Fatal(err)
	}
	return p.Key
}

// jwt makes a token as the reference describes it, of any claims.
func jwt(secret, header, claims string) string {
	enc := base64.RawURLEncoding.EncodeToString
	signed := enc([]byte(header)) + "." + enc([]byte(claims))
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte(signed))
	return signed + "." + enc(m.Sum(nil))
}

const hs256 = `{"typ":"JWT","alg":"HS256"}`

// moduleToken is the token of Commit-Boost from 0.10 on.
func (h *house) moduleToken(module, secret, path, body string) string {
	hash := "null"
	if body != "" {
		k := sha3.NewLegacyKeccak256()
		k.Write([]byte(body))
		hash = fmt.Sprintf(`"%#x"`, k.Sum(nil))
	}
	exp := time.Now().Add(time.Duration(h.offset.Load()) + 300*time.Second).Unix()
	if module == "" {
		return jwt(secret, hs256, fmt.Sprintf(`{"exp":%d,"admin":true,"route":%q,"payload_hash":%s}`, exp, path, hash))
	}
	return jwt(secret, hs256, fmt.Sprintf(`{"exp":%d,"module":%q,"route":%q,"payload_hash":%s}`, exp, module, path, hash))
}

// reply is an answer.
type reply struct {
	status int
	header http.Header
	body   string
}

func (r reply) reason() string { return r.header.Get("X-Reason") }

func (r reply) decode(t testing.TB) (out map[string]any) {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(r.body))
	dec.UseNumber()
	if err := dec.Decode(&out); err != nil {
		t.Fatalf("%d %s: %v", r.status, r.body, err)
	}
	return out
}

// send makes a request with a token; headers come in pairs.
func (h *house) send(t testing.TB, method, path, body, token string, headers ...string) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, h.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if h.seen != nil {
		h.seen(method+" "+path, res.StatusCode)
	}
	return reply{res.StatusCode, res.Header, string(b)}
}

// post is send as module A or B ("" is the administrator).
func (h *house) post(t testing.TB, module, path, body string) reply {
	t.Helper()
	secret := map[string]string{"MOD_A": secretA, "MOD_B": secretB, "": secretAdmin}[module]
	return h.send(t, http.MethodPost, path, body, h.moduleToken(module, secret, path, body))
}

func sha(b []byte) phase0.Root { return sha256.Sum256(b) }
