package main

import (
	"encoding/json"
	"errors"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"sidecar/slashing/restake"
	"sidecar/slashing/slashingtest"
)

// TestAvs: an operator's life by the commands: joins, allocates, looks, leaves.
// Each command twice: the second changes nothing.
func TestAvs(t *testing.T) {
	c := newCourt(t)
	config, key := c.Files(t.TempDir(), c.Operator)
	base := func(command string, more ...string) []string {
		return append([]string{"avs", command, "--manager", c.Manager.Hex(), "--rpc", c.URL, "--key", key, "--config", config, "--poll", "5ms", "--confirmations", "2", "--json"}, more...)
	}
	status := func(more ...string) (st restake.Status) {
		t.Helper()
		out, err := c.run(t.Context(), base("status", append([]string{"--at", "latest"}, more...)...)...)
		if err := errors.Join(err, json.Unmarshal([]byte(out), &st)); err != nil {
			t.Fatalf("%v, %s", err, out)
		}
		return st
	}
	twice := func(nonce uint64, args ...string) {
		t.Helper()
		for range 2 {
			stop := c.live()
			_, err := c.run(t.Context(), args...)
			stop()
			if err != nil {
				t.Fatal(err)
			}
		}
		if got, _, _ := c.Account(c.Operator.Address, c.Head()); got != nonce {
			t.Errorf("%s: %d transactions of the operator, want %d", args[1], got, nonce)
		}
	}
	if st := status(); st.IsOperator || st.Member || len(st.Stakes) != 1 || st.Stakes[0].AtStake.Sign() != 0 {
		t.Errorf("before: %+v", st)
	}
	stop := c.live()
	if _, err := c.run(t.Context(), base("allocate", "--percent", "50")...); err == nil || !strings.Contains(err.Error(), "operator_missing") {
		t.Errorf("allocated by nobody: %v", err)
	}
	stop()
	twice(2, base("register")...) // an operator, then a member with its key
	c.delegate()
	twice(3, base("allocate", "--percent", "50.5")...)
	pubkey := c.Validator.PublicKey().String()
	st := status("--validator", pubkey)
	if !st.IsOperator || !st.Member || !st.Slashable || st.Stakes[0].AtStake.String() != "505000000000000000000" || st.Stakes[0].Shares.Cmp(slashingtest.Stake) != 0 || len(st.Keys) != 1 || st.Keys[0].Operator != c.Operator.Address || st.Keys[0].Since == 0 {
		t.Errorf("allocated: %+v", st)
	}
	if len(st.Warnings) != 0 {
		t.Errorf("warnings: %v", st.Warnings)
	}
	twice(5, base("exit")...)
	if st = status("--validator", pubkey); st.Member || st.Stakes[0].AtStake.Sign() != 0 || st.Keys[0].Until == 0 {
		t.Errorf("left: %+v", st)
	}
	for name, run := range map[string]struct {
		args []string
		want string
	}{
		"a percentage":   {base("allocate", "--percent", "100.0001"), "usage"},
		"no percentage":  {base("allocate"), "usage"},
		"half of one":    {base("allocate", "--percent", ".5"), "usage"},
		"another share":  {base("allocate", "--percent", "1.00001"), "usage"},
		"no manager":     {[]string{"avs", "status", "--rpc", c.URL}, "usage"},
		"no contract":    {[]string{"avs", "status", "--rpc", c.URL, "--manager", c.Stranger.Address.Hex(), "--key", key}, "contract_missing"},
		"a foreign key":  {base("register", "--validator", c.Delegate.PublicKey().String()), "usage"},
		"no such block":  {base("status", "--at", "yesterday"), "usage"},
		"finalized, not": {base("status"), "node_"}, // this chain finalizes nothing
	} {
		if _, err := c.run(t.Context(), run.args...); err == nil || !strings.Contains(err.Error(), run.want) {
			t.Errorf("%s: %v, want %s", name, err, run.want)
		}
	}
}

