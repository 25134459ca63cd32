package inclusion

import (
	"errors"
	"math"
	"math/big"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"
	"github.com/holiman/uint256"
	"pgregory.net/rapid"

	"sidecar/commitments"
	"sidecar/modules"
)

// TestCurve_Bolt compares with prices of Bolt v0.4, whose curve is
// 0.019 ETH·ln[(1.02e-6·(G−U)+1)/(1.02e-6·(G−U−I)+1)]/I: the same one, for a
// start and a ratio that depend on the gas limit.
func TestCurve_Bolt(t *testing.T) {
	for _, c := range []struct {
		limit, used uint64
		want        float64
	}{
		{30_000_000, 0, 613_499_092}, {30_000_000, 15_000_000, 1_189_738_950}, {30_000_000, 30_000_000 - 21_000, 19_175_357_339},
		{36_000_000, 0, 513_931_726}, {60_000_000, 0, 311_629_224},
	} {
		k := 1.02e-6 * float64(c.limit)
		bolt := curve{start: big.NewInt(int64(math.Round(0.019e18 * 1.02e-6 / (k + 1)))), ratio: int64(math.Round((k + 1) * 1000))}
		got, _ := new(big.Float).SetInt(bolt.mean(c.used, 21_000, c.limit)).Float64()
		if math.Abs(got/c.want-1) > 1e-8 {
			t.Errorf("limit %d, used %d: got %.0f, Bolt asks %.0f", c.limit, c.used, got, c.want)
		}
	}
}

// TestCurve_Scales: the same fullness costs the same, whatever the limit is.
func TestCurve_Scales(t *testing.T) {
	c := curve{start: big.NewInt(400_000_000), ratio: 31_600}
	for _, limit := range []uint64{15_000_000, 30_000_000, 150_000_000, 1 << 40} {
		for part, want := range map[uint64]float64{0: 0.4e9, 2: 0.4e9 * 31.6 / 16.3} { // the marginal price at 0 and 1/2
			used := uint64(0)
			if part > 0 {
				used = limit / part
			}
			got, _ := new(big.Float).SetInt(c.mean(used, 1, limit)).Float64()
			if math.Abs(got/want-1) > 1e-6 {
				t.Errorf("limit %d, used %d: got %.0f, want %.0f", limit, used, got, want)
			}
		}
		last, _ := new(big.Float).SetInt(c.mean(limit-1, 1, limit)).Float64()
		if last > 0.4e9*31.6+1 || last < 0.4e9*31.6*0.999 {
			t.Errorf("limit %d: the last gas costs %.0f, want %.0f", limit, last, 0.4e9*31.6)
		}
	}
}

// TestLogarithm compares with the floating point unit.
func TestLogarithm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := rapid.Uint64Range(1, 1<<52).Draw(t, "d")
		n := rapid.Uint64Range(d, 1<<53).Draw(t, "n")
		fixed, _ := new(big.Float).SetInt(logarithm(bigOf(n), bigOf(d))).Float64()
		got, want := fixed/math.Exp2(lnBits), math.Log1p(float64(n-d)/float64(d))
		if math.Abs(got-want) > 1e-13*(1+want) {
			t.Fatalf("ln(%d/%d): got %g, want %g", n, d, got, want)
		}
	})
}

