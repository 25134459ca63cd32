package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"sidecar/internal/devnet"
	"sidecar/internal/simnet"
	"sidecar/slashing/onchain"
)

// Times of the acts that end in a slash.
const (
	vetoDelay   = 6 * time.Second // 72 hours on a real chain
	coreTimeout = 4 * time.Minute // the module is built first
)

// restake puts stake behind the promises: in EigenLayer's real core, if its
// module can be built here, or in a stand-in of our own, and says which.
func (t *story) restake(ctx context.Context) (err error) {
	fmt.Println("\n4. Stake behind the promises")
	if t.stake, err = devnet.NewStake(t.net); err != nil {
		return err
	}
	c, err := t.realCore(ctx)
	if err == nil {
		t.say("eigenlayer", "its real core, v1.9.0-rc.0, from the module of e2e/eigenlayer; delays of a few blocks")
	} else {
		t.say("stand-in", "not EigenLayer: a contract of our own with the same calls (contracts/devcore); the real core: %v", err)
		if c, err = t.stake.StandIn(ctx); err != nil {
			return err
		}
	}
	if err := t.stake.Restake(ctx, c, vetoDelay); err != nil {
		return err
	}
	shares, err := t.stake.Shares(ctx)
	if err != nil {
		return err
	}
	t.say("operator", "%s: %s shares, all of them behind the set of manager %s", t.stake.Operator.Address, tokens(shares), t.stake.Manager)
	t.say("operator", "registered %d validator key with proof of possession; one broken promise costs 10 %%", len(t.net.Validators))
	return nil
}

// realCore has the nested module deploy EigenLayer's core.
func (t *story) realCore(ctx context.Context) (c devnet.Core, err error) {
	if t.standIn {
		return c, errors.New("not wanted")
	}
	module, err := filepath.Abs(filepath.Join("e2e", "eigenlayer"))
	if err != nil {
		return c, err
	}
	if _, err := os.Stat(filepath.Join(module, "go.mod")); err != nil {
		return c, errors.New("run this in the repository's root")
	}
	key := filepath.Join(t.dir, "owner")
	if err := os.WriteFile(key, []byte(hex.EncodeToString(crypto.FromECDSA(t.stake.Owner.Key))), 0o600); err != nil {
		return c, err
	}
	ctx, cancel := context.WithTimeout(ctx, coreTimeout)
	defer cancel()
	t.say("eigenlayer", "building and deploying its core; the first time takes a minute")
	cmd := exec.CommandContext(ctx, "go", "run", "./deploy", "-rpc", t.net.Execution.URL, "-key", key) // #nosec G204 -- our own module
	cmd.Dir = module
	out, err := cmd.Output()
	if err != nil {
		var why *exec.ExitError
		if errors.As(err, &why) {
			err = fmt.Errorf("%w: %.300s", err, why.Stderr)
		}
		return c, fmt.Errorf("cannot be built or deployed: %w", err)
	}
	return c, json.Unmarshal(out, &c)
}

// slash breaks a promise that stake backs, and has it proven.
func (t *story) slash(ctx context.Context) error {
	fmt.Println("\n5. A broken promise, proven and slashed")
	t.net.Builders[0].Set(func(k *simnet.BuilderKnobs) { k.Lie = simnet.OtherHeader })
	t.net.Searcher.ResetNonce() // what was left out before is nobody's any more
	t.request = t.stake.Request
	req, tx, slot, err := t.ask(ctx)
	if err != nil {
		return err
	}
	if _, err := t.net.OutcomeOf(ctx, slot); err != nil {
		return err
	}
	t.say("proposer", "slot %d: proposes a block; %s", slot, t.where(slot, tx))
	if err := t.verdict(ctx, req, "broken"); err != nil {
		return err
	}
	t.net.Builders[0].Set(func(k *simnet.BuilderKnobs) { k.Lie = simnet.Honest })
	path, file, err := t.stake.Evidence(ctx, t.sidecar.Config.Data.Path, slot)
	if err != nil {
		return err
	}
	t.say("audit", "evidence %s", filepath.Base(path))
	r, err := t.stake.Prove(ctx, file, t.dir, func(e onchain.Event) {
		if e.Kind != "included" {
			t.say("anybody", "%s: %s", e.Kind, e.Text)
		}
	})
	if err != nil {
		return fmt.Errorf("prove: %w", err)
	}
	t.say("contracts", "submitted in block %d (%d gas), executed in block %d (%d gas) after the delay for a veto", r.Submit.Block, r.Submit.Gas, r.Execute.Block, r.Execute.Gas)
	return t.whereTheStakeWent(ctx, r.To)
}

func (t *story) whereTheStakeWent(ctx context.Context, to common.Address) error {
	shares, err := t.stake.Shares(ctx)
	if err != nil {
		return err
	}
	burnt, err := t.stake.Burnt(ctx)
	if err != nil {
		return err
	}
	t.say("stake", "operator: %s of %s shares left; burn address %s: %s tokens", tokens(shares), tokens(devnet.Staked), to, tokens(burnt))
	want := new(big.Int).Div(devnet.Staked, big.NewInt(10))
	if burnt.Cmp(want) != 0 || new(big.Int).Sub(devnet.Staked, shares).Cmp(want) != 0 {
		return fmt.Errorf("%s burnt, want %s", tokens(burnt), tokens(want))
	}
	return nil
}

// tokens writes a number of 1e-18 for people.
func tokens(n *big.Int) string {
	return new(big.Rat).SetFrac(n, big.NewInt(1e18)).FloatString(0)
}
