package tests

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/internal/devnet"
	"sidecar/internal/simnet"
	"sidecar/slashing"
)

// journeyEvidence breaks a promise that contracts can judge: the sidecar keeps
// evidence against itself, anybody verifies it, a stranger with the promise and
// two nodes proves the same, and the near-miss report says why.
func journeyEvidence(t *testing.T) {
	j := journeyStart(t, simnet.Options{SSZ: true, SlotsPerEpoch: 4}, devnet.Options{PBS: journeyBudgetLine})
	j.ready()
	var broken journeyPromise
	j.play("a promise that nobody keeps", func(slot phase0.Slot) error {
		j.net.Builders[0].Set(func(k *simnet.BuilderKnobs) { k.Lie = simnet.NoProofs })
		p, err := j.wantProvable(slot + 1)
		if err == nil {
			err = p.ask(j.car.GatewayURL)
		}
		if err == nil {
			_, err = j.outcome(slot+1, simnet.FromLocal, "")
		}
		if err == nil && j.index(p) >= 0 {
			err = errors.New("the transaction is in the block")
		}
		broken = p
		return err
	})
	if t.Failed() {
		return
	}
	j.verdict(broken, "broken")
	dir := filepath.Dir(j.path)
	var files []string
	j.eventually("evidence is kept", func() bool {
		files, _ = filepath.Glob(filepath.Join(dir, "data", "audit", "evidence", "absent-*.json"))
		return len(files) > 0
	})
	if len(files) == 0 {
		return
	}
	// 1. Anybody verifies it, with any node.
	code, out := j.exits("evidence", "verify", files[0], "--rpc", j.net.Execution.URL, "--json")
	var found slashing.Finding
	if err := json.Unmarshal(out, &found); err != nil || code != 0 || found.Verdict != slashing.Guilty || found.VouchedBy != slashing.ByNode || found.Derived.TxHashes[0] != broken.tx.Hash() {
		t.Errorf("evidence verify: exit code %d, %v: %s", code, err, out)
	}
	// 2. Who has the promise, and no key, proves the same fault.
	promise, err := j.handIn(broken)
	if err != nil {
		t.Fatal(err)
	}
	code, out = j.exits("watch", "--once", "--json", "--promise", promise, "--beacon", j.net.Beacon.URL, "--rpc", j.net.Execution.URL, "--out", filepath.Join(t.TempDir(), "w"))
	var seen slashing.Watched
	if err := json.Unmarshal(out, &seen); err != nil || code != 1 || seen.Outcome != "broken" || seen.FaultID == nil || *seen.FaultID != *found.ID {
		t.Errorf("watch: exit code %d, %v: %s", code, err, out)
	}
	// 3. The operator reads what went wrong.
	code, out = j.exits("report", "near-miss", "--config", j.path, "--admin", strings.TrimPrefix(j.car.AdminURL, "http://"), "--json")
	for _, condition := range []string{slashing.MissBroken, slashing.MissNoHeader} {
		if code != 0 || !strings.Contains(string(out), fmt.Sprintf(`"condition":%q`, condition)) {
			t.Errorf("near-miss: exit code %d, no %s: %s", code, condition, out)
		}
	}
}

// wantProvable makes the searcher want a transaction in a slot, by a promise that
// contracts judge.
func (j *journey) wantProvable(slot phase0.Slot) (journeyPromise, error) {
	all, err := j.want(slot, 1)
	if err != nil {
		return journeyPromise{}, err
	}
	p := all[0]
	raw, err := p.tx.MarshalBinary()
	p.req.Type = commitments.TypeProvableInclusion
	p.req.Payload = commitments.EncodeProvableInclusion(slot, j.net.ProposerOf(slot).Index, raw)
	return p, err
}

// handIn writes a promise's file: the gateway's answer, and the slot's delegation.
func (j *journey) handIn(p journeyPromise) (string, error) {
	var h slashing.Handed
	if err := json.Unmarshal(p.text, &h.Promise); err != nil {
		return "", err
	}
	_, id, _ := j.car.App.Ledger().Find(p.req.Hash())
	page := j.car.App.Ledger().Page(id)
	h.Delegation = page.Delegation
	text, err := json.Marshal(h)
	path := filepath.Join(j.TempDir(), "promise.json")
	if err == nil {
		err = os.WriteFile(path, text, 0o600)
	}
	return path, err
}

// exits runs the binary and returns its exit code and what it printed.
func (j *journey) exits(args ...string) (int, []byte) {
	j.Helper()
	out, err := command(j.T, args...).Output()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		j.Logf("%v: %s", args[:2], exit.Stderr)
		return exit.ExitCode(), out
	case err != nil:
		j.Fatal(err)
	}
	return 0, out
}
