package tests

import (
	"testing"

	"sidecar/chain"
)

// journeyOf is one journey, on a chain of its own.
type journeyOf struct {
	name string
	play func(*testing.T)
}

// journeys are all of them. The longest come first.
func journeys() []journeyOf {
	return []journeyOf{
		{"header/broken relays", journeyHeaderFaults},
		{"header/timing games", journeyGames},
		{"header/minimum", journeyMinimum},
		{"header/late", journeyLate},
		{"header/extra validation", journeyExtra},
		{"propose/fulu ssz", journeyPropose(chain.Fulu, true)},
		{"propose/fulu json", journeyPropose(chain.Fulu, false)},
		{"propose/electra ssz", journeyPropose(chain.Electra, true)},
		{"propose/electra json", journeyPropose(chain.Electra, false)},
		{"propose/deneb ssz", journeyPropose(chain.Deneb, true)},
		{"propose/deneb json", journeyPropose(chain.Deneb, false)},
	}
}
