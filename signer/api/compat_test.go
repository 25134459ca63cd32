package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/internal/bls"
	"sidecar/internal/config"
	"sidecar/internal/ecdsa"
)

// The published end-to-end vectors of Commit-Boost's signer: Hoodi, nonce 101.
// [Commit-Boost: test vectors A and B]
const (
	vectorRoot = "0x0123456789012345678901234567890123456789012345678901234567890123"
	ecdsaOwner = "0x88bcd6672d95bcba0d52a3146494ed4d37675af4ed2206905eb161aa99a6c0d1"
	idOne      = "0x6a33a23ef26a4836979edff86c493a69b26ccf0b4a16491a815a13787657431b"
	idTwo      = "0x61fe00135d7b4912a8c63ada215ac2e62326e6e7b30f49a29fcf9779d7ad800d"
	keyOne     = "0x883827193f7627cd04e621e1e8d56498362a52b2a30c9a1c72036eb935c4278dee23d38a24d2f7dda62689886f0c39f4"
	keyTwo     = "0xb3a22e4a673ac7a153ab5b3c17a4dbef55f7e47210b20c0cbb0e66df5b36bb49ef808577610b034172e955d2312a61b9"
)

var vectors = []struct{ module, key, signature string }{
	{"MOD_A", keyOne, "0xb653034a6da0e516cb999d6bbcd5ddd8dde9695322a94aefcd3049e6235e0f4f63b13d81ddcd80d4e1e698c3f88c3b440ae696650ccef2f22329afb4ffecec85a34523e25920ceced54c5bc31168174a3b352977750c222c1c25f72672467e5c"},
	{"MOD_A", keyTwo, "0xa9956c331e65871989f6e658f0cb92ad1085716bdd3ece8e11406f45481e135b76e96bdfdebec5bc42fa6546ad45e0210aa7d440ff219e3e4e1fa26b0061152e35cc4ec5db7f5d4c64f3e374b160dd9aa2fc3cfcbfbe87d35e75f15e1983f8c5"},
	{"MOD_B", keyOne, "0x8bea2dcfd02214250281d7e0e5f69d710f7985677345d9c590ca1449c0c04bf5cf93c9722d1758b1d1d624f93551e36d078130f01cfe22d1f16576ac05d9c8180f825fb77d170c12f07372944fc509e32ed783c097d5932dcb01033d13127530"},
	{"MOD_B", keyTwo, "0xb4e881bcce39f467744b996c58b138f6db6ff2a8499c41dee671dbfd0137350ac875f96758c210cad341ee0e5896910e053d76c91fba49d7ca9abfe3fa91d8e34f663571a2e0bca6b923737db195fac9ef2441c9d81a3e38b4ca0d1f4e653a84"},
}

// vectorHouse gives both modules the vectors' signing ids and every key.
func vectorHouse(t *testing.T) *house {
	return newHouse(t, func(h *house, m []Module, _ *Config) {
		m[0].SigningID, m[1].SigningID = phase0.Root(unhex(t, idOne)), phase0.Root(unhex(t, idTwo))
		m[1].Grant = m[0].Grant
	})
}

func TestVectors_BLS(t *testing.T) {
	h := vectorHouse(t)
	for _, v := range vectors {
		id := map[string]string{"MOD_A": idOne, "MOD_B": idTwo}[v.module]
		got := h.post(t, v.module, "/signer/v1/request_signature/bls", fmt.Sprintf(`{"pubkey":%q,"object_root":%q,"nonce":101}`, v.key, vectorRoot))
		want := fmt.Sprintf(`{"pubkey":%q,"object_root":%q,"module_signing_id":%q,"nonce":101,"chain_id":"0x88bb0","signature":%q}`, v.key, vectorRoot, id, v.signature)
		if got.status != 200 || got.body != want || got.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %s\nwant %s", v.module, got.status, got.body, want)
		}
	}
}

// TestVectors_ECDSA: the vectors' ECDSA key as a proxy of each module; v is 27 or 28.
func TestVectors_ECDSA(t *testing.T) {
	for module, signature := range map[string]string{
		"MOD_A": "0x6ad07137bfaedd824d8d4cec1570bb7408e01df4e49e37727003e5d84f2f1a160762b2d221b34cc228f02590f77f60c3e16e0f595f8672b80aa70d75428416d41b",
		"MOD_B": "0x80840f9170bc19b2eeb98dbbc5300019e5c62dc8bb82b90eb71f0693ad0684f6732da73d692af777afc9c7a6347bd5ef8d6a860783a643c9055e33618ee498b21b",
	} {
		h := vectorHouse(t)
		k, err := ecdsa.ParseSecretKey(unhex(t, ecdsaOwner))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.keys.adopt(t.Context(), Proxy{Module: module, Delegator: h.one, Key: h.keys.holdECDSA(k)}); err != nil {
			t.Fatal(err)
		}
		// Any case comes in, lower case goes out.
		body := `{"proxy":"0x4ce9D14ddCB555B0A4EDf89c87E63eC52fdfADD9","object_root":"` + vectorRoot[2:] + `","nonce":101}`
		got := h.post(t, module, "/signer/v1/request_signature/proxy-ecdsa", body).decode(t)
		if got["signature"] != signature || got["address"] != "0x4ce9d14ddcb555b0a4edf89c87e63ec52fdfadd9" || got["pubkey"] != nil || got["nonce"] != json.Number("101") {
			t.Errorf("%s: %v", module, got)
		}
	}
}

