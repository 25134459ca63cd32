package api

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"sidecar/internal/config"
)

// TestRevokeProxy: by the administrator only, of both schemes, whose ever it is.
func TestRevokeProxy(t *testing.T) {
	h := newHouse(t, nil)
	for _, ecdsa := range []bool{false, true} {
		key := h.proxy(t, "MOD_A", ecdsa).String()
		path := map[bool]string{false: proxyBLSPath, true: proxyECDSAPath}[ecdsa]
		sign := func() reply { return h.post(t, "MOD_A", path, signBody("proxy", key, 1, 1)) }
		body := `{"proxy":"` + key + `"}`
		if got := sign(); got.status != 200 {
			t.Fatalf("before: %d %s", got.status, got.body)
		}
		if got := h.post(t, "MOD_A", pathProxy, body); got.status != 401 {
			t.Errorf("by its module: %d %s", got.status, got.body)
		}
		if got := h.post(t, "", pathProxy, body); got.status != 200 || got.body != "" {
			t.Errorf("revoke: %d %s", got.status, got.body)
		}
		if got := sign(); got.status != 404 {
			t.Errorf("after: %d %s", got.status, got.body)
		}
		if got := h.post(t, "", pathProxy, body); got.status != 404 {
			t.Errorf("unknown: %d %s", got.status, got.body)
		}
	}
	if got := h.post(t, "", pathProxy, `{"proxy":"0x00"}`); got.status != 422 {
		t.Errorf("no key: %d %s", got.status, got.body)
	}
}

// TestRevoke: at once, after a reload and after a restart; until there is a new
// secret. [CBST2-04]
func TestRevoke(t *testing.T) {
	h := newHouse(t, nil)
	pubkeys := func(secret string) int {
		return h.send(t, http.MethodGet, pathPubkeys, "", h.moduleToken("MOD_A", secret, pathPubkeys, "")).status
	}
	if got := pubkeys(secretA); got != 200 {
		t.Fatal(got)
	}
	for range 2 { // again is no error
		if got := h.post(t, "", pathRevoke, `{"module_id":"MOD_A"}`); got.status != 200 || got.body != "" {
			t.Fatalf("revoke: %d %s", got.status, got.body)
		}
	}
	if got := h.post(t, "", pathRevoke, `{"module_id":"MOD_X"}`); got.status != 404 || got.body != "module id not found" {
		t.Errorf("unknown: %d %q", got.status, got.body)
	}
	wrong := h.send(t, http.MethodGet, pathPubkeys, "", h.moduleToken("MOD_B", secretA, pathPubkeys, ""))
	revoked := h.send(t, http.MethodGet, pathPubkeys, "", h.moduleToken("MOD_A", secretA, pathPubkeys, ""))
	if revoked.status != 401 || revoked.body != wrong.body || revoked.reason() != wrong.reason() {
		t.Errorf("revoked: %d %s %s", revoked.status, revoked.reason(), revoked.body)
	}
	if got := h.post(t, "", pathReload, `{}`); got.status != 200 || got.body != "" {
		t.Fatalf("reload: %d %s", got.status, got.body)
	}
	if got := pubkeys(secretA); got != 401 {
		t.Errorf("after a reload: %d", got)
	}
	if err := h.book.Close(); err != nil {
		t.Fatal(err)
	}
	h.open(t, nil)
	if got := pubkeys(secretA); got != 401 {
		t.Errorf("after a restart: %d", got)
	}
	const fresh = "a-new-secret-a-new-secret-a-new-secret-a"
	if got := h.post(t, "", pathReload, `{"jwt_secrets":"MOD_A=`+fresh+`"}`); got.status != 200 {
		t.Fatalf("reload with a new secret: %d %s", got.status, got.body)
	}
	if got, old := pubkeys(fresh), pubkeys(secretA); got != 200 || old != 401 {
		t.Errorf("new secret: %d, old: %d", got, old)
	}
	if got := h.send(t, http.MethodGet, pathPubkeys, "", h.moduleToken("MOD_B", secretB, pathPubkeys, "")); got.status != 200 {
		t.Errorf("another module: %d", got.status)
	}
}