// TestTip_Properties: dearer as the slot fills, whatever the settings; never
// below the floor, and of a size that a word holds.
func TestTip_Properties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		gwei := func(name string) *big.Int { return bigOf(rapid.Uint64Range(0, 1e15).Draw(t, name)) }
		p := pricing{
			floor: gwei("floor"), curve: curve{gwei("start"), rapid.Int64Range(1000, 1e7).Draw(t, "ratio")}, horizon: gwei("horizon"),
			blob: bigOf(rapid.Uint64Range(0, 1e18).Draw(t, "blob")), reserved: rapid.Uint64Range(0, 100).Draw(t, "reserved"),
		}
		l := load{
			used: rapid.Uint64().Draw(t, "used"), limit: rapid.Uint64().Draw(t, "limit"), gas: rapid.Uint64Range(txGas, maxTxGas).Draw(t, "gas"),
			blobs: rapid.Uint64Range(0, 6).Draw(t, "blobs"), ahead: rapid.Uint64Range(1, 8192).Draw(t, "ahead"),
		}
		if rapid.Bool().Draw(t, "inside") {
			l.limit = rapid.Uint64Range(l.gas, 1e9).Draw(t, "real limit")
			l.used = rapid.Uint64Range(0, l.limit-l.gas).Draw(t, "real used")
		}
		l.least = rapid.Uint64Range(txGas, l.gas).Draw(t, "least")
		tip := p.tip(l)
		if tip.Cmp(p.floor) < 0 || tip.BitLen() > 128 {
			t.Fatalf("a tip of %s", tip)
		}
		fuller, farther, most := l, l, l
		fuller.used += rapid.Uint64Range(0, math.MaxUint64-l.used).Draw(t, "more")
		farther.ahead++
		most.blobs++
		for name, other := range map[string]load{"fuller": fuller, "farther": farther, "another blob": most} {
			if dearer := p.tip(other); dearer.Cmp(tip) < 0 {
				t.Fatalf("%s: %s, and %s before", name, dearer, tip)
			}
		}
	})
}

// TestTip_Parts takes the price apart, in figures worked out by hand.
func TestTip_Parts(t *testing.T) {
	p := pricing{floor: big.NewInt(1e9), curve: curve{new(big.Int), 1000}, horizon: big.NewInt(1e6), blob: big.NewInt(21e12), reserved: 10}
	for name, c := range map[string]struct {
		load
		want int64
	}{
		"the floor":        {load{gas: 21_000, least: 21_000, ahead: 1}, 1_000_000_000},
		"five slots ahead": {load{gas: 21_000, least: 21_000, ahead: 5}, 1_004_000_000},
		"two blobs":        {load{gas: 21_000, least: 21_000, ahead: 1, blobs: 2}, 3_000_000_000},
		"a blob, more gas": {load{gas: 42_000, least: 42_000, ahead: 1, blobs: 1}, 1_500_000_000},
		"gas to spare":     {load{gas: 210_000, least: 21_000, ahead: 1}, 1_000_000_000},
		"too much of it":   {load{gas: 2_100_000, least: 21_000, ahead: 1}, 10_000_000_000},
		"all of it used":   {load{gas: 2_100_000, least: 2_100_000, ahead: 1}, 1_000_000_000},
	} {
		if got := p.tip(c.load); got.Cmp(big.NewInt(c.want)) != 0 {
			t.Errorf("%s: got %s, want %d", name, got, c.want)
		}
	}
}

func TestLeastGas(t *testing.T) {
	for name, c := range map[string]struct {
		data []byte
		list types.AccessList
		want uint64
	}{
		"a transfer":    {nil, nil, 21_000},
		"calldata":      {[]byte{0, 0, 1}, nil, 21_000 + 6*10},
		"a long list":   {nil, make(types.AccessList, 100), (21_000 + 240_000) * 4 / 5},
		"a lot of data": {make([]byte, 100_000), nil, 21_000 + 100_000*10},
	} {
		if got := leastGas(types.NewTx(&types.DynamicFeeTx{To: &common.Address{1}, Data: c.data, AccessList: c.list})); got != c.want {
			t.Errorf("%s: got %d, want %d", name, got, c.want)
		}
	}
}

// priced is a world with prices of its own.
func priced(t testing.TB, change func(*Config)) *world {
	w := newWorld(t)
	var c Config
	change(&c)
	p, err := c.pricing()
	if err != nil {
		t.Fatal(err)
	}
	w.price = p
	return w
}

