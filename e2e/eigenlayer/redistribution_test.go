package eigenlayer

import (
	"math/big"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"sidecar/contracts/bindings"
	"sidecar/contracts/eigenlayer"
	"sidecar/e2e/eigenlayer/core"
	"sidecar/slashing/slashingtest"
)

// fund is paid what is slashed in a redistributing set. It has no key here: it
// need do nothing.
var fund = at("f0d0")

// recipient is what the core says of where the set's stake goes.
func (w *world) recipient() (to common.Address, redistributes bool) {
	w.t.Helper()
	out, err := w.Call(w.Stranger.Address, w.core.Allocation, slashingtest.Pack(w.t, "getRedistributionRecipient", w.set()))
	if err != nil {
		w.t.Fatal(err)
	}
	is, err := w.Call(w.Stranger.Address, w.core.Allocation, slashingtest.Pack(w.t, "isRedistributingOperatorSet", w.set()))
	if err != nil {
		w.t.Fatal(err)
	}
	return common.BytesToAddress(out), new(big.Int).SetBytes(is).Sign() != 0
}

// TestRedistribution: a set that pays, on the real core: a promise is broken,
// proven and executed, and the stake goes to the recipient: on the core's books
// at once, in tokens when anybody clears them, and the burn address gets none.
// In v1.9 nothing lies between the two: no escrow, no delay of its own.
func TestRedistribution(t *testing.T) {
	forks(t, func(t *testing.T, o slashingtest.Options) {
		w := newWorldPaying(t, o, fund)
		if to, redistributes := w.recipient(); to != fund || !redistributes {
			t.Fatalf("to %s, redistributes %t", to, redistributes)
		}
		id, _ := w.submit(w.Break())
		if why := w.refused(id); why != "TooEarly" {
			t.Errorf("within the delay: %q", why)
		}
		w.Pass(1, delay*time.Second)
		executed := w.execute(id).GasUsed
		if got := w.Shares(w.core); got.Cmp(tenths(9)) != 0 {
			t.Errorf("%s shares left, want %s", got, tenths(9))
		}
		if strategy, shares := w.pending(1); strategy != w.core.Strategy || shares.Cmp(tenths(1)) != 0 {
			t.Errorf("%s of %s to be redistributed", shares, strategy)
		}
		if got := w.Balance(w.core.Token, fund); got.Sign() != 0 {
			t.Errorf("%s paid before anybody cleared it", got)
		}
		cleared := w.clear(1).GasUsed
		if got := w.Balance(w.core.Token, fund); got.Cmp(tenths(1)) != 0 {
			t.Errorf("%s paid, want %s", got, tenths(1))
		}
		if got := w.Balance(w.core.Token, core.Burn); got.Sign() != 0 {
			t.Errorf("%s burnt", got)
		}
		w.clear(1) // again: moves nothing, which the sum below shows
		// The recipient slashes nobody itself; the second fault goes the same way.
		mine := w.pack("slashOperator", w.Manager, slashing{
			Operator: w.Operator.Address, Strategies: []common.Address{w.core.Strategy}, WadsToSlash: []*big.Int{big.NewInt(1e18)}, Description: "mine",
		})
		if why := w.why(fund, w.core.Allocation, mine); why != "InvalidCaller" {
			t.Errorf("the recipient slashes: %q", why)
		}
		second, _ := w.submit(w.Contradict())
		w.Pass(1, delay*time.Second)
		w.execute(second)
		w.clear(2)
		// Half of the 900 that are left.
		if got, want := w.Balance(w.core.Token, fund), new(big.Int).Add(tenths(1), new(big.Int).Rsh(tenths(9), 1)); got.Cmp(want) != 0 {
			t.Errorf("%s paid in all, want %s", got, want)
		}
		t.Logf("execute %d, clear to the recipient %d gas", executed, cleared)
		if !o.Amsterdam && (executed > 460_000 || cleared > 150_000) {
			t.Errorf("execute %d gas, at most 460,000; clear %d, at most 150,000", executed, cleared)
		}
	})
}

// pending is what the core keeps of a slash until it is cleared.
func (w *world) pending(slashID int64) (strategy common.Address, shares *big.Int) {
	w.t.Helper()
	out, err := w.Call(w.Stranger.Address, w.core.Strategies, slashingtest.Pack(w.t, "getBurnOrRedistributableShares", w.set(), big.NewInt(slashID)))
	if err != nil {
		w.t.Fatal(err)
	}
	values, err := eigenlayer.ABI().Unpack("getBurnOrRedistributableShares", out)
	if err != nil {
		w.t.Fatal(err)
	}
	list, amounts := values[0].([]common.Address), values[1].([]*big.Int)
	if len(list) != 1 {
		w.t.Fatalf("%d strategies", len(list))
	}
	return list[0], amounts[0]
}

