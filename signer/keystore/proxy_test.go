package keystore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/internal/bls"
)

func mainnet() phase0.Domain { return chain.Spec{}.Domain(chain.DomainCommitBoost) }

// TestLoadProxies_Vector reads a proxy directory written by Commit-Boost.
func TestLoadProxies_Vector(t *testing.T) {
	const (
		consensus = "0xac5e059177afc33263e95d0be0690138b9a1d79a6e19018086a0362e0c30a50bf9e05a08cb44785724d0b2718c5c7118"
		proxy     = "0xa77084280678d9f1efe4ef47a3d62af27872ce82db19a35ee012c4fd5478e6b1123b8869032ba18b2383e8873294f0ba"
		secret    = "13000f8b3d7747e7754022720d33d5b506490429f3d593162f00e254f97d2940"
	)
	store := ProxyStore{Keys: "testdata/proxy/keys", Secrets: "testdata/proxy/secrets", Domain: mainnet()}
	got, err := store.LoadProxies()
	if err != nil || len(got) != 1 {
		t.Fatalf("got %v, %v", got, err)
	}
	p := got[0]
	if p.Module != "TEST_MODULE" || p.Consensus.String() != consensus || p.Key.String() != proxy || !bytes.Equal(p.secret.Bytes(), unhex(t, secret)) {
		t.Errorf("got %v of %v", p, p.Consensus)
	}
	l := NewLocal()
	l.AddProxies(got...)
	if keys := l.Pubkeys(); len(keys) != 1 || keys[0].String() != proxy {
		t.Errorf("added: %v", keys)
	}
	// The delegation root and its message on two networks.
	for version, want := range map[phase0.Version]string{
		{}:                       "0x10218158cc56eef242bcecd97528e503699be2f4cff6c4d4fe757f996c7e165b",
		{0x10, 0x00, 0x09, 0x10}: "0x33d64013e18f8d3bc156cf335fc37899ed8376ec142089000f0080f07bdb4b3f",
	} {
		store.Domain = chain.Spec{GenesisForkVersion: version}.Domain(chain.DomainCommitBoost)
		if got := store.delegation(p.Consensus, p.Key).Root(); got.String() != want {
			t.Errorf("message: got %v, want %s", got, want)
		}
	}
}

func generate(t *testing.T) (ProxyStore, *Local, Proxy) {
	t.Helper()
	store := ProxyStore{Keys: t.TempDir(), Secrets: t.TempDir(), Domain: mainnet(), LogN: 2}
	l := NewLocal()
	consensus := l.Add(secretOf(t, secret1))
	p, err := store.GenerateProxy(context.Background(), l, consensus, "INCLUSION-1")
	if err != nil {
		t.Fatal(err)
	}
	return store, l, p
}