// TestCommit_Price asks for the price and offers one wei less, exactly as much,
// and what a quote says.
func TestCommit_Price(t *testing.T) {
	w := priced(t, func(*Config) {})
	view := commitments.View{Page: pageOf(slot), Used: commitments.Cost{Gas: 7_000_000}, Limit: commitments.Cost{Gas: 30_000_000}}
	raw := func(tip, cap *big.Int) []byte {
		d := plain()
		d.GasTipCap, d.GasFeeCap = tip, cap
		return w.from.sign(t, d)
	}
	poor := raw(new(big.Int), big.NewInt(30*params.GWei))
	price, err := w.Price(t.Context(), view, requestOf(slot, poor))
	if err != nil {
		t.Fatal(err)
	}
	tip, base := price.Tip.ToBig(), price.BaseFee.ToBig()
	if base.Int64() != 10_125_000_076 || price.Mode != commitments.PaidByTip || price.Total.CmpBig(new(big.Int).Mul(tip, big.NewInt(21_000))) != 0 {
		t.Errorf("got %+v", price)
	}
	// 1 + 0.4·31.6/(1+30.6·(1−0.2333…)) + 0.005 gwei, and a little for its own gas.
	if got := tip.Int64(); got < 1_521_000_000 || got > 1_524_000_000 {
		t.Errorf("the tip is %d", got)
	}
	less, enough := new(big.Int).Sub(tip, big.NewInt(1)), new(big.Int).Add(base, tip)
	_, err = w.commit(t, view, raw(less, big.NewInt(30*params.GWei)))
	if !errors.Is(err, ErrTipTooLow) || !strings.Contains(err.Error(), "a priority fee of "+tip.String()+" and a fee cap of "+enough.String()+" are enough") {
		t.Errorf("a wei less: %v", err)
	}
	if _, err := w.commit(t, view, raw(tip, new(big.Int).Sub(enough, big.NewInt(1)))); !errors.Is(err, ErrTipTooLow) {
		t.Errorf("a fee cap of a wei less: %v", err)
	}
	exact := raw(tip, enough)
	d, err := w.commit(t, view, exact)
	if err != nil || d.UsedBelow != 7_000_001 {
		t.Errorf("exactly as much: %v, below %d", err, d.UsedBelow)
	}
	d, err = w.commit(t, view, raw(big.NewInt(3*params.GWei), big.NewInt(30*params.GWei)))
	if err != nil || d.UsedBelow != 7_000_001+30_000_000/16 {
		t.Errorf("twice as much: %v, below %d", err, d.UsedBelow)
	}
	fuller := view
	fuller.Used.Gas = 20_000_000
	if _, err := w.commit(t, fuller, exact); !errors.Is(err, ErrTipTooLow) {
		t.Errorf("in a fuller slot: %v", err)
	}
	fuller.Quoted = &price
	if d, err := w.commit(t, fuller, exact); err != nil || d.UsedBelow != 0 {
		t.Errorf("as quoted: %v, below %d", err, d.UsedBelow)
	}
	if _, err := w.commit(t, fuller, raw(less, enough)); !errors.Is(err, ErrTipTooLow) {
		t.Errorf("a wei less than quoted: %v", err)
	}
	dear := price
	dear.Tip = *uint256.NewInt(9e18)
	view.Quoted = &dear
	if _, err := w.commit(t, view, exact); err != nil {
		t.Errorf("quoted more than it costs now: %v", err)
	}
}

// TestPrice_Blobs: each blob costs its price, over the gas of a transfer.
func TestPrice_Blobs(t *testing.T) {
	w := newBlobWorld(t)
	view := commitments.View{Page: pageOf(fuluSlot), Limit: commitments.Cost{Gas: 30_000_000, Blobs: 6}}
	var tips []int64
	for _, c := range []struct {
		blobs int
		price int64 // wei
	}{{1, 0}, {1, 21e12}, {2, 21e12}} {
		w.price.blob = big.NewInt(c.price)
		raw := w.from.sign(t, blobTx(c.blobs, types.BlobSidecarVersion1))
		p, err := w.Price(t.Context(), view, requestOf(fuluSlot, raw))
		if err != nil {
			t.Fatal(err)
		}
		tips = append(tips, p.Tip.ToBig().Int64())
	}
	if tips[1]-tips[0] != 1e9 || tips[2]-tips[0] != 2e9 {
		t.Errorf("no price, one blob, two: %v", tips)
	}
	if _, err := w.ask(t, fuluSlot, view, w.from.sign(t, blobTx(2, types.BlobSidecarVersion1))); !errors.Is(err, ErrTipTooLow) {
		t.Errorf("two blobs for a tip of 2 gwei: %v", err)
	}
	if _, err := w.ask(t, fuluSlot, view, w.from.sign(t, blobTx(1, types.BlobSidecarVersion1))); err != nil {
		t.Errorf("one blob for it: %v", err)
	}
}

