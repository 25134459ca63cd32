package keystore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/internal/bls"
)

var mainnet = chain.Spec{SlotDuration: 12 * time.Second}

// desk is a registry with a validator's key to vouch for proxies.
type desk struct {
	*Proxies
	config    ProxiesConfig
	local     *Local
	consensus phase0.BLSPubKey
	now       time.Time
}

// stores are both kinds of store, empty.
func stores(t testing.TB) map[string]Store {
	t.Helper()
	return map[string]Store{
		"encrypted": EncryptedStore{Keys: t.TempDir(), Secrets: t.TempDir(), LogN: 1},
		"plain":     PlainStore{Folder: t.TempDir()},
	}
}

func newDesk(t testing.TB, store Store) *desk {
	t.Helper()
	d := &desk{local: NewLocal(), now: time.Unix(1_800_000_000, 0)}
	d.consensus = d.local.Add(secretOf(t, secret1).SecretKey)
	d.config = ProxiesConfig{
		Store: store, Spec: mainnet, Clock: chain.NewClock(mainnet, func() time.Time { return d.now }),
		Consensus: []phase0.BLSPubKey{d.consensus},
		Vouch: func(ctx context.Context, p commitments.ProxyDelegation, _ string) (sig phase0.BLSSignature, err error) {
			b, err := d.local.Sign(ctx, commitments.BLSKey(p.Delegator), DelegationMessage(mainnet, p))
			copy(sig[:], b)
			return sig, err
		},
	}
	d.open(t)
	return d
}

// open opens the store again, as after a restart.
func (d *desk) open(t testing.TB) {
	t.Helper()
	p, err := OpenProxies(d.config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	d.Proxies = p
}

func (d *desk) make(t testing.TB, scheme Scheme) Proxy {
	t.Helper()
	p, err := d.Generate(context.Background(), "INCLUSION-1", d.consensus, scheme, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// signs fails unless a proxy signs, for its own key.
func (d *desk) signs(t testing.TB, p Proxy) {
	t.Helper()
	m := commitments.Message{Object: phase0.Root{7}}
	sig, err := d.Sign(context.Background(), p.Key, m)
	if err != nil || len(sig) != p.Key.SignatureLength() {
		t.Fatalf("%s: %x, %v", p, sig, err)
	}
	if p.Key.IsBLS() && !bls.Verify(p.Key.BLS, m.Root(), phase0.BLSSignature(sig)) {
		t.Errorf("%s: the signature does not verify", p)
	}
}

func TestGenerate(t *testing.T) {
	for name, store := range stores(t) {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, store)
			var made []Proxy
			for _, scheme := range []Scheme{SchemeBLS, SchemeECDSA} {
				p := d.make(t, scheme)
				if p.Scheme() != scheme || p.Module != "INCLUSION-1" || p.Consensus != d.consensus || !p.Proven {
					t.Errorf("made %+v", p)
				}
				made = append(made, p)
			}
			for range 2 {
				if got := d.Of("INCLUSION-1"); len(got) != 2 || len(d.Of("OTHER")) != 0 || len(d.All()) != 2 || len(d.Keys()) != 2 {
					t.Fatalf("has %v", got)
				}
				for _, p := range made {
					got, ok := d.Lookup(p.Key)
					if !ok || got.Delegation != p.Delegation || got.Module != p.Module || !got.Proven || got.Consensus != p.Consensus {
						t.Errorf("found %v, %v", got, ok)
					}
					if !bls.Verify(d.consensus, DelegationMessage(mainnet, got.delegation()).Root(), got.Delegation) {
						t.Error("the delegation does not verify")
					}
					d.signs(t, p)
				}
				d.open(t)
			}
			if _, err := d.Find(commitments.BLSKey(d.consensus)); !errors.Is(err, ErrNotHeld) {
				t.Errorf("another key: got %v, want %v", err, ErrNotHeld)
			}
		})
	}
}

