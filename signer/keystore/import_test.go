package keystore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/internal/bls"
	"sidecar/internal/ecdsa"
)

// Commit-Boost's published proxy of its test data, and its published ECDSA key.
const (
	consensusD       = "0xac5e059177afc33263e95d0be0690138b9a1d79a6e19018086a0362e0c30a50bf9e05a08cb44785724d0b2718c5c7118"
	consensusSecretD = "0088e364a5396a81b50febbdc8784663fb9089b5e67cbdc173991a00c587673f"
	proxyD           = "0xa77084280678d9f1efe4ef47a3d62af27872ce82db19a35ee012c4fd5478e6b1123b8869032ba18b2383e8873294f0ba"
	proxySecretD     = "13000f8b3d7747e7754022720d33d5b506490429f3d593162f00e254f97d2940"
	addressA         = "0x4ce9D14ddCB555B0A4EDf89c87E63eC52fdfADD9"
	addressSecretA   = "88bcd6672d95bcba0d52a3146494ed4d37675af4ed2206905eb161aa99a6c0d1"
	// Its delegation by consensusD on Mainnet.
	delegationA = "0x864d9a68ab7b5459a9a306ae0f019fbdcaa23cd882a6f5689ea2de1d8c0d55eb7337369101f02a70e916df5fef7b2acd092a427467e9a331e5ea54a70c79357617b2517da38d8f16a564d8a1b5049494e6ffd1277210ce21a8e27387b98e9ff4"
)

var hoodi = chain.Spec{GenesisForkVersion: phase0.Version{0x10, 0x00, 0x09, 0x10}}

func pubkeyOf(t testing.TB, s string) phase0.BLSPubKey { return phase0.BLSPubKey(unhex(t, s)) }

func addressKey(t testing.TB) (commitments.Key, ecdsaSecret) {
	t.Helper()
	secret, err := ecdsa.ParseSecretKey(unhex(t, addressSecretA))
	if err != nil {
		t.Fatal(err)
	}
	return commitments.ECDSAKey(secret.Address()), ecdsaSecret{secret}
}

// TestDelegationMessage_Vectors: roots, messages and signatures of delegations to
// a key of either scheme, on two networks. Reference §4.7, group D.
func TestDelegationMessage_Vectors(t *testing.T) {
	address, _ := addressKey(t)
	delegator := secretOf(t, consensusSecretD)
	cases := map[string]struct {
		proxy                    commitments.Key
		spec                     chain.Spec
		object, message, signing string
	}{
		"BLS on Mainnet": {commitments.BLSKey(pubkeyOf(t, proxyD)), mainnet, "0x7ddbe219481705f2514b7c0e34c17f95c9acd701ba6b55cb5e210a24dfda64cd",
			"0x10218158cc56eef242bcecd97528e503699be2f4cff6c4d4fe757f996c7e165b", "0xb2e44e777cc68b50b9d19cbded2b2b6a0a5c428e3c341b5ade22f90e67679116511855b94e26ae930d1350628933994713f4fd48d1d70715a99d875a564c88e229aa9bb2d89e9f60b725c97300659bd0fc7bc1e2e599f12625b81ef63890f857"},
		"BLS on Hoodi": {commitments.BLSKey(pubkeyOf(t, proxyD)), hoodi, "0x7ddbe219481705f2514b7c0e34c17f95c9acd701ba6b55cb5e210a24dfda64cd",
			"0x33d64013e18f8d3bc156cf335fc37899ed8376ec142089000f0080f07bdb4b3f", "0xa2c0e50fa3c5ab310eb4ab149d27deebc00a6c813478d86a0cccac13ba731cb0d940bb5264d21466d5ccacfdae956c4817074e5af953ce81d026e2b2274d6e133d71e72d1aea2d6edbd2b9d2ddbd46aaa1643060a2d4994ae54e0483bdc93b30"},
		"ECDSA on Mainnet": {address, mainnet, "0x976b8fdf19d2928b1e3cfbf254dcdb9554ca4d4503bb3d5dac8e854e8abec241",
			"0x7f00266e33e1ea47813acceb65f80846ac5a21695c1b7839002d40d4a52d37ac", delegationA},
		"ECDSA on Hoodi": {address, hoodi, "0x976b8fdf19d2928b1e3cfbf254dcdb9554ca4d4503bb3d5dac8e854e8abec241",
			"0xf963a58a62c91c157384e974347beb3d44e4ad31eb355dff89d9370de37c5f92", "0xb34270cb498af42b55f660c84933a4de9afc0bb6d8d378fd3df0beee08cf7eed19f8adb0d9292ea6c73bab086343177e02f7aba20ad3ffd2625db034d163064e73487aa264df3cdd9cd59eec1a3118c3e74690796a3f711ee3867fc3bb4408aa"},
	}
	for name, c := range cases {
		m := DelegationMessage(c.spec, commitments.ProxyDelegation{Delegator: pubkeyOf(t, consensusD), Proxy: c.proxy})
		if m.Object.String() != c.object || m.Root().String() != c.message || delegator.Sign(m.Root()).String() != c.signing {
			t.Errorf("%s: object %v, message %v", name, m.Object, m.Root())
		}
	}
}

