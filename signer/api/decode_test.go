package api

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"sidecar/fault"
)

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

func printf(w io.Writer, format string, args ...any) {
	for _, a := range args {
		_, _ = fmt.Fprintf(w, format, a)
	}
}

// TestBodies: what the compatible routes take and refuse, in either encoding of
// a refusal.
func TestBodies(t *testing.T) {
	h := newHouse(t, nil)
	root := vectorRoot
	good := `{"pubkey":"` + keyOne + `","object_root":"` + root + `","nonce":0}`
	for name, c := range map[string]struct {
		body   string
		status int
		reason string
	}{
		"good":              {good, 200, ""},
		"unknown field":     {strings.Replace(good, "{", `{"x":{"y":[1,2]},`, 1), 200, ""},
		"without 0x":        {strings.ReplaceAll(good, "0x", ""), 200, ""},
		"upper case":        {strings.ReplaceAll(strings.ToUpper(good), "0X", "0x"), 422, "body_shape"}, // so are the names
		"upper-case digits": {`{"pubkey":"0x` + strings.ToUpper(keyOne[2:]) + `","object_root":"` + root + `","nonce":0}`, 200, ""},
		"nonce greatest":    {strings.Replace(good, `:0}`, `:18446744073709551615}`, 1), 200, ""},
		"nonce too large":   {strings.Replace(good, `:0}`, `:18446744073709551616}`, 1), 422, "body_shape"},
		"nonce negative":    {strings.Replace(good, `:0}`, `:-1}`, 1), 422, "body_shape"},
		"nonce float":       {strings.Replace(good, `:0}`, `:1.0}`, 1), 422, "body_shape"},
		"nonce exponent":    {strings.Replace(good, `:0}`, `:1e3}`, 1), 422, "body_shape"},
		"nonce text":        {strings.Replace(good, `:0}`, `:"0"}`, 1), 422, "body_shape"},
		"nonce null":        {strings.Replace(good, `:0}`, `:null}`, 1), 422, "body_shape"},
		"nonce missing":     {strings.Replace(good, `,"nonce":0`, ``, 1), 422, "body_shape"},
		"nonce octal":       {strings.Replace(good, `:0}`, `:00}`, 1), 400, "body_malformed"},
		"root short":        {strings.Replace(good, root, root[:64], 1), 422, "body_shape"},
		"root long":         {strings.Replace(good, root, root+"00", 1), 422, "body_shape"},
		"root odd":          {strings.Replace(good, root, root[:65], 1), 422, "body_shape"},
		"root no hex":       {strings.Replace(good, root, "0x"+strings.Repeat("zz", 32), 1), 422, "body_shape"},
		"root with two 0x":  {strings.Replace(good, root, "0x"+root[:64], 1), 422, "body_shape"},
		"root a number":     {strings.Replace(good, `"`+root+`"`, "1", 1), 422, "body_shape"},
		"key missing":       {`{"object_root":"` + root + `","nonce":0}`, 422, "body_shape"},
		"key zero":          {strings.Replace(good, keyOne, "0x"+strings.Repeat("00", 48), 1), 422, "body_shape"},
		"key an address":    {strings.Replace(good, keyOne, keyOne[:42], 1), 422, "body_shape"},
		"a name twice":      {strings.Replace(good, "{", `{"nonce":1,`, 1), 400, "body_malformed"},
		"twice, escaped":    {strings.Replace(good, "{", `{"nonc\u0065":1,`, 1), 400, "body_malformed"},
		"trailing":          {good + "x", 400, "body_malformed"},
		"two objects":       {good + good, 400, "body_malformed"},
		"a list":            {"[" + good + "]", 400, "body_malformed"},
		"cut":               {good[:40], 400, "body_malformed"},
		"not UTF-8":         {strings.Replace(good, "{", "{\"\xff\":1,", 1), 400, "body_malformed"},
		"a byte order mark": {"\ufeff" + good, 400, "body_malformed"},
		"deep":              {strings.Replace(good, "{", `{"x":`+strings.Repeat("[", 20000)+strings.Repeat("]", 20000)+`,`, 1), 400, "body_malformed"},
	} {
		got := h.post(t, "MOD_A", blsPath, c.body)
		if got.status != c.status || got.reason() != c.reason {
			t.Errorf("%s: %d %s %.100q, want %d %s", name, got.status, got.reason(), got.body, c.status, c.reason)
		}
	}
	large := strings.Replace(good, "{", `{"x":"`+strings.Repeat("x", maxBody)+`",`, 1)
	if got := h.post(t, "MOD_A", blsPath, large); got.status != 413 {
		t.Errorf("too large: %d", got.status)
	}
	token := h.moduleToken("MOD_A", secretA, blsPath, good)
	for media, want := range map[string]int{"application/json; charset=utf-8": 200, "text/plain": 415, "application/x-www-form-urlencoded": 415, "": 415} {
		if got := h.send(t, http.MethodPost, blsPath, good, token, "Content-Type", media); got.status != want {
			t.Errorf("Content-Type %q: %d, want %d", media, got.status, want)
		}
	}
	if got := h.send(t, http.MethodPost, blsPath, good, token, "Origin", "http://evil.example"); got.status != 403 {
		t.Errorf("from a web page: %d", got.status)
	}
}

