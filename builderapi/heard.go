package builderapi

import (
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/holiman/uint256"
)

// Bid is the last bid of a relay in one auction, for whoever watches.
type Bid struct {
	Relay     string
	BlockHash phase0.Hash32
	Value     uint256.Int // wei
	Refused   bool        // by a check; a bid that could not win may not have been checked to the end
}

// heard are the last bids of the relays, in the order of the configuration, and
// then those that were refused at sight.
func (t *table) heard() (all []Bid) {
	add := func(l *lot, no bool) {
		if len(all) < maxHeard {
			all = append(all, Bid{Relay: l.name(), BlockHash: l.bid.Header.BlockHash, Value: l.bid.Value, Refused: no})
		}
	}
	for _, mine := range t.lots {
		if len(mine) > 0 {
			l := mine[len(mine)-1]
			add(l, l.state == refused)
		}
	}
	for _, l := range t.out {
		add(l, true)
	}
	return all
}

const maxHeard = 64 // bids of one auction
