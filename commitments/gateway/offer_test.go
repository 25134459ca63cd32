package gateway

import (
	"context"
	"errors"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/commitments/answer"
	"sidecar/internal/bls"
	"sidecar/internal/metrics"
)

// TestPath_Reasons: a slot is offered, and a request taken, only on a target that
// said all that is wanted; otherwise the answer says which did not say what.
func TestPath_Reasons(t *testing.T) {
	for _, tt := range []struct {
		name  string
		setup func(*house)
		want  error
		text  string
	}{
		{"none at all", func(h *house) { h.relays = nil }, ErrNoPath, "no_constraints_relay"},
		{"unreachable", func(h *house) { h.relays[0].probeErr = errNode }, ErrNoPath, "r1 unreachable"},
		{"no constraints", func(h *house) { h.relays[0].types = []uint64{} }, ErrNoPath, "r1 no_constraints"},
		{"of another type", func(h *house) { h.relays[0].types = []uint64{2} }, ErrNoPath, "r1 type_not_honoured"},
		{"without proofs", func(h *house) { h.relays[0].noProofs = true }, ErrNoPath, "r1 no_proofs"},
		{"does not say who holds the slot", func(h *house) { h.relays[0].readErr = errNode }, ErrNoPath, "r1 delegations_unread"},
		{"refused this slot's constraints", func(h *house) { h.standing.refuse(h.id(), "r1", true) }, ErrNoPath, "r1 constraints_refused"},
		{"unproven bids, twice", func(h *house) {
			h.Judged(commitments.PageID{Slot: 98}, "r1", commitments.ErrProof)
			h.Judged(commitments.PageID{Slot: 99}, "r1", commitments.ErrProof)
		}, ErrNoPath, "r1 unproven_bids"},
		{"too few", func(h *house) { h.MinAcks = 2 }, ErrNoPath, ""},
		{"sold elsewhere", func(h *house) { h.Exclusive = func(phase0.BLSPubKey) string { return "ethgas" } }, ErrExclusive, "ethgas"},
		{"another delegate", func(h *house) {
			h.relays[0].known = []commitments.SignedDelegation{h.delegation(104, bellatrix.ExecutionAddress{1}, h.proposer)}
		}, ErrForeign, "seen at r1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := open(t)
			tt.setup(h)
			_, err := h.Commit(t.Context(), request('a', 1))
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got %v, want %v with %q", err, tt.want, tt.text)
			}
			got, err := h.Slots(t.Context())
			if err != nil || len(got.Slots) > 0 && got.Slots[0].Slot == 104 {
				t.Errorf("offered: %+v, %v", got, err)
			}
			if n := h.ledger.Len(); n != 0 {
				t.Errorf("%d entries in the ledger", n)
			}
		})
	}
}

// delegation is one of a slot to a committer that is not ours, signed by a key.
func (h *house) delegation(slot phase0.Slot, to bellatrix.ExecutionAddress, by *bls.SecretKey) commitments.SignedDelegation {
	h.t.Helper()
	d := commitments.SignedDelegation{
		Message: commitments.Delegation{Proposer: h.proposer.PublicKey(), Delegate: h.delegate.PublicKey(), Committer: to, Slot: slot},
		Nonce:   3, SigningID: phase0.Root{0x42},
	}
	root, err := d.Message.Root()
	if err != nil {
		h.t.Fatal(err)
	}
	spec := testSpec()
	d.Signature = by.Sign(commitments.SigningRoot(spec.Domain(chain.DomainCommitBoost), spec.ChainID, root, d.SigningID, d.Nonce))
	return d
}