// TestJWTVectors: the published tokens are genuine, or are not, as published.
// [Commit-Boost: test vectors G]
func TestJWTVectors(t *testing.T) {
	const (
		head    = "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9."
		body    = `{"data":"test"}`
		expired = head + "eyJleHAiOjE3NTgyOTkxNzIsIm1vZHVsZSI6IkRBX0NPTU1JVCIsInJvdXRlIjoiL3Rlc3Qvcm91dGUiLCJwYXlsb2FkX2hhc2giOm51bGx9._OBsNC67KLkk6f6ZQ2_CDbhYUJ2OtZ9egKAmi1L-ymA"
		badMAC  = head + "eyJleHAiOjE3NTgyOTkxMzQsIm1vZHVsZSI6IkRBX0NPTU1JVCIsInJvdXRlIjoiL3Rlc3Qvcm91dGUiLCJwYXlsb2FkX2hhc2giOm51bGx9.58QXayg2XeX5lXhIPw-a8kl04DWBEj5wBsqsedTeClo"
		withOne = head + "eyJleHAiOjE3NTgyOTgzNDQsIm1vZHVsZSI6IkRBX0NPTU1JVCIsInJvdXRlIjoiL3Rlc3Qvcm91dGUiLCJwYXlsb2FkX2hhc2giOiIweGFmODk2MjY0MzUzNTFmYzIwMDBkYmEwM2JiNTlhYjcyZWE0ODJiOWEwMDBmZWQzNmNkMjBlMDU0YjE2NjZmZjEifQ.PYrSxLXadKBgYZlmLam8RBSL32I1T_zAxlZpG6xnnII"
		badOne  = head + "eyJleHAiOjE3NTgyOTkwMDAsIm1vZHVsZSI6IkRBX0NPTU1JVCIsInJvdXRlIjoiL3Rlc3Qvcm91dGUiLCJwYXlsb2FkX2hhc2giOiIweGFmODk2MjY0MzUzNTFmYzIwMDBkYmEwM2JiNTlhYjcyZWE0ODJiOWEwMDBmZWQzNmNkMjBlMDU0YjE2NjZmZjEifQ.mnC-AexkLlR9l98SJbln3DmV6r9XyHYdbjcUVcWdi_8"
	)
	for name, c := range map[string]struct {
		token, body string
		genuine     bool
		exp         int64
	}{
		"expired": {expired, "", true, 1758299172}, "bad": {badMAC, "", false, 1758299134},
		"with a body": {withOne, body, true, 1758298344}, "bad with a body": {badOne, body, false, 1758299000},
	} {
		tok, ok := parseToken(c.token)
		if !ok || tok.claims.module != "DA_COMMIT" || tok.genuine(config.Secret("secret")) != c.genuine {
			t.Errorf("%s: read %v, genuine %v", name, ok, tok.genuine(config.Secret("secret")))
			continue
		}
		at := func(now int64) error {
			return tok.claims.check(rules{route: "/test/route", body: []byte(c.body), now: time.Unix(now, 0)})
		}
		// The leeway is 10 s, and everything but the time is right.
		if err := at(c.exp + 9); err != nil {
			t.Errorf("%s in its leeway: %v", name, err)
		}
		if err := at(c.exp + 10); err == nil {
			t.Errorf("%s after its leeway is taken", name)
		}
	}
}

