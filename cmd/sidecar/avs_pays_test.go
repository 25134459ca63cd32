package main

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"sidecar/slashing/restake"
	"sidecar/slashing/slashingtest"
)

// TestAvs_pays: an operator joins a set that pays somebody only if it names whom,
// is warned as long as it looks, and what it loses arrives there.
func TestAvs_pays(t *testing.T) {
	c := newCourt(t)
	fund := common.HexToAddress("0x000000000000000000000000000000000000f0d0")
	c.Deploy(slashingtest.Terms{Allocation: c.core.Allocation, Strategies: []common.Address{c.core.Strategy}, Delay: time.Hour, Recipient: fund})
	config, key := c.Files(t.TempDir(), c.Operator)
	base := func(command string, more ...string) []string {
		return append([]string{"avs", command, "--manager", c.Manager.Hex(), "--rpc", c.URL, "--key", key, "--config", config, "--poll", "5ms", "--confirmations", "2", "--json"}, more...)
	}
	live := func(args ...string) error {
		stop := c.live()
		defer stop()
		_, err := c.run(t.Context(), args...)
		return err
	}
	for name, args := range map[string][]string{"nobody named": nil, "somebody else": {"--pays", c.Stranger.Address.Hex()}} {
		if err := live(base("register", args...)...); err == nil || !strings.Contains(err.Error(), "operator_set_pays") || !strings.Contains(err.Error(), fund.Hex()) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := live(base("register", "--pays", "fund")...); err == nil || !strings.Contains(err.Error(), "usage") {
		t.Errorf("no address: %v", err)
	}
	if nonce, _, _ := c.Account(c.Operator.Address, c.Head()); nonce != 0 {
		t.Fatalf("%d transactions before it agreed", nonce)
	}
	c.delegated(live(base("register", "--pays", fund.Hex())...))
	if err := live(base("allocate", "--percent", "100")...); err != nil {
		t.Fatal(err)
	}
	var st restake.Status
	out, err := c.run(t.Context(), base("status", "--at", "latest")...)
	if err := errors.Join(err, json.Unmarshal([]byte(out), &st)); err != nil || !st.Terms.Pays || st.Terms.GoesTo != fund || len(st.Warnings) != 1 || !strings.Contains(st.Warnings[0], fund.Hex()) {
		t.Errorf("%v, %s", err, out)
	}
	// The recipient as operator: refused by the contract, warned of here.
	out, err = c.run(t.Context(), "avs", "status", "--manager", c.Manager.Hex(), "--rpc", c.URL, "--operator", fund.Hex(), "--at", "latest")
	if err != nil || !strings.Contains(out, "the recipient is the operator") || !strings.Contains(out, "slashed stake is paid to") {
		t.Errorf("%v, %s", err, out)
	}

	payer := c.write("payer", []byte(hex.EncodeToString(crypto.FromECDSA(c.Prover.Key))))
	file := c.file("guilty.json", c.Break())
	if err := live("prove", file, "--rpc", c.URL, "--key", payer, "--poll", "5ms", "--confirmations", "2", "--json", "--burn"); err != nil {
		t.Fatal(err)
	}
	if got := c.Balance(c.core.Token, fund); got.Cmp(new(big.Int).Div(slashingtest.Stake, big.NewInt(10))) != 0 {
		t.Errorf("%s arrived", got)
	}
}

// delegated puts the staker's tokens behind the operator, once it is one.
func (c *court) delegated(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
	c.delegate()
}

// TestAvs_burns: who thinks that somebody is paid does not join a set that burns.
func TestAvs_burns(t *testing.T) {
	c := newCourt(t)
	config, key := c.Files(t.TempDir(), c.Operator)
	_, err := c.run(t.Context(), "avs", "register", "--manager", c.Manager.Hex(), "--rpc", c.URL, "--key", key, "--config", config, "--pays", c.Stranger.Address.Hex())
	if err == nil || !strings.Contains(err.Error(), "operator_set_pays") {
		t.Errorf("%v", err)
	}
}
