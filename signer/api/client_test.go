package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/fault"
	"sidecar/internal/bls"
	"sidecar/internal/certs"
	"sidecar/internal/ecdsa"
	"sidecar/internal/httpd"
	"sidecar/internal/ledger"
	"sidecar/signer/client"
)

func (h *house) client(t testing.TB, module, secret string) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{URL: h.url, ModuleID: module, Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// TestClient: everything a module may ask for, with a strict module's tokens.
func TestClient(t *testing.T) {
	h := newHouse(t, func(_ *house, m []Module, _ *Config) { m[0].Strict = true })
	c := h.client(t, "MOD_A", secretA)
	ctx := t.Context()
	if err := c.Status(ctx); err != nil {
		t.Fatal(err)
	}
	b, err := c.GenerateProxyKey(ctx, h.one, client.BLS)
	if err != nil {
		t.Fatal(err)
	}
	e, err := c.GenerateProxyKey(ctx, h.one, client.ECDSA)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := c.Pubkeys(ctx)
	if err != nil || len(keys) != 2 || keys[0].Consensus != h.one || keys[0].ProxyBLS[0] != b.ProxyBLS || keys[0].ProxyECDSA[0] != e.ProxyECDSA {
		t.Fatalf("%+v, %v", keys, err)
	}
	root := phase0.Root{1}
	message := commitments.SigningRoot(h.keys.spec.Domain([4]byte{0x6d, 0x6d, 0x6f, 0x43}), 560048, root, phase0.Root{0xa}, 9)
	for key, ask := range map[phase0.BLSPubKey]func(context.Context, phase0.BLSPubKey, phase0.Root, uint64) (client.Signed, error){h.one: c.SignConsensus, b.ProxyBLS: c.SignProxyBLS} {
		s, err := ask(ctx, key, root, 9)
		if err != nil || s.ChainID != 560048 || s.SigningID != (phase0.Root{0xa}) || s.Nonce != 9 || !bls.Verify(key, message, phase0.BLSSignature(s.Signature)) {
			t.Errorf("%+v, %v", s, err)
		}
	}
	s, err := c.SignProxyECDSA(ctx, e.ProxyECDSA, root, 9)
	if err != nil {
		t.Fatal(err)
	}
	if address, err := ecdsa.Recover(message, [65]byte(s.Signature)); err != nil || address != e.ProxyECDSA {
		t.Errorf("%x, %v", address, err)
	}
	for _, hash := range []string{"", client.SHA256} {
		i := client.Intent{Type: "test/v1", Slot: h.cfg.Clock.Slot() + 1, ProxyBLS: b.ProxyBLS, Object: []byte("x"), Hash: hash, Claims: []string{"c" + hash}}
		if s, err := c.Intent(ctx, i); err != nil || len(s.Signature) != 96 {
			t.Errorf("intent, hash %q: %v", hash, err)
		}
		i.Object = []byte("y")
		if _, err := c.Intent(ctx, i); !errors.Is(err, client.ErrSlashable) {
			t.Errorf("a contradiction: %v", err)
		}
	}
}

// TestClient_Faults: what the API refuses with crosses the wire by name.
func TestClient_Faults(t *testing.T) {
	h := newHouse(t, func(_ *house, m []Module, _ *Config) { m[1].Grant.PerSlot = 2 })
	ctx := t.Context()
	b := h.client(t, "MOD_B", secretB)
	ofA, ofB := h.proxy(t, "MOD_A", false), h.proxy(t, "MOD_B", false)
	_, blind := b.SignConsensus(ctx, h.one, phase0.Root{1}, 0)
	_, owner := b.SignProxyBLS(ctx, ofA.BLS, phase0.Root{1}, 0)
	_, one := b.SignProxyBLS(ctx, ofB.BLS, phase0.Root{1}, 1)
	_, other := b.SignProxyBLS(ctx, ofB.BLS, phase0.Root{2}, 1)
	_, quota := b.SignProxyBLS(ctx, ofB.BLS, phase0.Root{3}, 3)
	_, token := h.client(t, "MOD_B", "wrong").Pubkeys(ctx)
	for name, c := range map[string]struct{ got, want error }{
		"blind": {blind, ErrBlind}, "blind, the client's name": {blind, client.ErrBlind}, "owner": {owner, ErrProxyOwner}, "first": {one, nil},
		"slashable": {other, client.ErrSlashable}, "slashable, the ledger's name": {other, ledger.ErrSlashable}, "quota": {quota, client.ErrQuota}, "token": {token, client.ErrToken},
	} {
		if !errors.Is(c.got, c.want) {
			t.Errorf("%s: %v, want %v", name, c.got, c.want)
		}
	}
	var refusal *client.Refusal
	if !errors.As(quota, &refusal) || refusal.RetryAfter <= 0 || refusal.Status != 429 {
		t.Errorf("%+v", refusal)
	}
	for _, mirror := range []struct{ there, here *fault.Fault }{
		{client.ErrSlashable, ledger.ErrSlashable}, {client.ErrUnavailable, ledger.ErrPoisoned}, {client.ErrQuota, ErrQuota}, {client.ErrToken, ErrToken}, {client.ErrBlind, ErrBlind},
	} {
		if *mirror.there != *mirror.here {
			t.Errorf("the client says %+v, we %+v", *mirror.there, *mirror.here)
		}
	}
	nobody, err := client.New(client.Config{URL: "http://127.0.0.1:1", ModuleID: "A", Secret: "x"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := nobody.Pubkeys(ctx); !errors.Is(err, client.ErrUnreachable) {
		t.Errorf("nobody there: %v", err)
	}
	if shown := fmt.Sprintf("%v %+v %#v %s", b, client.Config{Secret: secretB}, client.Config{Secret: secretB}, b); strings.Contains(shown, secretB) {
		t.Error(shown)
	}
}

// TestClient_MutualTLS: a module bound to a certificate is nobody without it.
func TestClient_MutualTLS(t *testing.T) {
	h := newHouse(t, func(_ *house, m []Module, _ *Config) { m[0].Peer = "MOD_A" })
	dir := t.TempDir()
	if err := certs.Make(certs.Plan{Dir: dir, Clients: []string{"MOD_A", "MOD_B"}, Now: time.Now()}); err != nil {
		t.Fatal(err)
	}
	config, err := httpd.LoadTLS(filepath.Join(dir, "server"))
	if err != nil {
		t.Fatal(err)
	}
	server, err := httpd.New(httpd.Config{Name: "signer", Addr: "127.0.0.1:0", Routes: h.Routes(), Log: slog.New(slog.DiscardHandler), Clock: h.cfg.Clock, TLS: config, Drain: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	defer func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	for _, c := range []struct {
		module, secret, folder string
		want                   error
	}{
		{"MOD_A", secretA, "clients/MOD_A", nil},
		{"MOD_A", secretA, "clients/MOD_B", ErrPeer},
		{"MOD_B", secretB, "clients/MOD_A", nil}, // B is bound to none
		{"MOD_B", secretB, "commit-boost", client.ErrUnreachable},
	} {
		own, err := client.FromEnv(func(name string) string {
			return map[string]string{"CB_MODULE_ID": c.module, "CB_SIGNER_URL": "https://" + server.Addr().String(), "CB_SIGNER_JWT": c.secret, "CB_SIGNER_TLS_CERTIFICATES": filepath.Join(dir, c.folder)}[name]
		})
		if err != nil {
			t.Fatal(err)
		}
		asker, err := client.New(own)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := asker.Pubkeys(t.Context()); !errors.Is(err, c.want) {
			t.Errorf("%s with %s: %v, want %v", c.module, c.folder, err, c.want)
		}
		asker.Close()
	}
	// Over plain HTTP there is no certificate.
	if _, err := h.client(t, "MOD_A", secretA).Pubkeys(t.Context()); !errors.Is(err, ErrPeer) {
		t.Errorf("without TLS: %v", err)
	}
}
