package ledger

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

var quick = keyPace{beat: 20 * time.Millisecond, stale: 200 * time.Millisecond}

func told() {}

// TestKeyLock_OneOwner: a copy of the ledger with the same keys does not start
// while the other runs, and does once it stopped.
func TestKeyLock_OneOwner(t *testing.T) {
	h := housed(t, func(c *Config) { c.KeyLock = filepath.Join(filepath.Dir(c.Witness), "lock") })
	first := h.open(t)
	second := h.Config
	second.Path += ".copy"
	copyFile(t, h.Path, second.Path)
	copyFile(t, journalPath(h.Path), journalPath(second.Path))
	begin := time.Now()
	if _, err := Open(second); !errors.Is(err, ErrKeysLocked) {
		t.Fatalf("a copy beside a running one: got %v, want %v", err, ErrKeysLocked)
	}
	if took := time.Since(begin); took > time.Second {
		t.Errorf("it took %v to refuse", took)
	}
	must(t, first, page(1010), promise(1, "r")) // unaffected
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(second); !errors.Is(err, ErrRolledBack) {
		t.Errorf("an older copy: got %v, want %v", err, ErrRolledBack)
	}
	if l := h.open(t); l.Hold().Until != 0 {
		t.Errorf("hold %v", l.Hold())
	}
}

// TestKeyLock_OtherMachine: where the system's lock does not reach, the mark in
// the file does.
func TestKeyLock_OtherMachine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	mark := func(beat uint64) {
		body, err := json.Marshal(keyMark{Owner: "00000000000000000000000000000001", Boot: "another kernel", Beat: beat})
		if err == nil {
			err = os.WriteFile(path, body, 0o600)
		}
		if err != nil {
			t.Error(err)
		}
	}
	// It is alive: its mark changes.
	mark(1)
	go func() {
		time.Sleep(quick.stale / 2)
		mark(2)
	}()
	if _, err := lockKeys(path, quick, told); !errors.Is(err, ErrKeysLocked) {
		t.Fatalf("beside a live owner: got %v, want %v", err, ErrKeysLocked)
	}
	// It is dead: kill -9 left the mark. The wait is bounded.
	begin := time.Now()
	k, err := lockKeys(path, quick, told)
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took < quick.stale || took > 10*quick.stale {
		t.Errorf("it took %v to follow a dead owner, want %v", took, quick.stale)
	}
	// It was not dead after all, only slow: it takes over, and we notice.
	mark(3)
	deadline := time.Now().Add(5 * time.Second)
	for !k.isLost() {
		if time.Now().After(deadline) {
			t.Fatal("the loss is not noticed")
		}
		time.Sleep(quick.beat)
	}
	if err := k.release(); err != nil {
		t.Error(err)
	}
	if m, _, err := readMark(path); err != nil || m.Beat != 3 {
		t.Errorf("the other's mark was taken away: %+v, %v", m, err)
	}
}

// TestKeyLock_DeadOnThisMachine: after kill -9 nobody waits.
func TestKeyLock_DeadOnThisMachine(t *testing.T) {
	if bootID() == "" {
		t.Skip("this kernel has no boot id to recognise it by")
	}
	path := filepath.Join(t.TempDir(), "lock")
	body, err := json.Marshal(keyMark{Owner: "00000000000000000000000000000001", Boot: bootID(), Beat: 9})
	if err == nil {
		err = os.WriteFile(path, body, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	k, err := lockKeys(path, keyPace{time.Second, time.Minute}, told)
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	if err := k.release(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() != 0 {
		t.Errorf("released, and still marked: %v, %v", info, err)
	}
}

// TestKeyLock_Lost: a ledger whose keys another took promises nothing more.
func TestKeyLock_Lost(t *testing.T) {
	h := housed(t, func(c *Config) { c.KeyLock = filepath.Join(filepath.Dir(c.Witness), "lock") })
	l := h.open(t)
	must(t, l, page(1010), promise(1, "r1"))
	l.keys.lost.Store(true)
	if _, err := l.Append(t.Context(), page(1010), constant(promise(2, "r2"))); !errors.Is(err, ErrKeysLocked) {
		t.Errorf("got %v, want %v", err, ErrKeysLocked)
	}
	must(t, l, page(1010), promise(1, "r1"))
}

func readMark(path string) (m keyMark, raw []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return m, nil, err
	}
	defer f.Close()
	return (&keyLock{file: f}).read()
}
