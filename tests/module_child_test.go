package tests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestCommitChild: a Commit-Boost module's binary runs as it is. The sidecar
// starts it after its listeners, it finds the Signer API by its environment
// alone, and what it sees of our environment is its own. It ends with us.
func TestCommitChild(t *testing.T) {
	t.Parallel()
	h, file := newSignerHouse(t)
	program := filepath.Join(h.dir, "commitmodule")
	if out, err := exec.Command("go", "build", "-o", program, "./testdata/commitmodule").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	answer := filepath.Join(h.dir, "answer")
	h.write(t, "sidecar.toml", file+fmt.Sprintf("command = [%q]\nenv = { ANSWER = %q }\n", program, answer))
	h.do(t, 0, "Made the ledger", "init", "--new-keys")
	h.start(t)
	var lines []string
	for end := time.Now().Add(60 * time.Second); len(lines) < 2; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			h.stop(t)
			t.Fatalf("the module says nothing:\n%s", h.out.String())
		}
		text, _ := os.ReadFile(answer)
		lines = strings.Split(string(text), "\n")
	}
	if !strings.HasPrefix(lines[0], "signed 0x") {
		t.Errorf("the module says %q", lines[0])
	}
	seen := strings.Join(lines[1:], "\n")
	for _, want := range []string{"CB_MODULE_ID=DA_COMMIT", "CB_SIGNER_URL=" + h.url, "CB_SIGNER_JWT=" + signerSecret, "CB_CONFIG=" + filepath.Join(h.dir, "sidecar.toml")} {
		if !strings.Contains(seen, want) {
			t.Errorf("the module's environment lacks %s", want)
		}
	}
	if strings.Contains(seen, signerAdmin) || strings.Contains(seen, "CB_JWTS") {
		t.Errorf("the module sees a secret of others:\n%s", seen)
	}
	h.stop(t)
	log := h.out.String()
	if !strings.Contains(log, `Module says`) || strings.Contains(log, "\x1b[31m") || !strings.Contains(log, `signed 0x`) {
		t.Errorf("the log holds no line of the module, or an escape of it:\n%s", log)
	}
	if out, err := exec.Command("pgrep", "-f", program).Output(); err == nil {
		t.Errorf("the module is left: %s", out)
	} else if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 1 {
		t.Logf("not looked for what is left: %v", err)
	}
}
