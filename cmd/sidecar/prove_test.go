package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"sidecar/contracts/bindings"
	"sidecar/slashing/evidence"
	"sidecar/slashing/onchain"
	"sidecar/slashing/slashingtest"
)

// court is a scene with stake at risk, and files as an operator has them.
type court struct {
	*slashingtest.Scene
	t    *testing.T
	core slashingtest.Core
	dir  string
}

func newCourt(t *testing.T) *court {
	t.Helper()
	c := &court{Scene: slashingtest.Start(t, slashingtest.Options{}), t: t, dir: t.TempDir()}
	at := c.DevCore()
	c.core = slashingtest.Core{Allocation: at, Delegation: at, Strategies: at, Strategy: at, Token: at}
	c.Deploy(slashingtest.Terms{Allocation: at, Strategies: []common.Address{at}, Delay: time.Hour})
	return c
}

func (c *court) write(name string, text []byte) string {
	c.t.Helper()
	path := filepath.Join(c.dir, name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		c.t.Fatal(err)
	}
	return path
}

func (c *court) file(name string, f evidence.File) string {
	c.t.Helper()
	text, err := evidence.Encode(f)
	if err != nil {
		c.t.Fatal(err)
	}
	return c.write(name, text)
}

// run runs a command and returns what it wrote on standard output.
func (c *court) run(ctx context.Context, args ...string) (string, error) {
	c.t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		c.t.Fatal(err)
	}
	out, loud := os.Stdout, os.Stderr
	os.Stdout = w
	if null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0); err == nil {
		os.Stderr = null
		defer func() { _ = null.Close() }()
	}
	err = command(ctx, args)
	os.Stdout, os.Stderr = out, loud
	_ = w.Close()
	text, _ := io.ReadAll(r)
	return string(text), err
}

// live mines what waits until it is stopped; a block takes ten minutes.
func (c *court) live() (stop func()) {
	ctx, cancel := context.WithCancel(c.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				c.MinePool()
				c.Pass(0, 10*time.Minute)
			}
		}
	}()
	return func() { cancel(); <-done }
}

// TestProve: the command, from the dry run to the burn address, and again.
func TestProve(t *testing.T) {
	c := newCourt(t)
	c.Restake(c.core, func() {})
	c.Mine()
	guilty := c.file("guilty.json", c.Break())
	tx, slot := c.Transfer(1), c.Slot()+1
	kept := c.file("kept.json", c.Told(slot, tx, func() { c.Mine(tx) }))
	c.Mine()
	key := c.write("key", []byte(hex.EncodeToString(crypto.FromECDSA(c.Prover.Key))))

	out, err := c.run(t.Context(), "prove", guilty, "--rpc", c.URL, "--dry-run", "--json")
	var x struct {
		Fault, Status string
		Gas           uint64
		CostWei       string `json:"cost_wei"`
		Deadline      onchain.Deadline
	}
	if err := errors.Join(err, json.Unmarshal([]byte(out), &x)); err != nil || x.Fault != "absent" || x.Status != "none" || x.Gas < 500_000 || x.CostWei == "" || x.Deadline.Left == 0 {
		t.Errorf("dry run: %v, %s", err, out)
	}
	for name, run := range map[string]struct {
		args []string
		code int
		want string
	}{
		"an excuse":     {[]string{"prove", kept, "--rpc", c.URL, "--dry-run"}, 7, "NonceSpentInBlock"},
		"no evidence":   {[]string{"prove", key, "--rpc", c.URL, "--dry-run"}, 2, "evidence_malformed"},
		"no file":       {[]string{"prove", "--rpc", c.URL, "--dry-run"}, 2, "usage"},
		"no key":        {[]string{"prove", guilty, "--rpc", c.URL}, 2, "--key"},
		"no url":        {[]string{"prove", guilty, "--dry-run"}, 2, "--rpc"},
		"a wrong flag":  {[]string{"prove", guilty, "--secret", "x"}, 2, "usage"},
		"no node":       {[]string{"prove", guilty, "--rpc", "http://127.0.0.1:1", "--dry-run"}, 1, "node_unusable"},
		"a key unknown": {[]string{"prove", guilty, "--rpc", c.URL, "--key", guilty}, 4, "sender_key_invalid"},
	} {
		if _, err := c.run(t.Context(), run.args...); err == nil || exitCode(err) != run.code || !strings.Contains(err.Error(), run.want) {
			t.Errorf("%s: code %d, %v; want %d, %s", name, exitCode(err), err, run.code, run.want)
		}
	}
	send := []string{"prove", "--rpc", c.URL, "--key", key, "--poll", "5ms", "--confirmations", "2", "--json", "--burn", guilty}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.run(ctx, send...); err == nil {
		t.Error("interrupted before anything, and content")
	}
	stop := c.live()
	out, err = c.run(t.Context(), send...)
	stop()
	if err != nil {
		t.Fatal(err)
	}
	var r struct {
		Status, SlashID string
		GoesTo          common.Address `json:"goes_to"`
		Taken           []struct{ Shares string }
		Burn            *struct{ OK bool }
	}
	if err := json.Unmarshal([]byte(strings.ReplaceAll(out, "slash_id", "SlashID")), &r); err != nil || r.Status != "executed" || len(r.Taken) != 1 || r.Taken[0].Shares != "100000000000000000000" || r.Burn == nil {
		t.Errorf("%v, %s", err, out)
	}
	if got := c.Balance(c.core.Token, r.GoesTo); got.Cmp(new(big.Int).Mul(big.NewInt(100), big.NewInt(1e18))) != 0 {
		t.Errorf("%s at %s", got, r.GoesTo)
	}
	// Once more changes nothing.
	stop = c.live()
	out, err = c.run(t.Context(), send...)
	stop()
	if err != nil || !strings.Contains(out, "executed") {
		t.Errorf("again: %v, %s", err, out)
	}
	if nonce, _, _ := c.Account(c.Prover.Address, c.Head()); nonce != 3 {
		t.Errorf("%d transactions, want 3", nonce)
	}
}