func TestPath_Foreign(t *testing.T) {
	registry := metrics.NewRegistry()
	h := open(t, func(c *Config) { c.Metrics = NewMetrics(registry) })
	old := h.delegation(104, bellatrix.ExecutionAddress{1}, h.proposer)
	root, _ := old.Message.Root()
	old.Signature = h.proposer.Sign(commitments.SigningData(root, testSpec().Domain(chain.DomainCommitBoost))) // the older envelope
	forged := h.delegation(110, bellatrix.ExecutionAddress{1}, h.delegate)
	same := h.delegation(110, h.committer.Address(), h.proposer) // to us, from before the ledger was lost
	h.relays[0].known = []commitments.SignedDelegation{old, forged, same}
	if _, err := h.Commit(t.Context(), request('a', 1)); !errors.Is(err, ErrForeign) {
		t.Errorf("got %v, want %v", err, ErrForeign)
	}
	got, err := h.Slots(t.Context())
	if err != nil || len(got.Slots) != 1 || got.Slots[0].Slot != 110 {
		t.Errorf("got %+v, %v, want slot 110 alone", got, err)
	}
	h.relays[0].mu.Lock()
	if n := len(h.relays[0].delegations); n != 0 {
		t.Errorf("%d delegations posted beside the foreign one", n)
	}
	h.relays[0].mu.Unlock()
	if !strings.Contains(h.log.String(), "level=ERROR msg=\"Our validator delegated this slot to someone else") {
		t.Errorf("no alarm: %s", h.log)
	}
	for metric, want := range map[string]float64{
		`sidecar_foreign_delegations_total{relay="r1",result="stopped"}`: 1,
		`sidecar_foreign_delegations_total{relay="r1",result="forged"}`:  1,
	} {
		if v, _ := registry.Value(metric); v != want {
			t.Errorf("%s: got %v, want %v", metric, v, want)
		}
	}
}

// TestPath_ForeignAfterOurs: a delegation that appears beside ours, as when a
// second machine has our key, ends the slot, and ours is not posted again.
func TestPath_ForeignAfterOurs(t *testing.T) {
	inBubble(t, func(h *house) {
		stop := h.run()
		h.promise(request('a', 1))
		stop()
		h.halt()
		h.start()
		h.relays[0].mu.Lock()
		h.relays[0].known = []commitments.SignedDelegation{h.delegation(104, bellatrix.ExecutionAddress{1}, h.proposer)}
		posted := len(h.relays[0].delegations)
		h.relays[0].mu.Unlock()
		stop = h.run()
		defer stop()
		h.sleepUntil(5 * time.Second)
		if _, err := h.Commit(t.Context(), request('b', 1)); !errors.Is(err, ErrForeign) {
			t.Errorf("got %v, want %v", err, ErrForeign)
		}
		h.relays[0].mu.Lock()
		if n := len(h.relays[0].delegations); n != posted {
			t.Errorf("posted again: %d, then %d", posted, n)
		}
		h.relays[0].mu.Unlock()
		h.sleepUntil(0)
		if n, _ := h.relays[0].took(); n != 1 {
			t.Errorf("constraints of what was promised before: sent %d times", n)
		}
	})
}

// TestPath_Lead: a page closes when its path wants the constraints, and stays
// closed whatever becomes of the path.
func TestPath_Lead(t *testing.T) {
	inBubble(t, func(h *house) {
		h.halt()
		h.relays = []*relay{{name: "fabric", types: []uint64{1}, lead: 9 * time.Second}, {name: "spec", types: []uint64{1}, lead: 4 * time.Second}}
		h.start()
		defer h.run()()
		h.promise(request('a', 1))
		h.sleepUntil(8 * time.Second) // the slower dialect's time is over, the other's is not
		h.promise(request('b', 1))
		if h.Settles() != 2*time.Second {
			t.Errorf("settles %s before the slot, want half of the least lead", h.Settles())
		}
		h.sleepUntil(4 * time.Second)
		if _, err := h.Commit(t.Context(), request('c', 1)); !errors.Is(err, ErrTooLate) {
			t.Errorf("got %v, want %v", err, ErrTooLate)
		}
		for _, r := range h.relays {
			if n, sent := r.took(); n != 1 {
				t.Errorf("%s: %d messages", r.name, n)
			} else {
				h.check(sent[0], request('a', 1), request('b', 1))
			}
		}
	})
}

// TestPath_LeadOfTheOnlyPath: with the quicker relay out, the page closes at the
// other's time; when the quicker one comes back the page stays closed.
func TestPath_LeadOfTheOnlyPath(t *testing.T) {
	inBubble(t, func(h *house) {
		h.halt()
		h.relays = []*relay{{name: "fabric", types: []uint64{1}, lead: 9 * time.Second}, {name: "spec", types: []uint64{1}, lead: 4 * time.Second, probeErr: errNode}}
		h.start()
		defer h.run()()
		h.promise(request('a', 1))
		h.sleepUntil(9*time.Second - 10*time.Millisecond) // the ledger waits for company up to a millisecond
		if n, sent := h.relays[0].took(); n != 1 {
			t.Errorf("%d messages at the cut-off of the only path", n)
		} else {
			h.check(sent[0], request('a', 1))
		}
		h.relays[1].mu.Lock()
		h.relays[1].probeErr = nil
		h.relays[1].mu.Unlock()
		h.sleepUntil(6 * time.Second)
		if _, err := h.Commit(t.Context(), request('b', 1)); !errors.Is(err, ErrTooLate) {
			t.Errorf("got %v, want %v", err, ErrTooLate)
		}
	})
}

