package harden

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func checkProcess(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	if err != nil || dumpable != 0 {
		t.Errorf("dumpable: %d, %v", dumpable, err)
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &limit); err != nil || limit != (unix.Rlimit{}) {
		t.Errorf("core limit: %+v, %v", limit, err)
	}
	limits, err := os.ReadFile("/proc/self/limits")
	if err != nil {
		t.Skipf("no /proc/self/limits: %v", err)
	}
	for line := range strings.Lines(string(limits)) {
		if rest, ok := strings.CutPrefix(line, "Max core file size"); ok && strings.Join(strings.Fields(rest)[:2], " ") != "0 0" {
			t.Errorf("core limit: %s", line)
		}
	}
}
