package main

import (
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/crypto"

	"sidecar/slashing/onchain"
	"sidecar/slashing/slashingtest"
)

// TestProve_registration: the command at the registry, a stand-in here: asked
// first, then slashed, once.
func TestProve_registration(t *testing.T) {
	c := &court{Scene: slashingtest.Start(t, slashingtest.Options{}), t: t, dir: t.TempDir()}
	r := c.Registry()
	f, registered := r.Signed(c.Break())
	c.Mine()
	text, err := json.Marshal(onchain.Claim{Generation: "signing-domain", Registered: registered})
	if err != nil {
		t.Fatal(err)
	}
	file, claim := c.file("guilty.json", f), c.write("registration.json", text)
	base := []string{"prove", file, "--rpc", c.URL, "--registration", claim}
	out, err := c.run(t.Context(), append(base, "--dry-run")...)
	if err != nil || !strings.Contains(out, "would burn 1 ETH") || !strings.Contains(out, r.At.Hex()) {
		t.Errorf("dry run: %v, %s", err, out)
	}
	for name, args := range map[string][]string{
		"no delay here":    append(base, "--submit-only"),
		"nothing to clear": append(base, "--burn"),
		"not a claim":      {"prove", file, "--rpc", c.URL, "--registration", file},
		"no file":          {"prove", file, "--rpc", c.URL, "--registration", c.dir + "/none"},
		"two objects":      {"prove", file, "--rpc", c.URL, "--registration", c.write("two.json", append(text, text...))},
	} {
		if _, err := c.run(t.Context(), args...); err == nil || exitCode(err) != 2 {
			t.Errorf("%s: %v", name, err)
		}
	}
	key := c.write("key", []byte(hex.EncodeToString(crypto.FromECDSA(c.Prover.Key))))
	send := append(base, "--key", key, "--poll", "5ms", "--confirmations", "2")
	for range 2 {
		stop := c.live()
		out, err = c.run(t.Context(), send...)
		stop()
		if err != nil || !strings.Contains(out, "slashed: 1 ETH") {
			t.Errorf("%v, %s", err, out)
		}
	}
	if got := r.Collateral(); got.Cmp(slashingtest.Ether(9)) != 0 {
		t.Errorf("%s wei of collateral left", got)
	}
	if nonce, _, _ := c.Account(c.Prover.Address, c.Head()); nonce != 1 {
		t.Errorf("%d transactions, want 1", nonce)
	}
}
