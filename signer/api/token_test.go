package api

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/sha3"
)

const blsPath = "/signer/v1/request_signature/bls"

func keccakHex(body string) string {
	k := sha3.NewLegacyKeccak256()
	k.Write([]byte(body))
	return fmt.Sprintf("%#x", k.Sum(nil))
}

// attack is a token that must not be taken, for a good body on a good route.
type attack struct {
	token  string
	reason string // "" means token_invalid
}

// attacks on a module with a secret; claim(…) makes the claims with changes.
func attacks(t testing.TB, body string, strict bool) map[string]attack {
	now := time.Now().Unix()
	hash := keccakHex(body)
	claims := func(pairs ...string) string {
		m := []string{"exp", fmt.Sprint(now + 50), "iat", fmt.Sprint(now + 1), "jti", `"` + rand.Text() + `"`, "module", `"MOD_A"`, "route", `"` + blsPath + `"`, "payload_hash", `"` + hash + `"`}
		for i := 0; i < len(pairs); i += 2 {
			done := false
			for j := 0; j < len(m); j += 2 {
				if m[j] == pairs[i] {
					m[j+1], done = pairs[i+1], true
				}
			}
			if !done {
				m = append(m, pairs[i], pairs[i+1])
			}
		}
		var out []string
		for j := 0; j < len(m); j += 2 {
			if m[j+1] != "" {
				out = append(out, `"`+m[j]+`":`+m[j+1])
			}
		}
		return "{" + strings.Join(out, ",") + "}"
	}
	good := claims()
	goodToken := jwt(secretA, hs256, good)
	parts := strings.Split(goodToken, ".")
	enc := base64.RawURLEncoding.EncodeToString
	rs, es := asymmetric(t, enc([]byte(`{"typ":"JWT","alg":"RS256"}`))+"."+enc([]byte(good)), enc([]byte(`{"typ":"JWT","alg":"ES256"}`))+"."+enc([]byte(good)))
	list := map[string]attack{
		"alg none":              {enc([]byte(`{"typ":"JWT","alg":"none"}`)) + "." + parts[1] + ".", ""},
		"alg None, with a MAC":  {jwt(secretA, `{"typ":"JWT","alg":"None"}`, good), ""},
		"alg HS512":             {jwt(secretA, `{"typ":"JWT","alg":"HS512"}`, good), ""},
		"alg hs256":             {jwt(secretA, `{"typ":"JWT","alg":"hs256"}`, good), ""},
		"alg RS256, HMAC":       {jwt(secretA, `{"typ":"JWT","alg":"RS256"}`, good), ""},
		"alg RS256":             {rs, ""},
		"alg ES256":             {es, ""},
		"alg missing":           {jwt(secretA, `{"typ":"JWT"}`, good), ""},
		"alg a list":            {jwt(secretA, `{"typ":"JWT","alg":["HS256"]}`, good), ""},
		"alg twice":             {jwt(secretA, `{"typ":"JWT","alg":"none","alg":"HS256"}`, good), ""},
		"typ JWE":               {jwt(secretA, `{"typ":"JWE","alg":"HS256"}`, good), ""},
		"kid a path":            {jwt(secretA, `{"typ":"JWT","alg":"HS256","kid":"../../dev/null"}`, good), ""},
		"kid, empty key":        {jwt("", `{"typ":"JWT","alg":"HS256","kid":"/dev/null"}`, good), ""},
		"jku":                   {jwt(secretA, `{"typ":"JWT","alg":"HS256","jku":"https://example.org/k"}`, good), ""},
		"jwk":                   {jwt(secretA, `{"typ":"JWT","alg":"HS256","jwk":{"kty":"oct","k":"AA"}}`, good), ""},
		"x5u":                   {jwt(secretA, `{"typ":"JWT","alg":"HS256","x5u":"file:///x"}`, good), ""},
		"crit":                  {jwt(secretA, `{"typ":"JWT","alg":"HS256","crit":["b64"],"b64":false}`, good), ""},
		"nested token":          {jwt(secretA, `{"typ":"JWT","alg":"HS256","cty":"JWT"}`, `"`+goodToken+`"`), ""},
		"claims a token":        {jwt(secretA, hs256, `"`+goodToken+`"`), ""},
		"empty secret":          {jwt("", hs256, good), ""},
		"another's secret":      {jwt(secretB, hs256, good), ""},
		"admin's secret":        {jwt(secretAdmin, hs256, good), ""},
		"MAC truncated":         {goodToken[:len(goodToken)-2], ""},
		"MAC empty":             {parts[0] + "." + parts[1] + ".", ""},
		"MAC of two parts":      {parts[0] + "." + parts[1], ""},
		"four parts":            {goodToken + ".x", ""},
		"padded":                {parts[0] + "." + parts[1] + "." + parts[2] + "=", ""},
		"stray bits":            {goodToken[:len(goodToken)-1] + strayBits(goodToken[len(goodToken)-1]), ""},
		"claims changed":        {parts[0] + "." + enc([]byte(strings.Replace(good, "MOD_A", "MOD_B", 1))) + "." + parts[2], ""},
		"huge":                  {jwt(secretA, hs256, claims("x", `"`+strings.Repeat("x", 5<<10)+`"`)), ""},
		"module unknown":        {jwt(secretA, hs256, claims("module", `"MOD_X"`)), ""},
		"module missing":        {jwt(secretA, hs256, claims("module", "")), ""},
		"module a list":         {jwt(secretA, hs256, claims("module", `["MOD_A"]`)), ""},
		"module null":           {jwt(secretA, hs256, claims("module", `null`)), ""},
		"module look-alike":     {jwt(secretA, hs256, claims("module", `"МOD_A"`)), ""}, // Cyrillic
		"module with a NUL":     {jwt(secretA, hs256, claims("module", `"MOD_A\u0000"`)), ""},
		"module twice":          {jwt(secretA, hs256, strings.TrimSuffix(good, "}")+`,"module":"MOD_B"}`), ""},
		"module twice, escaped": {jwt(secretA, hs256, strings.TrimSuffix(good, "}")+`,"modul\u0065":"MOD_B"}`), ""},
		"exp twice":             {jwt(secretA, hs256, strings.TrimSuffix(good, "}")+`,"exp":9999999999}`), ""},
		"not UTF-8":             {jwt(secretA, hs256, strings.Replace(good, "MOD_A", "MOD_A\xff", 1)), ""},
		"trailing":              {jwt(secretA, hs256, good+"{}"), ""},
		"claims a list":         {jwt(secretA, hs256, "["+good+"]"), ""},
		"exp missing":           {jwt(secretA, hs256, claims("exp", "")), ""},
		"exp zero":              {jwt(secretA, hs256, claims("exp", "0")), ""},
		"exp null":              {jwt(secretA, hs256, claims("exp", "null")), ""},
		"exp text":              {jwt(secretA, hs256, claims("exp", `"9999999999"`)), ""},
		"exp negative":          {jwt(secretA, hs256, claims("exp", "-1")), ""},
		"exp infinite":          {jwt(secretA, hs256, claims("exp", "1e400")), ""},
		"exp wraps":             {jwt(secretA, hs256, claims("exp", "18446744073709551615")), ""},
		"aud":                   {jwt(secretA, hs256, claims("aud", `"elsewhere"`)), ""},
		"admin":                 {jwt(secretAdmin, hs256, claims("module", "", "admin", "true")), ""},
		"exp far":               {jwt(secretA, hs256, claims("exp", fmt.Sprint(now+86400))), "token_expired"},
		"expired":               {jwt(secretA, hs256, claims("exp", fmt.Sprint(now-11), "iat", fmt.Sprint(now-30))), "token_expired"},
		"nbf":                   {jwt(secretA, hs256, claims("nbf", fmt.Sprint(now+60))), "token_expired"},
		"route missing":         {jwt(secretA, hs256, claims("route", "")), "token_other_request"},
		"route other":           {jwt(secretA, hs256, claims("route", `"/signer/v1/request_signature/proxy-bls"`)), "token_other_request"},
		"route with a query":    {jwt(secretA, hs256, claims("route", `"`+blsPath+`?"`)), "token_other_request"},
		"route of a prefix":     {jwt(secretA, hs256, claims("route", `"/signer/v1/request_signature"`)), "token_other_request"},
		"route null":            {jwt(secretA, hs256, claims("route", `null`)), ""},
		"hash missing":          {jwt(secretA, hs256, claims("payload_hash", "")), "token_other_request"},
		"hash null":             {jwt(secretA, hs256, claims("payload_hash", "null")), "token_other_request"},
		"hash of another":       {jwt(secretA, hs256, claims("payload_hash", `"`+keccakHex(body+" ")+`"`)), "token_other_request"},
		"hash by SHA-256":       {jwt(secretA, hs256, claims("payload_hash", fmt.Sprintf(`"%#x"`, sha256.Sum256([]byte(body))))), "token_other_request"},
		"hash short":            {jwt(secretA, hs256, claims("payload_hash", `"`+hash[:64]+`"`)), ""},
		"hash without 0x":       {jwt(secretA, hs256, claims("payload_hash", `"`+hash[2:]+`"`)), ""},
	}
	if strict {
		for name, a := range map[string]attack{
			"no jti":       {jwt(secretA, hs256, claims("jti", "")), "token_not_strict"},
			"empty jti":    {jwt(secretA, hs256, claims("jti", `""`)), "token_not_strict"},
			"no iat":       {jwt(secretA, hs256, claims("iat", "")), "token_not_strict"},
			"long jti":     {jwt(secretA, hs256, claims("jti", `"`+strings.Repeat("x", 65)+`"`)), ""},
			"61 s":         {jwt(secretA, hs256, claims("exp", fmt.Sprint(now+62))), "token_not_strict"},
			"300 s":        {jwt(secretA, hs256, claims("exp", fmt.Sprint(now+300))), "token_not_strict"},
			"iat to come":  {jwt(secretA, hs256, claims("iat", fmt.Sprint(now+40))), "token_not_strict"},
			"of before":    {jwt(secretA, hs256, claims("iat", fmt.Sprint(now-20), "exp", fmt.Sprint(now+20))), "token_not_strict"},
			"6 s too late": {jwt(secretA, hs256, claims("exp", fmt.Sprint(now-6))), "token_expired"},
		} {
			list["strict: "+name] = a
		}
	}
	return list
}

