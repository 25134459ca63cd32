package gateway

import (
	"bytes"
	"context"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/internal/bls"
	"sidecar/internal/ledger"
)

// inBubble runs a house whose clock is the bubble's and begins 10 s before slot
// 104, two seconds before its fourth promise could come too late.
func inBubble(t *testing.T, f func(h *house)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := open(t)
		began, start := time.Now(), testSpec().GenesisTime.Add(104*12*time.Second-10*time.Second)
		h.now = func() time.Time { return start.Add(time.Since(began)) }
		f(h)
	})
}

// run runs the gateway until the test calls the function it returns.
func (h *house) run() func() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	g := h.Gateway
	go func() { defer close(done); _ = g.Run(ctx) }()
	return func() { cancel(); <-done }
}

func (h *house) promise(rs ...commitments.Request) (out []commitments.SignedCommitment) {
	h.t.Helper()
	for _, r := range rs {
		s, err := h.Commit(context.Background(), r)
		if err != nil {
			h.t.Fatal(err)
		}
		out = append(out, s)
	}
	return out
}

// sleepUntil sleeps until so long before slot 104.
func (h *house) sleepUntil(before time.Duration) {
	time.Sleep(h.Clock.Until(h.Clock.Start(104)) - before)
	synctest.Wait()
}

func (h *house) check(s commitments.SignedConstraints, rs ...commitments.Request) {
	h.t.Helper()
	want := commitments.ConstraintsMessage{Proposer: h.proposer.PublicKey(), Delegate: h.delegate.PublicKey(), Slot: 104}
	for _, r := range rs {
		want.Constraints = append(want.Constraints, commitments.Constraint{Type: 1, Payload: r.Payload})
	}
	if !reflect.DeepEqual(s.Message, want) {
		h.t.Errorf("message: got %+v, want %+v", s.Message, want)
	}
	object, err := s.Message.Root()
	spec := testSpec()
	root := commitments.SigningRoot(spec.Domain(chain.DomainCommitBoost), spec.ChainID, object, s.SigningID, s.Nonce)
	if err != nil || !bls.Verify(h.delegate.PublicKey(), root, s.Signature) {
		h.t.Errorf("the constraints do not verify: %v", err)
	}
}

func TestConstraints_SentAtTheCutoff(t *testing.T) {
	inBubble(t, func(h *house) {
		h.relays = append(h.relays, &relay{name: "r2", types: []uint64{1}}, &relay{name: "plain"})
		defer h.run()()
		a, b, late := request('a', 1), request('b', 2), request('c', 3)
		h.promise(b, a)
		h.sleepUntil(4*time.Second + time.Millisecond)
		if n, _ := h.relays[0].took(); n != 0 || h.ledger.Page(h.id()).Closed {
			t.Errorf("sent before the cut-off: %d", n)
		}
		h.sleepUntil(4 * time.Second)
		if _, err := h.Commit(context.Background(), late); err == nil {
			t.Error("a promise after the cut-off")
		}
		page := h.ledger.Page(h.id())
		if !page.Closed || page.Constraints == nil {
			t.Fatalf("the page is open: %+v", page)
		}
		for _, r := range h.relays[:2] {
			n, sent := r.took()
			if n != 1 || !reflect.DeepEqual(sent[0], *page.Constraints) {
				t.Fatalf("%s: %d messages, %+v", r.name, n, sent)
			}
			h.check(sent[0], b, a)
		}
		if n, _ := h.relays[2].took(); n != 0 {
			t.Error("sent to a relay without constraints")
		}
		h.sleepUntil(-time.Second)
		if n, _ := h.relays[0].took(); n != 1 {
			t.Errorf("sent %d times", n)
		}
	})
}

