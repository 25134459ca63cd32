package builderapi

import (
	"errors"
	"slices"
	"sync"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/fault"
	"sidecar/internal/relay"
	"sidecar/internal/wire"
)

// submissions joins a block sent twice to its first delivery, and refuses a
// second block of one proposer and slot, which would get the validator slashed.
// Two blocks are the same if their signatures are: BLS is deterministic.
type submissions struct {
	mu     sync.Mutex
	bySlot map[phase0.Slot]map[phase0.ValidatorIndex]*submission
}

type submission struct {
	signature phase0.BLSSignature
	versions  [2]*delivery // v1, v2
}

// delivery is one block on its way. Waiters read err and payload once done is closed.
type delivery struct {
	once    sync.Once
	done    chan struct{}
	payload *wire.Payload // of v1
	err     error
	// inTime says that the block came while relays still take blocks, by custom
	// the first third of its slot: a refusal is then the relay's own doing.
	// Written and read by the goroutine that delivers.
	inTime bool
}

func (s *submissions) init() {
	s.bySlot = map[phase0.Slot]map[phase0.ValidatorIndex]*submission{}
}

// join returns the delivery of b, and whether it is new. A block whose delivery
// failed may be tried again. Fault: ErrEquivocation.
func (s *submissions) join(b *wire.BlindedBlock, v2 bool) (*delivery, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	mine := s.bySlot[b.Slot]
	if mine == nil {
		for slot := range s.bySlot {
			if slot+keepOffers < b.Slot {
				delete(s.bySlot, slot)
			}
		}
		mine = map[phase0.ValidatorIndex]*submission{}
		s.bySlot[b.Slot] = mine
	}
	known := mine[b.ProposerIndex]
	if known == nil {
		known = &submission{signature: b.Signature}
		mine[b.ProposerIndex] = known
	}
	if known.signature != b.Signature {
		return nil, false, ErrEquivocation.With("slot %d, proposer %d", b.Slot, b.ProposerIndex)
	}
	version := 0
	if v2 {
		version = 1
	}
	if d := known.versions[version]; d != nil && !d.failed() {
		return d, false, nil
	}
	d := &delivery{done: make(chan struct{})}
	known.versions[version] = d
	return d, true, nil
}

// letGo forgets a payload, which may have 20 MiB, once its slot is over. The same
// block sent later is delivered anew.
func (s *Service) letGo(b *wire.BlindedBlock, d *delivery) {
	slot, proposer := b.Slot, b.ProposerIndex // b holds its body
	s.watches.run(func() {
		if sleep(s.work, s.Clock.Until(s.submitBy(slot))) {
			s.blocks.forget(slot, proposer, d)
		}
	})
}

func (s *submissions) forget(slot phase0.Slot, proposer phase0.ValidatorIndex, d *delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.bySlot[slot][proposer]; known != nil && known.versions[0] == d {
		known.versions[0] = nil
	}
}

// finish sets the outcome; only the first call counts, and says so.
func (d *delivery) finish(p *wire.Payload, err error) (first bool) {
	d.once.Do(func() {
		d.payload, d.err, first = p, err, true
		close(d.done)
	})
	return first
}

func (d *delivery) failed() bool {
	select {
	case <-d.done:
		return d.err != nil
	default:
		return false
	}
}

// passing are the failures of a relay that may pass; relayOwn those that are the
// relay's own doing, and not an answer to a bad request of ours.
var (
	passing  = []*fault.Fault{relay.ErrConnect, relay.ErrTimeout, relay.ErrReset, relay.ErrShortBody, relay.ErrTLS, relay.Err5xx, relay.ErrEmpty, relay.ErrProtocol}
	relayOwn = slices.Concat(passing, []*fault.Fault{wire.ErrPayload, wire.ErrDecode, wire.ErrFork, relay.ErrDecode, relay.ErrFork, relay.ErrBodyLarge, relay.ErrType, relay.ErrEncoding, relay.ErrNoV2, relay.ErrStatus, relay.ErrRedirect})
)

func relayFault(err error) bool {
	return slices.ContainsFunc(relayOwn, func(f *fault.Fault) bool { return errors.Is(err, f) })
}
