package chain

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
)

func TestClock(t *testing.T) {
	genesis := time.Unix(1742213400, 0)
	now := genesis
	spec := Custom(genesis, 400*time.Millisecond, phase0.Version{}, 0, 1)
	c := NewClock(spec, func() time.Time { return now })
	for _, k := range []struct {
		at   time.Duration // after genesis
		slot phase0.Slot
		into time.Duration // into slot 10
	}{
		{-time.Hour, 0, -time.Hour - 4*time.Second},
		{-time.Nanosecond, 0, -4*time.Second - 1},
		{0, 0, -4 * time.Second},
		{399 * time.Millisecond, 0, -3601 * time.Millisecond},
		{400 * time.Millisecond, 1, -3600 * time.Millisecond},
		{4*time.Second - time.Millisecond, 9, -time.Millisecond}, // 1 ms early is 1 ms early, not late
		{4 * time.Second, 10, 0},
		{5 * time.Second, 12, time.Second},
	} {
		now = genesis.Add(k.at)
		if got := c.Slot(); got != k.slot {
			t.Errorf("%v: got slot %d, want %d", k.at, got, k.slot)
		}
		if got := c.Into(10); got != k.into {
			t.Errorf("%v: got into %v, want %v", k.at, got, k.into)
		}
		if got := c.Until(c.Start(10)); got != -k.into {
			t.Errorf("%v: got until %v, want %v", k.at, got, -k.into)
		}
	}
	if got, want := c.Epoch(65), phase0.Epoch(2); got != want {
		t.Errorf("epoch: got %d, want %d", got, want)
	}
	if got := c.SlotAt(genesis.Add(time.Second)); got != 2 {
		t.Errorf("slot at 1 s: got %d", got)
	}
}

// TestClock_FarSlots: no slot number overflows into the past.
func TestClock_FarSlots(t *testing.T) {
	s, _ := Named("mainnet")
	c := NewClock(s, func() time.Time { return s.GenesisTime.Add(time.Hour) })
	for _, slot := range []phase0.Slot{math.MaxUint64, math.MaxInt64, math.MaxInt64/12_000_000_000 + 1, math.MaxInt64 / 12_000_000_000} {
		if got := c.Into(slot); got >= 0 {
			t.Errorf("slot %d: got %v into it", slot, got)
		}
	}
}

func TestClock_RealTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewClock(Custom(time.Now(), 12*time.Second, phase0.Version{}, 0, 1), nil)
		<-time.After(25 * time.Second)
		if got := c.Slot(); got != 2 {
			t.Errorf("slot: got %d, want 2", got)
		}
		if got := c.Into(2); got != time.Second {
			t.Errorf("into: got %v, want 1s", got)
		}
		if got := c.Now().Sub(c.Start(0)); got != 25*time.Second {
			t.Errorf("now: got %v after genesis", got)
		}
	})
}