// tree lists the files below some folders, and checks their modes.
func tree(t *testing.T, roots ...string) (files []string) {
	t.Helper()
	for _, root := range roots {
		err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
			if err != nil || path == root {
				return err
			}
			info, err := e.Info()
			if err != nil {
				return err
			}
			want := fs.FileMode(0o600)
			if e.IsDir() {
				want = 0o700
			} else {
				files = append(files, strings.TrimPrefix(path, root))
			}
			if info.Mode().Perm() != want {
				t.Errorf("%s: mode %v, want %v", path, info.Mode(), want)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func TestGenerate_Files(t *testing.T) {
	s := EncryptedStore{Keys: t.TempDir(), Secrets: t.TempDir(), LogN: 1}
	d := newDesk(t, s)
	b, e := d.make(t, SchemeBLS), d.make(t, SchemeECDSA)
	if _, err := d.Generate(context.Background(), "M", d.consensus, SchemeBLS, d.now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	m := d.Of("M")[0]
	stem := func(module string, p Proxy) string {
		return fmt.Sprintf("/%s/%s/%s/%s", key1, module, p.Scheme(), fileName(p.Key))
	}
	var want []string
	for _, p := range []struct{ at, also string }{{stem("INCLUSION-1", b), ""}, {stem("INCLUSION-1", e), ""}, {stem("M", m), ".meta"}} {
		want = append(want, p.at+".json")
		if p.also != "" {
			want = append(want, p.at+p.also)
		}
		want = append(want, p.at+".pop", p.at+".sig")
	}
	want = append(want, stem("INCLUSION-1", b), stem("INCLUSION-1", e), stem("M", m))
	if got := tree(t, s.Keys, s.Secrets); !slices.Equal(got, want) {
		t.Errorf("files:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	// What Commit-Boost reads, in its own forms.
	sig, err := os.ReadFile(s.Keys + stem("INCLUSION-1", e) + ".sig")
	if err != nil || len(sig) != 194 || string(sig) != e.Delegation.String() {
		t.Errorf("delegation file %q, %v", sig, err)
	}
	text, err := os.ReadFile(s.Keys + stem("INCLUSION-1", e) + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var f file
	if err := json.Unmarshal(text, &f); err != nil || "0x"+f.Pubkey != e.Key.String() || *f.Description != e.Key.Address.String() || f.Name != nil || f.Path != nil {
		t.Errorf("keystore %+v, %v", f, err)
	}

	plain := PlainStore{Folder: t.TempDir()}
	d = newDesk(t, plain)
	e = d.make(t, SchemeECDSA)
	if got, want := tree(t, plain.Folder), []string{"/INCLUSION-1/ecdsa/" + e.Key.Address.String()}; !slices.Equal(got, want) {
		t.Errorf("files: got %v, want %v", got, want)
	}
}

func TestGenerate_Refuses(t *testing.T) {
	d := newDesk(t, EncryptedStore{Keys: t.TempDir(), Secrets: t.TempDir(), LogN: 1})
	ctx := context.Background()
	try := func(module string, consensus phase0.BLSPubKey, scheme Scheme, expires time.Time) error {
		_, err := d.Generate(ctx, module, consensus, scheme, expires)
		return err
	}
	for _, module := range []string{"", ".", "..", "../x", "a/b", "a\x00b", ".hidden", strings.Repeat("x", 65)} {
		if err := try(module, d.consensus, SchemeBLS, time.Time{}); !errors.Is(err, ErrModuleName) {
			t.Errorf("module %q: got %v, want %v", module, err, ErrModuleName)
		}
	}
	liar := secretOf(t, secret2)
	down := errors.New("down")
	lie := func(_ context.Context, p commitments.ProxyDelegation, _ string) (phase0.BLSSignature, error) {
		return liar.Sign(DelegationMessage(mainnet, p).Root()), nil
	}
	fail := func(context.Context, commitments.ProxyDelegation, string) (sig phase0.BLSSignature, err error) {
		return sig, down
	}
	honest := d.config.Vouch
	cases := map[string]struct {
		vouch     func(context.Context, commitments.ProxyDelegation, string) (phase0.BLSSignature, error)
		consensus phase0.BLSPubKey
		scheme    Scheme
		expires   time.Time
		want      error
	}{
		"unknown validator": {honest, phase0.BLSPubKey{1}, SchemeBLS, time.Time{}, ErrNotHeld},
		"no road":           {nil, d.consensus, SchemeBLS, time.Time{}, ErrNotHeld},
		"scheme":            {honest, d.consensus, "rsa", time.Time{}, ErrScheme},
		"expires now":       {honest, d.consensus, SchemeBLS, d.now, ErrLifetime},
		"expires long ago":  {honest, d.consensus, SchemeBLS, time.Unix(-5, 0), ErrLifetime},
		"lying holder":      {lie, d.consensus, SchemeBLS, time.Time{}, ErrDelegation},
		"holder is down":    {fail, d.consensus, SchemeECDSA, time.Time{}, down},
	}
	for name, c := range cases {
		d.Proxies.config.Vouch = c.vouch
		if err := try("m", c.consensus, c.scheme, c.expires); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	if got := d.All(); len(got) != 0 {
		t.Errorf("a refused proxy is known: %v", got)
	}
	d.open(t)
	if got := d.All(); len(got) != 0 {
		t.Errorf("a refused proxy is stored: %v", got)
	}
	for range MaxProxies {
		d.make(t, SchemeECDSA)
	}
	if err := try("INCLUSION-1", d.consensus, SchemeECDSA, time.Time{}); !errors.Is(err, ErrTooMany) {
		t.Errorf("one too many: got %v, want %v", err, ErrTooMany)
	}
}

func TestProxies_Expire(t *testing.T) {
	for name, store := range stores(t) {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, store)
			end := d.now.Add(time.Hour + time.Millisecond)
			p, err := d.Generate(context.Background(), "m", d.consensus, SchemeBLS, end)
			if err != nil || !p.Expires.Equal(d.now.Add(time.Hour)) {
				t.Fatalf("%v, %v", p.Expires, err)
			}
			for range 2 {
				d.now = p.Expires.Add(-time.Nanosecond)
				d.signs(t, p)
				d.now = p.Expires
				if _, err := d.Sign(context.Background(), p.Key, commitments.Message{}); !errors.Is(err, ErrExpired) {
					t.Errorf("after its end: got %v, want %v", err, ErrExpired)
				}
				if _, ok := d.Lookup(p.Key); ok || len(d.Of("m")) != 0 || len(d.Keys()) != 0 {
					t.Error("an expired proxy is offered")
				}
				d.now = d.now.Add(-time.Minute)
				d.open(t)
				if got, ok := d.Lookup(p.Key); !ok || !got.Expires.Equal(p.Expires) {
					t.Errorf("read again: %v, %v", got.Expires, ok)
				}
			}
		})
	}
}

func TestProxies_Revoke(t *testing.T) {
	for name, store := range stores(t) {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, store)
			gone, stays := d.make(t, SchemeBLS), d.make(t, SchemeECDSA)
			secret := d.secrets.keys[gone.Key]
			for range 2 {
				if err := d.Revoke(gone.Key); err != nil {
					t.Fatal(err)
				}
				if _, err := d.Sign(context.Background(), gone.Key, commitments.Message{}); !errors.Is(err, ErrRevoked) {
					t.Errorf("got %v, want %v", err, ErrRevoked)
				}
			}
			if b := secret.Bytes(); string(b) != string(make([]byte, 32)) {
				t.Error("the secret is still in memory")
			}
			d.open(t)
			if got := d.All(); len(got) != 1 || got[0].Key != stays.Key {
				t.Errorf("after a restart: %v", got)
			}
			d.signs(t, stays)
			if err := d.Revoke(gone.Key); !errors.Is(err, ErrNotHeld) {
				t.Errorf("unknown by now: got %v, want %v", err, ErrNotHeld)
			}
			// Only the ledger knows: what is in the store is marked now.
			d.config.Revoked = func(k commitments.Key) bool { return k == stays.Key }
			for i := range 2 {
				d.open(t)
				if got := d.All(); len(got) != 0 || i == 0 && len(d.Remarks()) == 0 {
					t.Errorf("revoked in the ledger: %v, %v", got, d.Remarks())
				}
				d.config.Revoked = nil
			}
		})
	}
}
