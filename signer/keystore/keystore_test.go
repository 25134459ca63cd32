package keystore

import (
	"context"
	"encoding/hex"
	"encoding/json"
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
)

// Published keys of Commit-Boost's test data.
const (
	key1    = "0x883827193f7627cd04e621e1e8d56498362a52b2a30c9a1c72036eb935c4278dee23d38a24d2f7dda62689886f0c39f4"
	key2    = "0xb3a22e4a673ac7a153ab5b3c17a4dbef55f7e47210b20c0cbb0e66df5b36bb49ef808577610b034172e955d2312a61b9"
	secret1 = "10942624b86262d6c92bf37e21086f469d0c4b635e5f4bd229f49ac10ba6f7d1"
	secret2 = "0501e85d5bc2e95f70efda47409710a7cf01dd02ff238e3efec679b27331d917"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.TrimPrefix(s, "0x"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func secretOf(t testing.TB, s string) blsSecret {
	t.Helper()
	k, err := bls.ParseSecretKey(unhex(t, s))
	if err != nil {
		t.Fatal(err)
	}
	return blsSecret{k}
}

func TestLoad_Layouts(t *testing.T) {
	one := "testdata/keys/" + key1 + "/voting-keystore.json"
	both := []string{key1, key2}
	cases := map[string]struct {
		source Source
		want   []string
	}{
		"keystore":   {Source{FormatKeystore, one, "testdata/secrets/" + key1}, both[:1]},
		"lighthouse": {Source{FormatLighthouse, "testdata/keys", "testdata/secrets"}, both},
		"nimbus":     {Source{FormatNimbus, "testdata/nimbus-keys", "testdata/secrets"}, both},
		"teku":       {Source{FormatTeku, "testdata/teku-keys", "testdata/teku-secrets"}, both},
		"prysm":      {Source{FormatPrysm, "testdata/prysm/direct/accounts/all-accounts.keystore.json", "testdata/prysm/empty_pass"}, both},
		"lodestar 1": {Source{FormatLodestar, lodestar(t, key1), "testdata/lodestar-secrets/" + key1}, both[:1]},
		"lodestar 2": {Source{FormatLodestar, lodestar(t, key2), "testdata/lodestar-secrets/" + key2}, both[1:]},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			l, err := Load(c.source)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, k := range l.Pubkeys() {
				got = append(got, k.String())
			}
			if fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

// lodestar makes a folder with the published keystore of one key, and with what
// the deposit tool leaves beside it. One password opens only one of the two.
func lodestar(t testing.TB, keys ...string) string {
	t.Helper()
	dir := t.TempDir()
	files := map[string][]byte{"deposit_data-1700000000.json": []byte("[]"), "notes.txt": nil}
	for _, key := range keys {
		text, err := os.ReadFile("testdata/teku-keys/" + key + ".json")
		if err != nil {
			t.Fatal(err)
		}
		files[key+".json"] = text
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestLoad_LodestarHasOnePassword: a keystore of another password is no less
// broken because it lies in a folder with others.
func TestLoad_LodestarHasOnePassword(t *testing.T) {
	_, err := Load(Source{FormatLodestar, lodestar(t, key1, key2), "testdata/lodestar-secrets/" + key1})
	if !errors.Is(err, ErrPassword) || !strings.Contains(err.Error(), key2+".json") || strings.Contains(err.Error(), key1+".json") {
		t.Errorf("got %v, want %v naming %s alone", err, ErrPassword, key2)
	}
}

// TestSign_Vectors is Commit-Boost's end-to-end signer vector on Hoodi: from the
// encrypted file to the signature of a module's request.
func TestSign_Vectors(t *testing.T) {
	l, err := Load(Source{FormatLighthouse, "testdata/keys", "testdata/secrets"})
	if err != nil {
		t.Fatal(err)
	}
	hoodi := chain.Spec{GenesisForkVersion: phase0.Version{0x10, 0x00, 0x09, 0x10}}.Domain(chain.DomainCommitBoost)
	object := phase0.Root(unhex(t, "0123456789012345678901234567890123456789012345678901234567890123"))
	cases := []struct{ key, signingID, want string }{
		{key1, "6a33a23ef26a4836979edff86c493a69b26ccf0b4a16491a815a13787657431b", "b653034a6da0e516cb999d6bbcd5ddd8dde9695322a94aefcd3049e6235e0f4f63b13d81ddcd80d4e1e698c3f88c3b440ae696650ccef2f22329afb4ffecec85a34523e25920ceced54c5bc31168174a3b352977750c222c1c25f72672467e5c"},
		{key2, "6a33a23ef26a4836979edff86c493a69b26ccf0b4a16491a815a13787657431b", "a9956c331e65871989f6e658f0cb92ad1085716bdd3ece8e11406f45481e135b76e96bdfdebec5bc42fa6546ad45e0210aa7d440ff219e3e4e1fa26b0061152e35cc4ec5db7f5d4c64f3e374b160dd9aa2fc3cfcbfbe87d35e75f15e1983f8c5"},
		{key1, "61fe00135d7b4912a8c63ada215ac2e62326e6e7b30f49a29fcf9779d7ad800d", "8bea2dcfd02214250281d7e0e5f69d710f7985677345d9c590ca1449c0c04bf5cf93c9722d1758b1d1d624f93551e36d078130f01cfe22d1f16576ac05d9c8180f825fb77d170c12f07372944fc509e32ed783c097d5932dcb01033d13127530"},
		{key2, "61fe00135d7b4912a8c63ada215ac2e62326e6e7b30f49a29fcf9779d7ad800d", "b4e881bcce39f467744b996c58b138f6db6ff2a8499c41dee671dbfd0137350ac875f96758c210cad341ee0e5896910e053d76c91fba49d7ca9abfe3fa91d8e34f663571a2e0bca6b923737db195fac9ef2441c9d81a3e38b4ca0d1f4e653a84"},
	}
	for _, c := range cases {
		m := commitments.Message{Object: commitments.ModuleObject(560048, object, phase0.Root(unhex(t, c.signingID)), 101), Domain: hoodi}
		got, err := l.Sign(context.Background(), commitments.BLSKey(phase0.BLSPubKey(unhex(t, c.key))), m)
		if err != nil || hex.EncodeToString(got) != c.want {
			t.Errorf("%.12s, id %.8s: got %x, %v, want %s", c.key, c.signingID, got, err, c.want)
		}
	}
	if _, err := l.Sign(context.Background(), commitments.BLSKey(phase0.BLSPubKey{1}), commitments.Message{Object: object}); !errors.Is(err, ErrNotHeld) {
		t.Errorf("unknown key: got %v, want %v", err, ErrNotHeld)
	}
}

func TestLoad_List(t *testing.T) {
	write := func(text string) string {
		path := filepath.Join(t.TempDir(), "keys.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	l, err := Load(Source{Format: FormatFile, Keys: write(`["0x` + secret1 + `", "` + secret2 + `"]`)})
	if err != nil || len(l.Pubkeys()) != 2 || l.Pubkeys()[0].String() != key1 {
		t.Fatalf("got %v, %v", l, err)
	}
	for name, text := range map[string]string{
		"not JSON": secret1, "not strings": `[1]`, "short": `["0x12"]`, "not hex": `["` + strings.Repeat("zz", 32) + `"]`,
		"zero": `["` + strings.Repeat("00", 32) + `"]`, "above the order": `["` + strings.Repeat("ff", 32) + `"]`,
	} {
		_, err := Load(Source{Format: FormatFile, Keys: write(text)})
		if !errors.Is(err, ErrInvalid) || strings.Contains(err.Error(), secret1[:8]) {
			t.Errorf("%s: got %v, want %v without the secret", name, err, ErrInvalid)
		}
	}
	if _, err := Load(Source{Format: FormatFile, Keys: write(`[]`)}); !errors.Is(err, ErrEmpty) {
		t.Errorf("empty list: got %v, want %v", err, ErrEmpty)
	}
}

// light writes a cheap keystore in Teku's layout.
func light(t testing.TB, keys, secrets, name, secret string) {
	t.Helper()
	text, err := seal(secretOf(t, secret), []byte("password"), 1)
	if err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string][]byte{filepath.Join(keys, name+".json"): text, filepath.Join(secrets, name+".txt"): []byte("password\n")} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLoad_OneBrokenAmongTenIsNamed(t *testing.T) {
	keys, secrets := t.TempDir(), t.TempDir()
	for i := range 10 {
		light(t, keys, secrets, fmt.Sprint("k", i), secret1[:62]+fmt.Sprintf("%02x", i+1))
	}
	source := Source{FormatTeku, keys, secrets}
	if l, err := Load(source); err != nil || len(l.Pubkeys()) != 10 {
		t.Fatalf("ten sound ones: %v, %v", l, err)
	}
	broken := filepath.Join(keys, "k7.json")
	sound, err := os.ReadFile(broken)
	if err != nil {
		t.Fatal(err)
	}
	renamed := func() error {
		var f map[string]any
		if err := json.Unmarshal(sound, &f); err != nil {
			return err
		}
		f["pubkey"] = key2[2:]
		text, err := json.Marshal(f)
		return errors.Join(err, os.WriteFile(broken, text, 0o600))
	}
	password := filepath.Join(secrets, "k7.txt")
	cases := map[string]struct {
		damage func() error
		want   error
		file   string
	}{
		"malformed":      {func() error { return os.WriteFile(broken, []byte("{"), 0o600) }, ErrInvalid, "k7.json"},
		"too large":      {func() error { return os.WriteFile(broken, make([]byte, maxKeystore+1), 0o600) }, ErrInvalid, "k7.json"},
		"no password":    {func() error { return os.Remove(password) }, ErrPassword, "k7.txt"},
		"wrong password": {func() error { return os.WriteFile(password, []byte("x"), 0o600) }, ErrPassword, "k7.json"},
		"not a file":     {func() error { return errors.Join(os.Remove(password), os.Mkdir(password, 0o700)) }, ErrPassword, "k7.txt"},
		"another key":    {renamed, ErrMismatch, "k7.json"},
	}
	for name, c := range cases {
		if err := c.damage(); err != nil {
			t.Fatal(err)
		}
		_, err := Load(source)
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.file) {
			t.Errorf("%s: got %v, want %v naming %s", name, err, c.want, c.file)
		}
		_ = os.RemoveAll(password)
		light(t, keys, secrets, "k7", secret1[:62]+"08")
		if err := os.WriteFile(broken, sound, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Load(Source{FormatLighthouse, keys, secrets}); !errors.Is(err, ErrEmpty) {
		t.Errorf("wrong layout: got %v, want %v", err, ErrEmpty)
	}
	if _, err := Load(Source{"nobody", keys, secrets}); !errors.Is(err, ErrInvalid) {
		t.Errorf("unknown format: got %v, want %v", err, ErrInvalid)
	}
}

func TestLoad_FolderNamesAnotherKey(t *testing.T) {
	keys, secrets := t.TempDir(), t.TempDir()
	text, err := seal(secretOf(t, secret1), []byte("p"), 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Mkdir(filepath.Join(keys, key2), 0o700),
		os.WriteFile(filepath.Join(keys, key2, "voting-keystore.json"), text, 0o600),
		os.WriteFile(filepath.Join(secrets, key2), []byte("p"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(Source{FormatLighthouse, keys, secrets}); !errors.Is(err, ErrMismatch) {
		t.Errorf("got %v, want %v", err, ErrMismatch)
	}
}