// TestConstraints_Receivers: who may see the constraints is in what is signed, each
// once and in order, and capabilities say so.
func TestConstraints_Receivers(t *testing.T) {
	inBubble(t, func(h *house) {
		a, b := secret(t, 21).PublicKey(), secret(t, 22).PublicKey()
		if bytes.Compare(a[:], b[:]) > 0 {
			a, b = b, a
		}
		h.ReceiversFor = func(p phase0.BLSPubKey) []phase0.BLSPubKey {
			if p != h.proposer.PublicKey() {
				return nil
			}
			return []phase0.BLSPubKey{b, a, b}
		}
		defer h.run()()
		h.promise(request('a', 1))
		can, err := h.Capabilities(context.Background())
		if err != nil || can.Privacy != "receivers" || len(can.Slots) == 0 || !slices.Equal(can.Slots[0].Receivers, []string{a.String(), b.String()}) {
			t.Errorf("capabilities: %+v, %v", can, err)
		}
		h.sleepUntil(4*time.Second - time.Millisecond)
		n, sent := h.relays[0].took()
		if n != 1 || !slices.Equal(sent[0].Message.Receivers, []phase0.BLSPubKey{a, b}) {
			t.Fatalf("%d messages, %+v", n, sent)
		}
		object, err := sent[0].Message.Root()
		root := commitments.SigningRoot(testSpec().Domain(chain.DomainCommitBoost), testSpec().ChainID, object, sent[0].SigningID, sent[0].Nonce)
		if err != nil || !bls.Verify(h.delegate.PublicKey(), root, sent[0].Signature) {
			t.Errorf("the receivers are not signed: %v", err)
		}
	})
}

func TestConstraints_RetriesIdenticalBytes(t *testing.T) {
	inBubble(t, func(h *house) {
		h.relays[0].fail = 3
		h.relays = append(h.relays, &relay{name: "never", types: []uint64{1}, fail: -1})
		defer h.run()()
		h.promise(request('a', 1))
		h.sleepUntil(0)
		n, sent := h.relays[0].took()
		if n != 4 {
			t.Fatalf("attempts: got %d, want 4", n)
		}
		for i, s := range sent {
			if !reflect.DeepEqual(s, sent[0]) {
				t.Errorf("attempt %d differs", i)
			}
		}
		for i := 1; i < n; i++ {
			if gap := h.relays[0].times[i].Sub(h.relays[0].times[i-1]); gap != retryEvery {
				t.Errorf("gap %d: got %s, want %s", i, gap, retryEvery)
			}
		}
		h.sleepUntil(-time.Second)
		if n, _ := h.relays[1].took(); n != 35 {
			t.Errorf("refusing relay: got %d attempts, want one each 100 ms from 4,000 to 500 ms before the slot", n)
		}
		if log := h.log.String(); strings.Contains(log, "level=ERROR") || !strings.Contains(log, "relay=never") {
			t.Errorf("log: %s", log)
		}
	})
}

func TestConstraints_NobodyTakesThem(t *testing.T) {
	inBubble(t, func(h *house) {
		h.relays[0].fail = -1
		h.relays = append(h.relays, &relay{name: "silent", types: []uint64{1}, hang: true})
		stop := h.run()
		h.promise(request('a', 1))
		h.sleepUntil(-time.Second)
		if log := h.log.String(); !strings.Contains(log, `level=ERROR msg="Too few took the constraints`) {
			t.Errorf("no alert: %s", log)
		}
		stop()
		receipts := h.ledger.Len() - 3 // delegation, promise, constraints
		if receipts != 4 {             // what each relay said to the delegation and to the constraints
			t.Errorf("receipts: got %d, want 4", receipts)
		}
	})
}

func TestConstraints_NothingWithoutPromises(t *testing.T) {
	inBubble(t, func(h *house) {
		defer h.run()()
		h.module.err = errConflict
		_, _ = h.Commit(context.Background(), request('a', 1))
		h.sleepUntil(-time.Second)
		if n, _ := h.relays[0].took(); n != 0 || h.ledger.Len() != 0 {
			t.Errorf("%d messages, %d entries", n, h.ledger.Len())
		}
	})
}

