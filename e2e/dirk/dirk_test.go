package dirk

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/internal/bls"
	"sidecar/internal/mtls/mtlstest"
	"sidecar/signer/keystore"
	"sidecar/signer/keystore/dirk"
)

var hoodi = chain.Spec{GenesisForkVersion: phase0.Version{0x10, 0x00, 0x09, 0x10}, SlotDuration: 12 * time.Second}

func (c *cluster) config() dirk.Config {
	conf := dirk.Config{CertPath: c.client.Cert, KeyPath: c.client.Key, CAPath: c.ca.CAPath, MaxResponse: 4 << 20, Timeout: 5 * time.Second, Clock: chain.NewClock(hoodi, nil)}
	for _, s := range c.servers {
		conf.Hosts = append(conf.Hosts, dirk.Host{URL: fmt.Sprintf("https://127.0.0.1:%d", s.port), Name: s.name, Wallets: []string{"simple", "shared"}})
	}
	return conf
}

func (c *cluster) open(t *testing.T) *dirk.Holder {
	t.Helper()
	h, err := dirk.Open(context.Background(), c.config())
	if err != nil {
		t.Fatalf("%v\n%s", err, c.said(t))
	}
	t.Cleanup(h.Close)
	return h
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestSimple: a key that Commit-Boost publishes, in a real Dirk, signs a module's
// request as Commit-Boost publishes it; and what Dirk refuses is refused.
func TestSimple(t *testing.T) {
	c := newCluster(t, 1)
	c.servers[0].importSimple(t, "validator 1", unhex(t, "10942624b86262d6c92bf37e21086f469d0c4b635e5f4bd229f49ac10ba6f7d1"))
	c.servers[0].start(t)
	h := c.open(t)
	key := commitments.BLSKey(phase0.BLSPubKey(unhex(t, "883827193f7627cd04e621e1e8d56498362a52b2a30c9a1c72036eb935c4278dee23d38a24d2f7dda62689886f0c39f4")))
	if got := h.Keys(); len(got) != 1 || got[0] != key {
		t.Fatalf("keys: %v\n%s", got, c.said(t))
	}
	m := commitments.Message{Object: phase0.Root(unhex(t, "90238cf982769195c032b2ed2f51403265605818e9847ddbe45fc6e52661f8a6")), Domain: hoodi.Domain(chain.DomainCommitBoost)}
	const want = "b653034a6da0e516cb999d6bbcd5ddd8dde9695322a94aefcd3049e6235e0f4f63b13d81ddcd80d4e1e698c3f88c3b440ae696650ccef2f22329afb4ffecec85a34523e25920ceced54c5bc31168174a3b352977750c222c1c25f72672467e5c"
	if got, err := h.Sign(context.Background(), key, m); err != nil || hex.EncodeToString(got) != want {
		t.Errorf("got %x, %v\n%s", got, err, c.said(t))
	}
	attestation := m
	copy(attestation.Domain[:4], []byte{1, 0, 0, 0})
	if got, err := h.Sign(context.Background(), key, attestation); !errors.Is(err, dirk.ErrRefused) || got != nil {
		t.Errorf("the domain of attestations: got %x, %v, want %v", got, err, dirk.ErrRefused)
	}
	// A client that Dirk knows and gave no permission sees nothing.
	conf := c.config()
	other := c.ca.Issue(t, "somebody")
	conf.CertPath, conf.KeyPath = other.Cert, other.Key
	if h, err := dirk.Open(context.Background(), conf); err == nil && len(h.Keys()) > 0 {
		t.Errorf("a client without permission sees %v", h.Keys())
	}
	stranger := mtlstest.New(t).Issue(t, "sidecar")
	conf.CertPath, conf.KeyPath = stranger.Cert, stranger.Key
	if _, err := dirk.Open(context.Background(), conf); !errors.Is(err, dirk.ErrUnreachable) {
		t.Errorf("a client of another authority: got %v, want %v", err, dirk.ErrUnreachable)
	}
}

// TestDistributed: two of three sign, and the third may come and go.
func TestDistributed(t *testing.T) {
	c := newCluster(t, 3)
	key := commitments.BLSKey(c.share(t, "validator 2", 2))
	for _, s := range c.servers {
		s.start(t)
	}
	h := c.open(t)
	m := commitments.Message{Object: phase0.Root{1}, Domain: hoodi.Domain(chain.DomainCommitBoost)}
	signs := func(when string) {
		t.Helper()
		got, err := h.Sign(context.Background(), key, m)
		if err != nil || !bls.Verify(key.BLS, m.Root(), phase0.BLSSignature(got)) {
			t.Errorf("%s: got %x, %v\n%s", when, got, err, c.said(t))
		}
	}
	signs("all there")
	c.servers[1].stop()
	signs("one stopped")
	c.servers[0].stop()
	if got, err := h.Sign(context.Background(), key, m); !errors.Is(err, dirk.ErrThreshold) {
		t.Errorf("two stopped: got %x, %v, want %v", got, err, dirk.ErrThreshold)
	}
	c.servers[1].start(t)
	signs("one is back")
	// A start without one server, which comes later.
	h = c.open(t)
	if len(h.Silent()) != 1 || len(h.Keys()) != 1 {
		t.Errorf("silent %v, keys %v", h.Silent(), h.Keys())
	}
	signs("started without one")
	c.servers[0].start(t)
	c.servers[2].stop()
	signs("with the one that came later")
}

// TestProxy: a validator's key in Dirk vouches for a proxy key here.
func TestProxy(t *testing.T) {
	c := newCluster(t, 1)
	c.servers[0].importSimple(t, "validator 1", unhex(t, "10942624b86262d6c92bf37e21086f469d0c4b635e5f4bd229f49ac10ba6f7d1"))
	c.servers[0].start(t)
	holders, err := keystore.NewHolders(keystore.Place{Name: "dirk", Holder: c.open(t)})
	if err != nil {
		t.Fatal(err)
	}
	conf := keystore.ProxiesConfig{
		Store: keystore.EncryptedStore{Keys: t.TempDir(), Secrets: t.TempDir(), LogN: 4}, Spec: hoodi, Clock: chain.NewClock(hoodi, nil), Consensus: holders.Consensus(),
		Vouch: func(ctx context.Context, d commitments.ProxyDelegation, _ string) (sig phase0.BLSSignature, err error) {
			b, err := holders.Sign(ctx, commitments.BLSKey(d.Delegator), keystore.DelegationMessage(hoodi, d))
			copy(sig[:], b)
			return sig, err
		},
	}
	proxies, err := keystore.OpenProxies(conf)
	if err != nil {
		t.Fatal(err)
	}
	for _, scheme := range []keystore.Scheme{keystore.SchemeBLS, keystore.SchemeECDSA} {
		if _, err := proxies.Generate(context.Background(), "MODULE", holders.Consensus()[0], scheme, time.Time{}); err != nil {
			t.Errorf("%s: %v\n%s", scheme, err, c.said(t))
		}
	}
	again, err := keystore.OpenProxies(conf) // verifies the delegations
	if err != nil || len(again.Of("MODULE")) != 2 {
		t.Errorf("read again: %v, %v", again, err)
	}
	c.servers[0].stop()
	if _, err := proxies.Generate(context.Background(), "MODULE", holders.Consensus()[0], keystore.SchemeBLS, time.Time{}); !errors.Is(err, keystore.ErrUnavailable) {
		t.Errorf("Dirk is down: got %v, want %v", err, keystore.ErrUnavailable)
	}
}
