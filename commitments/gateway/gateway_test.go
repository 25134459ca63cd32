package gateway

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/internal/bls"
	"sidecar/internal/ledger"
	"sidecar/modules"
)

func TestAdmit(t *testing.T) {
	made := commitments.Promise{Cost: commitments.Cost{Gas: 70, Blobs: 1, Bytes: 7}, Touches: []string{"alice"}, Seq: 9, Constraints: make([]commitments.Constraint, 200)}
	page := commitments.Page{Promises: []commitments.Promise{made}}
	limit := commitments.Cost{Gas: 100, Blobs: 2, Bytes: 10}
	cost := func(gas, blobs, bytes uint64) commitments.Draft {
		return commitments.Draft{Cost: commitments.Cost{Gas: gas, Blobs: blobs, Bytes: bytes}}
	}
	alice := commitments.Draft{Touches: []string{"alice"}}
	for _, tt := range []struct {
		name  string
		now   commitments.View
		seen  uint64
		d     commitments.Draft
		count int
		want  error
	}{
		{"room", commitments.View{Page: page}, 9, cost(30, 1, 3), 2, nil},
		{"no gas", commitments.View{Page: page}, 9, cost(31, 1, 3), 2, ErrFullGas},
		{"gas overflows", commitments.View{Page: page}, 9, cost(math.MaxUint64, 0, 0), 2, ErrFullGas},
		{"no blobs", commitments.View{Page: page}, 9, cost(30, 2, 3), 2, modules.ErrFullBlobs},
		{"no bytes", commitments.View{Page: page}, 9, cost(30, 1, 4), 2, ErrFullBytes},
		{"bytes overflow", commitments.View{Page: page}, 9, cost(0, 0, math.MaxUint64-3), 2, ErrFullBytes},
		{"count", commitments.View{Page: page}, 9, cost(1, 0, 0), 1, ErrFullCount},
		{"constraints", commitments.View{Page: page}, 9, commitments.Draft{Constraints: make([]commitments.Constraint, 57)}, 2, ErrFullCount},
		{"closed", commitments.View{Page: commitments.Page{Closed: true}}, 0, commitments.Draft{}, 2, ErrTooLate},
		{"same sender, seen", commitments.View{Page: page}, 9, alice, 2, nil},
		{"same sender, unseen", commitments.View{Page: page}, 8, alice, 2, errOvertaken},
		{"same sender on another page", commitments.View{Open: []commitments.Page{page}}, 8, alice, 2, errOvertaken},
		{"another sender", commitments.View{Page: page}, 8, commitments.Draft{Touches: []string{"bob"}}, 2, nil},
		{"overtaken before full", commitments.View{Page: page}, 8, alice, 1, errOvertaken},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := admit(tt.now, tt.seen, tt.d, limit, tt.count); !errors.Is(err, tt.want) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func TestCommit(t *testing.T) {
	h, ctx := open(t), t.Context()
	got, err := h.Commit(ctx, request('a', 1))
	if err != nil {
		t.Fatal(err)
	}
	h.verify(got)
	page := h.ledger.Page(h.id())
	if len(page.Promises) != 1 || !reflect.DeepEqual(page.Promises[0].SignedCommitment, got) {
		t.Errorf("page: got %+v", page.Promises)
	}
	// The same request again, from whatever state: the same answer, nothing new on disk.
	h.wg.Wait() // the receipt of the delegation
	entries := h.ledger.Len()
	h.setSlot(200, 0)
	h.schedule.err, h.module.err = errNode, errNode
	h.Drain()
	for range 3 {
		if again, err := h.Commit(ctx, request('a', 1)); err != nil || !reflect.DeepEqual(again, got) {
			t.Errorf("again: got %+v, %v", again, err)
		}
	}
	if again, err := h.Result(ctx, got.Commitment.RequestHash); err != nil || !reflect.DeepEqual(again, got) {
		t.Errorf("result: got %+v, %v", again, err)
	}
	if h.ledger.Len() != entries {
		t.Errorf("entries: got %d, want %d", h.ledger.Len(), entries)
	}
	if _, err := h.Result(ctx, phase0.Hash32{1}); !errors.Is(err, ErrNoPromise) {
		t.Errorf("unknown: got %v", err)
	}
}

func TestCommit_Delegation(t *testing.T) {
	h := open(t)
	for tx := range byte(3) {
		if _, err := h.Commit(t.Context(), request('a'+tx, tx)); err != nil {
			t.Fatal(err)
		}
	}
	d := h.ledger.Page(h.id()).Delegation
	if d == nil {
		t.Fatal("no delegation")
	}
	spec, want := testSpec(), commitments.Delegation{Proposer: h.proposer.PublicKey(), Delegate: h.delegate.PublicKey(), Committer: h.committer.Address(), Slot: 104}
	object, err := d.Message.Root()
	if err != nil || !reflect.DeepEqual(d.Message, want) {
		t.Fatalf("got %+v, %v", d.Message, err)
	}
	root := commitments.SigningRoot(spec.Domain(chain.DomainCommitBoost), spec.ChainID, object, d.SigningID, d.Nonce)
	if !bls.Verify(h.proposer.PublicKey(), root, d.Signature) {
		t.Error("the delegation does not verify")
	}
	h.halt()
	h.relays[0].mu.Lock()
	if got := h.relays[0].delegations; len(got) != 1 || !reflect.DeepEqual(got[0], *d) {
		t.Errorf("posted: got %+v", got)
	}
	h.relays[0].mu.Unlock()
	h.start()
}

func TestCommit_Refusals(t *testing.T) {
	slotRequest := func(slot phase0.Slot) commitments.Request {
		return commitments.Request{Type: 1, Payload: commitments.EncodeInclusion(slot, []byte{1, 2}), Slasher: slasher}
	}
	for _, tt := range []struct {
		name  string
		setup func(*house)
		r     commitments.Request
		want  error
	}{
		{"not ours", nil, slotRequest(105), ErrNotOurs},
		{"a slasher of its own", func(h *house) { h.Slashers = []bellatrix.ExecutionAddress{{9}, {8}} }, slotRequest(104), ErrSlasher},
		{"past", nil, slotRequest(99), ErrTooLate},
		{"running", nil, slotRequest(100), ErrTooLate},
		{"at the cut-off", func(h *house) { h.setSlot(103, 8*time.Second) }, slotRequest(104), ErrTooLate},
		{"too early", nil, slotRequest(165), ErrTooEarly},
		{"epoch unknown", func(h *house) { h.schedule.slots[160] = h.proposer.PublicKey() }, slotRequest(160), ErrTooEarly},
		{"end of time", nil, slotRequest(math.MaxUint64), ErrTooEarly},
		{"no relay", func(h *house) { h.relays = nil }, slotRequest(104), ErrNoPath},
		{"relay without constraints", func(h *house) { h.relays[0].types = nil }, slotRequest(104), ErrNoPath},
		{"relay of other types", func(h *house) { h.relays[0].types = []uint64{2} }, slotRequest(104), ErrNoPath},
		{"relay down", func(h *house) { h.relays[0].probeErr = errNode }, slotRequest(104), ErrNoPath},
		{"unserved type", nil, commitments.Request{Type: 9}, modules.ErrUnknownType},
		{"node not ready", func(h *house) { h.schedule.err = errNode }, slotRequest(104), errNode},
		{"draining", func(h *house) { h.Drain() }, slotRequest(104), ErrDraining},
		{"module says no", func(h *house) { h.module.err = errConflict }, slotRequest(104), errConflict},
		{"bad payload", nil, commitments.Request{Type: 1, Payload: []byte("x")}, commitments.ErrEncoding},
		{"full of gas", func(h *house) { h.Limit.Gas = 20999 }, slotRequest(104), ErrFullGas},
		{"full of bytes", func(h *house) { h.Limit.Bytes = 1 }, slotRequest(104), ErrFullBytes},
		{"draft for another request", func(h *house) { h.module.edit = func(d *commitments.Draft) { d.Commitment.RequestHash[0]++ } }, slotRequest(104), modules.ErrDraft},
		{"draft for another slasher", func(h *house) { h.module.edit = func(d *commitments.Draft) { d.Commitment.Slasher[0]++ } }, slotRequest(104), modules.ErrDraft},
		{"constraint of a foreign type", func(h *house) { h.module.edit = func(d *commitments.Draft) { d.Constraints[0].Type = 5 } }, slotRequest(104), modules.ErrDraft},
		{"module past the cut-off", func(h *house) { h.module.stall = func() { h.setSlot(103, 11*time.Second) } }, slotRequest(104), ErrTooLate},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := open(t)
			if tt.setup != nil {
				tt.setup(h)
			}
			if s, err := h.Commit(t.Context(), tt.r); !errors.Is(err, tt.want) || s.Signature != nil {
				t.Fatalf("got %+v, %v, want %v", s, err, tt.want)
			}
			for _, p := range h.ledger.Pages(0) {
				if !p.Empty() {
					t.Errorf("something is promised: %+v", p)
				}
			}
		})
	}
}

