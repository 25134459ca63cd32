package config

import (
	"strings"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/holiman/uint256"
)

func TestWallet(t *testing.T) {
	c, err := Parse("f", []byte(promisesHead+`[wallet]
port = 0
commitment_type = 1
slasher = "0x0000000000000000000000000000000000000a11"
without_promise = "passthrough"
min_tip_gwei = 0.5
sync_timeout_ms = 2000
cors_origins = ["https://wallet.example:8443", "*"]
[wallet.bolt]
key_path = "bolt.key"
`), nil)
	if err != nil {
		t.Fatal(err)
	}
	w := c.Wallet
	if w.CommitmentType != 1 || w.Slasher != (bellatrix.ExecutionAddress{18: 0x0a, 19: 0x11}) || w.WithoutPromise != WalletPassthrough || w.SyncTimeout != 2*time.Second ||
		w.MinTip != *uint256.NewInt(5e8) || w.Bolt.KeyPath != "bolt.key" || w.CallsPerSecond != 50 {
		t.Errorf("got %+v", w)
	}
	if said := strings.Join(c.Warnings(), "\n"); !strings.Contains(said, "wallet.cors_origins") {
		t.Errorf("warnings %q say nothing of every web page", said)
	}
}

func TestWallet_Refused(t *testing.T) {
	for line, want := range map[string]string{
		"commitment_type = 2": "wallet.commitment_type", `without_promise = "both"`: "wallet.without_promise", `slasher = "0x01"`: "wallet.slasher",
		"max_slots_ahead = 0": "wallet.max_slots_ahead", "max_slots_ahead = 65": "wallet.max_slots_ahead", "fee_hold_ms = 0": "wallet.fee_hold_ms",
		"fee_gas = 20999": "wallet.fee_gas", "sync_timeout_ms = 60001": "wallet.sync_timeout_ms", "sync_max_timeout_ms = 999": "wallet.sync_max_timeout_ms",
		"calls_per_second = -1.0": "wallet.calls_per_second", "transactions_per_second = nan": "wallet.transactions_per_second",
		`cors_origins = ["wallet.example"]`: "wallet.cors_origins[0]", `cors_origins = ["https://a.example/"]`: "wallet.cors_origins[0]",
		"port = 18550": "is the port of pbs too", "[wallet.bolt]": "wallet.bolt.key_path", "colour = 1": "wallet.colour",
	} {
		if _, err := Parse("f", []byte(promisesHead+"[wallet]\n"+line), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", line, err, want)
		}
	}
	listed := promisesHead + "slashers = [\"0x0000000000000000000000000000000000000a11\"]\n[wallet]\n"
	if _, err := Parse("f", []byte(listed+`slasher = "0x0000000000000000000000000000000000000a12"`), nil); err == nil || !strings.Contains(err.Error(), "wallet.slasher") {
		t.Errorf("a slasher that the gateway refuses: %v", err)
	}
	for _, line := range []string{"", `slasher = "0x0000000000000000000000000000000000000a11"`} {
		if _, err := Parse("f", []byte(listed+line), nil); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
	if _, err := Parse("f", []byte("chain = \"Hoodi\"\n[[relays]]\nurl = \"https://0xa119589bb33ef52acbb8116832bec2b58fca590fe5c85eac5d3230b44d5bc09fe73ccd21f88eab31d6de16194d17782e@one.example.org\"\n[wallet]"), nil); err == nil ||
		!strings.Contains(err.Error(), "needs a module that makes promises") {
		t.Errorf("without promises: %v", err)
	}
}