// TestPath_LeadOfMany: the page is open for as long as min_acks of its paths allow.
func TestPath_LeadOfMany(t *testing.T) {
	h := open(t)
	h.halt()
	h.relays = nil
	for i := range 12 {
		h.relays = append(h.relays, &relay{name: string(rune('a' + i)), types: []uint64{1}, lead: time.Duration(5+(7*i)%12) * time.Second})
	}
	h.start()
	for acks := 1; acks <= 13; acks++ {
		h.MinAcks = acks
		for range 100 { // path itself waits for no more than it needs
			if p, _ := h.Gateway.path(t.Context(), h.id(), []uint64{1}); len(p.Targets) == 12 || acks > 12 {
				break
			}
			h.wg.Wait()
		}
		p, err := h.Gateway.path(t.Context(), h.id(), []uint64{1})
		if acks > 12 {
			if !errors.Is(err, ErrNoPath) {
				t.Errorf("%d acks of 12: got %v", acks, err)
			}
		} else if want := time.Duration(4+acks) * time.Second; err != nil || p.Lead != want {
			t.Errorf("%d acks: lead %s, %v, want %s", acks, p.Lead, err, want)
		}
	}
}

// TestPath_ProbedAgain: an old probe is not enough two slots before the page.
func TestPath_ProbedAgain(t *testing.T) {
	h := open(t)
	h.setSlot(101, 11*time.Second)
	if _, err := h.Commit(t.Context(), request('a', 1)); err != nil {
		t.Fatal(err)
	}
	h.setSlot(102, time.Second)
	h.relays[0].types = []uint64{}
	if _, err := h.Commit(t.Context(), request('b', 1)); !errors.Is(err, ErrNoPath) {
		t.Errorf("got %v, want %v: the relay was not asked again", err, ErrNoPath)
	}
}

