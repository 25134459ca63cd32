package ledger

import (
	"errors"
	"sync"
	"testing"

	"sidecar/commitments"
)

// TestEngines_OnlyRepeat: what stands is answered, and nothing else, also when
// many ask at once.
func TestEngines_OnlyRepeat(t *testing.T) {
	forEngines(t, func(t *testing.T, e engineCase) {
		l, _ := e.fresh(t)
		id := commitments.PageID{Slot: 100}
		over := errors.New("the slot is over")
		first, err := l.Append(t.Context(), id, constant(promise(1, "claim/old")))
		if err != nil {
			t.Fatal(err)
		}
		// The writer is kept busy, so that those who ask meanwhile are one batch.
		busy, release := make(chan struct{}), make(chan struct{})
		var group sync.WaitGroup
		group.Go(func() {
			var once sync.Once
			_, err := l.Append(t.Context(), id, func(commitments.View) (Entry, error) {
				once.Do(func() { close(busy); <-release })
				return promise(2, "claim/busy"), nil
			})
			if err != nil {
				t.Error(err)
			}
		})
		<-busy
		for i := range 32 {
			group.Go(func() {
				want, name, n := error(nil), "claim/old", 1
				if i%2 == 1 {
					want, name, n = over, "claim/new", 3
				}
				r, err := l.Append(t.Context(), id, func(commitments.View) (Entry, error) {
					return promise(n, name), OnlyRepeat(over)
				})
				if !errors.Is(err, want) || want == nil && (err != nil || r.Seq != first.Seq) {
					t.Errorf("%s: entry %d, %v; want %d, %v", name, r.Seq, err, first.Seq, want)
				}
			})
		}
		close(release)
		group.Wait()
		if l.Len() != 2 {
			t.Errorf("%d entries, want 2", l.Len())
		}
	})
}
