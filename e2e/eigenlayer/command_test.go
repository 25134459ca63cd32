package eigenlayer

import (
	"context"
	"encoding/json"
	"errors"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"sidecar/e2e/eigenlayer/core"
	"sidecar/slashing/evidence"
	"sidecar/slashing/restake"
	"sidecar/slashing/slashingtest"
)

// binary builds the sidecar, once for all tests of the process.
func binary(t *testing.T) string {
	t.Helper()
	if built == "" {
		dir, err := os.MkdirTemp("", "sidecar-e2e")
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(dir, "sidecar"), "./cmd/sidecar")
		cmd.Dir = filepath.Join("..", "..") // the main module builds it with its own dependencies
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build the sidecar: %v\n%s", err, out)
		}
		built = filepath.Join(dir, "sidecar")
	}
	return built
}

var built string

func TestMain(m *testing.M) {
	code := m.Run()
	if built != "" {
		_ = os.RemoveAll(filepath.Dir(built))
	}
	os.Exit(code)
}

// sidecar runs the program while the chain lives; each look at the chain is a
// block or two, each block takes d.
func (w *world) sidecar(d time.Duration, args ...string) (string, error) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	var out, loud strings.Builder
	cmd := exec.CommandContext(ctx, binary(w.t), args...)
	cmd.Stdout, cmd.Stderr = &out, &loud
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			if err != nil {
				err = errors.Join(err, errors.New(loud.String()))
			}
			return out.String(), err
		case <-tick.C:
			w.MinePool()
			w.Pass(0, d)
		}
	}
}

// TestCommands: the real program on the real core: an operator registers,
// allocates and looks; a stranger proves a broken promise and has it slashed to
// the burn address; the operator leaves.
func TestCommands(t *testing.T) {
	w := &world{Scene: slashingtest.Start(t, slashingtest.Options{}), t: t}
	w.core = deployCore(w.Scene, t)
	w.Deploy(slashingtest.Terms{Allocation: w.core.Allocation, Strategies: []common.Address{w.core.Strategy}, Delay: delay * time.Second})
	config, operatorKey := w.Files(t.TempDir(), w.Operator)
	_, proverKey := w.Files(t.TempDir(), w.Prover)
	common := []string{"--rpc", w.URL, "--poll", "10ms", "--confirmations", "2", "--json"}
	avs := func(command string, more ...string) string {
		t.Helper()
		args := append([]string{"avs", command, "--manager", w.Manager.Hex(), "--key", operatorKey, "--config", config}, common...)
		out, err := w.sidecar(0, append(args, more...)...)
		if err != nil {
			t.Fatalf("avs %s: %v", command, err)
		}
		return out
	}
	status := func() (s restake.Status) {
		t.Helper()
		out := avs("status", "--at", "latest", "--validator", w.Validator.PublicKey().String())
		if err := json.Unmarshal([]byte(out), &s); err != nil || len(s.Stakes) != 1 || len(s.Keys) != 1 {
			t.Fatalf("%v, %s", err, out)
		}
		return s
	}
	avs("register")
	w.mint()
	w.Do(w.Staker, w.core.Strategies, slashingtest.Pack(t, "depositIntoStrategy", w.core.Strategy, w.core.Token, slashingtest.Stake))
	w.Do(w.Staker, w.core.Delegation, slashingtest.Approve(t, w.Operator.Address))
	w.Pass(int(brief.Configuration)+1, 0)
	avs("allocate", "--percent", "100")
	w.Pass(int(brief.Withdrawal)+1, 0)
	s := status()
	if !s.Member || !s.Slashable || s.Stakes[0].AtStake.Cmp(slashingtest.Stake) != 0 || s.Keys[0].Operator != w.Operator.Address || s.Terms.GoesTo != core.Burn {
		t.Errorf("%+v", s)
	}
	if len(s.Warnings) != 0 {
		t.Errorf("warnings: %v", s.Warnings)
	}

	text, err := evidence.Encode(w.Break())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "evidence.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	prove := append([]string{"prove", file, "--key", proverKey, "--burn"}, common...)
	out, err := w.sidecar(delay*time.Second/10, prove...)
	if err != nil {
		t.Fatal(err)
	}
	if got := w.Balance(w.core.Token, core.Burn); got.Cmp(tenths(1)) != 0 {
		t.Errorf("%s burnt, want %s; %s", got, tenths(1), out)
	}
	avs("exit")
	s = status()
	if s.Member || !s.Slashable || s.Stakes[0].Becomes != 0 || s.Keys[0].Until == 0 {
		t.Errorf("left: %+v", s)
	}
	if got := new(big.Int).Sub(slashingtest.Stake, s.Stakes[0].Shares.Int); got.Cmp(tenths(1)) != 0 {
		t.Errorf("%s shares gone", got)
	}
}