func TestCommit_JustInTime(t *testing.T) {
	h := open(t)
	h.setSlot(103, 8*time.Second-1)
	if _, err := h.Commit(t.Context(), request('a', 1)); err != nil {
		t.Fatal(err)
	}
}

func TestCommit_OurChoiceOfSlot(t *testing.T) {
	h := open(t)
	zero := phase0.Slot(0)
	h.module.slot = &zero
	if _, err := h.Commit(t.Context(), request('a', 1)); err != nil || len(h.ledger.Page(h.id()).Promises) != 1 {
		t.Fatalf("got %v, want a promise for slot 104", err)
	}
	h.setSlot(103, 9*time.Second)
	if _, err := h.Commit(t.Context(), request('b', 1)); err != nil {
		t.Fatal(err)
	}
	if got := h.ledger.Page(commitments.PageID{Slot: 110, Proposer: h.proposer.PublicKey()}); len(got.Promises) != 1 {
		t.Fatalf("slot 110: got %+v", got)
	}
	h.schedule.slots = nil
	if _, err := h.Commit(t.Context(), request('c', 1)); !errors.Is(err, ErrNotOurs) {
		t.Fatalf("got %v, want %v", err, ErrNotOurs)
	}
}

// A crash between entry and ink: the promise stands, and the same request is
// answered with the signature it would have had.
func TestCommit_CrashBeforeTheSeal(t *testing.T) {
	for _, kind := range []ledger.Kind{ledger.KindDelegation, ledger.KindCommitment} {
		t.Run(kind.String(), func(t *testing.T) {
			h, ctx := open(t), t.Context()
			if _, err := h.Commit(ctx, request('z', 1)); kind == ledger.KindCommitment && err != nil {
				t.Fatal(err) // so that the nonce is not the first
			} else if kind == ledger.KindDelegation {
				h.halt()
				h.path += ".new"
				if err := ledger.Create(h.ledgerConfig()); err != nil {
					t.Fatal(err)
				}
				h.start()
			}
			h.book.set(kind)
			if s, err := h.Commit(ctx, request('a', 1)); !errors.Is(err, errDisk) || s.Signature != nil {
				t.Fatalf("got %+v, %v", s, err)
			}
			h.wg.Wait() // the receipt of the delegation
			entries, nonce := h.ledger.Len(), uint64(0)
			if p, _, ok := h.ledger.Find(request('a', 1).Hash()); ok {
				nonce = p.Nonce
			}
			h.halt()
			h.start()
			got, err := h.Commit(ctx, request('a', 1))
			if err != nil {
				t.Fatal(err)
			}
			h.verify(got)
			if nonce != 0 && (got.Nonce != nonce || h.ledger.Len() != entries) {
				t.Errorf("nonce %d of %d entries, want %d of %d", got.Nonce, h.ledger.Len(), nonce, entries)
			}
			if again, err := h.Result(ctx, request('a', 1).Hash()); err != nil || !reflect.DeepEqual(again, got) {
				t.Errorf("result: got %+v, %v", again, err)
			}
		})
	}
}

