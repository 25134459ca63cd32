package signer

import (
	"sync"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/internal/ledger"
)

// TestGroup_NonceOnce: a delegate signs one root for one nonce, ever, whichever
// of its signatures fails, is lost or is asked for again.
func TestGroup_NonceOnce(t *testing.T) {
	d := newDuo(t)
	var mu sync.Mutex
	roots := map[uint64]phase0.Root{}
	message := d.Message
	watch := func() {
		d.Message = func(e ledger.Entry) (commitments.Message, error) {
			if e.Kind == ledger.KindRequest { // of a group, see groupMessage
				mu.Lock()
				defer mu.Unlock()
				if has, ok := roots[e.Nonce]; ok && has != e.Request.ObjectRoot {
					t.Errorf("nonce %d: a second root", e.Nonce)
				}
				roots[e.Nonce] = e.Request.ObjectRoot
			}
			return message(e)
		}
	}
	for round := range 6 {
		watch()
		entries := make([]ledger.Entry, 4)
		for i := range entries {
			entries[i] = d.promise(t, byte(4*round+i))
		}
		// One committer's signature or the delegate's fails, or none.
		d.knob(func(key commitments.Key, m commitments.Message) error {
			if round < len(entries) && m.Root() == entries[round].Root || round == 4 && key.IsBLS() {
				return errKey
			}
			return nil
		})
		d.together(t.Context(), entries)
		d.knob(nil)
		if round%2 == 1 {
			d.reopen(t)
			watch()
		}
		var group sync.WaitGroup
		for _, e := range entries {
			group.Go(func() {
				r, err := d.ask(t.Context(), e)
				if err != nil {
					t.Error(err)
					return
				}
				d.check(t, e, r.Ink)
			})
		}
		group.Wait()
	}
}