// TestGenerations drives both generations over a socket as the reference
// describes them, on one listener.
func TestGenerations(t *testing.T) {
	h := newHouse(t, func(_ *house, m []Module, _ *Config) { m[1].Legacy = true; m[1].Grant = m[0].Grant })
	// Old: the token binds nothing, the answer is a bare string.
	old := jwt(secretB, hs256, fmt.Sprintf(`{"module":"MOD_B","exp":%d}`, time.Now().Add(300*time.Second).Unix()))
	made := h.send(t, "POST", "/signer/v1/generate_proxy_key", `{"pubkey":"`+keyOne+`","scheme":"bls"}`, old).decode(t)
	proxy := made["message"].(map[string]any)["proxy"].(string)
	address := h.send(t, "POST", "/signer/v1/generate_proxy_key", `{"pubkey":"`+keyOne+`","scheme":"ecdsa"}`, old).decode(t)["message"].(map[string]any)["proxy"].(string)
	list := h.send(t, "GET", "/signer/v1/get_pubkeys", "", old)
	want := fmt.Sprintf(`{"keys":[{"consensus":%q,"proxy_bls":[%q],"proxy_ecdsa":[%q]},{"consensus":%q,"proxy_bls":[],"proxy_ecdsa":[]}]}`, keyOne, proxy, address, keyTwo)
	if list.status != 200 || list.body != want {
		t.Errorf("get_pubkeys: %d %s\nwant %s", list.status, list.body, want)
	}
	// The envelope of then: SigningData of the root itself. [reference: CB-OLD]
	for body, key := range map[string]string{
		`{"type":"consensus","pubkey":"` + keyOne + `","object_root":"` + vectorRoot + `"}`:      keyOne,
		`{"type":"proxy_bls","proxy":"` + proxy + `","object_root":"` + vectorRoot + `"}`:        proxy,
		`{"object_root":"` + vectorRoot + `","proxy":"` + address + `","type":"proxy_ecdsa"}`:    address,
		`{"type":"proxy_bls","proxy":"` + proxy + `","object_root":"` + vectorRoot + `","x":[]}`: proxy,
	} {
		got := h.send(t, "POST", "/signer/v1/request_signature", body, old)
		var signature string
		if err := json.Unmarshal([]byte(got.body), &signature); err != nil || got.status != 200 {
			t.Errorf("%s: %d %s", body, got.status, got.body)
			continue
		}
		message := plainMessage(t, vectorRoot)
		if len(key) == 42 {
			signer, err := ecdsa.Recover(message, [65]byte(unhex(t, signature)))
			if err != nil || fmt.Sprintf("%#x", signer[:]) != key {
				t.Errorf("proxy_ecdsa: %#x, %v", signer[:], err)
			}
		} else if !bls.Verify(phase0.BLSPubKey(unhex(t, key)), message, phase0.BLSSignature(unhex(t, signature))) {
			t.Errorf("%s: the signature is not the plain envelope's", body)
		}
	}
	if v, _ := h.registry.Value(`sidecar_signer_api_weak_tokens_total{module="MOD_B"}`); v < 4 {
		t.Errorf("%v weak tokens counted", v)
	}
	// New, by the same module on the same listener.
	body := `{"proxy":"` + proxy + `","object_root":"` + vectorRoot + `","nonce":18446744073709551615}`
	if got := h.post(t, "MOD_B", "/signer/v1/request_signature/proxy-bls", body); got.status != 200 || !strings.Contains(got.body, `"nonce":18446744073709551615`) {
		t.Errorf("new: %d %s", got.status, got.body)
	}
	// A module whose grant has not got the old one.
	if got := h.post(t, "MOD_A", "/signer/v1/request_signature", `{"type":"consensus","pubkey":"`+keyOne+`","object_root":"`+vectorRoot+`"}`); got.status != 403 || got.reason() != "legacy_disabled" {
		t.Errorf("old, disabled: %d %s", got.status, got.reason())
	}
	oldA := jwt(secretA, hs256, fmt.Sprintf(`{"module":"MOD_A","exp":%d}`, time.Now().Add(300*time.Second).Unix()))
	if got := h.send(t, "GET", "/signer/v1/get_pubkeys", "", oldA); got.status != 401 || got.reason() != "token_other_request" {
		t.Errorf("old token, disabled: %d %s", got.status, got.reason())
	}
}

// plainMessage is SigningData(root, domain) with Hoodi's domain as published.
func plainMessage(t testing.TB, root string) phase0.Root {
	t.Helper()
	domain := unhex(t, "0x6d6d6f43719103511efa4f1362ff2a50996cccf329cc84cb410c5e5c7d351d03")
	return sha(append(unhex(t, root), domain...))
}

// TestDelegation: a proxy's delegation is Commit-Boost's, over a root that the
// reference computes from delegator and proxy. [Commit-Boost: ProxyDelegation]
func TestDelegation(t *testing.T) {
	h := newHouse(t, nil)
	for _, scheme := range []string{"bls", "ecdsa"} {
		got := h.post(t, "MOD_B", "/signer/v1/generate_proxy_key", `{"pubkey":"`+keyOne+`","scheme":"`+scheme+`"}`)
		var d struct {
			Message   struct{ Delegator, Proxy string }
			Signature string
		}
		if err := json.Unmarshal([]byte(got.body), &d); err != nil || got.status != http.StatusOK || d.Message.Delegator != keyOne {
			t.Fatalf("%d %s", got.status, got.body)
		}
		leaf := func(key string) []byte { b := unhex(t, key); return append(b, make([]byte, 64-len(b))...) }
		delegator, proxy := sha(leaf(keyOne)), phase0.Root(append(unhex(t, d.Message.Proxy), make([]byte, 32)...))
		if scheme == "bls" {
			proxy = sha(leaf(d.Message.Proxy))
		}
		root := sha(append(delegator[:], proxy[:]...))
		if !bls.Verify(h.one, plainMessage(t, root.String()), phase0.BLSSignature(unhex(t, d.Signature))) {
			t.Errorf("%s: the delegation does not verify", scheme)
		}
	}
}
