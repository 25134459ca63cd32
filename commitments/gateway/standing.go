package gateway

import (
	"context"
	"errors"
	"sync"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/fault"
)

// A relay that returned unproven bids for MaxUnproven slots of ours is no path for
// new promises for so many slots. A proven bid ends that at once.
const offSlots = 32

// standing is how relays have behaved: for which pages they refused constraints,
// and which of them returned bids that prove nothing. It is memory: after a restart
// constraints are sent again, and bids proven anew.
type standing struct {
	most int // slots with unproven bids that put a relay off; negative: none do

	mu       sync.Mutex
	refused  map[commitments.PageID]map[string]bool
	unproven map[string]*record
}

type record struct {
	slots int
	last  phase0.Slot // the last that counted: several bids of a slot count once
	until phase0.Slot // off until then
}

func newStanding(most int) *standing {
	return &standing{most: most, refused: map[commitments.PageID]map[string]bool{}, unproven: map[string]*record{}}
}

// refuse notes whether a relay refuses the constraints of a page.
func (s *standing) refuse(id commitments.PageID, relay string, refuses bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refused[id] == nil {
		s.refused[id] = map[string]bool{}
	}
	s.refused[id][relay] = refuses
}

func (s *standing) barred(id commitments.PageID, relay string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refused[id][relay]
}

// fail counts an unproven bid, and says whether the relay is off from now on.
func (s *standing) fail(relay string, slot phase0.Slot) (off bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.unproven[relay]
	if r == nil {
		r = &record{}
		s.unproven[relay] = r
	}
	if r.slots > 0 && r.last >= slot {
		return false
	}
	r.last = slot
	if r.slots++; s.most < 0 || r.slots < s.most {
		return false
	}
	off = r.until <= slot
	r.until = slot + offSlots
	return off
}

// prove clears a relay, and says whether it was off.
func (s *standing) prove(relay string, slot phase0.Slot) (was bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.unproven[relay]
	delete(s.unproven, relay)
	return r != nil && r.until > slot
}

// off says whether a relay is no path at a slot. One that has served its time is on
// probation: the next unproven bid puts it off again.
func (s *standing) off(relay string, now phase0.Slot) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.unproven[relay]
	return r != nil && r.until > now
}

// forget drops the pages of slots that are over.
func (s *standing) forget(now phase0.Slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.refused {
		if id.Slot < now {
			delete(s.refused, id)
		}
	}
}

// Barred says whether a relay's bids for a page are not to be taken: it refused the
// page's constraints.
func (g *Gateway) Barred(id commitments.PageID, relay string) bool {
	return g.standing.barred(id, relay)
}

// Judged is told how the proofs of a relay's bid for a page with promises were
// judged: nil if they held. What is no fault of the relay's, a module that did not
// answer in time above all, does not count against it.
func (g *Gateway) Judged(id commitments.PageID, relay string, err error) {
	if err == nil {
		if g.standing.prove(relay, id.Slot) {
			g.Metrics.unproven(relay, false)
			g.Log.Info("A relay proves its bids again and is a path for promises", "relay", relay, "slot", uint64(id.Slot))
		}
		return
	}
	f := fault.Of(err)
	if f == nil || f.Kind != fault.Rejected && f.Kind != fault.Invalid || errors.Is(err, context.DeadlineExceeded) {
		return
	}
	if g.standing.fail(relay, id.Slot) {
		g.Metrics.unproven(relay, true)
		g.Log.Error("A relay takes constraints and does not prove its bids; it is no path for promises now",
			"relay", relay, "slot", uint64(id.Slot), "slots", offSlots, "reason", fault.Code(err))
	}
}
