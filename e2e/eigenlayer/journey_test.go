package eigenlayer

import (
	"context"
	"log/slog"
	"math/big"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"sidecar/e2e/eigenlayer/core"
	"sidecar/internal/devnet"
	"sidecar/internal/simnet"
	"sidecar/slashing/onchain"
)

// TestJourney: a promise made by a running sidecar on a chain that runs, broken
// by its proposer's block, filed by the sidecar's own auditor, proven by
// anybody, and slashed in EigenLayer's real core.
func TestJourney(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	n, err := simnet.Start(ctx, simnet.Options{SlotDuration: 2 * time.Second, Accounts: devnet.StakeAccounts})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = n.Stop() }()
	car, err := devnet.Start(ctx, n, devnet.Options{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = car.Stop() }()
	stake, err := devnet.NewStake(n)
	if err != nil {
		t.Fatal(err)
	}
	defer stake.Close()
	if err := n.WaitSlot(ctx, 1); err != nil {
		t.Fatal(err)
	}
	c, err := core.Deploy(ctx, n.Execution.URL, stake.Owner.Key, core.Brief)
	if err != nil {
		t.Fatal(err)
	}
	if err := stake.Restake(ctx, devnet.Core{
		Allocation: c.Allocation, Delegation: c.Delegation, Strategies: c.Strategies, Strategy: c.Strategy, Token: c.Token,
		Blocks: core.Brief.Wait(), Mints: true,
	}, 4*time.Second); err != nil {
		t.Fatal(err)
	}

	// A builder that leaves the transaction out; the sidecar refuses its bid, and
	// the proposer's own block does not have it either.
	n.Builders[0].Set(func(k *simnet.BuilderKnobs) { k.Lie = simnet.OtherHeader })
	slot := n.Clock.Slot() + 3
	tx, err := n.Searcher.Transaction(common.Address{0xde, 0xad}, big.NewInt(1e15))
	if err != nil {
		t.Fatal(err)
	}
	request, err := stake.Request(slot, tx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Searcher.AskRPC(ctx, request); err != nil {
		t.Fatal(err)
	}
	if outcome, reason, err := car.Verdict(ctx, request.Hash()); err != nil || outcome != "broken" {
		t.Fatalf("%s %s, %v", outcome, reason, err)
	}
	n.Builders[0].Set(func(k *simnet.BuilderKnobs) { k.Lie = simnet.Honest })
	_, file, err := stake.Evidence(ctx, car.Config.Data.Path, slot)
	if err != nil {
		t.Fatal(err)
	}
	r, err := stake.Prove(ctx, file, t.TempDir(), func(e onchain.Event) { t.Logf("%s: %s", e.Kind, e.Text) })
	if err != nil {
		t.Fatal(err)
	}
	shares, err := stake.Shares(ctx)
	if err != nil {
		t.Fatal(err)
	}
	burnt, err := stake.Burnt(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if shares.Cmp(tenths(9)) != 0 || burnt.Cmp(tenths(1)) != 0 || r.To != core.Burn {
		t.Errorf("%s shares left, %s burnt, to %s", shares, burnt, r.To)
	}
}