// A crash anywhere between the last promise and the slot: the page is sealed
// from the journal, the promise without ink included, and sent.
func TestConstraints_AfterACrash(t *testing.T) {
	for _, tt := range []struct {
		name  string
		crash ledger.Kind // before this kind's seal
		back  time.Duration
		sent  bool
	}{
		{"before the cut-off", ledger.KindCommitment, 6 * time.Second, true},
		{"after the cut-off", ledger.KindCommitment, time.Second, true},
		{"between entry and ink of the constraints", ledger.KindConstraints, time.Second, true},
		{"after the slot began", ledger.KindCommitment, -time.Second, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(h *house) {
				stop := h.run()
				h.promise(request('a', 1))
				h.book.set(tt.crash)
				_, _ = h.Commit(context.Background(), request('b', 2))
				if tt.crash == ledger.KindConstraints {
					h.sleepUntil(3500 * time.Millisecond)
				}
				stop()
				h.halt()
				h.sleepUntil(tt.back)
				h.relays[0].constraints, h.relays[0].attempts = nil, 0
				h.start()
				stop = h.run()
				h.sleepUntil(-2 * time.Second)
				n, sent := h.relays[0].took()
				if !tt.sent {
					if n != 0 || !strings.Contains(h.log.String(), "Promises were never sent") {
						t.Errorf("%d messages, log: %s", n, h.log)
					}
				} else if n != 1 {
					t.Errorf("messages: got %d, want 1; log: %s", n, h.log)
				} else {
					h.check(sent[0], request('a', 1), request('b', 2))
				}
				stop()
			})
		})
	}
}

func TestConstraints_SentAgainAfterARestart(t *testing.T) {
	inBubble(t, func(h *house) {
		stop := h.run()
		h.promise(request('a', 1))
		h.sleepUntil(3 * time.Second)
		stop()
		h.halt()
		h.start()
		stop = h.run()
		h.sleepUntil(2 * time.Second)
		n, sent := h.relays[0].took()
		if n != 2 || !reflect.DeepEqual(sent[0], sent[1]) {
			t.Errorf("%d messages: %+v", n, sent)
		}
		if len(h.relays[0].delegations) != 2 || !reflect.DeepEqual(h.relays[0].delegations[0], h.relays[0].delegations[1]) {
			t.Errorf("delegations: %+v", h.relays[0].delegations)
		}
		stop()
	})
}

// A signer that fails for a while costs time, not the constraints.
func TestConstraints_SignerComesBack(t *testing.T) {
	inBubble(t, func(h *house) {
		defer h.run()()
		h.promise(request('a', 1))
		h.book.set(ledger.KindConstraints)
		h.sleepUntil(2 * time.Second)
		if n, _ := h.relays[0].took(); n != 0 {
			t.Fatalf("sent %d unsigned messages", n)
		}
		h.book.set(0)
		h.sleepUntil(time.Second)
		if n, sent := h.relays[0].took(); n != 1 {
			t.Errorf("messages: got %d, want 1", n)
		} else {
			h.check(sent[0], request('a', 1))
		}
	})
}

func TestRun_ManySlots(t *testing.T) {
	inBubble(t, func(h *house) {
		zero := phase0.Slot(0)
		h.module.slot = &zero
		for slot := phase0.Slot(104); slot < 108; slot++ {
			h.schedule.slots[slot] = h.proposer.PublicKey()
		}
		defer h.run()()
		for i := range 4 {
			h.promise(numbered(byte('a'+i), i))
			time.Sleep(12 * time.Second)
		}
		synctest.Wait()
		_, sent := h.relays[0].took()
		for i, s := range sent {
			if s.Message.Slot != phase0.Slot(104+i) || len(s.Message.Constraints) != 1 {
				t.Errorf("message %d: %+v", i, s.Message)
			}
		}
		if len(sent) != 4 {
			t.Errorf("messages: got %d, want 4", len(sent))
		}
	})
}
