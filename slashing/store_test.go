package slashing

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/slashing/evidence"
)

// TestStore: what was put comes back; what a crash or a stranger left does not.
func TestStore(t *testing.T) {
	dir := t.TempDir()
	s := NewStore(dir)
	if s.get(5, phase0.Hash32{1}) != nil {
		t.Fatal("a capture out of nothing")
	}
	c := &Capture{Slot: 5, Block: phase0.Hash32{1}, Number: 7}
	if err := s.put(c); err != nil {
		t.Fatal(err)
	}
	c.ChildNumber = 8
	if err := s.put(c); err != nil {
		t.Fatal(err)
	}
	if got := s.get(5, phase0.Hash32{1}); got == nil || got.Number != 7 || got.ChildNumber != 8 {
		t.Fatalf("got %+v", got)
	}
	path := s.capturePath(5, phase0.Hash32{1})
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"half a file": whole[:len(whole)/2], "another block's": []byte(`{"slot":5,"block":"0x02"}`), "nothing": nil} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := s.get(5, phase0.Hash32{1}); got != nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if err := s.put(c); err != nil || s.get(5, phase0.Hash32{1}) == nil {
		t.Errorf("not captured again: %v", err)
	}
}

func TestStore_prune(t *testing.T) {
	dir := t.TempDir()
	s := NewStore(dir)
	for slot := range phase0.Slot(10) {
		if err := s.put(&Capture{Slot: slot, Block: phase0.Hash32{byte(slot)}}); err != nil {
			t.Fatal(err)
		}
	}
	left := filepath.Join(dir, "captures", unfinished+"123")
	if err := os.WriteFile(left, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.prune(7)
	for slot := range phase0.Slot(10) {
		if got := s.get(slot, phase0.Hash32{byte(slot)}) != nil; got != (slot >= 7) {
			t.Errorf("slot %d: kept %t", slot, got)
		}
	}
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what a crash left is still there: %v", err)
	}
}

// TestStore_prove: a file is kept once, and only if it proves guilt.
func TestStore_prove(t *testing.T) {
	s := NewStore(t.TempDir())
	text, f := sampleFile(t, "absent")
	one, err := s.prove(f)
	if err != nil || !one.Fresh {
		t.Fatalf("%+v, %v", one, err)
	}
	two, err := s.prove(f)
	if err != nil || two.Fresh || two.Path != one.Path || two.Digest != f.Digest {
		t.Errorf("again: %+v, %v", two, err)
	}
	if kept, err := os.ReadFile(one.Path); err != nil || string(kept) != string(text) {
		t.Errorf("the file is another: %v", err)
	}
	f.Promises[0].Nonce++
	if _, err := s.prove(f); !errors.Is(err, evidence.PromiseSignature) {
		t.Errorf("an unsigned promise: %v", err)
	}
	broken := NewStore(filepath.Join(one.Path, "below a file"))
	if err := broken.put(&Capture{}); !errors.Is(err, ErrStore) {
		t.Errorf("a directory that cannot be: %v", err)
	}
}
