package eigenlayer

import (
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/contracts/bindings"
	"sidecar/slashing/evidence"
	"sidecar/slashing/slashingtest"
)

// TestWindow: a proof reaches as far back as the chain's history of hashes,
// 8,191 blocks, on a chain that really has them. eth_call runs in the head's
// block, a transaction in the one after it.
func TestWindow(t *testing.T) { forks(t, testWindow) }

func testWindow(t *testing.T, o slashingtest.Options) {
	w := newWorld(t, o)
	f := w.Break()
	input, err := bindings.Submit(f)
	if err != nil {
		t.Fatal(err)
	}
	child := f.Absence.ChildNumber
	start := time.Now()
	for w.Head().Number.Uint64() < child+8190 {
		w.Mine()
	}
	t.Logf("8,190 blocks in %v", time.Since(start).Round(time.Millisecond))
	for _, want := range []string{"", "", "ChildUnknown"} { // 8,190, 8,191 and 8,192 blocks
		if got := w.why(w.Stranger.Address, w.Manager, input); got != want {
			t.Errorf("child %d blocks back: got %q, want %q", w.Head().Number.Uint64()-child, got, want)
		}
		w.Mine()
	}
	// The signatures of F2 have the same window, in slots.
	slot := w.Slot()
	d := w.Contradict()
	second, err := bindings.Submit(d)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		age  phase0.Slot
		want string
	}{{8190, ""}, {8191, ""}, {8192, "EvidenceTooOld"}} {
		w.MineAt(slot + 1 + c.age)
		if got := w.why(w.Stranger.Address, w.Manager, second); got != c.want {
			t.Errorf("promises %d slots back: got %q, want %q", c.age, got, c.want)
		}
	}
}

// TestSigners: whoever did not sign what the evidence needs, or signed it for
// another slot, acquits the operator.
func TestSigners(t *testing.T) { forks(t, testSigners) }

func testSigners(t *testing.T, o slashingtest.Options) {
	w := newWorld(t, o)
	for name, c := range map[string]struct {
		want   string
		change func(*evidence.File)
	}{
		"a foreign delegate":      {"DelegationSignature", func(f *evidence.File) { f.Delegation.Message.Delegate = f.Delegation.Message.Proposer }},
		"a foreign validator":     {"DelegationSignature", func(f *evidence.File) { f.Delegation.Message.Proposer = f.Delegation.Message.Delegate }},
		"the promise forged":      {"PromiseSignature", func(f *evidence.File) { f.Promises[0].Signature = f.Delegation.Signature }},
		"an expired delegation":   {"DelegationSlot", func(f *evidence.File) { f.Delegation.Message.Slot-- }},
		"a delegation to come":    {"DelegationSlot", func(f *evidence.File) { f.Delegation.Message.Slot++ }},
		"a stretched delegation":  {"DelegationSignature", func(f *evidence.File) { f.Delegation.Message.Metadata = []byte("until for ever") }},
		"another committer":       {"DelegationSignature", func(f *evidence.File) { f.Delegation.Message.Committer[0]++ }},
		"another module's":        {"OtherSigningId", func(f *evidence.File) { f.Delegation.SigningID[0]++ }},
		"another slasher's":       {"OtherSlasher", func(f *evidence.File) { f.Promises[0].Commitment.Slasher[0]++ }},
		"another promise's nonce": {"PromiseSignature", func(f *evidence.File) { f.Promises[0].Nonce++ }},
	} {
		f := w.Break()
		f.Promises = append([]evidence.Promise{}, f.Promises...)
		c.change(&f)
		input, err := bindings.Submit(f)
		if err != nil {
			t.Fatal(err)
		}
		w.Mine()
		if got := w.why(w.Stranger.Address, w.Manager, input); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
	// None at all is no calldata.
	f := w.Break()
	f.Delegation = commitments.SignedDelegation{}
	if _, err := bindings.Submit(f); err == nil {
		t.Error("no delegation at all")
	}
}

// TestGas holds each step on the real core to a ceiling, in gas of a whole
// transaction under Osaka's rules. Depth: nodes of an account proof.
func TestGas(t *testing.T) {
	type row struct {
		step         string
		gas, ceiling uint64
	}
	w := newWorld(t, slashingtest.Options{})
	id, shallow := w.submit(w.Break())
	w.Pass(1, delay*time.Second)
	execute := w.execute(id).GasUsed
	cleared := w.clear(1).GasUsed
	again, double := w.submit(w.Contradict())
	w.Pass(1, delay*time.Second)
	second := w.execute(again).GasUsed
	rows := []row{
		{"submit F1, depth 3", shallow, 760_000}, {"submit F2", double, 700_000}, {"execute F1", execute, 460_000},
		{"execute F2, the operator slashed before", second, 460_000}, {"clear to the burn address", cleared, 140_000},
		{"F1 whole, depth 3", shallow + execute, 1_400_000}, {"F2 whole", double + second, 1_400_000},
	}
	deep := newWorld(t, slashingtest.Options{Deep: true})
	f := deep.Break()
	if n := len(f.Absence.AccountProofs.Pre); n != 6 {
		t.Fatalf("a proof of %d nodes, want 6", n)
	}
	rows = append(rows, row{"F1 check, depth 6", deep.check(f), 900_000})
	id, gas := deep.submit(f)
	deep.Pass(1, delay*time.Second)
	rows = append(rows, row{"submit F1, depth 6", gas, 950_000}, row{"F1 whole, depth 6", gas + deep.execute(id).GasUsed, 1_400_000})
	for _, r := range rows {
		t.Logf("| %-40s | %9d | %9d |", r.step, r.gas, r.ceiling)
		if r.gas > r.ceiling {
			t.Errorf("%s costs %d gas, at most %d", r.step, r.gas, r.ceiling)
		}
	}
}

// check is what a transaction to the verifier alone costs.
func (w *world) check(f evidence.File) uint64 {
	w.t.Helper()
	input, err := bindings.Judge(f)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.Do(w.Stranger, w.Verifier, input).GasUsed
}
