package tests

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/internal/app"
	"sidecar/internal/config"
	"sidecar/internal/devnet"
	"sidecar/internal/ledger"
	"sidecar/internal/simnet"
	"sidecar/signer/keystore"
)

// journeyInit goes an operator's way with the real binary: run without a ledger,
// init, check, init again, run, a promise.
func journeyInit(t *testing.T) {
	j := journeyChain(t, simnet.Options{})
	j.write(devnet.Options{Bare: true, PBS: journeyBudgetLine})
	sidecar := func(verb string, code int, says string, more ...string) {
		t.Helper()
		cmd := command(t, append(append(strings.Fields(verb), "--config", j.path), more...)...)
		out, _ := cmd.CombinedOutput()
		if got := cmd.ProcessState.ExitCode(); got != code || !bytes.Contains(out, []byte(says)) {
			t.Errorf("sidecar %s: exit %d, want %d and %q:\n%s", verb, got, code, says, out)
		}
	}
	sidecar("run", 5, "ledger_missing")
	sidecar("init", 0, "Made the ledger", "--new-keys")
	sidecar("init", 0, "is there already")
	sidecar("check", 0, "promises true")
	sidecar("ledger verify", 0, "2 entries, 2 signatures") // of the proxy keys
	// As after an update from a version without committers.
	committers, err := filepath.Glob(filepath.Join(filepath.Dir(j.path), "*", "*", "*", "ecdsa"))
	if err != nil || len(committers) != 2 { // the key's and the password's
		t.Fatalf("folders of committers: %v, %v", committers, err)
	}
	if err := errors.Join(os.RemoveAll(committers[0]), os.RemoveAll(committers[1])); err != nil {
		t.Fatal(err)
	}
	sidecar("run", 4, "committer_missing")
	sidecar("init", 0, "Made proxy key 0x")
	sidecar("ledger verify", 0, "3 entries, 3 signatures")
	car := j.spawn()
	j.play("a promise", func(slot phase0.Slot) error {
		p, err := j.want(slot+1, 1)
		if err == nil {
			err = p[0].ask(car.GatewayURL)
		}
		if err == nil {
			_, err = j.outcome(slot+1, simnet.FromBuilder, "")
		}
		return err
	})
	sidecar("check", 5, "ledger_locked")
	if err := car.Stop(); err != nil {
		t.Errorf("the sidecar ended with %v", err)
	}
}

// journeyFiles starts a sidecar over files that are missing or not what they
// were. It says which, and does not start.
func journeyFiles(t *testing.T) {
	j := journeyStart(t, simnet.Options{}, devnet.Options{PBS: journeyBudgetLine})
	j.ready()
	j.play("a promise", func(slot phase0.Slot) error {
		p, err := j.want(slot+1, 1)
		if err == nil {
			err = p[0].ask(j.car.GatewayURL)
		}
		return err
	})
	j.stop()
	c, err := config.Load(j.path, func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	path, secrets := c.Ledger.Path, c.Signer.Local.Loader.SecretsPath
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	put := func(text []byte) {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	starts := func(what string, want error, names string) {
		t.Helper()
		car, err := devnet.Run(j.ctx, j.net, j.path, j.log)
		if err == nil {
			t.Errorf("%s: the sidecar starts", what)
			_ = car.Stop()
			return
		}
		if !errors.Is(err, want) || !strings.Contains(err.Error(), names) {
			t.Errorf("%s: got %q, want %v and %q", what, err, want, names)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	starts("no ledger", ledger.ErrMissing, path)
	var said strings.Builder
	if err := app.Init(j.ctx, c, app.InitOptions{}, &said); !errors.Is(err, app.ErrLost) {
		t.Errorf("init beside proxy keys without their ledger: %v %s", err, said.String())
	}
	put(nil)
	starts("an empty ledger", ledger.ErrBroken, path)
	put(whole[:8192])
	starts("the beginning of a ledger", ledger.ErrBroken, path)
	put(bytes.ReplaceAll(whole, []byte("INCLUSION"), []byte("inclusion")))
	starts("a ledger with a promise changed", ledger.ErrBroken, path)
	put(whole)
	j.run()
	starts("a ledger in use", ledger.ErrLocked, path)
	j.stop()
	if err := os.Rename(secrets, secrets+"-gone"); err != nil {
		t.Fatal(err)
	}
	starts("no passwords", keystore.ErrPassword, secrets)
}
