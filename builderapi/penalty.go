package builderapi

import (
	"log/slog"
	"sync"

	"github.com/attestantio/go-eth2-client/spec/phase0"
)

// Penalty says what becomes of a relay that wins and does not deliver. With
// Misses 0 there is no penalty.
type Penalty struct {
	Misses int    // undelivered blocks in a row until the relay is boxed
	Slots  uint64 // for how long it is not asked for bids
}

// penaltyBox counts undelivered blocks. Only what is the relay's own fault
// counts, never an answer to our own bad request.
type penaltyBox struct {
	config  Penalty
	log     *slog.Logger
	metrics *Metrics

	mu     sync.Mutex
	misses map[string]int
	until  map[string]phase0.Slot
}

// holds says whether a relay is in the box at a slot.
func (b *penaltyBox) holds(relay string, slot phase0.Slot) bool {
	if b.config.Misses == 0 {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	until, ok := b.until[relay]
	if ok && slot >= until {
		delete(b.until, relay)
		b.metrics.boxed(relay, false)
		b.log.Info("Relay leaves the penalty box", "relay", relay, "slot", uint64(slot))
		return false
	}
	return ok
}

// missed counts a block that the relay had offered for a slot and did not
// deliver. It came out in the slot now; the time in the box begins then.
func (b *penaltyBox) missed(relay string, slot, now phase0.Slot, reason string) {
	b.metrics.undelivered(relay)
	b.log.Error("Relay won and did not deliver", "relay", relay, "slot", uint64(slot), "reason", reason)
	if b.config.Misses == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.misses == nil {
		b.misses, b.until = map[string]int{}, map[string]phase0.Slot{}
	}
	if b.misses[relay]++; b.misses[relay] < b.config.Misses {
		return
	}
	b.misses[relay] = 0
	b.until[relay] = now + phase0.Slot(b.config.Slots) + 1
	b.metrics.boxed(relay, true)
	b.log.Error("Relay enters the penalty box and is asked for no bids", "relay", relay, "slot", uint64(slot), "slots", b.config.Slots)
}

// delivered forgives earlier misses.
func (b *penaltyBox) delivered(relay string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.misses, relay)
}
