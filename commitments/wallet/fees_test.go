package wallet

import (
	"encoding/json"
	"math/big"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/modules"
)

// TestWorstBaseFee: 9/8 for each block. [preconfirmation.md §4.5]
func TestWorstBaseFee(t *testing.T) {
	for blocks, want := range map[uint64]float64{0: 1, 1: 1.125, 2: 1.266, 4: 1.602, 8: 2.566, 16: 6.58, 32: 43.3} {
		got, _ := new(big.Float).SetInt(worstBaseFee(big.NewInt(1e15), blocks)).Float64()
		if ratio := got / 1e15 / want; ratio < 0.999 || ratio > 1.001 {
			t.Errorf("after %d blocks %.3f times, want %.3f", blocks, got/1e15, want)
		}
	}
	if got := worstBaseFee(big.NewInt(7), 2); got.Cmp(big.NewInt(10)) != 0 { // 7 → 8 (7/8 is 0, and a wei) → 8+1+1
		t.Errorf("from 7 wei: %v", got)
	}
}

// caps are what wallets make of a base fee and of what is suggested to them.
var caps = map[string]func(base, tip *big.Int) *big.Int{
	"ethers, cast, web3.py, geth": func(base, tip *big.Int) *big.Int { return sum(sum(base, base), tip) },
	"viem, MetaMask":              func(base, tip *big.Int) *big.Int { return sum(ratio(base, 12, 10), tip) },
}

func sum(a, b *big.Int) *big.Int { return new(big.Int).Add(a, b) }

func ratio(n *big.Int, a, b int64) *big.Int {
	return new(big.Int).Div(new(big.Int).Mul(n, big.NewInt(a)), big.NewInt(b))
}

// TestFees_EveryWalletPasses: whichever multiple of the base fee a wallet takes,
// from the head or the block before, its cap covers the worst base fee of the
// slot, and its tip what the module wants.
func TestFees_EveryWalletPasses(t *testing.T) {
	for _, base := range []uint64{7, 10 * gwei, 13_371_337_331} {
		for _, slot := range []phase0.Slot{102, 104, 107, 108} {
			h := open(t)
			h.gate.slots = []phase0.Slot{slot}
			h.node.answer("eth_maxPriorityFeePerGas", func([]json.RawMessage) any { return "0x1" })
			h.node.answer("eth_gasPrice", func([]json.RawMessage) any { return "0x1" })
			h.node.setHead(50, 99, base)
			tip := h.quantity("eth_maxPriorityFeePerGas")
			h.node.setHead(51, 100, base*9/8) // the block after is as full as it can be
			tipAfter := h.quantity("eth_maxPriorityFeePerGas")
			before, after := big.NewInt(int64(base)), big.NewInt(int64(base*9/8))
			worst, worstAfter := worstBaseFee(before, uint64(slot-99)), worstBaseFee(after, uint64(slot-100))
			for wallet, cap := range caps {
				for _, c := range []struct {
					read         string
					offer, worst *big.Int
				}{
					{"at the head", cap(before, tip), worst},
					{"a block after", cap(after, tip), worst},
					{"a block before", cap(before, tipAfter), worstAfter},
				} {
					if left := new(big.Int).Sub(c.offer, c.worst); left.Cmp(big.NewInt(gwei)) < 0 {
						t.Errorf("base fee %d, slot %d: %s, block read %s: the cap %v leaves %v wei above the worst base fee %v", base, slot, wallet, c.read, c.offer, left, c.worst)
					}
				}
			}
			if price := h.quantity("eth_gasPrice"); price.Cmp(sum(worstAfter, big.NewInt(gwei))) < 0 {
				t.Errorf("base fee %d, slot %d: gas price %v, worst base fee %v", base, slot, price, worstAfter)
			}
		}
	}
}

func (h *house) quantity(method string, params ...any) *big.Int {
	h.t.Helper()
	a := h.call(method, params...)
	var text string
	if json.Unmarshal(a.Result, &text) != nil {
		h.t.Fatalf("%s: %s %+v", method, a.Result, a.Error)
	}
	n, ok := parseQuantity(text)
	if !ok {
		h.t.Fatalf("%s: %s", method, text)
	}
	return n
}

// TestFees_Hold: what is told holds for the slot after the next, too, if the next
// closes before the wallet's user has decided.
func TestFees_Hold(t *testing.T) {
	h := open(t)
	h.setSlot(101, 0)
	h.node.setHead(51, 100, 10*gwei)
	h.node.answer("eth_gasPrice", func([]json.RawMessage) any { return "0x1" })
	want := sum(worstBaseFee(big.NewInt(10*gwei), 4), big.NewInt(gwei+gwei/8))
	if got := h.quantity("eth_gasPrice"); got.Cmp(want) != 0 {
		t.Errorf("gas price %v while slot 102 closes in 8 s, want %v: that of slot 104", got, want)
	}
}