// TestAvs_finalized: the status is of the finalized block, whatever the head says,
// and names it.
func TestAvs_finalized(t *testing.T) {
	c := newCourt(t)
	was := c.Head()
	before := was.Number.Uint64()
	c.Restake(c.core, func() {})
	status := func(at ...string) (st restake.Status) {
		t.Helper()
		out, err := c.run(t.Context(), append([]string{"avs", "status", "--manager", c.Manager.Hex(), "--rpc", c.URL, "--operator", c.Operator.Address.Hex(), "--json"}, at...)...)
		if err := errors.Join(err, json.Unmarshal([]byte(out), &st)); err != nil {
			t.Fatalf("%v, %s", err, out)
		}
		return st
	}
	c.Finalize(before)
	if st := status("--at", "latest"); st.Block <= before || !st.Slashable || st.Stakes[0].AtStake.Cmp(slashingtest.Stake) != 0 {
		t.Errorf("latest: %+v", st)
	}
	for _, at := range [][]string{nil, {"--at", "finalized"}, {"--at", strconv.FormatUint(before, 10)}} {
		st := status(at...)
		if st.Block != before || st.BlockHash != was.Hash() || st.IsOperator || st.Member || st.Stakes[0].AtStake.Sign() != 0 || st.Stakes[0].Shares.Sign() != 0 {
			t.Errorf("%v, before anything was restaked: %+v", at, st)
		}
	}
	head := c.Head()
	c.Finalize(head.Number.Uint64())
	c.Mine()
	if st := status(); st.BlockHash != head.Hash() || !st.Member || st.Stakes[0].AtStake.Cmp(slashingtest.Stake) != 0 {
		t.Errorf("finalized: %+v", st)
	}
}

// TestAvs_slashed: a share is of what a slash has left of the stake, not of what
// there once was.
func TestAvs_slashed(t *testing.T) {
	c := newCourt(t)
	_, key := c.Files(t.TempDir(), c.Operator)
	c.Restake(c.core, func() {})
	c.Mine()
	guilty := c.file("guilty.json", c.Break())
	base := []string{"--rpc", c.URL, "--poll", "5ms", "--confirmations", "2", "--json", "--key", key}
	stop := c.live()
	defer stop()
	if _, err := c.run(t.Context(), append([]string{"prove", guilty}, base...)...); err != nil {
		t.Fatal(err)
	}
	for percent, want := range map[string]uint64{"100": 9e17, "50": 45e16} {
		out, err := c.run(t.Context(), append([]string{"avs", "allocate", "--manager", c.Manager.Hex(), "--percent", percent}, base...)...)
		var st restake.Status
		if err := errors.Join(err, json.Unmarshal([]byte(out), &st)); err != nil || st.Stakes[0].Magnitude != want {
			t.Errorf("%s %%: %v, %s", percent, err, out)
		}
	}
}

// delegate puts the staker's tokens behind the operator.
func (c *court) delegate() {
	c.t.Helper()
	c.Do(c.Staker, c.core.Strategies, slashingtest.Pack(c.t, "depositIntoStrategy", c.core.Strategy, c.core.Token, slashingtest.Stake))
	c.Do(c.Staker, c.core.Delegation, slashingtest.Approve(c.t, c.Operator.Address))
}

// TestAvs_slashers: contracts in which silence is guilt are named, and accounts
// without code.
func TestAvs_slashers(t *testing.T) {
	c := newCourt(t)
	// A dispatcher with createChallenge of the registry's example in it.
	game := c.Create(c.Owner, append(common.FromHex("0x600c80600a5f395ff3"), common.FromHex("0x5f3560e01c63ccfa336f1400")...))
	out, err := c.run(t.Context(), "avs", "status", "--manager", c.Manager.Hex(), "--rpc", c.URL, "--operator", c.Operator.Address.Hex(), "--at", "latest",
		"--slasher", game.Hex(), "--slasher", c.Stranger.Address.Hex(), "--slasher", c.Manager.Hex())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{game.Hex() + ": cannot be defended", c.Stranger.Address.Hex() + ": an account without code"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
	if strings.Count(out, "warning: ") != 2 {
		t.Errorf("warnings:\n%s", out)
	}
	// The same game behind proxies. [EIP-1167, EIP-1967]
	minimal := c.Create(c.Owner, slices.Concat(common.FromHex("0x3d602d80600a3d3981f3363d3d373d3d3d363d73"), game[:], common.FromHex("0x5af43d82803e903d91602b57fd5bf3")))
	slot := crypto.Keccak256Hash([]byte("eip1967.proxy.implementation")).Big()
	slot.Sub(slot, big.NewInt(1))
	upgradeable := c.Create(c.Owner, slices.Concat([]byte{0x73}, game[:], []byte{0x7f}, slot.FillBytes(make([]byte, 32)), common.FromHex("0x55600060005360016000f3")))
	out, err = c.run(t.Context(), "avs", "status", "--manager", c.Manager.Hex(), "--rpc", c.URL, "--operator", c.Operator.Address.Hex(), "--at", "latest",
		"--slasher", minimal.Hex(), "--slasher", upgradeable.Hex())
	if err != nil || strings.Count(out, "warning: ") != 3 {
		t.Errorf("%v\n%s", err, out)
	}
	for _, want := range []string{minimal.Hex() + ": cannot be defended", upgradeable.Hex() + ": cannot be defended", upgradeable.Hex() + ": a proxy of " + game.Hex()} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
}
