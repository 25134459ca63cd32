package gateway

import (
	"context"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/fault"
	relays "sidecar/internal/relay"
)

var errRefused = relays.Err4xx.With("409 not for me")

// TestStanding: two slots of unproven bids put a relay off, a slot counts once, and
// neither our own failure nor another relay's counts; a proven bid brings it back.
func TestStanding(t *testing.T) {
	h := open(t)
	page := func(slot phase0.Slot) commitments.PageID { return commitments.PageID{Slot: slot} }
	off := func() bool { return h.standing.off("r1", 100) }
	for range 5 {
		h.Judged(page(99), "r1", commitments.ErrProof)
	}
	h.Judged(page(100), "r1", context.DeadlineExceeded)
	h.Judged(page(100), "r1", fault.Define("test_node_is_down", fault.Unavailable, "").With("x"))
	h.Judged(page(100), "r2", commitments.ErrProof)
	if off() {
		t.Fatal("off after one slot")
	}
	h.Judged(page(100), "r1", commitments.ErrProof)
	if !off() || h.standing.off("r1", 132) {
		t.Errorf("off %v, and for ever %v", off(), h.standing.off("r1", 132))
	}
	h.Judged(page(133), "r1", commitments.ErrProof)
	if !h.standing.off("r1", 134) {
		t.Error("on probation, an unproven bid puts it off again")
	}
	h.Judged(page(134), "r1", nil)
	if h.standing.off("r1", 134) {
		t.Error("a proven bid does not bring it back")
	}
}

// TestConstraints_Barred: a relay's no to the constraints bars its bids for the
// page, its silence and its failures do not, and a yes in time lifts the bar.
func TestConstraints_Barred(t *testing.T) {
	inBubble(t, func(h *house) {
		h.relays[0].fail = -1
		h.relays = append(h.relays, &relay{name: "no", types: []uint64{1}, fail: -1, refusal: errRefused}, &relay{name: "maybe", types: []uint64{1}, fail: 5, refusal: errRefused},
			&relay{name: "sick", types: []uint64{1}, fail: -1, refusal: relays.Err5xx.With("502 from a proxy before it")})
		defer h.run()()
		h.promise(request('a', 1))
		h.sleepUntil(3900 * time.Millisecond)
		if !h.Barred(h.id(), "maybe") {
			t.Error("a relay that says no is not barred at once")
		}
		h.sleepUntil(0)
		for name, want := range map[string]bool{"r1": false, "no": true, "maybe": false, "sick": false} {
			if got := h.Barred(h.id(), name); got != want {
				t.Errorf("%s: barred %v, want %v", name, got, want)
			}
		}
		if h.Barred(commitments.PageID{Slot: 105}, "no") {
			t.Error("barred for another slot")
		}
	})
}
