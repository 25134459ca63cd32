package api

import (
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/internal/bls"
)

// TestLostKeys: a key that the registry shows and the holder has lost is a 404
// by its kind; nothing is answered, and once the key is back the entry that
// stands is signed.
func TestLostKeys(t *testing.T) {
	h := newHouse(t, nil)
	proxy := h.proxy(t, "MOD_A", false)
	held := h.keys.bls
	h.keys.mu.Lock()
	h.keys.bls = map[phase0.BLSPubKey]*bls.SecretKey{}
	h.keys.mu.Unlock()
	asks := []struct{ path, body, reason string }{
		{blsPath, signBody("pubkey", keyOne, 1, 5), "unknown_consensus_signer"},
		{proxyBLSPath, signBody("proxy", proxy.String(), 1, 5), "unknown_proxy_signer"},
	}
	for _, a := range asks {
		if got := h.post(t, "MOD_A", a.path, a.body); got.status != 404 || got.reason() != a.reason {
			t.Errorf("%s: %d %s, want 404 %s", a.path, got.status, got.reason(), a.reason)
		}
	}
	h.keys.mu.Lock()
	h.keys.bls = held
	h.keys.mu.Unlock()
	for _, a := range asks {
		if got := h.post(t, "MOD_A", a.path, a.body); got.status != 200 {
			t.Errorf("%s again: %d %s", a.path, got.status, got.reason())
		}
	}
	if got := h.post(t, "MOD_A", blsPath, signBody("pubkey", keyOne, 2, 5)); got.status != 409 {
		t.Errorf("another root for the nonce: %d", got.status)
	}
}
