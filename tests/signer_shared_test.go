package tests

import (
	"strings"
	"testing"
	"time"

	"sidecar/internal/ledger/pgtest"
)

// TestSignerAPI_Shared: two sidecars, two real processes, over one ledger in a
// real PostgreSQL. The one that leads signs; it is killed; the other takes over
// and holds to what the first has signed.
func TestSignerAPI_Shared(t *testing.T) {
	t.Parallel()
	server := pgtest.Own(t)
	if err := pgtest.Exec(server.DSN(), "create schema sidecar"); err != nil {
		t.Fatal(err)
	}
	house := func(name string) *signerHouse {
		h, file := newSignerHouse(t)
		h.write(t, "sidecar.toml", file+"[modules.signer]\nkinds = [\"consensus\"]\nkeys = [\""+signerKey+"\"]\n"+
			"[ledger]\npostgres_dsn_file = \"ledger.dsn\"\nlease_ms = 1500\nholder = \""+name+"\"\n")
		h.write(t, "ledger.dsn", pgtest.InSchema(server.DSN(), "sidecar"))
		return h
	}
	one, two := house("one"), house("two")
	one.do(t, 5, "ledger_missing", "run")
	one.do(t, 0, "Made the ledger", "init", "--new-keys")
	two.do(t, 0, "is there already", "init")
	one.start(t)
	two.start(t)

	const path = "/signer/v1/request_signature/bls"
	blind := `{"pubkey":"` + signerKey + `","object_root":"` + signerRoot + `","nonce":101}`
	other := strings.Replace(blind, "0x01", "0x02", 1)
	status, signed, reason := one.ask(t, "POST", path, blind, "DA_COMMIT")
	if status != 200 || !strings.Contains(signed, `"signature":"0xb653034a6da0e516cb999d6bbcd5ddd8dde9695322a94aefcd3049e6235e0f4f63b13d81`) {
		t.Fatalf("the leader: %d %s %s", status, reason, signed)
	}
	if status, body, reason := two.ask(t, "POST", path, other, "DA_COMMIT"); status != 503 || reason != "ledger_lease_held" {
		t.Errorf("the standby: %d %s %s", status, reason, body)
	}
	one.do(t, 0, "1 entries, 1 signatures", "ledger", "verify") // while both have it open

	if err := one.run.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-one.exited
	status = 503
	for begin := time.Now(); status == 503 && time.Since(begin) < 20*time.Second; time.Sleep(50 * time.Millisecond) {
		status, _, reason = two.ask(t, "POST", path, other, "DA_COMMIT")
	}
	if status != 409 || reason != "slashable" {
		t.Errorf("the successor, another root: %d %s", status, reason)
	}
	if status, again, reason := two.ask(t, "POST", path, blind, "DA_COMMIT"); status != 200 || again != signed {
		t.Errorf("the successor, the same root: %d %s %s", status, reason, again)
	}
	one.start(t) // and now it stands by
	if status, _, reason := one.ask(t, "POST", path, other, "DA_COMMIT"); status != 503 || reason != "ledger_lease_held" {
		t.Errorf("the first, come back: %d %s", status, reason)
	}
	// What is revoked at one of them is worth nothing at any.
	if status, body, reason := two.ask(t, "POST", "/revoke_jwt", `{"module_id":"DA_COMMIT"}`, ""); status != 200 {
		t.Fatalf("revoke: %d %s %s", status, reason, body)
	}
	status = 200
	for begin := time.Now(); status != 401 && time.Since(begin) < 20*time.Second; time.Sleep(50 * time.Millisecond) {
		status, _, _ = one.ask(t, "GET", "/signer/v1/get_pubkeys", "", "DA_COMMIT")
	}
	if status != 401 {
		t.Errorf("a revoked module at the standby: %d", status)
	}
	one.stop(t)
	two.stop(t)
}
