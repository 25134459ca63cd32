package builderapi

import (
	"context"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
)

// Slots tells whether a slot that is over has no block. An error means that
// nobody knows yet.
type Slots interface {
	Missed(ctx context.Context, slot phase0.Slot) (bool, error)
}

const (
	verdictTries   = 4               // one a slot
	verdictTimeout = 5 * time.Second // of one question
)

// watch finds out what became of a block that relays took and were to publish: a
// 202 is only a word. If its slot stays empty they count as not having delivered.
// It asks from the second slot after it on, when a later block can show that the
// slot is empty. Nobody waits for it but Close, which ends it.
func (s *Service) watch(slot phase0.Slot, takers []string) {
	s.watches.run(func() { s.contain(func() { s.verdict(slot, takers) }) })
}

func (s *Service) verdict(slot phase0.Slot, takers []string) {
	for n := range phase0.Slot(verdictTries) {
		if !sleep(s.work, s.Clock.Until(s.Clock.Start(slot+2+n))) {
			return
		}
		ctx, cancel := context.WithTimeout(s.work, verdictTimeout)
		missed, err := s.Slots.Missed(ctx, slot)
		cancel()
		switch {
		case err != nil:
			continue
		case missed:
			for _, relay := range takers {
				s.box.missed(relay, slot, slot+2+n, "relay_not_published")
			}
		}
		return
	}
}
