package devcore

import (
	"os"
	"os/exec"
	"testing"
)

// TestRebuild compiles the stand-ins again and compares every byte. It runs where
// `make contracts` has installed the compiler.
func TestRebuild(t *testing.T) {
	if _, err := os.Stat("../node_modules/solc"); err != nil {
		t.Skip("no compiler: `make contracts` installs it")
	}
	if testing.Short() {
		t.Skip("compiling takes seconds: -short")
	}
	for file, want := range map[string]string{"DevCore.sol": code, "DevRegistry.sol": registry} {
		cmd := exec.CommandContext(t.Context(), "node", "scripts/runtime.mjs", "devcore/"+file)
		cmd.Dir = ".."
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		if string(out) != want {
			t.Errorf("what is committed is not what %s compiles to", file)
		}
	}
}
