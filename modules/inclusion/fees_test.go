package inclusion

import (
	"math"
	"math/big"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/consensus/misc/eip1559"
	"github.com/ethereum/go-ethereum/consensus/misc/eip4844"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"
	"pgregory.net/rapid"

	"sidecar/chain"
	"sidecar/modules"
)

// TestWorstBaseFee holds the bound to the factors of the reference.
func TestWorstBaseFee(t *testing.T) {
	far := new(big.Int).Lsh(big.NewInt(1), 256)
	for blocks, factor := range map[uint64]float64{0: 1, 1: 1.125, 2: 1.265625, 4: 1.601807, 8: 2.565785, 16: 6.583251, 32: 43.339195, 64: 1878.285} {
		got, _ := new(big.Float).SetInt(worstBaseFee(big.NewInt(params.GWei), 60_000_000, blocks, far)).Float64()
		if want := factor * params.GWei; math.Abs(got/want-1) > 1e-5 {
			t.Errorf("%d blocks: got %.0f, want %.0f", blocks, got, want)
		}
	}
	for base, want := range map[int64]int64{0: 1, 1: 2, 7: 8, 8: 10, 100: 113} {
		if got := worstBaseFee(big.NewInt(base), 60_000_000, 1, far); got.Int64() != want {
			t.Errorf("after %d wei: got %s, want %d", base, got, want)
		}
	}
	if got := worstBaseFee(big.NewInt(0), 60_000_000, math.MaxUint64, far); got.Cmp(far) <= 0 {
		t.Errorf("for ever: got %s", got)
	}
}

// TestWorstBaseFee_Bound: no chain that go-ethereum accepts has a higher base fee,
// whatever gas limits its builders choose and however much of them they use.
func TestWorstBaseFee_Bound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		head := &types.Header{Number: big.NewInt(1), GasLimit: rapid.Uint64Range(5000, 100_000_000).Draw(t, "limit"),
			BaseFee: new(big.Int).SetUint64(rapid.Uint64Range(7, 1<<60).Draw(t, "base fee"))}
		blocks := rapid.Uint64Range(1, 64).Draw(t, "blocks")
		worst := worstBaseFee(head.BaseFee, head.GasLimit, blocks, beyond)
		for n := range blocks {
			// The head itself may yet be replaced by a fuller block of its height.
			head.GasUsed = head.GasLimit - rapid.SampledFrom([]uint64{0, 0, 0, 1, 1000}).Draw(t, "unused")
			next := &types.Header{Number: big.NewInt(int64(n) + 2), BaseFee: eip1559.CalcBaseFee(params.MergedTestChainConfig, head)}
			change := head.GasLimit/1024 - 1
			switch rapid.IntRange(0, 2).Draw(t, "vote") {
			case 0:
				next.GasLimit = max(head.GasLimit-change, 5000)
			case 1:
				next.GasLimit = head.GasLimit + change
			default:
				next.GasLimit = head.GasLimit | 1
			}
			head = next
		}
		if head.BaseFee.Cmp(worst) > 0 {
			t.Fatalf("the base fee is %s, the bound %s", head.BaseFee, worst)
		}
	})
}