// TestCommit_EarlierDelegation: on a page whose delegation names no committer, made
// by an earlier version, promises are signed as that version did, the unsigned
// ones of before a crash, too. The next page has both signatures.
func TestCommit_EarlierDelegation(t *testing.T) {
	h, ctx := open(t), t.Context()
	earlier := func(c *Config) { c.Committer = bellatrix.ExecutionAddress{} }
	h.halt()
	h.start(earlier)
	first, err := h.Commit(ctx, request('a', 1))
	if err != nil {
		t.Fatal(err)
	}
	h.verify(first)
	h.book.set(ledger.KindCommitment)
	if _, err := h.Commit(ctx, request('b', 1)); !errors.Is(err, errDisk) {
		t.Fatal(err)
	}
	h.halt()
	h.start()
	for _, r := range []commitments.Request{request('a', 1), request('b', 1), request('c', 1)} {
		s, err := h.Commit(ctx, r)
		if err != nil {
			t.Fatal(err)
		}
		if len(s.Signature) != 96 || !s.Proxy.IsZero() || r.Hash() == first.Commitment.RequestHash && !reflect.DeepEqual(s, first) {
			t.Errorf("got %+v", s)
		}
	}
	next, err := h.Commit(ctx, commitments.Request{Type: 1, Payload: commitments.EncodeInclusion(110, []byte{'d', 1}), Slasher: slasher})
	if err != nil {
		t.Fatal(err)
	}
	h.verify(next)
}

// parallel calls f n times at once.
func parallel(n int, f func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}

