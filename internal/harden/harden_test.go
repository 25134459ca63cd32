package harden

import (
	"bytes"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"unsafe"
)

// status is a field of /proc/self/status, as a number.
func status(t *testing.T, field string) int {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skipf("no /proc/self/status: %v", err)
	}
	_, rest, ok := strings.Cut(string(text), field+":")
	if !ok {
		t.Skipf("no %s in /proc/self/status", field)
	}
	n, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestVault_IsLocked(t *testing.T) {
	before := status(t, "VmLck") // KiB
	v := NewVault()
	secret := v.Bytes(32)
	copy(secret, "a secret of thirty-two bytes ...")
	if err := v.Unlocked(); err != nil {
		t.Skipf("this machine lets us lock no memory: %v", err)
	}
	if got, want := status(t, "VmLck")-before, regionSize>>10; got != want {
		t.Errorf("%d KiB are locked, want %d", got, want)
	}
	v.Close()
	if !bytes.Equal(secret, make([]byte, 32)) {
		t.Error("closing leaves a secret")
	}
	if late := v.Bytes(16); len(late) != 16 {
		t.Errorf("after Close: %d bytes", len(late))
	}
}

// TestVault_Apart: pieces are zeroed, aligned, of the right size, and overlap
// with no other, over several regions.
func TestVault_Apart(t *testing.T) {
	type pair struct{ a, b uint64 }
	for name, v := range map[string]*Vault{"vault": NewVault(), "nil": nil} {
		t.Run(name, func(t *testing.T) {
			defer v.Close()
			pieces := map[*pair]uint64{}
			for i := range uint64(2*regionSize/16 + 1) {
				p := New[pair](v)
				if *p != (pair{}) || uintptr(unsafe.Pointer(p))%8 != 0 {
					t.Fatalf("piece %d: %v at %p", i, *p, p)
				}
				*p, pieces[p] = pair{i, ^i}, i
			}
			for p, i := range pieces {
				if *p != (pair{i, ^i}) {
					t.Fatalf("piece %d was overwritten: %v", i, *p)
				}
			}
			for _, n := range []int{-1, 0, 1, 15, 17, regionSize, regionSize + 1} {
				if b := v.Bytes(n); len(b) != max(n, 0) || cap(b) != len(b) || bytes.ContainsFunc(b, func(r rune) bool { return r != 0 }) {
					t.Errorf("%d bytes: got %d of %d", n, len(b), cap(b))
				}
			}
		})
	}
}

// TestProcess runs in a child: it cannot be undone.
func TestProcess(t *testing.T) {
	if os.Getenv("HARDEN_CHILD") == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestProcess$", "-test.v") // #nosec G702 -- ourselves
		cmd.Env = append(os.Environ(), "HARDEN_CHILD=1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if strings.Contains(string(out), "SKIP") {
			t.Skipf("in the child:\n%s", out)
		}
		return
	}
	checkProcess(t, Process())
}