// TestPrice_Refuses what cannot be promised at any price; a poor sender may ask.
func TestPrice_Refuses(t *testing.T) {
	w := priced(t, func(*Config) {})
	ask := func(at phase0.Slot, raw []byte) error {
		_, err := w.Price(t.Context(), commitments.View{Page: pageOf(slot)}, requestOf(at, raw))
		return err
	}
	good := w.from.sign(t, plain())
	w.state.accounts[w.from.addr] = modules.Account{}
	if err := ask(slot, good); err != nil {
		t.Errorf("a poor sender: %v", err)
	}
	if err := ask(slot+1, good); !errors.Is(err, ErrPayload) {
		t.Errorf("another slot: %v", err)
	}
	if err := ask(slot, good[:20]); !errors.Is(err, ErrTxEncoding) {
		t.Errorf("half a transaction: %v", err)
	}
	w.state.head.Slot = slot
	if err := ask(slot, good); !errors.Is(err, ErrSlotPassed) {
		t.Errorf("a slot that passed: %v", err)
	}
}

func TestPricing_Bounds(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"floor":    func(c *Config) { c.MinTipGwei = ptr(-1.0) },
		"start":    func(c *Config) { c.CurveStartGwei = ptr(2e6) },
		"ratio":    func(c *Config) { c.CurveRatio = ptr(0.9) },
		"infinite": func(c *Config) { c.CurveRatio = ptr(math.Inf(1)) },
		"horizon":  func(c *Config) { c.HorizonTipGwei = ptr(math.NaN()) },
		"blob":     func(c *Config) { c.BlobPriceGwei = ptr(1e10) },
		"reserved": func(c *Config) { c.ReservedGasPercent = ptr(uint64(101)) },
	} {
		var c Config
		change(&c)
		if _, err := c.pricing(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestPricing_Example: the defaults are those of the example file.
func TestPricing_Example(t *testing.T) {
	text, err := os.ReadFile("../../config.example.toml")
	if err != nil {
		t.Fatal(err)
	}
	var c Config
	c.setPrices()
	for name, has := range map[string]float64{
		"min_tip_gwei": *c.MinTipGwei, "curve_start_gwei": *c.CurveStartGwei, "curve_ratio": *c.CurveRatio, "horizon_tip_gwei": *c.HorizonTipGwei,
		"blob_price_gwei": *c.BlobPriceGwei, "reserved_gas_percent": float64(*c.ReservedGasPercent), "max_gas_per_tx": maxTxGas,
	} {
		m := regexp.MustCompile(`(?m)^# ` + name + ` = ([0-9.]+)`).FindSubmatch(text)
		if m == nil {
			t.Errorf("%s is not in the example", name)
			continue
		}
		if says, err := strconv.ParseFloat(string(m[1]), 64); err != nil || says != has {
			t.Errorf("%s: the example says %s, the default is %v", name, m[1], has)
		}
	}
}

func BenchmarkTip(b *testing.B) {
	var c Config
	p, err := c.pricing()
	if err != nil {
		b.Fatal(err)
	}
	l := load{used: 7_000_000, limit: 30_000_000, gas: 21_000, least: 21_000, ahead: 3}
	for b.Loop() {
		p.tip(l)
	}
}

func viewOfLimit(gas uint64) commitments.View {
	return commitments.View{Page: pageOf(slot), Limit: commitments.Cost{Gas: gas}}
}