// importing opens a directory that another program made.
func importing(t *testing.T, store Store, spec chain.Spec) (*Proxies, error) {
	t.Helper()
	p, err := OpenProxies(ProxiesConfig{Store: store, Spec: spec, Clock: chain.NewClock(mainnet, nil), Consensus: []phase0.BLSPubKey{pubkeyOf(t, consensusD)}})
	if err == nil {
		t.Cleanup(p.Close)
	}
	return p, err
}

// TestOpenProxies_Vector reads a proxy directory written by Commit-Boost.
func TestOpenProxies_Vector(t *testing.T) {
	store := EncryptedStore{Keys: "testdata/proxy/keys", Secrets: "testdata/proxy/secrets"}
	p, err := importing(t, store, mainnet)
	if err != nil || len(p.All()) != 1 {
		t.Fatalf("got %v, %v", p, err)
	}
	got := p.Of("TEST_MODULE")[0]
	if got.Consensus.String() != consensusD || got.Key.String() != proxyD || got.Proven || !got.Expires.IsZero() {
		t.Errorf("got %+v", got)
	}
	m := commitments.Message{Object: phase0.Root{1}}
	sig, err := p.Sign(context.Background(), got.Key, m)
	if want := secretOf(t, proxySecretD).Sign(m.Root()); err != nil || string(sig) != string(want[:]) {
		t.Errorf("signed %x, %v", sig, err)
	}
	if _, err := importing(t, store, hoodi); !errors.Is(err, ErrDelegation) {
		t.Errorf("on another network: got %v, want %v", err, ErrDelegation)
	}
}

// TestOpenProxies_Addresses reads ECDSA proxies in the layouts of Commit-Boost,
// built from the reference's text, with file names in either case.
func TestOpenProxies_Addresses(t *testing.T) {
	address, secret := addressKey(t)
	keystore, err := seal(secret, []byte("password"), 1)
	if err != nil {
		t.Fatal(err)
	}
	put := func(path, text string) {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	plain := fmt.Sprintf(`{"secret":"0x%s","delegation":{"message":{"delegator":"%s","proxy":"%s"},"signature":"%s"}}`,
		addressSecretA, consensusD, address, delegationA)
	for _, name := range []string{addressA, strings.ToLower(addressA)} {
		e := EncryptedStore{Keys: t.TempDir(), Secrets: t.TempDir()}
		at := filepath.Join(consensusD, "DA_COMMIT", "ecdsa", name)
		put(filepath.Join(e.Keys, at+".json"), string(keystore))
		put(filepath.Join(e.Keys, at+".sig"), delegationA)
		put(filepath.Join(e.Secrets, at), "password")
		f := PlainStore{Folder: t.TempDir()}
		put(filepath.Join(f.Folder, "DA_COMMIT", "ecdsa", name), plain)
		for kind, store := range map[string]Store{"encrypted": e, "plain": f} {
			p, err := importing(t, store, mainnet)
			if err != nil || len(p.Of("DA_COMMIT")) != 1 || p.All()[0].Key != address {
				t.Fatalf("%s, %s: %v, %v", kind, name, p, err)
			}
			if text := fmt.Sprint(p.Remarks()); !strings.Contains(text, "read or written by others") {
				t.Errorf("%s: remarks %s", kind, text)
			}
			// It stays usable: what is made and revoked lies where Commit-Boost looks.
			if err := p.Revoke(address); err != nil {
				t.Fatal(err)
			}
			if p, err := importing(t, store, mainnet); err != nil || len(p.All()) != 0 {
				t.Errorf("%s, revoked: %v, %v", kind, p.All(), err)
			}
		}
	}
}

// TestOpenProxies_Refuses damages one proxy of two, in every way.
func TestOpenProxies_Refuses(t *testing.T) {
	type place struct {
		store EncryptedStore
		at    string // of the keystore, without .json
		key   commitments.Key
	}
	write := func(ext, text string) func(place) error {
		return func(p place) error { return os.WriteFile(p.at+ext, []byte(text), 0o600) }
	}
	secret := func(p place) string { return strings.Replace(p.at, p.store.Keys, p.store.Secrets, 1) }
	another := secretOf(t, secret2)
	cases := map[string]struct {
		damage func(place) error
		want   error
		left   int // proxies, without an error
	}{
		"nothing":           {func(place) error { return nil }, nil, 2},
		"no delegation":     {func(p place) error { return os.Remove(p.at + ".sig") }, ErrDelegation, 0},
		"delegation is not": {write(".sig", "0x12"), ErrDelegation, 0},
		"by another": {func(p place) error {
			m := DelegationMessage(mainnet, commitments.ProxyDelegation{Delegator: pubkeyOf(t, key1), Proxy: p.key})
			return write(".sig", another.Sign(m.Root()).String())(p)
		}, ErrDelegation, 0},
		"no password":              {func(p place) error { return os.Remove(secret(p)) }, ErrPassword, 0},
		"malformed":                {write(".json", ""), ErrInvalid, 0},
		"proof is not":             {write(".pop", "0x12"), ErrPossession, 0},
		"proof by another":         {func(p place) error { return write(".pop", another.Sign(phase0.Root{1}).String())(p) }, ErrPossession, 0},
		"no proof":                 {func(p place) error { return os.Remove(p.at + ".pop") }, nil, 2},
		"expiry is not understood": {write(".meta", `{"version":2,"expires_at":1}`), ErrInvalid, 0},
		"expiry with more":         {write(".meta", `{"version":1,"expires_at":1,"blocks":1}`), ErrInvalid, 0},
		"has expired":              {write(".meta", `{"version":1,"expires_at":1}`), nil, 2},
		"name of another": {func(p place) error {
			other := filepath.Join(filepath.Dir(p.at), key2)
			return errors.Join(os.Rename(p.at+".json", other+".json"), os.Rename(secret(p), strings.Replace(other, p.store.Keys, p.store.Secrets, 1)))
		}, ErrMismatch, 0},
		"revoked":         {write(".revoked", ""), nil, 1},
		"a crash in time": {func(p place) error { return os.Rename(p.at+".json", p.at+".pending") }, nil, 1},
		"strays":          {write(".json.new-1", ""), nil, 2},
		"no store":        {func(p place) error { return os.RemoveAll(p.store.Keys) }, ErrInvalid, 0},
		"validator gone": {func(p place) error {
			return os.Rename(filepath.Join(p.store.Keys, key1), filepath.Join(p.store.Keys, "logs"))
		}, nil, 0},
		"of two modules":    {func(p place) error { return copyModule(p.store, "OTHER") }, ErrTwice, 0},
		"a file, no folder": {func(p place) error { return os.WriteFile(filepath.Join(p.store.Keys, key1, "note"), nil, 0o600) }, nil, 2},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			store := EncryptedStore{Keys: t.TempDir(), Secrets: t.TempDir(), LogN: 1}
			d := newDesk(t, store)
			p := d.make(t, SchemeBLS)
			d.make(t, SchemeECDSA)
			at := filepath.Join(store.Keys, key1, p.Module, "bls", fileName(p.Key))
			if err := c.damage(place{store, at, p.Key}); err != nil {
				t.Fatal(err)
			}
			again, err := OpenProxies(d.config)
			if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if err == nil && len(again.All()) != c.left {
				t.Errorf("%v, want %d", again.All(), c.left)
			}
		})
	}
}

