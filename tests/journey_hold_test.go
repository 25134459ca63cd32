package tests

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/internal/config"
	"sidecar/internal/devnet"
	"sidecar/internal/simnet"
)

// journeyHold takes the witness of a ledger away, as a copy to another place
// does. The sidecar starts, says that it holds, promises nothing, and proposes as
// ever. An import with the operator's word ends it.
func journeyHold(t *testing.T) {
	j := journeyStart(t, simnet.Options{}, devnet.Options{PBS: journeyBudgetLine})
	j.ready()
	promise := func(slot phase0.Slot) error {
		p, err := j.want(slot+1, 1)
		if err == nil {
			err = p[0].ask(j.car.GatewayURL)
		}
		return err
	}
	j.play("a promise", promise)
	j.stop()
	c, err := config.Load(j.path, func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(c.Signer.Local.Store.KeysPath + "/.sidecar-witness"); err != nil {
		t.Fatal(err)
	}
	j.run()
	j.play("nothing new is promised", func(slot phase0.Slot) error {
		if err := promise(slot); err == nil || !strings.Contains(err.Error(), `"reason":"holding"`) {
			return fmt.Errorf("got %v, want holding", err)
		}
		_, err := j.outcome(slot, simnet.FromBuilder, "") // and the header is served
		return err
	})
	j.stop()
	offline := func(code int, says string, args ...string) {
		t.Helper()
		cmd := command(t, append(args, "--config", j.path)...)
		if args[1] == "import" { // flags come before the file
			cmd = command(t, "ledger", "import", "--config", j.path, "--complete", args[2])
		}
		out, _ := cmd.CombinedOutput()
		if got := cmd.ProcessState.ExitCode(); got != code || !strings.Contains(string(out), says) {
			t.Errorf("sidecar %q: exit %d, want %d and %q:\n%s", args, got, code, says, out)
		}
	}
	file := j.TempDir() + "/export.json"
	offline(0, "records", "ledger", "verify")
	offline(0, "commitment", "ledger", "show")
	offline(0, `"kind":"delegation"`, "ledger", "show", "--json", "--kind", "delegation")
	offline(0, "", "ledger", "export", "--out", file)
	offline(1, "exists", "ledger", "export", "--out", file)
	offline(0, "were known", "ledger", "import", file)
	offline(5, "interchange_invalid", "ledger", "import", j.path)
	j.run()
	j.play("promises again", promise)
}
