package inclusion

import (
	"math/big"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"
	"github.com/holiman/uint256"
)

// TestReplay has a slot for three transfers, at a floor of a gwei and nothing more.
func TestReplay(t *testing.T) {
	replay, err := Replay(func(into any) error {
		c := into.(*Config)
		c.CurveStartGwei, c.HorizonTipGwei, c.MaxGasPerTx = ptr(0.0), ptr(0.0), ptr(uint64(50_000))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	gwei := func(n uint64) uint256.Int { return *uint256.NewInt(n * params.GWei) }
	offer := func(id byte, gas, tip, most uint64) Offer {
		return Offer{Hash: phase0.Hash32{id}, Gas: gas, Least: gas, Tip: gwei(tip), Cap: gwei(most)}
	}
	p := Past{Slot: 9, Number: 5, GasLimit: 60_000_000, GasUsed: 15_000_000, BaseFee: gwei(10), Limit: 70_000, Block: []PastTx{
		{offer(1, 21_000, 2, 30), 21_000},
		{offer(2, 21_000, 5, 11), 21_000}, // a gwei is left of its tip
		{offer(3, 21_000, 0, 30), 21_000}, // tips nothing
		{offer(4, 60_000, 9, 30), 60_000},
		{offer(5, 30_000, 9, 30), 25_000}, // no room
		{offer(6, 28_000, 9, 30), 22_000},
	}, Promised: []Offer{offer(2, 21_000, 5, 11), offer(7, 21_000, 9, 30)}}
	got := replay(p)
	if m := got.Market; m.Asked != 6 || m.Accepted != 3 || m.TooCheap != 1 || m.TooBig != 1 || m.Full != 1 || m.Gas != 70_000 ||
		m.Tips != gwei(2*21_000+1*21_000+9*22_000) || m.Last != gwei(1) {
		t.Errorf("market: %+v", m)
	}
	if m := got.Promised; m.Asked != 2 || m.Accepted != 2 || m.Gas != 42_000 || m.Tips != gwei(21_000) {
		t.Errorf("promised: %+v", m)
	}
	// 2·21 + 1·21 + 0 + 9·60 + 9·25 + 9·22 of 15,000 kgas.
	if want := uint64(1e9) * (2*21 + 1*21 + 9*60 + 9*25 + 9*22) / 15_000; got.Worth.Uint64() != want {
		t.Errorf("a gas is worth %s, want %d", got.Worth.Dec(), want)
	}
	if got.Slot != 9 || got.Number != 5 || got.Missed || got.UsedPercent != 25 {
		t.Errorf("got %+v", got)
	}
	missed := replay(Past{Slot: 10, Limit: 70_000, Promised: []Offer{offer(7, 21_000, 9, 30)}})
	if !missed.Missed || missed.Promised.Accepted != 1 || !missed.Promised.Tips.IsZero() {
		t.Errorf("missed: %+v", missed)
	}
	if _, err := Replay(func(into any) error { into.(*Config).MinTipGwei = ptr(-1.0); return nil }); err == nil {
		t.Error("a negative floor: no error")
	}
}

// TestReplay_AsAdmission: with the same prices, what is replayed as accepted is
// what Commit takes.
func TestReplay_AsAdmission(t *testing.T) {
	w := priced(t, func(c *Config) { c.HorizonTipGwei = ptr(0.0) })
	w.state.head.BaseFee = *uint256.NewInt(7) // at next to no base fee the worst is the present one
	replay, err := Replay(func(into any) error { into.(*Config).HorizonTipGwei = ptr(0.0); return nil })
	if err != nil {
		t.Fatal(err)
	}
	for tip := int64(1_390_000_000); tip < 1_410_000_000; tip += 500_000 {
		d := plain()
		d.GasTipCap = big.NewInt(tip)
		raw := w.from.sign(t, d)
		o, err := OfferOf(raw)
		if err != nil {
			t.Fatal(err)
		}
		got := replay(Past{Number: 1, BaseFee: w.state.head.BaseFee, Limit: 30_000_000, Promised: []Offer{o}}).Promised.Accepted == 1
		_, err = w.commit(t, viewOfLimit(30_000_000), raw)
		if got != (err == nil) {
			t.Errorf("a tip of %d: replayed %v, admitted: %v", tip, got, err)
		}
	}
}

func TestOfferOf(t *testing.T) {
	w := newWorld(t)
	raw := w.from.sign(t, &types.BlobTx{ChainID: uint256.NewInt(chainID), GasTipCap: uint256.NewInt(3), GasFeeCap: uint256.NewInt(9), BlobFeeCap: uint256.NewInt(1),
		Gas: 50_000, To: common.Address{1}, Value: new(uint256.Int), BlobHashes: []common.Hash{{1}, {2}}})
	o, err := OfferOf(raw)
	if err != nil || o.Gas != 50_000 || o.Least != 21_000 || o.Blobs != 2 || o.Tip.Uint64() != 3 || o.Cap.Uint64() != 9 {
		t.Errorf("got %+v, %v", o, err)
	}
	if _, err := OfferOf(raw[:30]); err == nil {
		t.Error("half a transaction: no error")
	}
	if o, err := OfferIn(promiseOf(slot, raw).Commitment); err != nil || o.Blobs != 2 {
		t.Errorf("a promise's: %+v, %v", o, err)
	}
}