func TestPath_Strength(t *testing.T) {
	h := open(t)
	h.relays = append(h.relays, &relay{name: "b1", types: []uint64{1}, strength: PathBuilder})
	for i, want := range []Path{
		{PathBuilder, 4 * time.Second, []string{"r1", "b1"}},
		{PathRelay, 4 * time.Second, []string{"r1"}},
	} {
		if i == 1 {
			h.relays = h.relays[:1]
		}
		var got Path
		for range 100 { // the first target that answers is enough for path
			if got, _ = h.Gateway.path(t.Context(), h.id(), []uint64{1}); len(got.Targets) == len(want.Targets) {
				break
			}
			h.wg.Wait()
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
}

// TestParties_ConsecutiveSlots: two validators of ours propose one after the other.
// Each page has its own delegation, delegate and constraints, and a chain of
// promises of one sender may go over both.
func TestParties_ConsecutiveSlots(t *testing.T) {
	inBubble(t, func(h *house) {
		second, proxy := secret(t, 3), secret(t, 4)
		h.halt()
		h.others = keys{second, proxy}
		h.schedule.slots = map[phase0.Slot]phase0.BLSPubKey{104: h.proposer.PublicKey(), 105: second.PublicKey()}
		h.start(func(c *Config) {
			c.Parties = func(proposer phase0.BLSPubKey) Party {
				if proposer == second.PublicKey() {
					return Party{proxy.PublicKey(), h.committer.Address()}
				}
				return Party{}
			}
		})
		defer h.run()()
		next := commitments.Request{Type: 1, Payload: commitments.EncodeInclusion(105, []byte{'b', 1}), Slasher: slasher}
		signed := h.promise(request('a', 1), next)
		h.verify(signed[0])
		by := answer.Signers{Committer: h.committer.Address(), Delegate: proxy.PublicKey()}
		if err := answer.Verify(testSpec(), next, signed[1], by); err != nil {
			t.Errorf("the second validator's promise: %v", err)
		}
		h.sleepUntil(-12 * time.Second)
		_, sent := h.relays[0].took()
		if len(sent) != 2 {
			t.Fatalf("%d constraints messages, want one a page", len(sent))
		}
		h.check(sent[0], request('a', 1))
		if m := sent[1].Message; m.Slot != 105 || m.Proposer != second.PublicKey() || m.Delegate != proxy.PublicKey() || len(m.Constraints) != 1 {
			t.Errorf("the second page: %+v", m)
		}
		h.relays[0].mu.Lock()
		defer h.relays[0].mu.Unlock()
		if d := h.relays[0].delegations; len(d) != 2 || d[0].Message.Delegate != h.delegate.PublicKey() || d[1].Message.Delegate != proxy.PublicKey() {
			t.Errorf("delegations: %+v", d)
		}
	})
}

// TestDelegation_NeverGivenUp: a relay that takes no delegation for minutes gets it
// when it does again, the same bytes, long before the slot.
func TestDelegation_NeverGivenUp(t *testing.T) {
	inBubble(t, func(h *house) {
		h.schedule.slots[124] = h.proposer.PublicKey() // 4 minutes ahead
		h.relays[0].deaf = true
		defer h.run()()
		h.promise(commitments.Request{Type: 1, Payload: commitments.EncodeInclusion(124, []byte{'a', 1}), Slasher: slasher})
		time.Sleep(3 * time.Minute)
		h.relays[0].mu.Lock()
		h.relays[0].deaf = false
		h.relays[0].mu.Unlock()
		time.Sleep(15 * time.Second)
		h.relays[0].mu.Lock()
		defer h.relays[0].mu.Unlock()
		page := h.ledger.Page(commitments.PageID{Slot: 124, Proposer: h.proposer.PublicKey()})
		if d := h.relays[0].delegations; len(d) != 1 || page.Delegation == nil || !reflect.DeepEqual(d[0], *page.Delegation) {
			t.Errorf("got %+v, want %+v", d, page.Delegation)
		}
	})
}

// BenchmarkPath is what the gate costs a request whose path is known.
func BenchmarkPath(b *testing.B) {
	h := open(b)
	h.relays = append(h.relays, &relay{name: "b1", types: []uint64{1}, strength: PathBuilder})
	h.setSlot(103, 0) // as near as lead is looked at
	if _, err := h.Commit(b.Context(), request('a', 1)); err != nil {
		b.Fatal(err)
	}
	h.wg.Wait()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := h.Gateway.path(b.Context(), h.id(), []uint64{1}); err != nil || h.closed(h.id()) {
			b.Fatal(err)
		}
	}
}

// TestPath_LostIsSentAtOnce: a page that loses its path between two cut-offs closes,
// and is sent while there is time, not at the next cut-off.
func TestPath_LostIsSentAtOnce(t *testing.T) {
	inBubble(t, func(h *house) {
		h.relays = []*relay{{name: "spec", types: []uint64{1}, lead: 3 * time.Second}, {name: "fabric", probeErr: errNode, lead: 9 * time.Second}}
		defer h.run()()
		h.promise(request('a', 1))
		h.sleepUntil(8 * time.Second)
		h.standing.refuse(h.id(), "spec", true)
		h.sleepUntil(7 * time.Second)
		if n, _ := h.relays[0].took(); n == 0 || !h.ledger.Page(h.id()).Closed {
			t.Errorf("%d messages a second after the path was lost", n)
		}
	})
}

// TestSlots_HangingRelay: a relay that hangs costs whoever lists slots one
// question, not one for each of our slots.
func TestSlots_HangingRelay(t *testing.T) {
	inBubble(t, func(h *house) {
		for s := phase0.Slot(101); s < 160; s++ {
			h.schedule.slots[s] = h.proposer.PublicKey()
		}
		h.relays = []*relay{{name: "hangs", types: []uint64{1}, probeHang: true}}
		before := runtime.NumGoroutine()
		if s, err := h.Slots(context.Background()); err != nil || len(s.Slots) > 0 {
			t.Errorf("got %+v, %v", s, err)
		}
		if more := runtime.NumGoroutine() - before; more > 8 {
			t.Errorf("%d goroutines more", more)
		}
		time.Sleep(3 * time.Second) // the questions end
	})
}
