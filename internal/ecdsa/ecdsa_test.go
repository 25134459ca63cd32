package ecdsa_test

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/internal/ecdsa"
	"sidecar/internal/harden"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const secretA = "88bcd6672d95bcba0d52a3146494ed4d37675af4ed2206905eb161aa99a6c0d1"

// TestSign_Published holds signatures over Commit-Boost's published signing roots
// of its published key: reference §4.7, group A.
func TestSign_Published(t *testing.T) {
	k, err := ecdsa.ParseSecretKey(unhex(t, secretA))
	if err != nil {
		t.Fatal(err)
	}
	if got := k.Address().String(); got != "0x4ce9D14ddCB555B0A4EDf89c87E63eC52fdfADD9" {
		t.Fatalf("address: got %s", got)
	}
	for _, c := range []struct{ root, want string }{
		{"219ca7a673b2cbbf67bec6c9f60f78bd051336d57b68d1540190f30667e86725", "931c7f1d5dbec0f853b2d7eec584f6b0f3858ae00bf391e111a965fbbb861cbf5651bede1325c1f77b779c594f84aa732c7fcfb7de6b67c7601289521168bf741b"},
		{"0b95fcdb3f003fc6f0fd3238d906f359809e97fe7ec71f56771cb05bee4150bd", "32a3a54138f9daf6ddfc2f96504bae765d075dca1fe7cc501bbc99a58fa8c3397c45d744997a8324039b1ea62e01ba1ee2b6da48b903363078a1bc635f3661f51c"},
	} {
		root := phase0.Root(unhex(t, c.root))
		got, err := k.Sign(root)
		if err != nil || hex.EncodeToString(got[:]) != c.want {
			t.Errorf("%s: got %x, %v", c.root[:8], got, err)
		}
		if who, err := ecdsa.Recover(root, got); err != nil || who != k.Address() {
			t.Errorf("%s: recovered %s, %v", c.root[:8], who, err)
		}
	}
}

func TestRecover_OnlyTheCanonicalForm(t *testing.T) {
	k, err := ecdsa.NewSecretKey()
	if err != nil {
		t.Fatal(err)
	}
	root := phase0.Root{1}
	good, err := k.Sign(root)
	if err != nil {
		t.Fatal(err)
	}
	order, _ := new(big.Int).SetString("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141", 16)
	high := good
	new(big.Int).Sub(order, new(big.Int).SetBytes(good[32:64])).FillBytes(high[32:64])
	high[64] = 55 - good[64] // the other parity: it still recovers to the same key
	low := good
	low[64] -= 27
	for name, sig := range map[string][65]byte{"high s": high, "v 0 or 1": low, "zero": {64: 27}, "v 29": {0: 1, 63: 1, 64: 29}} {
		if who, err := ecdsa.Recover(root, sig); !errors.Is(err, ecdsa.ErrSignature) {
			t.Errorf("%s: got %s, %v", name, who, err)
		}
	}
}

func TestSecretKey_RefusesAndHides(t *testing.T) {
	for name, b := range map[string][]byte{
		"zero": make([]byte, 32), "short": make([]byte, 31), "empty": nil,
		"order": unhex(t, "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"),
	} {
		if _, err := ecdsa.ParseSecretKey(b); !errors.Is(err, ecdsa.ErrSecretKey) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	k, err := ecdsa.ParseSecretKey(unhex(t, secretA))
	if err != nil {
		t.Fatal(err)
	}
	if hex.EncodeToString(k.Bytes()) != secretA {
		t.Error("the bytes are another key's")
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
		for _, v := range []any{k, *k, struct{ K ecdsa.SecretKey }{*k}} {
			if got := fmt.Sprintf(verb, v); strings.Contains(got, secretA[:8]) || !strings.Contains(got, "hidden") {
				t.Errorf("%s shows %s", verb, got)
			}
		}
	}
	if got, err := json.Marshal(struct{ K any }{k}); err != nil || !strings.Contains(string(got), "hidden") {
		t.Errorf("JSON shows %s, %v", got, err)
	}
}

func TestMoveTo(t *testing.T) {
	k, err := ecdsa.ParseSecretKey(unhex(t, secretA))
	if err != nil {
		t.Fatal(err)
	}
	root := phase0.Root{1}
	want, err := k.Sign(root)
	if err != nil {
		t.Fatal(err)
	}
	v := harden.NewVault()
	defer v.Close()
	moved := k.MoveTo(v)
	if got, err := moved.Sign(root); err != nil || got != want || moved.Address() != k.Address() {
		t.Errorf("the moved key: %x, %v", got, err)
	}
	moved.Wipe()
	for name, wiped := range map[string]*ecdsa.SecretKey{"old": k, "moved": moved} {
		if got, err := wiped.Sign(root); !errors.Is(err, ecdsa.ErrSecretKey) {
			t.Errorf("the wiped %s key signs %x", name, got)
		}
	}
}
