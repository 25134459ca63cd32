package api

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/internal/ledger"
)

func signBody(field, key string, root byte, nonce uint64) string {
	return fmt.Sprintf(`{%q:%q,"object_root":%q,"nonce":%d}`, field, key, phase0.Root{root}.String(), nonce)
}

const (
	proxyBLSPath   = "/signer/v1/request_signature/proxy-bls"
	proxyECDSAPath = "/signer/v1/request_signature/proxy-ecdsa"
)

// TestGrants: what a module may not, it is told by name, and nothing is signed.
func TestGrants(t *testing.T) {
	h := newHouse(t, func(h *house, m []Module, _ *Config) {
		m[0].Grant = Grant{Keys: []phase0.BLSPubKey{h.one}, Consensus: true, Proxy: true, Routes: everyRoute, PerSlot: 1000}
		m[1].Grant.Routes = []string{RoutePubkeys, RouteSign}
	})
	ofA, ofB := h.proxy(t, "MOD_A", false).String(), h.proxy(t, "MOD_B", false).String()
	ecdsaA := h.proxy(t, "MOD_A", true).String()
	entries, signatures := h.book.Len(), h.keys.calls.Load()
	for _, c := range []struct {
		name, module, path, body string
		status                   int
		reason                   string
	}{
		{"another's proxy", "MOD_B", proxyBLSPath, signBody("proxy", ofA, 1, 0), 403, "proxy_not_yours"},
		{"another's ECDSA proxy", "MOD_B", proxyECDSAPath, signBody("proxy", ecdsaA, 1, 0), 403, "proxy_not_yours"},
		{"the other way", "MOD_A", proxyBLSPath, signBody("proxy", ofB, 1, 0), 403, "proxy_not_yours"},
		{"blind, module without the kind", "MOD_B", blsPath, signBody("pubkey", keyOne, 1, 0), 403, "blind_root_forbidden"},
		{"blind, key not named", "MOD_A", blsPath, signBody("pubkey", keyTwo, 1, 0), 403, "blind_root_forbidden"},
		{"proxy as a consensus key", "MOD_A", blsPath, signBody("pubkey", ofA, 1, 0), 404, "unknown_consensus_signer"},
		{"consensus key as a proxy", "MOD_A", proxyBLSPath, signBody("proxy", keyOne, 1, 0), 404, "unknown_proxy_signer"},
		{"unknown key", "MOD_A", blsPath, signBody("pubkey", "0x"+strings.Repeat("11", 48), 1, 0), 404, "unknown_consensus_signer"},
		{"unknown proxy", "MOD_A", proxyECDSAPath, signBody("proxy", "0x"+strings.Repeat("11", 20), 1, 0), 404, "unknown_proxy_signer"},
		{"route not granted", "MOD_B", pathGenerate, `{"pubkey":"` + keyOne + `","scheme":"bls"}`, 403, "route_forbidden"},
		{"intents not granted", "MOD_B", pathIntents, `{}`, 403, "route_forbidden"},
		{"proxy for a validator not granted", "MOD_A", pathGenerate, `{"pubkey":"` + keyTwo + `","scheme":"bls"}`, 403, "key_forbidden"},
		{"an admin's route", "MOD_A", pathReload, `{}`, 401, "token_invalid"},
		{"a module's route", "", blsPath, signBody("pubkey", keyOne, 1, 0), 401, "token_invalid"},
	} {
		got := h.post(t, c.module, c.path, c.body)
		if got.status != c.status || got.reason() != c.reason {
			t.Errorf("%s: %d %s %q, want %d %s", c.name, got.status, got.reason(), got.body, c.status, c.reason)
		}
	}
	if h.book.Len() != entries || h.keys.calls.Load() != signatures {
		t.Errorf("%d entries, %d signatures made", h.book.Len()-entries, h.keys.calls.Load()-signatures)
	}
	log := h.log.String()
	if want := `msg="Signature refused" module=MOD_B route=request_signature_proxy_bls key=` + ofA + ` reason=proxy_not_yours`; !strings.Contains(log, want) {
		t.Errorf("no audit line %q in\n%s", want, log)
	}
	if v, _ := h.registry.Value(`sidecar_signer_api_requests_total{module="MOD_B",result="proxy_not_yours",route="request_signature_proxy_bls"}`); v != 1 {
		t.Errorf("counted %v times", v)
	}
	// What the operator has to write is in the refusal.
	got := h.post(t, "MOD_A", blsPath, signBody("pubkey", keyTwo, 1, 0))
	if !strings.Contains(got.body, `kinds = ["consensus", "proxy"] and keys = ["`+keyTwo+`"]`) {
		t.Errorf("refusal: %s", got.body)
	}
	// And what is granted works.
	for path, body := range map[string]string{blsPath: signBody("pubkey", keyOne, 1, 0), proxyBLSPath: signBody("proxy", ofA, 1, 0), proxyECDSAPath: signBody("proxy", ecdsaA, 1, 0)} {
		if got := h.post(t, "MOD_A", path, body); got.status != 200 {
			t.Errorf("%s: %d %s", path, got.status, got.reason())
		}
	}
	if got := h.post(t, "MOD_A", pathGenerate, `{"pubkey":"`+keyOne+`","scheme":"bls"}`); got.status != 200 {
		t.Errorf("generate: %d %s", got.status, got.reason())
	}
	if got := h.send(t, http.MethodGet, pathPubkeys, "", h.moduleToken("MOD_A", secretA, pathPubkeys, "")); strings.Contains(got.body, keyTwo) || !strings.Contains(got.body, keyOne) || strings.Contains(got.body, ofB) {
		t.Errorf("get_pubkeys shows what is not the module's: %s", got.body)
	}
}

