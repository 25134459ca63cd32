package simnet

import (
	"context"
	"flag"
	"log/slog"
	"math/big"
	"os"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"
	"go.uber.org/goleak"

	"sidecar/chain"
)

func TestMain(m *testing.M) {
	// The tests wait for slots, not for the processor.
	if err := flag.Set("test.parallel", "6"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m, leaks()...)
}

func leaks() (o []goleak.Option) {
	for _, f := range GethLeaks() {
		o = append(o, goleak.IgnoreAnyFunction(f))
	}
	return o
}

// tries is how often a scenario may be played: slots are short, and a busy
// machine can be late in one.
const tries = 4

// start runs a chain for the length of a test.
func start(t *testing.T, o Options) (*Net, context.Context) {
	t.Helper()
	o.SlotDuration = slotDuration
	if os.Getenv("SIMNET_LOG") != "" {
		o.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("test", t.Name())
	}
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	t.Cleanup(cancel)
	n, err := Start(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Stop(); err != nil {
			t.Error(err)
		}
	})
	return n, ctx
}

func TestLocalBlocks(t *testing.T) {
	t.Parallel()
	n, ctx := start(t, Options{SlotsPerEpoch: 2, Validators: 3, Builders: []BuilderOptions{}})
	tx, err := n.Searcher.Transaction(common.Address{0xaa}, big.NewInt(7))
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Execution.Send(ctx, tx); err != nil {
		t.Fatal(err)
	}
	const slots = 6 // the first of epoch 3, which makes epoch 1 final
	if _, err := n.OutcomeOf(ctx, slots); err != nil {
		t.Fatal(err)
	}
	for i, o := range n.Outcomes()[:slots] {
		want := phase0.Slot(i + 1)
		if o.Slot != want || o.Source != FromLocal || o.Err != nil || o.Proposer != n.ProposerOf(want).Pubkey {
			t.Errorf("slot %d: got %+v", want, o)
		}
		header := n.Execution.Block(common.Hash(o.BlockHash)).Header()
		if got, want := header.Time, uint64(n.Clock.Start(o.Slot).Unix()); got != want {
			t.Errorf("slot %d: timestamp %d, want %d", o.Slot, got, want)
		}
	}
	if got := n.Transactions(1); len(got) != 1 || got[0].Hash() != tx.Hash() {
		t.Errorf("slot 1 holds %d transactions, want the pool's", len(got))
	}
	if _, wei, err := n.Execution.Account(common.Address{0xaa}, n.Execution.Head()); err != nil || wei.Int64() != 7 {
		t.Errorf("balance %s, %v, want 7", wei, err)
	}
	if got := n.Execution.backend.BlockChain().CurrentFinalBlock(); got.Number.Uint64() != 2 {
		t.Errorf("final block %d, want that of slot 2", got.Number)
	}
}

// TestLoop runs the proposer straight against a relay, which speaks the Builder
// API itself.
func TestLoop(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]Options{
		"fulu ssz":     {Fork: chain.Fulu, SSZ: true},
		"fulu json":    {Fork: chain.Fulu},
		"electra ssz":  {Fork: chain.Electra, SSZ: true},
		"electra json": {Fork: chain.Electra},
		"deneb json":   {Fork: chain.Deneb},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o.Relays = []RelayOptions{{Knobs: RelayKnobs{CheckKeys: true}}}
			n, ctx := start(t, o)
			n.SetBuilderURL(n.Relays[0].URL)
			out, err := n.WaitOutcome(ctx, func(o Outcome) bool { return o.Slot >= 2 && o.Source == FromBuilder && o.Err == nil })
			if err != nil {
				t.Fatalf("%v: %+v", err, n.Outcomes())
			}
			if out.BlockHash != out.BidHash || out.Relay != "relay-0" {
				t.Fatalf("got %+v, want the bid's block", out)
			}
			// The bid's value is what the fee recipient gained.
			b := n.Execution.Block(common.Hash(out.BlockHash))
			to := n.ProposerOf(out.Slot).FeeRecipient
			_, before, err1 := n.Execution.Account(to, n.Execution.Block(b.ParentHash()).Header())
			_, after, err2 := n.Execution.Account(to, b.Header())
			if err1 != nil || err2 != nil {
				t.Fatal(err1, err2)
			}
			if got, want := new(big.Int).Sub(after, before), out.Value.ToBig(); got.Cmp(want) != 0 {
				t.Errorf("the proposer gained %s wei, the bid said %s", got, want)
			}
			want := "submit_v1"
			if o.Fork == chain.Fulu {
				want = "submit_v2"
			}
			if c := n.Relays[0].Counts(); c["register"] == 0 || c["header"] == 0 || c[want] == 0 {
				t.Errorf("calls %v", c)
			}
		})
	}
}
