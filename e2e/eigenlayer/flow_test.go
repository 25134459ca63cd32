package eigenlayer

import (
	"fmt"
	"math/big"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"

	"sidecar/contracts/bindings"
	"sidecar/e2e/eigenlayer/core"
	"sidecar/slashing/evidence"
	"sidecar/slashing/slashingtest"
)

// brief are delays that a chain of real blocks can wait for; machine_test has
// mainnet's.
var brief = core.Delays{Deallocation: 40, Configuration: 3, Withdrawal: 5}

// world is the real core on a real node, block by block.
type world struct {
	*slashingtest.Scene
	t    *testing.T
	core slashingtest.Core
}

func newWorld(t *testing.T, o slashingtest.Options) *world {
	t.Helper()
	return newWorldPaying(t, o, common.Address{})
}

// newWorldPaying is one whose slashed stake goes to somebody.
func newWorldPaying(t *testing.T, o slashingtest.Options, recipient common.Address) *world {
	t.Helper()
	w := &world{Scene: slashingtest.Start(t, o), t: t}
	w.core = deployCore(w.Scene, t)
	w.Scene.Deploy(slashingtest.Terms{Allocation: w.core.Allocation, Strategies: []common.Address{w.core.Strategy}, Delay: delay * time.Second, Recipient: recipient})
	w.mint()
	w.Restake(w.core, func() { w.Pass(int(brief.Configuration)+1, 0) })
	w.Pass(int(brief.Withdrawal)+1, 0) // the core underflows on a chain younger than its delay
	return w
}

func deployCore(s *slashingtest.Scene, t *testing.T) slashingtest.Core {
	t.Helper()
	c, steps, err := core.Plan(s.Owner.Address, 0, brief)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range steps {
		if r := s.Try(s.Owner, step.To, step.Input); r.Status != types.ReceiptStatusSuccessful {
			t.Fatalf("a step of the core's deployment reverted after %d gas", r.GasUsed)
		}
	}
	return slashingtest.Core{Allocation: c.Allocation, Delegation: c.Delegation, Strategies: c.Strategies, Strategy: c.Strategy, Token: c.Token}
}

func (w *world) mint() {
	w.t.Helper()
	input := append(crypto.Keccak256([]byte("mint(address,uint256)"))[:4], common.LeftPadBytes(w.Staker.Address[:], 32)...)
	w.Do(w.Staker, w.core.Token, append(input, common.BigToHash(slashingtest.Stake).Bytes()...))
}

// submit sends a file's proof and returns the fault's id and what it cost.
func (w *world) submit(f evidence.File) (common.Hash, uint64) {
	w.t.Helper()
	input, err := bindings.Submit(f)
	if err != nil {
		w.t.Fatal(err)
	}
	r := w.Do(w.Stranger, w.Manager, input)
	if len(r.Logs) != 1 {
		w.t.Fatalf("%d logs", len(r.Logs))
	}
	return r.Logs[0].Topics[1], r.GasUsed
}

func (w *world) execute(id common.Hash) *types.Receipt {
	w.t.Helper()
	input, err := bindings.Execute(id)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.Do(w.Stranger, w.Manager, input)
}

// refused is the error by which the manager refuses to execute; "" if it would.
func (w *world) refused(id common.Hash) string {
	w.t.Helper()
	input, err := bindings.Execute(id)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.why(w.Stranger.Address, w.Manager, input)
}

// tenths of the stake.
func tenths(n int64) *big.Int {
	return new(big.Int).Mul(big.NewInt(n), new(big.Int).Div(slashingtest.Stake, big.NewInt(10)))
}

// forks runs a test under the rules of Osaka and of Amsterdam.
func forks(t *testing.T, test func(t *testing.T, o slashingtest.Options)) {
	t.Helper()
	t.Run("osaka", func(t *testing.T) { test(t, slashingtest.Options{}) })
	t.Run("amsterdam", func(t *testing.T) { test(t, slashingtest.Options{Amsterdam: true}) })
}

// TestFaults: stake of 1,000, a promised transaction left out (F1), or two
// promises for one nonce (F2), proof, delay, execution: 100 are gone, or 500, to
// the burn address.
func TestFaults(t *testing.T) {
	for name, c := range map[string]struct {
		fault func(*world) evidence.File
		lost  int64 // tenths
	}{
		"absent": {func(w *world) evidence.File { return w.Break() }, 1},
		"double": {func(w *world) evidence.File { return w.Contradict() }, 5},
	} {
		t.Run(name, func(t *testing.T) {
			forks(t, func(t *testing.T, o slashingtest.Options) {
				w := newWorld(t, o)
				id, submit := w.submit(c.fault(w))
				if why := w.refused(id); why != "TooEarly" {
					t.Errorf("within the delay: %q", why)
				}
				w.Pass(1, delay*time.Second)
				r := w.execute(id)
				if got, want := w.Shares(w.core), tenths(10-c.lost); got.Cmp(want) != 0 {
					t.Errorf("%s shares left, want %s", got, want)
				}
				cleared := w.clear(1)
				if got, want := w.Balance(w.core.Token, core.Burn), tenths(c.lost); got.Cmp(want) != 0 {
					t.Errorf("%s burnt, want %s", got, want)
				}
				t.Logf("submit %d, execute %d, clear %d gas", submit, r.GasUsed, cleared.GasUsed)
			})
		})
	}
}

// TestAbsent_excuses: what happened on the chain acquits, with its name, and
// nothing is taken.
func TestAbsent_excuses(t *testing.T) { forks(t, testAbsentExcuses) }

func testAbsentExcuses(t *testing.T, o slashingtest.Options) {
	w := newWorld(t, o)
	for _, c := range []struct {
		want  string
		story func() evidence.File
	}{
		{"NonceSpentInBlock", func() evidence.File { // kept
			tx, slot := w.Transfer(1), w.Slot()+1
			return w.Told(slot, tx, func() { w.Mine(tx) })
		}},
		{"NonceSpentInBlock", func() evidence.File { // replaced by the searcher
			tx, other, slot := w.Transfer(1), w.Transfer(2), w.Slot()+1
			return w.Told(slot, tx, func() { w.Mine(other) })
		}},
		{"NonceUsed", func() evidence.File { // earlier in the chain
			tx := w.Transfer(3)
			w.Mine(w.Transfer(4))
			slot := w.Slot() + 1
			return w.Told(slot, tx, func() { w.Mine() })
		}},
		{"FundsTooLow", func() evidence.File {
			slot := w.Slot() + 1
			return w.Told(slot, w.Transfer(1<<62), func() { w.Mine() })
		}},
		{"OtherSlot", func() evidence.File { // missed
			slot := w.Slot() + 1
			return w.Told(slot, w.Transfer(1), func() { w.MineAt(slot + 1) })
		}},
		{"SlotOutOfRange", func() evidence.File {
			return w.Told(1<<39+1, w.Transfer(1), func() { w.Mine() })
		}},
	} {
		f := c.story()
		input, err := bindings.Submit(f)
		if err != nil {
			t.Fatal(err)
		}
		w.Mine()
		if got := w.why(w.Stranger.Address, w.Manager, input); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
		if _, err := evidence.Judge(f, f.Rules, f.Slasher, f.ChildHash()); fmt.Sprint(err) != c.want {
			t.Errorf("in Go: %v, want %s", err, c.want)
		}
	}
	if got := w.Shares(w.core); got.Cmp(slashingtest.Stake) != 0 {
		t.Errorf("%s shares left", got)
	}
}