func TestReload(t *testing.T) {
	var fail error
	loads := 0
	h := newHouse(t, func(h *house, m []Module, c *Config) {
		c.FailLimit = 0
		c.Reload = func(context.Context) (Table, error) {
			loads++
			return Table{Modules: h.modules(), Admin: secretAdmin}, fail
		}
	})
	const other = "another-admin-another-admin-another-admin"
	for _, c := range []struct {
		name, body string
		status     int
		reason     string
	}{
		{"from the configuration", `{}`, 200, ""},
		{"no body", ``, 415, "json_wanted"},
		{"an override for nobody", `{"jwt_secrets":"MOD_A=` + secretA + `2,MOD_X=y"}`, 400, "override_unknown_module"},
		{"two alike", `{"jwt_secrets":"MOD_A=` + secretB + `"}`, 400, "signer_modules_invalid"},
		{"no list", `{"jwt_secrets":"MOD_A"}`, 422, "body_shape"},
		{"an empty secret", `{"admin_secret":""}`, 422, "body_shape"},
		{"a secret with an equals sign", `{"jwt_secrets":"MOD_A=` + secretA + `==,MOD_B=` + secretB + `","other":1}`, 200, ""},
	} {
		got := h.send(t, http.MethodPost, pathReload, c.body, h.moduleToken("", secretAdmin, pathReload, c.body))
		if got.status != c.status || got.reason() != c.reason {
			t.Errorf("%s: %d %s %q, want %d %s", c.name, got.status, got.reason(), got.body, c.status, c.reason)
		}
		if strings.Contains(got.body, secretA) || strings.Contains(h.log.String(), secretA) {
			t.Errorf("%s: a secret is shown", c.name)
		}
	}
	if got := h.send(t, http.MethodGet, pathPubkeys, "", h.moduleToken("MOD_A", secretA+"==", pathPubkeys, "")); got.status != 200 {
		t.Errorf("the secret with an equals sign: %d", got.status)
	}
	fail = errors.New("line 7 of the file, with its text")
	got := h.post(t, "", pathReload, `{}`)
	if got.status != 500 || got.reason() != "reload_failed" || got.body != "internal error" {
		t.Errorf("failed: %d %s %q", got.status, got.reason(), got.body)
	}
	if got := h.send(t, http.MethodGet, pathPubkeys, "", h.moduleToken("MOD_A", secretA+"==", pathPubkeys, "")); got.status != 200 {
		t.Errorf("a failed reload changed something: %d", got.status)
	}
	fail = nil
	if got := h.post(t, "", pathReload, `{"admin_secret":"`+other+`"}`); got.status != 200 {
		t.Fatal(got)
	}
	if got := h.post(t, "", pathReload, `{}`); got.status != 401 {
		t.Errorf("the old admin secret: %d", got.status)
	}
	// Not an administrator: a token that does not say so, and one that says no.
	for _, claims := range []string{`"admin":false`, `"x":1`, `"admin":"true"`} {
		exp := h.cfg.Clock.Now().Unix() + 60
		token := jwt(other, hs256, strings.NewReplacer("EXP", itoa(exp), "HASH", keccakHex(`{}`)).Replace(`{"exp":EXP,"route":"/reload","payload_hash":"HASH",`+claims+`}`))
		if got := h.send(t, http.MethodPost, pathReload, `{}`, token); got.status != 401 {
			t.Errorf("%s: %d", claims, got.status)
		}
	}
}

// TestNoAdmin: without a secret nobody is an administrator, not even with an empty one.
func TestNoAdmin(t *testing.T) {
	h := newHouse(t, nil)
	if err := h.policy.Update(Table{Modules: h.modules()}); err != nil {
		t.Fatal(err)
	}
	if got := h.send(t, http.MethodPost, pathReload, `{}`, h.moduleToken("", "", pathReload, `{}`)); got.status != 401 {
		t.Errorf("%d", got.status)
	}
}

// TestSecretsPrint: no format shows a secret.
func TestSecretsPrint(t *testing.T) {
	m := Module{ID: "A", Secret: config.Secret(secretA)}
	h := newHouse(t, nil)
	var b strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		printf(&b, verb, m, Table{Modules: []Module{m}, Admin: secretAdmin})
	}
	printf(&b, "%+v", h.policy.table.Load(), "")
	for _, secret := range []string{secretA, secretAdmin, secretA[:8]} {
		if strings.Contains(b.String(), secret) {
			t.Errorf("%s", b.String())
		}
	}
}