// strayBits returns another character that decodes to the same last byte.
func strayBits(c byte) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return string(alphabet[strings.IndexByte(alphabet, c)|1])
}

// asymmetric signs with real keys of ours: what an algorithm swap would want.
func asymmetric(t testing.TB, rs, es string) (string, string) {
	t.Helper()
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	h := sha256.Sum256([]byte(rs))
	sig, err := rsa.SignPKCS1v15(rand.Reader, r, crypto.SHA256, h[:])
	if err != nil {
		t.Fatal(err)
	}
	e, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	h = sha256.Sum256([]byte(es))
	x, y, err := ecdsa.Sign(rand.Reader, e, h[:])
	if err != nil {
		t.Fatal(err)
	}
	enc := base64.RawURLEncoding.EncodeToString
	return rs + "." + enc(sig), es + "." + enc(append(x.FillBytes(make([]byte, 32)), y.FillBytes(make([]byte, 32))...))
}

// TestToken_Attacks: nothing is accepted, and nothing is signed. The good token
// of the same shape is, so that the attacks fail for what they attack.
func TestToken_Attacks(t *testing.T) {
	body := `{"pubkey":"` + keyOne + `","object_root":"` + vectorRoot + `","nonce":1}`
	for _, strict := range []bool{false, true} {
		h := newHouse(t, func(_ *house, m []Module, c *Config) { m[0].Strict = strict; c.FailLimit = 0 })
		for name, a := range attacks(t, body, strict) {
			got := h.send(t, http.MethodPost, blsPath, body, a.token)
			want := a.reason
			if want == "" {
				want = "token_invalid"
			}
			if got.status != 401 || got.reason() != want || got.body != "unauthorized" || got.header.Get("WWW-Authenticate") != "Bearer" {
				t.Errorf("strict %v, %s: %d %s %q, want 401 %s", strict, name, got.status, got.reason(), got.body, want)
			}
		}
		if n := h.book.Len(); n != 0 || h.keys.calls.Load() != 0 {
			t.Fatalf("%d entries, %d signatures", n, h.keys.calls.Load())
		}
		now := time.Now().Unix()
		good := jwt(secretA, hs256, fmt.Sprintf(`{"exp":%d,"iat":%d,"jti":"x","module":"MOD_A","route":%q,"payload_hash":%q}`, now+50, now+1, blsPath, keccakHex(body)))
		first := h.send(t, http.MethodPost, blsPath, body, good)
		again := h.send(t, http.MethodPost, blsPath, body, good)
		if first.status != 200 {
			t.Errorf("strict %v, the good one: %d %s", strict, first.status, first.reason())
		}
		switch {
		case strict && (again.status != 401 || again.reason() != "token_replayed"):
			t.Errorf("replay: %d %s", again.status, again.reason())
		case !strict && again.body != first.body:
			t.Errorf("replay: %s, want the stored %s", again.body, first.body)
		}
		if strings.Contains(h.log.String(), secretA) || strings.Contains(h.log.String(), good[40:]) {
			t.Error("the log holds a secret or a token")
		}
	}
}

