package eigenlayer

import (
	"math/big"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"

	"sidecar/contracts/bindings"
	"sidecar/contracts/eigenlayer"
	"sidecar/e2e/eigenlayer/core"
	"sidecar/slashing/slashingtest"
)

func (w *world) set() eigenlayer.OperatorSet { return eigenlayer.OperatorSet{Avs: w.Manager} }

// leave deregisters the operator and takes its allocation back.
func (w *world) leave() {
	w.t.Helper()
	operator := w.Operator.Address
	w.Do(w.Operator, w.core.Allocation, slashingtest.Pack(w.t, "deregisterFromOperatorSets", eigenlayer.DeregisterParams{
		Operator: operator, Avs: w.Manager, OperatorSetIds: []uint32{0},
	}))
	w.Do(w.Operator, w.core.Allocation, slashingtest.Pack(w.t, "modifyAllocations", operator, []eigenlayer.AllocateParams{{
		OperatorSet: w.set(), Strategies: []common.Address{w.core.Strategy}, NewMagnitudes: []uint64{0},
	}}))
}

// TestExit_pending: an operator that leaves with a case pending is slashed
// within the core's delay, whatever it did first, and is out of reach after it.
func TestExit_pending(t *testing.T) { forks(t, testExitPending) }

func testExitPending(t *testing.T, o slashingtest.Options) {
	for name, c := range map[string]struct {
		leaveFirst bool // before the proof
		blocks     uint32
		want       string
	}{
		"leaves after the proof":   {false, brief.Deallocation / 2, ""},
		"leaves before the proof":  {true, brief.Deallocation / 2, ""},
		"the core's delay is over": {false, brief.Deallocation + 2, "OperatorNotSlashable"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, o)
			f := w.Break()
			if c.leaveFirst {
				w.leave()
			}
			id, _ := w.submit(f)
			if !c.leaveFirst {
				w.leave()
			}
			w.Pass(int(c.blocks), delay*time.Second)
			if why := w.refused(id); why != c.want {
				t.Fatalf("got %q, want %q", why, c.want)
			}
			left := slashingtest.Stake
			if c.want == "" {
				w.execute(id)
				left = tenths(9)
			}
			if got := w.Shares(w.core); got.Cmp(left) != 0 {
				t.Errorf("%s shares left, want %s", got, left)
			}
		})
	}
}

// TestExit_withdrawal: stake in the queue of withdrawals is slashed like the
// rest, and the staker is paid what is left.
func TestExit_withdrawal(t *testing.T) { forks(t, testExitWithdrawal) }

func testExitWithdrawal(t *testing.T, o slashingtest.Options) {
	w := newWorld(t, o)
	f := w.Break()
	half := new(big.Int).Rsh(slashingtest.Stake, 1)
	block := w.Do(w.Staker, w.core.Delegation, w.pack("queueWithdrawals", []queued{{Strategies: []common.Address{w.core.Strategy}, DepositShares: []*big.Int{half}}}))
	id, _ := w.submit(f)
	w.Pass(0, delay*time.Second)
	w.execute(id)
	if got, want := w.Shares(w.core), new(big.Int).Div(new(big.Int).Mul(half, big.NewInt(9)), big.NewInt(10)); got.Cmp(want) != 0 {
		t.Errorf("%s shares left, want %s", got, want)
	}
	w.Pass(int(brief.Withdrawal)+1, 0)
	w.Do(w.Staker, w.core.Delegation, w.pack("completeQueuedWithdrawal", withdrawal{
		Staker: w.Staker.Address, DelegatedTo: w.Operator.Address, Withdrawer: w.Staker.Address, Nonce: new(big.Int),
		StartBlock: uint32(block.BlockNumber.Uint64()), Strategies: []common.Address{w.core.Strategy}, ScaledShares: []*big.Int{half},
	}, []common.Address{w.core.Token}, true))
	want := new(big.Int).Div(new(big.Int).Mul(half, big.NewInt(9)), big.NewInt(10))
	if got := w.Balance(w.core.Token, w.Staker.Address); got.Cmp(want) != 0 {
		t.Errorf("the staker got %s of %s in the queue, want %s", got, half, want)
	}
	w.clear(1)
	if got := w.Balance(w.core.Token, core.Burn); got.Cmp(tenths(1)) != 0 {
		t.Errorf("%s burnt, want %s", got, tenths(1))
	}
}

func (w *world) clear(slashID int64) *types.Receipt {
	w.t.Helper()
	return w.Do(w.Stranger, w.core.Strategies, slashingtest.Pack(w.t, "clearBurnOrRedistributableShares", w.set(), big.NewInt(slashID)))
}

// manage encodes a call of the manager.
func (w *world) manage(method string, arguments ...any) []byte {
	w.t.Helper()
	m := slashingtest.Load(w.t, bindings.PreconfServiceManager)
	input, err := m.ABI.Pack(method, arguments...)
	if err != nil {
		w.t.Fatal(err)
	}
	return input
}

