package builderapi

import (
	"slices"
	"sync"

	"github.com/attestantio/go-eth2-client/spec/phase0"
)

// offers remembers which relays offered which block, so that the signed block
// goes to them first, and which slots a header was served for. It may be lost:
// then every relay is asked.
type offers struct {
	mu     sync.Mutex
	byHash map[phase0.Hash32]*offer
	slots  map[phase0.Slot]chan struct{} // served; closed when its block was handed over
	last   phase0.Slot                   // whose block was handed over
}

type offer struct {
	slot   phase0.Slot
	set    phase0.BLSPubKey // the validator, whose set the block belongs to
	relays []string
}

// keepOffers is how many slots offers are remembered.
const keepOffers = 64

func (o *offers) init() {
	o.byHash = map[phase0.Hash32]*offer{}
	o.slots = map[phase0.Slot]chan struct{}{}
}

// add remembers a sound lot.
func (o *offers) add(q query, l *lot) {
	o.mu.Lock()
	defer o.mu.Unlock()
	entry := o.byHash[l.bid.Header.BlockHash]
	if entry == nil {
		o.prune(q.slot)
		entry = &offer{slot: q.slot, set: q.validator}
		o.byHash[l.bid.Header.BlockHash] = entry
	}
	if !slices.Contains(entry.relays, l.name()) {
		entry.relays = append(entry.relays, l.name())
	}
}

// served notes that the beacon node was handed a header for a slot.
func (o *offers) served(q query) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.slots[q.slot] == nil {
		o.slots[q.slot] = make(chan struct{})
	}
}

// of returns who offered a block.
func (o *offers) of(hash phase0.Hash32) (offer, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if entry := o.byHash[hash]; entry != nil {
		return *entry, true
	}
	return offer{}, false
}

// settle notes that the block of a slot was handed over, or cannot be.
func (o *offers) settle(slot phase0.Slot) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if c := o.slots[slot]; c != nil {
		close(c)
		delete(o.slots, slot)
		o.last = max(o.last, slot)
	}
}

// dealtWith says whether a header was served for a slot.
func (o *offers) dealtWith(slot phase0.Slot) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.slots[slot] != nil || o.last >= slot && o.last > 0
}

// pending says whether a block for a header served for now, or the slot after,
// is still awaited.
func (o *offers) pending(now phase0.Slot) (phase0.Slot, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, slot := range []phase0.Slot{now, now + 1} {
		if o.slots[slot] != nil {
			return slot, true
		}
	}
	return 0, false
}

// settled is closed once the slot's block was handed over.
func (o *offers) settled(slot phase0.Slot) <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if c := o.slots[slot]; c != nil {
		return c
	}
	done := make(chan struct{})
	close(done)
	return done
}

func (o *offers) prune(now phase0.Slot) {
	for hash, entry := range o.byHash {
		if entry.slot+keepOffers < now {
			delete(o.byHash, hash)
		}
	}
	for slot := range o.slots {
		if slot+keepOffers < now {
			delete(o.slots, slot)
		}
	}
}