func TestGenerateProxy(t *testing.T) {
	store, _, p := generate(t)
	if !bls.Verify(p.Consensus, store.delegation(p.Consensus, p.Key).Root(), p.Delegation) {
		t.Error("the delegation does not verify")
	}
	var files []string
	for _, root := range []string{store.Keys, store.Secrets} {
		if err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || path == root {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			if d.IsDir() {
				if info.Mode().Perm() != 0o700 {
					t.Errorf("%s: mode %v, want 0700", path, info.Mode())
				}
				return nil
			}
			if info.Mode() != 0o600 {
				t.Errorf("%s: mode %v, want 0600", path, info.Mode())
			}
			files = append(files, strings.TrimPrefix(path, root))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	base := fmt.Sprintf("/%s/INCLUSION-1/bls/%#x", key1, p.Key[:])
	if got, want := fmt.Sprint(files), fmt.Sprint([]string{base + ".json", base + ".sig", base}); got != want {
		t.Errorf("files: got %v, want %v", got, want)
	}
	loaded, err := store.LoadProxies()
	if err != nil || len(loaded) != 1 || loaded[0].Key != p.Key || loaded[0].Delegation != p.Delegation || loaded[0].Module != p.Module {
		t.Errorf("loaded: %v, %v", loaded, err)
	}
}

func TestLoadProxies_Refuses(t *testing.T) {
	file := func(root string, p Proxy, suffix string) string {
		return filepath.Join(root, key1, p.Module, "bls", fmt.Sprintf("%#x", p.Key[:])+suffix)
	}
	cases := map[string]struct {
		damage func(*ProxyStore, Proxy) error
		want   error
	}{
		"other network": {func(s *ProxyStore, _ Proxy) error { s.Domain[5] ^= 1; return nil }, ErrDelegation},
		"no delegation": {func(s *ProxyStore, p Proxy) error { return os.Remove(file(s.Keys, p, ".sig")) }, ErrDelegation},
		"delegation is not": {func(s *ProxyStore, p Proxy) error {
			return os.WriteFile(file(s.Keys, p, ".sig"), []byte("0x12"), 0o600)
		}, ErrDelegation},
		"delegation by another": {func(s *ProxyStore, p Proxy) error {
			return os.WriteFile(file(s.Keys, p, ".sig"), fmt.Appendf(nil, "%#x", p.secret.Sign(s.delegation(p.Consensus, p.Key).Root())), 0o600)
		}, ErrDelegation},
		"other validator": {func(s *ProxyStore, _ Proxy) error {
			return errors.Join(os.Rename(filepath.Join(s.Keys, key1), filepath.Join(s.Keys, key2)), os.Rename(filepath.Join(s.Secrets, key1), filepath.Join(s.Secrets, key2)))
		}, ErrDelegation},
		"no password":       {func(s *ProxyStore, p Proxy) error { return os.Remove(file(s.Secrets, p, "")) }, ErrPassword},
		"malformed":         {func(s *ProxyStore, p Proxy) error { return os.WriteFile(file(s.Keys, p, ".json"), nil, 0o600) }, ErrInvalid},
		"no store":          {func(s *ProxyStore, _ Proxy) error { s.Keys += "/none"; return nil }, ErrInvalid},
		"nothing is broken": {func(*ProxyStore, Proxy) error { return nil }, nil},
		"strays": {func(s *ProxyStore, p Proxy) error {
			return errors.Join(os.WriteFile(file(s.Keys, p, ".json.new-1"), nil, 0o600), os.Mkdir(filepath.Join(s.Keys, "logs"), 0o700))
		}, nil},
		"a crash before the keystore": {func(s *ProxyStore, p Proxy) error { return os.Remove(file(s.Keys, p, ".json")) }, nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			store, _, p := generate(t)
			if err := c.damage(&store, p); err != nil {
				t.Fatal(err)
			}
			_, err := store.LoadProxies()
			if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

// liar is a holder that signs with another key.
type liar struct{ secret *bls.SecretKey }

func (l liar) Sign(_ context.Context, _ commitments.Key, m commitments.Message) ([]byte, error) {
	sig := l.secret.Sign(m.Root())
	return sig[:], nil
}

func TestGenerateProxy_Refuses(t *testing.T) {
	store, l, p := generate(t)
	for _, module := range []string{"", ".", "..", "../x", "a/b", "a\x00b", ".hidden", strings.Repeat("x", 65)} {
		if _, err := store.GenerateProxy(context.Background(), l, p.Consensus, module); !errors.Is(err, ErrModuleName) {
			t.Errorf("module %q: got %v, want %v", module, err, ErrModuleName)
		}
	}
	if _, err := store.GenerateProxy(context.Background(), l, phase0.BLSPubKey{1}, "m"); !errors.Is(err, ErrNotHeld) {
		t.Errorf("unknown validator: got %v, want %v", err, ErrNotHeld)
	}
	if _, err := store.GenerateProxy(context.Background(), liar{secretOf(t, secret2)}, p.Consensus, "m"); !errors.Is(err, ErrDelegation) {
		t.Errorf("lying holder: got %v, want %v", err, ErrDelegation)
	}
	if loaded, err := store.LoadProxies(); err != nil || len(loaded) != 1 {
		t.Errorf("a refused proxy was stored: %v, %v", loaded, err)
	}
}
