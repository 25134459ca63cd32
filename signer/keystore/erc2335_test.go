package keystore

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	keystorev4 "github.com/wealdtech/go-eth2-wallet-encryptor-keystorev4"
)

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
		if secret, err := open(text, []byte("x")); err == nil && secret.name() != public {
			t.Errorf("opened another key")
		}
	})
}

// TestOpen_Published are the test vectors of EIP-2335: a password of decomposing
// letters and an emoji, with both key derivations.
func TestOpen_Published(t *testing.T) {
	const (
		password = "𝔱𝔢𝔰𝔱𝔭𝔞𝔰𝔰𝔴𝔬𝔯𝔡🔑"
		secret   = "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"
		public   = "9612d7a727c9d0a22e185a1c768478dfe919cada9266988cb32359c11f2b7b27f4ae4040902382ae2910c15e2b420d07"
		salt     = "d4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3"
		shape    = `{"crypto":{"kdf":{"function":%q,"params":%s,"message":""},"checksum":{"function":"sha256","params":{},"message":%q},` +
			`"cipher":{"function":"aes-128-ctr","params":{"iv":"264daa3f303d7259501c93d997d84fe6"},"message":%q}},"pubkey":%q,"path":"","version":4}`
	)
	scrypt := `{"dklen":32,"n":262144,"p":1,"r":8,"salt":"` + salt + `"}`
	pbkdf2 := `{"dklen":32,"c":262144,"prf":"hmac-sha256","salt":"` + salt + `"}`
	for name, text := range map[string]string{
		"scrypt": fmt.Sprintf(shape, "scrypt", scrypt, "d2217fe5f3e9a1e34581ef8a78f7c9928e436d36dacc5e846690a5581e8ea484", "06ae90d55fe0a6e9c5c3bc5b170827b2e5cce3929ed3f116c2811e6366dfe20f", public),
		"pbkdf2": fmt.Sprintf(shape, "pbkdf2", pbkdf2, "8a9f5d9912ed7e75ea794bc5a89bca5f193721d30868ade6f73043c6ea6febf1", "cee03fde2af33149775b7223e7845e4fb2c8ae1792e5f99fe9ecf474cc8c16ad", public),
	} {
		for _, p := range []string{password, "testpassword🔑", "\x00te\x1fst\u0080password\x7f🔑\r\n"} {
			got, err := open([]byte(text), []byte(p))
			if err != nil || hex.EncodeToString(got.Bytes()) != secret {
				t.Errorf("%s, password %+q: %v", name, p, err)
			}
		}
		if _, err := open([]byte(text), []byte("testpassword")); !errors.Is(err, ErrPassword) {
			t.Errorf("%s, wrong password: got %v, want %v", name, err, ErrPassword)
		}
	}
}

func TestNormalise(t *testing.T) {
	for in, want := range map[string]string{
		"":           "",
		"plain ~":    "plain ~",
		"é":          "e\u0301",  // decomposed
		"ﬁ":          "fi",       // compatibility
		"a\u0085b":   "ab",       // C1, two bytes in UTF-8
		"à€":         "a\u0300€", // whose bytes 0x80 to 0x9f are no control characters
		"日本語":        "日本語",
		"\xff\xfe":   "\xff\xfe", // not UTF-8: as it is
		"\tq\n":      "q",
		"nb\u00a0sp": "nb sp", // no-break space is compatible with space
	} {
		given := []byte(in)
		if got := string(normalise(given)); got != want || string(given) != in {
			t.Errorf("%+q: got %+q, want %+q; what was given is %+q now", in, got, want, given)
		}
	}
}

