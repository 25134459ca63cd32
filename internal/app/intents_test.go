package app

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/internal/bls"
	"sidecar/internal/config"
	"sidecar/internal/ledger"
	"sidecar/modules"
	"sidecar/signer/api"
	"sidecar/signer/keystore"
)

const intentFile = `chain = "Hoodi"
[[relays]]
url = "http://0xac6e77dfe25ecd6110b8e780608cce0dab71fdd5ebea22a16c0205200f2f8e2e3ad3b71d3499c54ad14d6c21b41a37ae@relay.example"
[pbs]
port = 0
[[modules]]
id = "ECHO"
type = "echo"
signing_id = "0x0be3a7c4c0e6f1a9d1a1a5b8ac7a2d3ff3b4f0a86a5ea4f2c3c0b0e2b1d7c9e4"
[signer.local.loader]
key_path = "keys.json"
[signer.local.store]
proxy_dir = "proxies"
[ledger]
path = "ledger.db"
[data]
path = "data"
[beacon]
url = "http://127.0.0.1:1"
[execution]
url = "http://127.0.0.1:1"
`

// intentHouse is a sidecar with one module in its own process, not running.
func intentHouse(t *testing.T) (*App, *intents) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "sidecar.toml")
	for name, text := range map[string]string{"sidecar.toml": intentFile, "keys.json": `["0x10942624b86262d6c92bf37e21086f469d0c4b635e5f4bd229f49ac10ba6f7d1"]`} {
		text = strings.ReplaceAll(text, `path = "`, `path = "`+dir+"/")
		text = strings.ReplaceAll(text, `proxy_dir = "`, `proxy_dir = "`+dir+"/")
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := config.Load(file, func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	if err := Init(t.Context(), c, InitOptions{NewKeys: true}, io.Discard); err != nil {
		t.Fatal(err)
	}
	a, err := New(c, "test", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a, &intents{signing: a.signing, module: &c.Modules[0]}
}

// TestIntents: a module in this process has an object signed with a key of its own,
// never twice in contradiction, and never with a key that promises.
func TestIntents(t *testing.T) {
	a, s := intentHouse(t)
	ctx, validator := context.Background(), a.signing.keys.consensus[0]
	promises, err := a.signing.keys.proxy("ECHO", keystore.SchemeBLS)
	if err != nil {
		t.Fatal(err)
	}
	key, err := s.Key(ctx, validator)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := s.Key(ctx, validator); err != nil || again != key || key.BLS == promises.BLS {
		t.Errorf("the key: %s, then %s, %v; the delegate is %s", key, again, err, promises)
	}
	intent := modules.Intent{Type: "coffee", Slot: a.clock.Slot() + 5, Hash: "sha256", Object: []byte("one cup"), Claims: []string{"cup/1"}, Nonce: 7}
	sig, err := s.Sign(ctx, key, intent)
	if err != nil {
		t.Fatal(err)
	}
	request, err := api.CheckIntent(intent.Type, intent.Hash, intent.Object, intent.Claims)
	if err != nil {
		t.Fatal(err)
	}
	m, err := a.signing.signer.Message(ledger.Entry{Kind: ledger.KindRequest, Key: key, Nonce: 7, SigningID: s.module.SigningID, Request: request})
	if err != nil || !bls.Verify(key.BLS, m.Root(), phase0.BLSSignature(sig)) {
		t.Errorf("the signature does not verify: %v", err)
	}
	if again, err := s.Sign(ctx, key, intent); err != nil || !bytes.Equal(sig, again) {
		t.Errorf("again: %x, %v", again, err)
	}
	change := func(f func(*modules.Intent)) modules.Intent { i := intent; f(&i); return i }
	for name, c := range map[string]struct {
		key    commitments.Key
		intent modules.Intent
		want   error
	}{
		"another object for the claim": {key, change(func(i *modules.Intent) { i.Object, i.Nonce = []byte("two cups"), 8 }), ledger.ErrSlashable},
		"other claims for the object":  {key, change(func(i *modules.Intent) { i.Claims = []string{"cup/2"} }), api.ErrIntentDiffers},
		"a slot too far":               {key, change(func(i *modules.Intent) { i.Slot += 1000 }), api.ErrIntentSlot},
		"no claims":                    {key, change(func(i *modules.Intent) { i.Claims = nil }), api.ErrIntent},
		"no such hash":                 {key, change(func(i *modules.Intent) { i.Hash = "md5" }), api.ErrIntent},
		"the key that promises":        {promises, intent, api.ErrProxyOwner},
		"a validator's key":            {commitments.BLSKey(validator), intent, api.ErrProxyOwner},
	} {
		if _, err := s.Sign(ctx, c.key, c.intent); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}

// TestSignerTable_OwnSigningID: no module in another process has the signing id of
// delegations, promises or quotes: with a validator's key it could have a second
// delegation of a slot signed, which the ledger would not know for one.
func TestSignerTable_OwnSigningID(t *testing.T) {
	t.Setenv("CB_JWTS", "M="+strings.Repeat("0f", 32))
	for name, id := range map[string]phase0.Root{"gateway": GatewaySigningID, "quotes": commitments.QuoteSigningID, "its own": {1}} {
		c := &config.Config{Modules: []config.Module{{ID: "M", Type: config.ModuleCommit, SigningID: id, Signer: &config.ModuleSigner{}}}}
		_, err := signerTable(c, func(string, ...any) {})
		if own := err != nil && strings.Contains(err.Error(), "signing id is our own"); own != (name != "its own") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