// TestVeto: the guardian, and nobody else, ends a case within the delay; it is
// never executed, and not submitted again. A pause only delays.
func TestVeto(t *testing.T) { forks(t, testVeto) }

func testVeto(t *testing.T, o slashingtest.Options) {
	w := newWorld(t, o)
	f, later := w.Break(), w.Contradict()
	id, _ := w.submit(f)
	second, _ := w.submit(later)
	veto := w.manage("veto", [32]byte(id))
	for _, who := range []common.Address{w.Stranger.Address, w.Operator.Address, w.Owner.Address} {
		if why := w.why(who, w.Manager, veto); why != "NotGuardian" {
			t.Errorf("%s: %q", who, why)
		}
	}
	w.Do(w.Guardian, w.Manager, veto)
	w.Pass(1, delay*time.Second)
	if why := w.refused(id); why != "NotPending" {
		t.Errorf("vetoed: %q", why)
	}
	input, err := bindings.Submit(f)
	if err != nil {
		t.Fatal(err)
	}
	if why := w.why(w.Stranger.Address, w.Manager, input); why != "FaultKnown" {
		t.Errorf("again: %q", why)
	}
	w.Do(w.Guardian, w.Manager, w.manage("setPaused", true))
	if why := w.why(w.Guardian.Address, w.Manager, w.manage("veto", [32]byte(second))); why != "TooLateToVeto" {
		t.Errorf("a late veto: %q", why)
	}
	if why := w.refused(second); why != "Paused" {
		t.Errorf("paused: %q", why)
	}
	if got := w.Shares(w.core); got.Cmp(slashingtest.Stake) != 0 {
		t.Errorf("%s shares left", got)
	}
	w.Do(w.Guardian, w.Manager, w.manage("setPaused", false))
	w.execute(second)
	if got := w.Shares(w.core); got.Cmp(tenths(5)) != 0 {
		t.Errorf("%s shares left after two promises for one nonce, want %s", got, tenths(5))
	}
}

// TestReorg: evidence of blocks that were taken back is refused, and a case
// goes with the block that held it.
func TestReorg(t *testing.T) { forks(t, testReorg) }

func testReorg(t *testing.T, o slashingtest.Options) {
	w := newWorld(t, o)
	f := w.Break()
	input, err := bindings.Submit(f)
	if err != nil {
		t.Fatal(err)
	}
	id, _ := w.submit(f)
	w.Reorg(2) // the submission, and the child
	w.Mine()
	w.Mine()
	if why := w.why(w.Stranger.Address, w.Manager, input); why != "ChildUnknown" {
		t.Errorf("the child was taken back: %q", why)
	}
	if why := w.refused(id); why != "NotPending" {
		t.Errorf("the case outlived its block: %q", why)
	}
	// The transaction is in the block that took the target's place.
	w.Reorg(3)
	w.Mine(w.Transfer(1e15))
	w.Mine()
	w.Mine()
	if why := w.why(w.Stranger.Address, w.Manager, input); why != "ChildUnknown" {
		t.Errorf("the target was taken back: %q", why)
	}
}

// TestReplay: a fault is punished once, whatever its proof looks like.
func TestReplay(t *testing.T) { forks(t, testReplay) }

func testReplay(t *testing.T, o slashingtest.Options) {
	w := newWorld(t, o)
	f := w.Break()
	input, err := bindings.Submit(f)
	if err != nil {
		t.Fatal(err)
	}
	id, _ := w.submit(f)
	check := func(when string) {
		for name, again := range map[string][]byte{"the same bytes": input, "with a tail": append(append([]byte{}, input...), make([]byte, 64)...)} {
			if why := w.why(w.Stranger.Address, w.Manager, again); why != "FaultKnown" {
				t.Errorf("%s, %s: %q", when, name, why)
			}
		}
	}
	check("pending")
	w.Pass(1, delay*time.Second)
	w.execute(id)
	check("executed")
	if why := w.refused(id); why != "NotPending" {
		t.Errorf("executed twice: %q", why)
	}
}

// TestSlash_others: only the manager slashes its set, on the real chain too.
func TestSlash_others(t *testing.T) { forks(t, testSlashOthers) }

func testSlashOthers(t *testing.T, o slashingtest.Options) {
	w := newWorld(t, o)
	input := w.pack("slashOperator", w.Manager, slashing{
		Operator: w.Operator.Address, Strategies: []common.Address{w.core.Strategy}, WadsToSlash: []*big.Int{big.NewInt(1e18)}, Description: "mine",
	})
	for _, who := range []common.Address{w.Stranger.Address, w.Operator.Address, w.Owner.Address, w.Guardian.Address} {
		if why := w.why(who, w.core.Allocation, input); why != "InvalidCaller" {
			t.Errorf("%s: %q", who, why)
		}
	}
}
