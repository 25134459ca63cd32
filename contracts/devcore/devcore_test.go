package devcore

import (
	"os"
	"os/exec"
	"testing"
)

// TestRebuild compiles the stand-in again and compares every byte. It runs where
// `make contracts` has installed the compiler.
func TestRebuild(t *testing.T) {
	if _, err := os.Stat("../node_modules/solc"); err != nil {
		t.Skip("no compiler: `make contracts` installs it")
	}
	if testing.Short() {
		t.Skip("compiling takes seconds: -short")
	}
	cmd := exec.CommandContext(t.Context(), "node", "scripts/runtime.mjs", "devcore/DevCore.sol")
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if string(out) != code {
		t.Error("devcore.hex is not what DevCore.sol compiles to")
	}
}