// TestProve_exits: what a supervisor reads: a journal in use or damaged, a run
// that was interrupted, a veto.
func TestProve_exits(t *testing.T) {
	c := newCourt(t)
	c.Restake(c.core, func() {})
	c.Mine()
	guilty := c.file("guilty.json", c.Break())
	c.Mine()
	key := c.write("key", []byte(hex.EncodeToString(crypto.FromECDSA(c.Prover.Key))))
	journal := key + ".journal"
	args := []string{"prove", guilty, "--rpc", c.URL, "--key", key, "--poll", "5ms", "--confirmations", "2", "--json"}
	want := func(ctx context.Context, code int, text string, more ...string) {
		t.Helper()
		if _, err := c.run(ctx, append(args, more...)...); err == nil || exitCode(err) != code || !strings.Contains(err.Error(), text) {
			t.Errorf("code %d, %v; want %d, %s", exitCode(err), err, code, text)
		}
	}
	held, err := onchain.OpenJournal(journal)
	if err != nil {
		t.Fatal(err)
	}
	want(t.Context(), 5, "journal_locked")
	_ = held.Close()
	want(t.Context(), 5, "journal_broken", "--journal", c.write("damaged", []byte("{}x\n")))
	// Interrupted when its transaction is on disk, and nobody mines.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	go func() {
		for ctx.Err() == nil {
			if info, err := os.Stat(journal); err == nil && info.Size() > 0 {
				cancel()
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	want(ctx, exitUnfinished, "onchain_unfinished")
	stop := c.live()
	out, err := c.run(t.Context(), append(args, "--submit-only")...)
	stop()
	var r struct{ ID common.Hash }
	if err := errors.Join(err, json.Unmarshal([]byte(out), &r)); err != nil {
		t.Fatal(err)
	}
	manager := slashingtest.Load(t, bindings.PreconfServiceManager)
	veto, err := manager.ABI.Pack("veto", [32]byte(r.ID))
	if err != nil {
		t.Fatal(err)
	}
	if receipt := c.Try(c.Guardian, &c.Manager, veto); receipt.Status != 1 {
		t.Skip("the delay was over before the veto") // a machine that stood still
	}
	want(t.Context(), 7, "fault_vetoed")
	if nonce, _, _ := c.Account(c.Prover.Address, c.Head()); nonce != 1 {
		t.Errorf("%d transactions, want one", nonce)
	}
}
