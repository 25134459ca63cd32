package keystore

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	keystorev4 "github.com/wealdtech/go-eth2-wallet-encryptor-keystorev4"

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

func secretOf(t testing.TB, s string) *bls.SecretKey {
	t.Helper()
	k, err := bls.ParseSecretKey(unhex(t, s))
	if err != nil {
		t.Fatal(err)
	}
	return k
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
	if _, err := Load(Source{"prysm", keys, secrets}); !errors.Is(err, ErrInvalid) {
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

// edited returns a light keystore with one JSON value replaced.
func edited(t testing.TB, value any, path ...string) []byte {
	t.Helper()
	text, err := seal(secretOf(t, secret1), []byte("password"), 1)
	if err != nil {
		t.Fatal(err)
	}
	var root map[string]any
	if err := json.Unmarshal(text, &root); err != nil {
		t.Fatal(err)
	}
	at := root
	for _, name := range path[:len(path)-1] {
		at, _ = at[name].(map[string]any)
	}
	at[path[len(path)-1]] = value
	text, err = json.Marshal(root)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestOpen_Bounds(t *testing.T) {
	kdf := func(name string) []string { return []string{"crypto", "kdf", "params", name} }
	pbkdf2 := func(c any) map[string]any {
		return map[string]any{"function": "pbkdf2", "message": "", "params": map[string]any{"dklen": 32, "c": c, "prf": "hmac-sha256", "salt": "00"}}
	}
	cases := map[string]struct {
		text []byte
		want error
	}{
		"n huge":             {edited(t, 1<<40, kdf("n")...), ErrKDFBounds},
		"n beyond memory":    {edited(t, 1<<20, kdf("n")...), ErrKDFBounds},
		"n not a power of 2": {edited(t, 1000, kdf("n")...), ErrKDFBounds},
		"n one":              {edited(t, 1, kdf("n")...), ErrKDFBounds},
		"n negative":         {edited(t, -2, kdf("n")...), ErrKDFBounds},
		"r zero":             {edited(t, 0, kdf("r")...), ErrKDFBounds},
		"r huge":             {edited(t, 1<<30, kdf("r")...), ErrKDFBounds},
		"p huge":             {edited(t, 1<<30, kdf("p")...), ErrKDFBounds},
		"dklen short":        {edited(t, 16, kdf("dklen")...), ErrKDFBounds},
		"dklen huge":         {edited(t, 1<<30, kdf("dklen")...), ErrKDFBounds},
		"c huge":             {edited(t, pbkdf2(1<<40), "crypto", "kdf"), ErrKDFBounds},
		"c zero":             {edited(t, pbkdf2(0), "crypto", "kdf"), ErrKDFBounds},
		"no kdf":             {edited(t, nil, "crypto", "kdf"), ErrInvalid},
		"no kdf parameters":  {edited(t, nil, "crypto", "kdf", "params"), ErrInvalid},
		"unknown kdf":        {edited(t, "argon2", "crypto", "kdf", "function"), ErrInvalid},
		"no salt":            {edited(t, "", kdf("salt")...), ErrInvalid},
		"iv short":           {edited(t, "00", "crypto", "cipher", "params", "iv"), ErrInvalid},
		"no cipher":          {edited(t, nil, "crypto", "cipher"), ErrInvalid},
		"long message":       {edited(t, strings.Repeat("00", 33), "crypto", "cipher", "message"), ErrInvalid},
		"no checksum":        {edited(t, nil, "crypto", "checksum"), ErrInvalid},
		"other checksum":     {edited(t, "md5", "crypto", "checksum", "function"), ErrInvalid},
		"wrong checksum":     {edited(t, strings.Repeat("00", 32), "crypto", "checksum", "message"), ErrPassword},
		"version 3":          {edited(t, 3, "version"), ErrInvalid},
		"no pubkey":          {edited(t, "", "pubkey"), ErrInvalid},
		"other pubkey":       {edited(t, key2[2:], "pubkey"), ErrMismatch},
		"empty":              {nil, ErrInvalid},
	}
	for name, c := range cases {
		if _, err := open(c.text, []byte("password")); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	if _, err := seal(secretOf(t, secret1), []byte("p"), 20); !errors.Is(err, ErrKDFBounds) {
		t.Errorf("seal beyond the bounds: got %v, want %v", err, ErrKDFBounds)
	}
}

// TestSeal_OpensElsewhere has the library of another author open what we write.
func TestSeal_OpensElsewhere(t *testing.T) {
	text, err := seal(secretOf(t, secret1), []byte("password"), 4)
	if err != nil {
		t.Fatal(err)
	}
	var f struct {
		Crypto map[string]any `json:"crypto"`
	}
	if err := json.Unmarshal(text, &f); err != nil {
		t.Fatal(err)
	}
	got, err := keystorev4.New().Decrypt(f.Crypto, "password")
	if err != nil || hex.EncodeToString(got) != secret1 {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
}

// TestSecrets_NeverPrint looks for a canary in everything that prints.
func TestSecrets_NeverPrint(t *testing.T) {
	secret := secretOf(t, secret1)
	l := NewLocal(secret)
	p := Proxy{Module: "m", secret: secret}
	_, wrong := open(edited(t, key2[2:], "pubkey"), []byte("password"))
	var out bytes.Buffer
	slog.New(slog.NewTextHandler(&out, nil)).Info("Canary", "local", l, "proxy", p, "pointer", &p, "error", wrong)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("Canary", "local", l, "proxy", p, "pointer", &p, "error", wrong)
	for _, v := range []any{l, p, &p, []Proxy{p}, map[string]any{"x": l}, struct{ L *Local }{l}, wrong} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
			fmt.Fprintf(&out, verb, v)
		}
	}
	text := strings.ToLower(out.String())
	decimal := strings.Trim(fmt.Sprint(unhex(t, secret1)), "[]")
	for _, canary := range []string{secret1[:16], secret1[48:], decimal[:20], "password\""} {
		if strings.Contains(text, canary) {
			t.Errorf("%q shows in:\n%s", canary, text)
		}
	}
}

// FuzzOpen: no input panics, and nothing opens that is not the sound keystore.
func FuzzOpen(f *testing.F) {
	for _, path := range []string{"testdata/keys/" + key1 + "/voting-keystore.json", "testdata/teku-keys/" + key2 + ".json"} {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add(edited(f, nil, "crypto", "kdf", "params"))
	f.Fuzz(func(t *testing.T, text []byte) {
		k, public, err := parse(text)
		if err != nil {
			return
		}
		if p := k.Crypto.KDF.Params; p.N*p.R*p.P > 1<<10 || p.C > 1<<10 {
			return // honest, and too slow to derive here
		}
		if secret, err := open(text, []byte("x")); err == nil && secret.PublicKey() != public {
			t.Errorf("opened another key")
		}
	})
}