// TestNonce: a nonce above 0 of a key gets one root, ever; the same again the
// stored signature, after a restart too. Nonce 0 is not tracked.
func TestNonce(t *testing.T) {
	h := newHouse(t, nil)
	proxy := h.proxy(t, "MOD_B", false).String()
	ask := func(root byte, nonce uint64) reply {
		return h.post(t, "MOD_B", proxyBLSPath, signBody("proxy", proxy, root, nonce))
	}
	first := ask(1, 7)
	if got := ask(2, 7); first.status != 200 || got.status != 409 || got.reason() != "slashable" {
		t.Errorf("%d, then %d %s", first.status, got.status, got.reason())
	}
	for _, root := range []byte{1, 2} {
		if got := ask(root, 0); got.status != 200 {
			t.Errorf("nonce 0, root %d: %d", root, got.status)
		}
	}
	if err := h.book.Close(); err != nil {
		t.Fatal(err)
	}
	h.open(t, nil)
	calls := h.keys.calls.Load()
	if got := ask(1, 7); got.body != first.body || h.keys.calls.Load() != calls {
		t.Errorf("again: %s, want %s", got.body, first.body)
	}
	if got := ask(2, 7); got.status != 409 {
		t.Errorf("after a restart: %d", got.status)
	}
}

// TestQuota: so many in a slot, and then Retry-After the next one.
func TestQuota(t *testing.T) {
	h := newHouse(t, func(_ *house, m []Module, _ *Config) { m[1].Grant.PerSlot = 2 })
	proxy := h.proxy(t, "MOD_B", false).String()
	var last reply
	for range 3 {
		last = h.post(t, "MOD_B", proxyBLSPath, signBody("proxy", proxy, 1, 0))
	}
	if last.status == 200 { // the slot ended in between
		last = h.post(t, "MOD_B", proxyBLSPath, signBody("proxy", proxy, 1, 0))
		last = h.post(t, "MOD_B", proxyBLSPath, signBody("proxy", proxy, 1, 0))
	}
	if last.status != 429 || last.reason() != "module_quota" || last.header.Get("Retry-After") == "" {
		t.Errorf("%d %s %v", last.status, last.reason(), last.header)
	}
	h.offset.Add(int64(h.keys.spec.SlotDuration))
	if got := h.post(t, "MOD_B", proxyBLSPath, signBody("proxy", proxy, 1, 0)); got.status != 200 {
		t.Errorf("in the next slot: %d", got.status)
	}
}

// TestUnavailable: a ledger that is closed, or holds, signs nothing: 503.
func TestUnavailable(t *testing.T) {
	h := newHouse(t, nil)
	proxy := h.proxy(t, "MOD_B", false).String()
	if err := h.book.Close(); err != nil {
		t.Fatal(err)
	}
	if got := h.post(t, "MOD_B", proxyBLSPath, signBody("proxy", proxy, 1, 1)); got.status != 503 || got.reason() != "ledger_closed" {
		t.Errorf("%d %s", got.status, got.reason())
	}
}

// TestPolicy: what stands behind the routes says no by itself.
func TestPolicy(t *testing.T) {
	h := newHouse(t, nil)
	ofA := h.proxy(t, "MOD_A", false)
	one := commitments.BLSKey(h.one)
	for _, c := range []struct {
		module string
		kind   ledger.Kind
		key    commitments.Key
		want   bool
	}{
		{"MOD_A", ledger.KindRequest, ofA, true},
		{"MOD_B", ledger.KindRequest, ofA, false},
		{"MOD_A", ledger.KindRequest, one, true},
		{"MOD_B", ledger.KindRequest, one, false},
		{"MOD_B", ledger.KindProxy, one, true},
		{"MOD_B", ledger.KindDelegation, one, false},
		{"MOD_A", ledger.KindCommitment, ofA, false},
		{"MOD_A", ledger.KindConstraints, ofA, false},
		{"", ledger.KindRequest, one, false},
		{"gateway", ledger.KindRequest, one, false},
	} {
		if got := h.policy.Allows(c.module, c.kind, c.key); got != c.want {
			t.Errorf("%s %s: %v", c.module, c.kind, got)
		}
	}
}

func TestTable_Refuses(t *testing.T) {
	h := newHouse(t, nil)
	for name, change := range map[string]func(m []Module, t *Table){
		"no id":             func(m []Module, _ *Table) { m[0].ID = "" },
		"an id twice":       func(m []Module, _ *Table) { m[0].ID = m[1].ID },
		"no secret":         func(m []Module, _ *Table) { m[0].Secret = "" },
		"a secret twice":    func(m []Module, _ *Table) { m[0].Secret = m[1].Secret },
		"the admin's":       func(m []Module, t *Table) { m[0].Secret = t.Admin },
		"no signing id":     func(m []Module, _ *Table) { m[0].SigningID = phase0.Root{} },
		"signing ids alike": func(m []Module, _ *Table) { m[0].SigningID = m[1].SigningID },
		"strict and weak":   func(m []Module, _ *Table) { m[0].Strict, m[0].Secret = true, "short" },
		"strict and legacy": func(m []Module, _ *Table) { m[0].Strict, m[0].Legacy = true, true },
		"unknown route":     func(m []Module, _ *Table) { m[0].Grant.Routes = []string{"everything"} },
	} {
		table := Table{Modules: h.modules(), Admin: secretAdmin}
		change(table.Modules, &table)
		if err := h.policy.Update(table); !errors.Is(err, ErrTable) || strings.Contains(fmt.Sprintf("%v %+v", err, table), secretB) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