// TestWorstBlobFee_Bound: no chain that go-ethereum accepts has a higher blob base
// fee in the slot, whatever its blocks hold, which slots are missed, and whether
// its schedule changes on the way.
func TestWorstBlobFee_Bound(t *testing.T) {
	schedules := []*params.BlobConfig{params.DefaultPragueBlobConfig, params.DefaultBPO1BlobConfig, params.DefaultBPO2BlobConfig, {Target: 2, Max: 4, UpdateFraction: 2_225_651}}
	of := func(c *params.BlobConfig) chain.BlobParams {
		return chain.BlobParams{Target: c.Target, Max: c.Max, Fraction: c.UpdateFraction}
	}
	zero, when := uint64(0), uint64(0)
	rapid.Check(t, func(t *rapid.T) {
		before, after := rapid.SampledFrom(schedules).Draw(t, "before"), rapid.SampledFrom(schedules).Draw(t, "after")
		const first = 1000
		last := first + rapid.Uint64Range(1, 40).Draw(t, "slots")
		when = rapid.Uint64Range(first+1, last+1).Draw(t, "changes")
		config := *params.MergedTestChainConfig
		config.OsakaTime, config.BPO1Time = &zero, &when
		config.BPO2Time, config.BPO3Time, config.BPO4Time, config.BPO5Time, config.AmsterdamTime = nil, nil, nil, nil, nil
		config.BlobScheduleConfig = &params.BlobScheduleConfig{Cancun: before, Prague: before, BPO1: after}
		excess := rapid.Uint64Range(0, 3000*gasPerBlob).Draw(t, "excess")
		head := modules.Head{Slot: first, ExcessBlobGas: excess, Blobs: of(before), NextBlobs: of(after), NextBlobsSlot: phase0.Slot(when)}
		worst, err := new(Module).worstBlobFee(head, phase0.Slot(last), new(big.Int).Lsh(one, 300))
		if err != nil {
			t.Fatal(err)
		}
		base := rapid.Uint64Range(1, 1e12).Draw(t, "base fee")
		parent := &types.Header{Number: big.NewInt(1), Time: first, ExcessBlobGas: &excess}
		for at := uint64(first); ; {
			most := uint64(before.Max)
			if at >= when {
				most = uint64(after.Max)
			}
			used := rapid.Uint64Range(most/2, most).Draw(t, "blobs") * gasPerBlob
			parent.BlobGasUsed, parent.BaseFee = &used, new(big.Int).SetUint64(base)
			if at = min(at+rapid.Uint64Range(1, 2).Draw(t, "step"), last); rapid.IntRange(0, 9).Draw(t, "jump") == 0 {
				at = last
			}
			next := eip4844.CalcExcessBlobGas(&config, parent, at)
			parent = &types.Header{Number: big.NewInt(1), Time: at, ExcessBlobGas: &next}
			if at == last {
				break
			}
		}
		if fee := eip4844.CalcBlobFee(&config, parent); fee.Cmp(worst) > 0 {
			t.Fatalf("the fee is %s, the bound %s", fee, worst)
		}
	})
}

// TestWorstBlobFee_Full: with full blocks the bound is reached; it is what EIP-4844
// and 7691 say of a full block: 8.2 % a block under every schedule since Electra.
func TestWorstBlobFee_Full(t *testing.T) {
	for _, c := range []*params.BlobConfig{params.DefaultPragueBlobConfig, params.DefaultBPO1BlobConfig, params.DefaultBPO2BlobConfig} {
		excess := 60 * c.UpdateFraction / 3 // e^20 wei
		head := modules.Head{Slot: 1, ExcessBlobGas: excess, Blobs: chain.BlobParams{Target: c.Target, Max: c.Max, Fraction: c.UpdateFraction}}
		fee := func(slots phase0.Slot) float64 {
			n, err := new(Module).worstBlobFee(head, 1+slots, new(big.Int).Lsh(one, 300))
			if err != nil {
				t.Fatal(err)
			}
			f, _ := new(big.Float).SetInt(n).Float64()
			return f
		}
		if got := fee(1) / fee(0); got < 1.0816 || got > 1.0818 {
			t.Errorf("%+v: a block raises it by %f", c, got)
		}
		if got := fee(64) / fee(0); got < 151 || got > 153 { // 1.0817^64
			t.Errorf("%+v: 64 blocks raise it by %f", c, got)
		}
	}
	if n := fakeExponential(new(big.Int).Lsh(one, 200), 1, big.NewInt(5)); n.Cmp(big.NewInt(5)) <= 0 {
		t.Errorf("beyond enough: got %s", n)
	}
}
