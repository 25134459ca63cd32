package gateway

import (
	"testing"
	"time"
)

// TestRun_Panic: a bug of ours that one relay's answer finds costs neither the
// process, which proposes, nor the other relays' constraints.
func TestRun_Panic(t *testing.T) {
	inBubble(t, func(h *house) {
		h.relays[0].panics = true
		h.relays = append(h.relays, &relay{name: "r2", types: []uint64{1}})
		defer h.run()()
		h.promise(request('a', 1))
		h.sleepUntil(0)
		if _, got := h.relays[1].took(); len(got) != 1 {
			t.Errorf("the other relay has %d messages, want 1", len(got))
		}
	})
}

// TestRun_Again: a loop that ended before its time is started again, and then
// sends the constraints of what was promised meanwhile.
func TestRun_Again(t *testing.T) {
	inBubble(t, func(h *house) {
		stop := h.run()
		h.promise(request('a', 1))
		time.Sleep(time.Second)
		stop()
		defer h.run()()
		time.Sleep(time.Second)
		h.promise(request('b', 1))
		h.sleepUntil(0)
		if _, got := h.relays[0].took(); len(got) != 1 || len(got[0].Message.Constraints) != 2 {
			t.Errorf("the relay has %+v, want one message of two constraints", got)
		}
	})
}
