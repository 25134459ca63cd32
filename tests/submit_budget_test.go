package tests

import (
	"net/http"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
)

// TestSubmitBudget is what a relay costs that refuses for the whole time: one
// budget, to the end of the slot and not a try longer, then a failure that the
// beacon node sees as one. (S-04)
func TestSubmitBudget(t *testing.T) {
	t.Parallel()
	if _, err := sidecarBinary(); err != nil { // before the slots begin
		t.Fatal(err)
	}
	for name, s := range map[string]script{
		"503 at once": status(http.StatusServiceUnavailable),
		"cut at once": func(c *call) bool { _ = c.conn.SetLinger(0); return false },
		"silence":     func(c *call) bool { <-c.relay.stop; return false },
	} {
		for path, fork := range map[string]phase0.Slot{v1: fuluSlot, v2: 0} {
			t.Run(name+path, func(t *testing.T) {
				t.Parallel()
				const left = 4 * time.Second // of the slot, when the sidecar is started at the latest
				n := newNetwork(-(nowSlot+1)*slotTime+left+time.Second, fork)
				r := newRelay(t, n, "refuses", 1, 1)
				p := start(t, n.toml()+"[pbs]\nport = 0\nlate_in_slot_time_ms = 12000\n"+r.entry("relays"))
				parent := parentOf(t.Name())
				r.plan(parent, onBlock(s))
				bid := p.must(t, http.MethodGet, headerPath(nowSlot, parent, validator(1)), nil, "Accept", mediaSSZ)
				block := blockOf(t, nowSlot, 7, decodeBid(t, bid, mediaSSZ, n.fork(nowSlot)))
				a := p.must(t, http.MethodPost, path, inEncoding(t, mediaSSZ, block), "Content-Type", mediaSSZ, "Accept", mediaSSZ)
				late := time.Since(n.genesis.Add((nowSlot + 1) * slotTime))
				a.refused(t, http.StatusInternalServerError, "no_payload")
				if late < -time.Second || late > 500*time.Millisecond {
					t.Errorf("the answer came %v after the end of the slot", late)
				}
				time.Sleep(300 * time.Millisecond)
				if tries := len(r.seen(parent, path)); tries < 1 || tries > 40 {
					t.Errorf("%d tries, want some and no flood", tries)
				} else if time.Sleep(700 * time.Millisecond); len(r.seen(parent, path)) > tries {
					t.Error("the relay is still being tried")
				}
			})
		}
	}
}

// early: a block that comes before its slot begins is handed over at once; when
// a block may be revealed is the relay's to judge. (S-13)
func (s *submitBench) early(t *testing.T) {
	for _, path := range []string{v1, v2} {
		p := s.propose(t, nowSlot+1+10, nil, noBid)
		a := s.submit(t, p, path, mediaSSZ)
		if want := map[string]int{v1: 200, v2: 202}[path]; a.status != want || a.took > time.Second {
			t.Errorf("%s: answer %d after %v, want %d at once", path, a.status, a.took, want)
		}
		if n := len(s.a.seen(p.parent, path)); n != 1 {
			t.Errorf("%s: the relay got the block %d times, want once", path, n)
		}
	}
}
