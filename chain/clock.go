package chain

import (
	"math"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
)

// Clock does slot arithmetic. It is the only caller of time.Now in the program;
// tests give it another now, or run in a synctest bubble.
type Clock struct {
	spec Spec
	now  func() time.Time
}

// NewClock returns a clock for spec. A nil now means time.Now.
func NewClock(spec Spec, now func() time.Time) *Clock {
	if now == nil {
		now = time.Now
	}
	return &Clock{spec, now}
}

// Now is the present instant.
func (c *Clock) Now() time.Time { return c.now() }

// Slot returns the current slot, 0 before genesis.
func (c *Clock) Slot() phase0.Slot { return c.SlotAt(c.now()) }

// SlotAt returns the slot that t falls into, 0 before genesis.
func (c *Clock) SlotAt(t time.Time) phase0.Slot {
	d := t.Sub(c.spec.GenesisTime)
	if d < 0 {
		return 0
	}
	return phase0.Slot(d / c.spec.SlotDuration)
}

// Start returns the instant slot s begins. A slot too far away for a
// time.Duration yields the farthest instant that arithmetic can express.
func (c *Clock) Start(s phase0.Slot) time.Time {
	if uint64(s) > uint64(math.MaxInt64/c.spec.SlotDuration) {
		return c.spec.GenesisTime.Add(math.MaxInt64)
	}
	return c.spec.GenesisTime.Add(time.Duration(s) * c.spec.SlotDuration) // #nosec G115 -- bounded above
}

// Into returns how far into slot s we are; negative if s has not begun.
func (c *Clock) Into(s phase0.Slot) time.Duration { return c.now().Sub(c.Start(s)) }

// Until returns how long it is until t; negative if t has passed.
func (c *Clock) Until(t time.Time) time.Duration { return t.Sub(c.now()) }

// Epoch returns the epoch of slot s.
func (c *Clock) Epoch(s phase0.Slot) phase0.Epoch { return c.spec.Epoch(s) }
