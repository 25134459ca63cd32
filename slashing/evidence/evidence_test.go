package evidence

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"os"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
)

// sample reads a file that the tests of contracts/bindings made and proved on
// an EVM.
func sample(t testing.TB, name string) ([]byte, File) {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	f, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return text, f
}

func TestJudge(t *testing.T) {
	for name, nonce := range map[string]uint64{"absent": 5, "double": 5} {
		_, f := sample(t, name)
		got, err := Judge(f, f.Rules, f.Slasher, f.ChildHash())
		if err != nil || got.Slot != 1_000_000 || got.Promised.Nonce != nonce || got.ID == (common.Hash{}) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		if _, err := Judge(f, f.Rules, common.Address{1}, f.ChildHash()); !errors.Is(err, OtherSlasher) {
			t.Errorf("%s for another contract: %v", name, err)
		}
		rules := f.Rules
		rules.EndSlot = 1_000_000
		if _, err := Judge(f, rules, f.Slasher, f.ChildHash()); !errors.Is(err, SlotOutOfRange) {
			t.Errorf("%s under older rules: %v", name, err)
		}
	}
	_, f := sample(t, "absent")
	if _, err := Judge(f, f.Rules, f.Slasher, common.Hash{1}); !errors.Is(err, ChildUnknown) {
		t.Errorf("on another chain: %v", err)
	}
	for _, number := range []uint64{0, f.Absence.ChildNumber - 1, f.Absence.ChildNumber + 1, math.MaxUint64} {
		elsewhere := f
		absence := *f.Absence
		absence.ChildNumber, elsewhere.Absence = number, &absence
		if _, err := Judge(elsewhere, f.Rules, f.Slasher, f.ChildHash()); !errors.Is(err, ChildUnknown) {
			t.Errorf("a child of number %d, which it is not: %v", number, err)
		}
	}
	f.Delegation.Message.Delegate[0] = 0
	if _, err := Judge(f, f.Rules, f.Slasher, f.ChildHash()); !errors.Is(err, ErrMalformed) {
		t.Errorf("a key that is none: %v", err)
	}
}

// TestJudge_headers: a header of the right hash that cannot be read.
func TestJudge_headers(t *testing.T) {
	_, f := sample(t, "absent")
	f.Absence.Headers.Child = []byte{0xc0}
	if _, err := Judge(f, f.Rules, f.Slasher, f.ChildHash()); !errors.Is(err, ErrMalformed) {
		t.Errorf("got %v", err)
	}
}

func TestParse_canonical(t *testing.T) {
	text, f := sample(t, "absent")
	again, err := Encode(f)
	if err != nil || !bytes.Equal(again, text) {
		t.Fatalf("a file does not survive reading and writing: %v", err)
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, text, "", " "); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{
		"indented":      indented.Bytes(),
		"no newline":    bytes.TrimSuffix(text, []byte("\n")),
		"two newlines":  append(bytes.Clone(text), '\n'),
		"unknown field": bytes.Replace(text, []byte(`{"format"`), []byte(`{"x":1,"format"`), 1),
		"upper case":    bytes.Replace(text, []byte("0xf9"), []byte("0xF9"), 1),
		"other format":  bytes.Replace(text, []byte("evidence/1"), []byte("evidence/2"), 1),
		"other kind":    bytes.Replace(text, []byte(`"absent"`), []byte(`"double"`), 1),
		"no promise":    bytes.Replace(text, []byte(`"promises":[`), []byte(`"promises":[],"x":[`), 1),
		"empty":         nil,
		"null":          []byte("null\n"),
		"too long":      make([]byte, MaxFile+1),
	} {
		if _, err := Parse(text); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	for _, none := range [][]hexutil.Bytes{nil, {}} {
		empty := f
		absence := *f.Absence
		absence.AccountProofs.Pre, empty.Absence = none, &absence
		text, err := Encode(empty)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse(text); errors.Is(err, ErrMalformed) != (none == nil) {
			t.Errorf("no proof, null %t: %v", none == nil, err)
		}
	}
	short := f
	short.Promises[0].Committer = &Committer{Signature: make([]byte, 64)}
	text, err = Encode(short)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Parse(text); !errors.Is(err, ErrMalformed) {
		t.Errorf("a short signature: %v", err)
	}
}

// TestParse_mutations: no byte of a file can change.
func TestParse_mutations(t *testing.T) {
	text, _ := sample(t, "double")
	for i := range text {
		for _, mask := range []byte{1, 0x20} {
			text[i] ^= mask
			if _, err := Parse(text); !errors.Is(err, ErrMalformed) {
				t.Fatalf("byte %d xor %#x: %v", i, mask, err)
			}
			text[i] ^= mask
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{"absent", "double"} {
		text, _ := sample(f, name)
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		file, err := Parse(text)
		if err != nil {
			return
		}
		if again, err := Encode(file); err != nil || !bytes.Equal(again, text) {
			t.Fatalf("two forms of one file: %v", err)
		}
		_, _ = Judge(file, file.Rules, file.Slasher, file.ChildHash())
	})
}

// FuzzJudge gives every mutation of the samples a right digest: whatever reads as
// a file has one form, and proves no fault but those that were really committed.
func FuzzJudge(f *testing.F) {
	known := map[common.Hash]bool{}
	var rules Rules
	var slasher common.Address
	var child common.Hash
	for _, name := range []string{"absent", "double"} {
		text, file := sample(f, name)
		fault, err := Judge(file, file.Rules, file.Slasher, file.ChildHash())
		if err != nil {
			f.Fatal(err)
		}
		known[fault.ID] = true
		if file.Absence != nil {
			rules, slasher, child = file.Rules, file.Slasher, file.ChildHash()
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var file File
		if json.Unmarshal(text, &file) != nil {
			return
		}
		again, err := Encode(file)
		if err != nil {
			return
		}
		read, err := Parse(again)
		if err != nil {
			return
		}
		if fault, err := Judge(read, rules, slasher, child); err == nil && !known[fault.ID] {
			t.Fatalf("a fault nobody committed: %+v", fault)
		}
	})
}