// TestToken_Headers: what is no Bearer token at all is told so, and not counted.
func TestToken_Headers(t *testing.T) {
	h := newHouse(t, nil)
	good := h.moduleToken("MOD_A", secretA, pathPubkeys, "")
	for name, header := range map[string]string{
		"none": "", "Basic": "Basic " + good, "no scheme": good, "two": "Bearer " + good + ", Bearer " + good, "empty": "Bearer ", "two words": "Bearer " + good + " x",
	} {
		got := h.send(t, http.MethodGet, pathPubkeys, "", "", "Authorization", header)
		if got.status != 401 || got.reason() != "token_missing" || got.body != "Header of type `authorization` was missing" {
			t.Errorf("%s: %d %s %q", name, got.status, got.reason(), got.body)
		}
	}
	if got := h.send(t, http.MethodGet, pathPubkeys, "", "", "Authorization", "bearer "+good); got.status != 200 {
		t.Errorf("lower case: %d %s", got.status, got.reason())
	}
	// A token with a hash for a request without a body.
	odd := jwt(secretA, hs256, fmt.Sprintf(`{"exp":%d,"module":"MOD_A","route":%q,"payload_hash":%q}`, time.Now().Unix()+50, pathPubkeys, keccakHex("")))
	if got := h.send(t, http.MethodGet, pathPubkeys, "", odd); got.status != 401 || got.reason() != "token_other_request" {
		t.Errorf("hash without a body: %d %s", got.status, got.reason())
	}
}

// FuzzToken: nothing that was not signed with the secret is genuine, nothing
// panics, and what is read was small.
func FuzzToken(f *testing.F) {
	for _, a := range attacks(f, "{}", true) {
		f.Add(a.token)
	}
	now := time.Now()
	genuine := jwt(secretA, hs256, fmt.Sprintf(`{"exp":%d,"module":"MOD_A"}`, now.Unix()+50))
	f.Add(genuine)
	f.Fuzz(func(t *testing.T, text string) {
		tok, ok := parseToken(text)
		if !ok {
			return
		}
		if len(text) > maxToken {
			t.Fatal("too long")
		}
		if tok.genuine("a secret that no seed was signed with") {
			t.Fatalf("forged: %s", text)
		}
		_ = tok.claims.check(rules{route: blsPath, now: now, strict: true})
	})
}
