package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/internal/beacon"
	"sidecar/modules"
)

// TestWatcher plays slots of a chain, and wants what modules are told.
func TestWatcher(t *testing.T) {
	ours := phase0.BLSPubKey{1}
	seen := func(h byte) beacon.BlockInfo { return beacon.BlockInfo{ExecutionHash: phase0.Hash32{h}} }
	missed := beacon.BlockInfo{Missed: true}
	for name, c := range map[string]struct {
		chain map[phase0.Slot]beacon.BlockInfo // what the node says of slot 10, from a slot on
		want  []string
	}{
		"a block":            {map[phase0.Slot]beacon.BlockInfo{11: seen(7)}, []string{"duty 10", "block_seen 10 7"}},
		"no block":           {map[phase0.Slot]beacon.BlockInfo{11: missed}, []string{"duty 10", "block_missed 10 0"}},
		"a reorganisation":   {map[phase0.Slot]beacon.BlockInfo{11: seen(7), 13: seen(8)}, []string{"duty 10", "block_seen 10 7", "reorg 10 7", "block_seen 10 8"}},
		"reorganised away":   {map[phase0.Slot]beacon.BlockInfo{11: seen(7), 12: missed}, []string{"duty 10", "block_seen 10 7", "reorg 10 7", "block_missed 10 0"}},
		"the node is late":   {map[phase0.Slot]beacon.BlockInfo{30: seen(7)}, []string{"duty 10", "block_seen 10 7"}},
		"not verified yet":   {map[phase0.Slot]beacon.BlockInfo{11: {Optimistic: true}, 14: seen(7)}, []string{"duty 10", "block_seen 10 7"}},
		"the node says none": {nil, []string{"duty 10"}},
	} {
		t.Run(name, func(t *testing.T) {
			var now phase0.Slot
			var got []string
			asked := 0
			w := &watcher{
				duties: func() (d []modules.Duty) {
					if now <= 10 {
						d = append(d, modules.Duty{Slot: 10, Proposer: ours})
					}
					return d
				},
				block: func(_ context.Context, slot phase0.Slot) (beacon.BlockInfo, error) {
					asked++
					var b beacon.BlockInfo
					err := errors.New("not known")
					for from := phase0.Slot(0); from <= now; from++ {
						if said, ok := c.chain[from]; ok && slot == 10 {
							b, err = said, nil
						}
					}
					return b, err
				},
				publish: func(e modules.Event) {
					text := fmt.Sprintf("%s %d", e.Kind, e.Slot)
					if e.Kind != modules.EventDuty {
						text += fmt.Sprint(" ", e.BlockHash[0])
					}
					if got = append(got, text); e.Proposer != ours {
						t.Errorf("%s: proposer %v", text, e.Proposer)
					}
				},
				log: slog.New(slog.DiscardHandler), told: map[phase0.Slot]phase0.BLSPubKey{}, open: map[phase0.Slot]*watched{},
			}
			w.spec.SlotDuration = 1e9
			for now = 5; now < 200; now++ {
				w.look(t.Context(), now)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if len(w.told)+len(w.open) > 0 || asked > forget+1 {
				t.Errorf("remembers %d and %d, asked %d times", len(w.told), len(w.open), asked)
			}
		})
	}
}
