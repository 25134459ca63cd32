package gateway

import (
	"errors"
	"sync/atomic"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/modules"
)

// TestGasShare: a share of the lowest gas limit the slot's block may have: less by a
// part in 1,024 each slot, rounded down as the chain rounds. [Yellow Paper 4.3.4]
func TestGasShare(t *testing.T) {
	for _, c := range []struct {
		limit   uint64
		ahead   phase0.Slot
		percent uint64
		want    uint64
	}{
		{60_000_000, 0, 100, 60_000_000},
		{60_000_000, 1, 100, 59_941_400}, // 60,000,000 − 58,593 = 59,941,407
		{60_000_000, 1, 50, 29_970_700},
		{60_000_000, 2, 50, 29_941_400}, // 59,941,407 − 58,536 = 59,882,871
		{30_000_000, 64, 25, 7_045_375}, // 64 steps make 28,181,5xx
		{1_000, 9, 50, 500},
		{0, 3, 50, 0},
		{1 << 63, 1, 100, (1<<56 - 1<<46) / 100 * 100},
	} {
		got := gasShare(modules.Head{Slot: 100, GasLimit: c.limit}, 100+c.ahead, c.percent)
		if got != c.want {
			t.Errorf("%d, %d ahead, %d %%: got %d, want %d", c.limit, c.ahead, c.percent, got, c.want)
		}
	}
	if got := gasShare(modules.Head{Slot: 100, GasLimit: 1000}, 99, 50); got != 500 {
		t.Errorf("a slot that is past: got %d", got)
	}
}

// TestLimit_FollowsTheHead: when the gas limit falls, no more is promised than it
// leaves, from the next request on; a slot has no more blobs than a block may have.
func TestLimit_FollowsTheHead(t *testing.T) {
	var limit atomic.Uint64
	h := open(t, func(c *Config) {
		c.Limit = commitments.Cost{Gas: 1, Bytes: 1e9, Blobs: 100}
		c.GasPercent, c.Head = 50, func() (modules.Head, bool) {
			return modules.Head{Slot: 99, GasLimit: limit.Load()}, limit.Load() > 0
		}
	})
	h.module.edit = func(d *commitments.Draft) { d.Cost.Gas = 100_000 }
	commit := func(tx byte) error { _, err := h.Commit(t.Context(), request('a'+tx, tx)); return err }
	if err := commit(1); !errors.Is(err, ErrFullGas) {
		t.Errorf("no head yet: got %v", err)
	}
	limit.Store(410_000)
	if err := errors.Join(commit(1), commit(2)); err != nil {
		t.Errorf("two of two: %v", err)
	}
	if err := commit(3); !errors.Is(err, ErrFullGas) {
		t.Errorf("the third: got %v", err)
	}
	limit.Store(700_000)
	if err := commit(3); err != nil {
		t.Errorf("the limit rose: %v", err)
	}
	limit.Store(400_000)
	if err := commit(4); !errors.Is(err, ErrFullGas) {
		t.Errorf("it fell: got %v", err)
	}
	if got, want := h.limit(104).Blobs, uint64(h.Spec.MaxBlobs(104)); got != want {
		t.Errorf("blobs: got %d, want the chain's %d", got, want)
	}
}

// TestSeal_LargestPage: all that a page may hold, with blobs, is sealed and read
// back after a crash.
func TestSeal_LargestPage(t *testing.T) {
	h := open(t)
	h.module.edit = func(d *commitments.Draft) {
		d.Constraints[0].Payload = make([]byte, commitments.MaxPayload) // six blobs and 128 KiB: 0.96 MB
	}
	for tx := range byte(7) { // 7 MiB: 21 blobs are 2.9 MB, and 4 MiB of transactions
		if _, err := h.Commit(t.Context(), request('a'+tx, tx)); err != nil {
			t.Fatal(err)
		}
	}
	s, err := h.seal(t.Context(), h.id())
	if err != nil || len(s.Message.Constraints) != 7 {
		t.Fatalf("%d constraints, %v", len(s.Message.Constraints), err)
	}
	h.halt()
	h.start()
	p := h.ledger.Page(h.id())
	if p.Constraints == nil || len(p.Promises) != 7 || len(p.Promises[6].Constraints[0].Payload) != commitments.MaxPayload {
		t.Errorf("after a crash: %d promises", len(p.Promises))
	}
}