// TestRefusals: plain text as Commit-Boost's, JSON for who asks for it by name.
func TestRefusals(t *testing.T) {
	h := newHouse(t, nil)
	unknown := "0x" + strings.Repeat("11", 48)
	body := signBody("pubkey", unknown, 1, 0)
	token := h.moduleToken("MOD_A", secretA, blsPath, body)
	for accept, isJSON := range map[string]bool{"*/*": false, "": false, "text/plain": false, "application/json": true, "application/json, text/plain, */*": true} {
		got := h.send(t, http.MethodPost, blsPath, body, token, "Accept", accept)
		if got.status != 404 || got.reason() != "unknown_consensus_signer" {
			t.Fatalf("%d %s", got.status, got.reason())
		}
		if !isJSON && (got.body != "unknown consensus signer: "+unknown || got.header.Get("Content-Type") != "text/plain; charset=utf-8") {
			t.Errorf("Accept %q: %s %q", accept, got.header.Get("Content-Type"), got.body)
		}
		var e struct {
			Code            int
			Message, Reason string
		}
		if isJSON && (json.Unmarshal([]byte(got.body), &e) != nil || e.Code != 404 || e.Reason != "unknown_consensus_signer") {
			t.Errorf("Accept %q: %q", accept, got.body)
		}
	}
	for _, path := range []string{pathStatus, "/status"} {
		if got := h.send(t, http.MethodGet, path, "", ""); got.status != 200 || got.body != "" {
			t.Errorf("%s: %d %q", path, got.status, got.body)
		}
	}
}

// FuzzObject: one object, every name once, as encoding/json reads it; or ErrSyntax.
func FuzzObject(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":1,"b":[{}]}`, `{"a":1,"a":2}`, `{"a":1}x`, `[]`, `{"\u0061":"x"}`, "{\"\xff\":1}", `{"nonce":1e999}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := object(b)
		if err != nil {
			if fault.Code(err) != "body_malformed" {
				t.Fatal(err)
			}
			return
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal(b, &want); err != nil || len(want) != len(got) {
			t.Fatalf("%q: %d names, encoding/json %d, %v", b, len(got), len(want), err)
		}
		for name, raw := range want {
			if string(got[name]) != string(raw) {
				t.Fatalf("%q: %s is %s, encoding/json says %s", b, name, got[name], raw)
			}
		}
	})
}

// FuzzRequest: the decoders of requests take a body or name what is wrong with it.
func FuzzRequest(f *testing.F) {
	f.Add([]byte(`{"pubkey":"` + keyOne + `","object_root":"` + vectorRoot + `","nonce":18446744073709551615}`))
	f.Add([]byte(`{"type":"t","slot":1,"proxy":"` + keyOne + `","object":"0x61","hash":"sha256","object_root":"` + vectorRoot + `","claims":["a"]}`))
	f.Add([]byte(`{"type":"t","slot":1,"proxy":"` + keyOne[:42] + `","object":"` + vectorRoot + `","hash":"ssz_container","object_root":"` + vectorRoot + `","claims":["a"],"nonce":3}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := object(b)
		if err != nil {
			return
		}
		var s *Service
		a, err := s.parseIntent(&call{fields: got})
		if code := fault.Code(err); code != "" && code != "body_shape" && code != "intent_root" {
			t.Fatalf("%q: %v", b, err)
		}
		if err == nil && (len(a.request.Object) == 0 || len(a.request.Claims) == 0 || a.key.IsZero() || a.request.Type == "") {
			t.Fatalf("%q: %+v", b, a)
		}
		r := reader{fields: got}
		root, nonce := r.root("object_root"), r.number("nonce")
		if r.err == nil && string(got["nonce"]) != strconv.FormatUint(nonce, 10) {
			t.Fatalf("%q: nonce %d, root %s", b, nonce, root)
		}
	})
}