// copyModule copies the proxies of a module to another, links for files.
func copyModule(s EncryptedStore, module string) error {
	var errs []error
	for _, root := range []string{s.Keys, s.Secrets} {
		errs = append(errs, os.CopyFS(filepath.Join(root, key1, module), os.DirFS(filepath.Join(root, key1, "INCLUSION-1"))))
	}
	return errors.Join(errs...)
}

// TestOpenProxies_SeveralValidators: proxies of a validator that is not held are
// reported, and do not break the others.
func TestOpenProxies_SeveralValidators(t *testing.T) {
	for name, store := range stores(t) {
		d := newDesk(t, store)
		second := d.local.Add(secretOf(t, secret2).SecretKey)
		d.config.Consensus = append(d.config.Consensus, second)
		d.open(t)
		first := d.make(t, SchemeBLS)
		other, err := d.Generate(context.Background(), "INCLUSION-1", second, SchemeECDSA, d.now.AddDate(1, 0, 0))
		if err != nil || len(d.Of("INCLUSION-1")) != 2 {
			t.Fatalf("%s: %v", name, err)
		}
		d.config.Consensus = d.config.Consensus[:1]
		d.open(t)
		if got := d.All(); len(got) != 1 || got[0].Key != first.Key || !strings.Contains(fmt.Sprint(d.Remarks()), second.String()) {
			t.Errorf("%s: %v, %v", name, got, d.Remarks())
		}
		if _, ok := d.Lookup(other.Key); ok {
			t.Errorf("%s: a proxy of nobody's validator is offered", name)
		}
	}
}

// TestPossession: the proof has a domain of its own, and is the key's.
func TestPossession(t *testing.T) {
	for name, store := range stores(t) {
		d := newDesk(t, store)
		p := d.make(t, SchemeBLS)
		m := possessionMessage(mainnet, p.delegation())
		if m.Domain == mainnet.Domain(chain.DomainCommitBoost) || string(m.Domain[:4]) != "pop\x00" || m.Object != p.delegation().Root() {
			t.Errorf("%s: signed %+v", name, m)
		}
		d.open(t)
		got, _ := d.Lookup(p.Key)
		if !got.Proven || !bls.Verify(p.Key.BLS, m.Root(), phase0.BLSSignature(got.possession)) {
			t.Errorf("%s: the proof does not verify", name)
		}
	}
}