// TestFees_Unpriced: a module without prices wants the base fee and nothing else,
// but for what the file says.
func TestFees_Unpriced(t *testing.T) {
	h := open(t, func(c *Config) { c.MinTip = big.NewInt(7) })
	h.gate.unpriced = modules.ErrUnpriced
	h.gate.slots = h.gate.slots[:1]
	h.node.answer("eth_gasPrice", func([]json.RawMessage) any { return "0x1" })
	if got, want := h.quantity("eth_gasPrice"), sum(worstBaseFee(big.NewInt(10*gwei), 3), big.NewInt(7)); got.Cmp(want) != 0 {
		t.Errorf("gas price %v, want %v", got, want)
	}
	h.gate.unpriced = errFull
	if got := h.quantity("eth_gasPrice"); got.Cmp(big.NewInt(1)) != 0 {
		t.Errorf("gas price %v though no slot has a price", got)
	}
}

// TestOffers: the gateway is asked once for many wallets, and again a moment later.
func TestOffers(t *testing.T) {
	h := open(t)
	h.offers.life = offersLife
	for range 10 {
		if slots, err := h.Wallet.open(t.Context()); err != nil || len(slots) != 2 {
			t.Fatalf("%d slots, %v", len(slots), err)
		}
	}
	h.gate.slots = nil
	if slots, err := h.Wallet.open(t.Context()); err != nil || len(slots) != 2 {
		t.Errorf("at the same time %d slots, %v", len(slots), err)
	}
	h.setSlot(100, offersLife)
	if slots, err := h.Wallet.open(t.Context()); err != nil || len(slots) != 0 {
		t.Errorf("a moment later %d slots, %v", len(slots), err)
	}
}

// TestFees_NodesOwn: the node's answer stands when it is higher, when there is no
// slot, and when hints are off; a base fee is never another than the chain's.
func TestFees_NodesOwn(t *testing.T) {
	history := map[string]any{
		"oldestBlock": "0x31", "baseFeePerGas": []string{"0x1", "0x2", "0x3"}, "gasUsedRatio": []float64{0.5, 0.25},
		"reward": [][]string{{"0x0", "0x77359400000"}, {"0x0", "0x1"}},
	}
	h := open(t)
	h.node.answer("eth_maxPriorityFeePerGas", func([]json.RawMessage) any { return "0x77359400000" })
	h.node.answer("eth_feeHistory", func([]json.RawMessage) any { return history })
	h.call("eth_maxPriorityFeePerGas").want(t, `"0x77359400000"`)
	floor := h.quantityFloor(t)
	text := `"` + quantity(floor) + `"`
	h.call("eth_feeHistory", "0x2", "latest", []int{10, 90}).want(t, `{"baseFeePerGas":["0x1","0x2","0x3"],"gasUsedRatio":[0.5,0.25],"oldestBlock":"0x31",`+
		`"reward":[[`+text+`,"0x77359400000"],[`+text+`,`+text+`]],"rewardFloor":`+text+`}`)

	plain := `{"baseFeePerGas":["0x1","0x2","0x3"],"gasUsedRatio":[0.5,0.25],"oldestBlock":"0x31","reward":[["0x0","0x77359400000"],["0x0","0x1"]]}`
	h.gate.slots = nil
	h.call("eth_feeHistory", "0x2", "latest", []int{10, 90}).want(t, plain)
	h.gate.slots, h.gate.down = []phase0.Slot{102}, errSchedule
	h.call("eth_feeHistory", "0x2", "latest", []int{10, 90}).want(t, plain)

	off := open(t, func(c *Config) { c.FeeHints = false })
	off.node.answer("eth_maxPriorityFeePerGas", func([]json.RawMessage) any { return "0x1" })
	off.node.answer("eth_feeHistory", func([]json.RawMessage) any { return history })
	off.call("eth_maxPriorityFeePerGas").want(t, `"0x1"`)
	off.call("eth_feeHistory", "0x2", "latest", []int{10, 90}).want(t, plain)
	off.node.answer("eth_feeHistory", func([]json.RawMessage) any { return refuses{-32602, "no", ""} })
	off.call("eth_feeHistory", "0x2").refused(t, -32602, "no", "")
}

// quantityFloor is the floor of tips now.
func (h *house) quantityFloor(t *testing.T) *big.Int {
	t.Helper()
	f, err := h.floors(t.Context())
	if err != nil || f == nil {
		t.Fatalf("no floor: %v", err)
	}
	return f.tip
}
