package onchain

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"

	"sidecar/slashing/evidence"
)

// published are the test vectors of the format. [Web3 Secret Storage Definition:
// PBKDF2-SHA-256 and scrypt; password testpassword]
var published = map[string]string{
	"pbkdf2": `{"crypto":{"cipher":"aes-128-ctr","cipherparams":{"iv":"6087dab2f9fdbbfaddc31a909735c1e6"},"ciphertext":"5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46","kdf":"pbkdf2","kdfparams":{"c":262144,"dklen":32,"prf":"hmac-sha256","salt":"ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd"},"mac":"517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2"},"id":"3198bc9c-6672-5ab3-d995-4942343ae5b6","version":3}`,
	"scrypt": `{"crypto":{"cipher":"aes-128-ctr","cipherparams":{"iv":"83dbcc02d8ccb40e466191a123791e0e"},"ciphertext":"d172bf743a674da9cdad04534d56926ef8358534d458fffccd4e6ad2fbde479c","kdf":"scrypt","kdfparams":{"dklen":32,"n":262144,"r":1,"p":8,"salt":"ab0c7876052600dd703518d6fc3fe8984592145b591fc8fb5c6d43190334ba19"},"mac":"2103ac29920d71da29f15d75b4a16dbe95cfd7ff8faea1056c33131d846e3097"},"id":"3198bc9c-6672-5ab3-d995-4942343ae5b6","version":3}`,
}

const publishedSecret = "7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d"

func keep(t *testing.T, name, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoadKey(t *testing.T) {
	right, wrong := keep(t, "password", "testpassword\n", 0o600), keep(t, "password", "other", 0o600)
	for name, text := range published {
		path := keep(t, name, text, 0o600)
		key, plain, err := LoadKey(path, right)
		if err != nil || plain || hex.EncodeToString(key.Bytes()) != publishedSecret {
			t.Errorf("%s: plain %t, %v", name, plain, err)
		}
		for why, password := range map[string]string{"a wrong password": wrong, "no password": "", "no such file": "/nowhere"} {
			if _, _, err := LoadKey(path, password); !errors.Is(err, ErrKey) || strings.Contains(fmt.Sprint(err), "testpassword") {
				t.Errorf("%s, %s: %v", name, why, err)
			}
		}
	}
	key, plain, err := LoadKey(keep(t, "plain", "0x"+publishedSecret+"\n", 0o600), "")
	if err != nil || !plain || hex.EncodeToString(key.Bytes()) != publishedSecret {
		t.Errorf("plain: %t, %v", plain, err)
	}
	scrypt := published["scrypt"]
	for name, path := range map[string]string{
		"others may read":  keep(t, "k", publishedSecret, 0o644),
		"zero":             keep(t, "k", strings.Repeat("0", 64), 0o600),
		"short":            keep(t, "k", "abcd", 0o600),
		"no hex":           keep(t, "k", "a secret", 0o600),
		"empty":            keep(t, "k", "", 0o600),
		"another version":  keep(t, "k", strings.Replace(scrypt, `"version":3`, `"version":4`, 1), 0o600),
		"another cipher":   keep(t, "k", strings.Replace(scrypt, "aes-128-ctr", "aes-256-gcm", 1), 0o600),
		"memory for ever":  keep(t, "k", strings.Replace(scrypt, `"n":262144`, `"n":1099511627776`, 1), 0o600),
		"negative":         keep(t, "k", strings.Replace(scrypt, `"r":1`, `"r":-1`, 1), 0o600),
		"dklen":            keep(t, "k", strings.Replace(scrypt, `"dklen":32`, `"dklen":16`, 1), 0o600),
		"work for ever":    keep(t, "k", strings.Replace(published["pbkdf2"], `262144`, `2621440000`, 1), 0o600),
		"another function": keep(t, "k", strings.Replace(scrypt, `"kdf":"scrypt"`, `"kdf":"argon2"`, 1), 0o600),
		"too large":        keep(t, "k", strings.Repeat(" ", maxKeyFile+1), 0o600),
	} {
		if _, _, err := LoadKey(path, right); !errors.Is(err, ErrKey) || strings.Contains(fmt.Sprint(err), publishedSecret) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestDeadline: the last block and slot that can hold a submission, and the two
// alarms before it.
func TestDeadline(t *testing.T) {
	absent := evidence.File{Rules: evidence.Rules{GenesisTime: 1000, SlotMillis: 12_000}, Absence: &evidence.Absence{ChildNumber: 100}}
	double := evidence.File{Rules: absent.Rules}
	p := evidence.Promised{Slot: 100}
	// A transaction sent at head h is in block h+1: 100 + 8,191 is the last.
	for _, c := range []struct {
		head       uint64
		left       uint64
		used       int
		over, loud bool
	}{
		{101, 8190, 0, false, false}, {100 + 4094, 4097, 49, false, false}, {100 + 4095, 4096, 50, false, true}, {100 + 7371, 820, 90, false, true},
		{100 + 8190, 1, 100, false, true}, {100 + 8191, 0, 101, true, true}, {1 << 40, 0, 1000, true, true},
	} {
		inSlot := Block{Time: 1000 + 12*c.head}
		for name, d := range map[string]Deadline{"block": NewDeadline(absent, p, Block{Number: c.head}), "slot": NewDeadline(double, p, inSlot)} {
			if d.Left != c.left || d.Used != c.used || d.Over() != c.over {
				t.Errorf("head %d, %s: %d left, %d %%, over %t; want %d, %d, %t", c.head, name, d.Left, d.Used, d.Over(), c.left, c.used, c.over)
			}
			if name == "block" && d.Block != 100+8191 || name == "slot" && d.Slot != 100+8191 {
				t.Errorf("%s: until %d, %d", name, d.Block, d.Slot)
			}
			told := 0
			a := alarms{report: func(e Event) { told++ }}
			a.look("x", d)
			a.look("x", d)
			if (told == 1) != c.loud || told > 1 {
				t.Errorf("head %d: alarmed %d times", c.head, told)
			}
		}
	}
	// Both alarms, one after the other.
	var told []string
	a := alarms{report: func(e Event) { told = append(told, e.Text) }}
	for head := uint64(101); head < 8300; head += 50 {
		a.look("x", NewDeadline(absent, p, Block{Number: head}))
	}
	if len(told) != 2 {
		t.Errorf("%d alarms: %v", len(told), told)
	}
}

// TestRevert_name: every error of our contracts, of the core, and of Solidity.
func TestRevert_name(t *testing.T) {
	for want, data := range map[string]string{
		"InvalidCaller": "48f5c3ed", "execution too deep": "08c379a0" + strings.Repeat("0", 62) + "20" + strings.Repeat("0", 62) + "12" + hex.EncodeToString([]byte("execution too deep")) + strings.Repeat("0", 28),
		"0xffffffff": "ffffffff", "without a reason": "",
	} {
		if got := (&Revert{Data: common.FromHex(data)}).Name(); got != want {
			t.Errorf("%s: got %q, want %q", data, got, want)
		}
	}
	for _, e := range []evidence.Excuse{evidence.ChildUnknown, evidence.PayloadEncoding, evidence.NonceSpentInBlock, evidence.SamePromise} {
		found := false
		for _, name := range errorNames() {
			found = found || name == string(e)
		}
		if !found {
			t.Errorf("%s has no selector", e)
		}
	}
}