func numbered(sender byte, i int) commitments.Request {
	return commitments.Request{Type: 1, Payload: commitments.EncodeInclusion(104, binary.BigEndian.AppendUint32([]byte{sender}, uint32(i))), Slasher: slasher}
}

func TestCommit_ConflictsHaveOneWinner(t *testing.T) {
	h := open(t)
	won, other := make(chan commitments.SignedCommitment, 1000), make(chan error, 1000)
	parallel(1000, func(i int) {
		s, err := h.Commit(context.Background(), numbered('a', i))
		if err == nil {
			won <- s
		} else if !errors.Is(err, errConflict) {
			other <- err
		}
	})
	if len(won) != 1 || len(other) != 0 {
		t.Fatalf("%d winners, %d other errors", len(won), len(other))
	}
	winner := <-won
	h.verify(winner)
	if page := h.ledger.Page(h.id()); len(page.Promises) != 1 || page.Promises[0].Nonce != winner.Nonce {
		t.Errorf("page: got %+v", page.Promises)
	}
}

func TestCommit_IdenticalRequestsHaveOneAnswer(t *testing.T) {
	h := open(t)
	answers := make(chan commitments.SignedCommitment, 200)
	parallel(200, func(int) {
		if s, err := h.Commit(context.Background(), request('a', 1)); err != nil {
			t.Error(err)
		} else {
			answers <- s
		}
	})
	first := <-answers
	h.verify(first)
	for range len(answers) {
		if s := <-answers; !reflect.DeepEqual(s, first) {
			t.Fatalf("got %+v, want %+v", s, first)
		}
	}
	h.wg.Wait()
	if got := h.ledger.Len(); got != 3 { // the delegation, its receipt and the promise
		t.Errorf("entries: got %d, want 3", got)
	}
}

func TestCommit_NeverMoreThanTheSlotHolds(t *testing.T) {
	h := open(t, func(c *Config) { c.Limit.Gas, c.MaxCount = 21000*20+20999, 100 })
	var mu sync.Mutex
	made, nonces := 0, map[uint64]bool{}
	parallel(100, func(i int) {
		s, err := h.Commit(context.Background(), numbered(byte(i), i))
		mu.Lock()
		defer mu.Unlock()
		if err == nil {
			made++
			nonces[s.Nonce] = true
		} else if !errors.Is(err, ErrFullGas) {
			t.Error(err)
		}
	})
	if made != 20 || len(nonces) != 20 {
		t.Errorf("%d promises with %d nonces, want 20", made, len(nonces))
	}
}

func TestSlots(t *testing.T) {
	h := open(t)
	got, err := h.Slots(t.Context())
	want := commitments.SlotInfoResponse{Slots: []commitments.SlotInfo{
		{Slot: 104, Offerings: []commitments.Offering{{ChainID: 1337, CommitmentTypes: []uint64{1}}}},
		{Slot: 110, Offerings: []commitments.Offering{{ChainID: 1337, CommitmentTypes: []uint64{1}}}},
	}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	h.setSlot(103, 8*time.Second)
	if got, _ := h.Slots(t.Context()); len(got.Slots) != 1 || got.Slots[0].Slot != 110 {
		t.Errorf("after the cut-off: got %+v", got)
	}
	h.Drain()
	if got, _ := h.Slots(t.Context()); len(got.Slots) != 0 {
		t.Errorf("draining: got %+v", got)
	}
	h.schedule.err = errNode
	if _, err := h.Slots(t.Context()); !errors.Is(err, errNode) {
		t.Errorf("got %v", err)
	}
}

func TestPaths_AskedOnce(t *testing.T) {
	h := open(t)
	parallel(50, func(i int) { _, _ = h.Commit(context.Background(), numbered(byte(i), i)) })
	if got := h.relays[0].probes; got != 1 {
		t.Errorf("probes: got %d, want 1", got)
	}
}

func TestNew_Refuses(t *testing.T) {
	h := open(t)
	for name, edit := range map[string]func(*Config){
		"no clock":          func(c *Config) { c.Clock = nil },
		"no signer":         func(c *Config) { c.Signer = nil },
		"no delegate":       func(c *Config) { c.Delegate = phase0.BLSPubKey{} },
		"shared signing id": func(c *Config) { c.SigningID = (&module{}).Info().SigningID },
	} {
		c := h.Config
		edit(&c)
		if _, err := New(c); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
	c := h.Config
	c.Modules, c.Lead = func() []modules.Module { return nil }, 0
	c.Spec.SlotDuration = 2 * time.Second
	if g, err := New(c); err != nil || g.Lead != c.Spec.SlotDuration/3 {
		t.Errorf("got %v", err)
	}
}