// TestRedistribution_withdrawal: stake in the queue of withdrawals is paid to the
// recipient like the rest, and the staker gets what is left.
func TestRedistribution_withdrawal(t *testing.T) {
	w := newWorldPaying(t, slashingtest.Options{}, fund)
	f := w.Break()
	half := new(big.Int).Rsh(slashingtest.Stake, 1)
	w.Do(w.Staker, w.core.Delegation, w.pack("queueWithdrawals", []queued{{Strategies: []common.Address{w.core.Strategy}, DepositShares: []*big.Int{half}}}))
	id, _ := w.submit(f)
	w.Pass(0, delay*time.Second)
	w.execute(id)
	w.clear(1)
	if got := w.Balance(w.core.Token, fund); got.Cmp(tenths(1)) != 0 {
		t.Errorf("%s paid, want %s", got, tenths(1))
	}
}

// TestRedistribution_veto: the guardian's veto is worth as much as in a set that
// burns: nothing is paid.
func TestRedistribution_veto(t *testing.T) {
	w := newWorldPaying(t, slashingtest.Options{}, fund)
	id, _ := w.submit(w.Break())
	w.Do(w.Guardian, w.Manager, w.manage("veto", [32]byte(id)))
	w.Pass(1, delay*time.Second)
	if why := w.refused(id); why != "NotPending" {
		t.Errorf("vetoed: %q", why)
	}
	if got := w.Shares(w.core); got.Cmp(slashingtest.Stake) != 0 {
		t.Errorf("%s shares left", got)
	}
}

// TestRedistribution_recipient: the recipient is neither guardian, nor operator,
// nor the core's burn address, and has no call that others have not.
func TestRedistribution_recipient(t *testing.T) {
	w := &world{Scene: slashingtest.Start(t, slashingtest.Options{}), t: t}
	w.core = deployCore(w.Scene, t)
	terms := slashingtest.Terms{Allocation: w.core.Allocation, Strategies: []common.Address{w.core.Strategy}, Delay: delay * time.Second, Recipient: w.Operator.Address}
	w.Deploy(terms)
	operator := slashingtest.Pack(t, "registerAsOperator", common.Address{}, uint32(0), "")
	w.Do(w.Operator, w.core.Delegation, operator)
	join := slashingtest.Pack(t, "registerForOperatorSets", w.Operator.Address, eigenlayer.RegisterParams{Avs: w.Manager, OperatorSetIds: []uint32{0}, Data: []byte{}})
	if why := w.why(w.Operator.Address, w.core.Allocation, join); why != "OperatorIsRecipient" {
		t.Errorf("the recipient joins: %q", why)
	}
	manager := slashingtest.Load(t, bindings.PreconfServiceManager)
	for who, want := range map[common.Address]string{w.Guardian.Address: "ConfigInvalid", core.Burn: "InvalidRedistributionRecipient", w.core.Allocation: "ConfigInvalid", w.Verifier: "ConfigInvalid"} {
		input, err := manager.Deploy(bindings.ManagerConfig{
			AllocationManager: w.core.Allocation, Verifier: w.Verifier, Guardian: w.Guardian.Address, Strategies: terms.Strategies,
			AbsentWad: big.NewInt(1), DoubleWad: big.NewInt(1), DailyWad: big.NewInt(1), RedistributionRecipient: who,
		})
		if err != nil {
			t.Fatal(err)
		}
		if why := w.whyCreate(w.Owner.Address, input); why != want {
			t.Errorf("recipient %s: %q, want %q", who, why, want)
		}
	}
}

// TestRedistribution_burning: a set that burns stays one. Nobody can turn it, or
// a set beside it, into one that pays somebody; nor change whom one pays.
func TestRedistribution_burning(t *testing.T) {
	for _, recipient := range []common.Address{{}, fund} {
		w := newWorldPaying(t, slashingtest.Options{}, recipient)
		want := recipient
		if recipient == (common.Address{}) {
			want = core.Burn
		}
		if to, redistributes := w.recipient(); to != want || redistributes != (recipient == fund) {
			t.Errorf("it goes to %s, redistributes %t", to, redistributes)
		}
		for id := range uint32(2) { // the set itself, and one beside it
			input := w.pack("createRedistributingOperatorSets0", w.Manager, []created{{OperatorSetId: id, Strategies: []common.Address{w.core.Strategy}, Slasher: w.Manager}}, []common.Address{w.Stranger.Address})
			for _, who := range []common.Address{w.Stranger.Address, w.Operator.Address, w.Owner.Address, w.Guardian.Address, fund} {
				if why := w.why(who, w.core.Allocation, input); why != "InvalidPermissions" {
					t.Errorf("%s makes set %d: %q", who, id, why)
				}
			}
			// Not even the manager could make its set again, if it had a call for it.
			if why := w.why(w.Manager, w.core.Allocation, input); id == 0 && why != "InvalidOperatorSet" {
				t.Errorf("the manager makes set %d: %q", id, why)
			}
		}
	}
}
