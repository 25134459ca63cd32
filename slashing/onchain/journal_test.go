package onchain

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/ethereum/go-ethereum/common"
)

func opened(t *testing.T, path string) *Journal {
	t.Helper()
	j, err := OpenJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func TestJournal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	from, other := common.Address{1}, common.Address{2}
	j := opened(t, path)
	for _, r := range []Record{
		{State: Written, Action: "a", ChainID: 1, From: from, Nonce: 5, Raw: []byte{1}},
		{State: Written, Action: "a", ChainID: 1, From: from, Nonce: 5, Raw: []byte{2}}, // a replacement
		{State: Written, Action: "b", ChainID: 1, From: from, Nonce: 6, Raw: []byte{3}},
		{State: Written, Action: "c", ChainID: 2, From: from, Nonce: 5, Raw: []byte{4}},
		{State: Written, Action: "d", ChainID: 1, From: other, Nonce: 5, Raw: []byte{5}},
		{State: Settled, Action: "b", ChainID: 1, From: from, Nonce: 6},
	} {
		if err := j.append(r); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := OpenJournal(path); !errors.Is(err, ErrLocked) {
		t.Errorf("opened twice: %v", err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	j = opened(t, path)
	open := j.open(1, from)
	if len(open) != 1 || len(open[5]) != 2 || open[5][1].Raw[0] != 2 {
		t.Errorf("open: %v", open)
	}
	if len(j.open(2, from)) != 1 || len(j.open(1, other)) != 1 || len(j.open(3, from)) != 0 {
		t.Error("chains or keys are mixed")
	}
	_ = j.Close()
	// A crash in the middle of the last line: at every byte of it.
	last := bytes.LastIndexByte(text[:len(text)-1], '\n') + 1
	for cut := last; cut < len(text); cut++ {
		if err := os.WriteFile(path, text[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		j := opened(t, path)
		if len(j.Records()) != 5 {
			t.Fatalf("cut at %d: %d records", cut, len(j.Records()))
		}
		if err := j.append(Record{State: Lost, Action: "b", ChainID: 1, From: from, Nonce: 6}); err != nil {
			t.Fatal(err)
		}
		_ = j.Close()
		if j = opened(t, path); len(j.Records()) != 6 {
			t.Fatalf("cut at %d: what was written after it is gone", cut)
		}
		_ = j.Close()
	}
	// Anything else is damage.
	for at := 0; at < last; at += 7 {
		damaged := bytes.Clone(text)
		damaged[at] ^= 1
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		if j, err := OpenJournal(path); !errors.Is(err, ErrJournal) {
			t.Errorf("byte %d flipped: %v, %v", at, j, err)
		}
	}
}

// TestJournal_failed: after a write that failed nothing is taken any more.
func TestJournal_failed(t *testing.T) {
	j := opened(t, filepath.Join(t.TempDir(), "journal"))
	_ = j.file.Close()
	for range 2 {
		if err := j.append(Record{}); !errors.Is(err, ErrJournal) {
			t.Errorf("got %v", err)
		}
	}
	if len(j.Records()) != 0 {
		t.Error("a record that is not on disk is remembered")
	}
}