// prysm makes a wallet file in Prysm's form, light.
func prysm(t testing.TB, inner string, change func(*cryptoPart)) []byte {
	t.Helper()
	var f struct {
		Crypto cryptoPart `json:"crypto"`
	}
	if err := f.Crypto.encrypt([]byte(inner), []byte("pässword"), 1); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(&f.Crypto)
	}
	text, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestOpenPrysm(t *testing.T) {
	b64 := func(hexes ...string) string {
		var all [][]byte
		for _, h := range hexes {
			all = append(all, unhex(t, h))
		}
		text, err := json.Marshal(all)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	both := `{"private_keys":` + b64(secret1, secret2) + `,"public_keys":` + b64(key1, key2) + `}`
	unchecked := func(c *cryptoPart) { c.Checksum.Function, c.Checksum.Message = "", "" }
	cases := map[string]struct {
		text     []byte
		password string
		want     error
	}{
		"sound":                {prysm(t, both, nil), "pässword", nil},
		"decomposed password":  {prysm(t, both, nil), "pa\u0308ssword\n", nil},
		"no checksum":          {prysm(t, both, unchecked), "pässword", nil},
		"wrong password":       {prysm(t, both, nil), "password", ErrPassword},
		"that, no checksum":    {prysm(t, both, unchecked), "password", ErrPassword},
		"swapped":              {prysm(t, `{"private_keys":`+b64(secret1, secret2)+`,"public_keys":`+b64(key2, key1)+`}`, nil), "pässword", ErrMismatch},
		"one public key less":  {prysm(t, `{"private_keys":`+b64(secret1, secret2)+`,"public_keys":`+b64(key1)+`}`, nil), "pässword", ErrMismatch},
		"not a secret":         {prysm(t, `{"private_keys":`+b64(secret1, "00")+`,"public_keys":`+b64(key1, key2)+`}`, nil), "pässword", ErrInvalid},
		"not JSON inside":      {prysm(t, secret1, nil), "pässword", ErrPassword},
		"not JSON":             {[]byte("{"), "", ErrInvalid},
		"kdf beyond any bound": {prysm(t, both, func(c *cryptoPart) { c.KDF.Params.N = 1 << 30 }), "pässword", ErrKDFBounds},
	}
	for name, c := range cases {
		got, err := openPrysm(c.text, []byte(c.password))
		if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) || err == nil && len(got) != 2 {
			t.Errorf("%s: got %d keys, %v, want %v", name, len(got), err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), secret1[:8]) {
			t.Errorf("%s: the error tells of the secret", name)
		}
	}
}

// FuzzOpenPrysm: no input panics, and no key comes out that is not inside.
func FuzzOpenPrysm(f *testing.F) {
	text, err := os.ReadFile("testdata/prysm/direct/accounts/all-accounts.keystore.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add(prysm(f, `{"private_keys":[],"public_keys":[]}`, nil))
	f.Fuzz(func(t *testing.T, text []byte) {
		var outer struct {
			Crypto cryptoPart `json:"crypto"`
		}
		if json.Unmarshal(text, &outer) != nil || outer.Crypto.bounded(maxList, false) != nil {
			return
		}
		if p := outer.Crypto.KDF.Params; p.N*p.R*p.P > 1<<10 || p.C > 1<<10 {
			return // honest, and too slow to derive here
		}
		if secrets, err := openPrysm(text, []byte("pässword")); err == nil && len(secrets) > 0 {
			t.Errorf("%d keys out of a made-up file", len(secrets))
		}
	})
}

// FuzzParsePlain: no input panics; what is read has the key its delegation names.
func FuzzParsePlain(f *testing.F) {
	f.Add([]byte(`{"secret":"0x`+secret1+`","delegation":{"message":{"delegator":"`+key2+`","proxy":"`+key1+`"},"signature":"0x`+strings.Repeat("00", 96)+`"}}`), true)
	f.Add([]byte(`{"secret":"0x12","expires_at":-1}`), false)
	f.Fuzz(func(t *testing.T, text []byte, ofBLS bool) {
		scheme := SchemeECDSA
		if ofBLS {
			scheme = SchemeBLS
		}
		p, err := parsePlain(text, scheme)
		if err == nil && (p.secret.name() != p.Key || p.Scheme() != scheme) {
			t.Errorf("read %s", p.Key)
		}
	})
}

// FuzzParseMeta: an expiry is positive, and says the same when written again.
func FuzzParseMeta(f *testing.F) {
	f.Add([]byte(`{"version":1,"expires_at":1742213400}`))
	f.Add([]byte(`{"version":1,"expires_at":1742213400,"and":1}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := parseMeta(text)
		if err != nil {
			return
		}
		again, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := parseMeta(again); err != nil || n != m || m.Expires <= 0 {
			t.Errorf("%q: %+v, %+v, %v", text, m, n, err)
		}
	})
}
