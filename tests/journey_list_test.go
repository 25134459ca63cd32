package tests

import (
	"testing"

	"sidecar/chain"
	"sidecar/internal/simnet"
)

// journeyOf is one journey, on a chain of its own.
type journeyOf struct {
	name string
	play func(*testing.T)
}

// journeys are all of them. The longest come first.
func journeys() []journeyOf {
	return []journeyOf{
		{"soak", journeySoak},
		{"promise/init", journeyInit},
		{"promise/broken", journeyBroken},
		{"promise/hold", journeyHold},
		{"promise/evidence", journeyEvidence},
		{"header/broken relays", journeyHeaderFaults},
		{"header/timing games", journeyGames},
		{"header/minimum", journeyMinimum},
		{"header/late", journeyLate},
		{"header/extra validation", journeyExtra},
		{"register/mux in ssz", journeyMux(true)},
		{"register/mux in json", journeyMux(false)},
		{"register/encodings from ssz", journeyEncodings(true)},
		{"register/encodings from json", journeyEncodings(false)},
		{"register/no relay", journeyAllDown},
		{"block/the other relay delivers v1", journeyDeliver(chain.Electra)},
		{"block/the other relay delivers v2", journeyDeliver(chain.Fulu)},
		journeyPenalty("a lie", chain.Electra, simnet.RelayKnobs{WrongPayload: true}, simnet.Fault{}),
		journeyPenalty("withholding", chain.Electra, simnet.RelayKnobs{Withhold: true}, simnet.Fault{}),
		{"block/penalty for a 202 that nothing came of", journeyWithheld},
		journeyPenalty("a failure", chain.Fulu, simnet.RelayKnobs{}, simnet.Fault{Status: 500}),
		{"block/stop", journeyStop},
		{"block/restart v1", journeyRestart(chain.Electra)},
		{"block/restart v2", journeyRestart(chain.Fulu)},
		{"promise/kept in fulu ssz", journeyKept(chain.Fulu, true)},
		{"promise/kept in electra json", journeyKept(chain.Electra, false)},
		{"promise/kept in deneb json", journeyKept(chain.Deneb, false)},
		{"promise/searcher", journeySearcher},
		{"promise/flood", journeyFlood},
		{"promise/rivals", journeyRivals},
		{"promise/from afar", journeyAfar},
		{"promise/mux", journeyMuxPromise},
		{"promise/refused", journeyRefused},
		{"promise/no path", journeyNoPath},
		{"promise/foreign delegation", journeyForeign},
		{"promise/constraints refused", journeyRefusal},
		{"promise/unproven bids", journeyUnproven},
		{"promise/two validators", journeyTwo},
		{"promise/trusted builder", journeyBuilder},
		{"promise/fabric", journeyFabric},
		{"promise/formats in fulu ssz", journeyFormats(chain.Fulu, true)},
		{"promise/formats in deneb json", journeyFormats(chain.Deneb, false)},
		{"wallet/promised", journeyWallet},
		{"wallet/refused", journeyWalletPolicy(false)},
		{"wallet/passed on", journeyWalletPolicy(true)},
		{"promise/nodes down", journeyNodesDown},
		{"promise/statuses", journeyStatuses},
		{"promise/price", journeyPrice},
		{"promise/execution node lags", journeyLagging},
		{"promise/clocks disagree", journeySkew},
		journeyKilledLate("with the header out", journeyHeaderAt),
		journeyKilledLate("with the block out", journeyBlockAt),
		{"promise/quote", journeyQuote},
		{"promise/reasons", journeyReasons},
		{"promise/blobs", journeyBlobs},
		{"promise/blobs before fulu", journeyBlobsKept},
		{"promise/limits", journeyLimits},
		{"promise/files", journeyFiles},
		journeyCrash("after the promise", func(*journey, journeyPromise) error { return nil }),
		journeyCrash("after the cut-off", func(j *journey, p journeyPromise) error {
			j.eventually("the constraints are at the relay", func() bool { return j.net.Relays[0].HasConstraints(p.slot) > 0 })
			return nil
		}),
		{"promise/killed in a storm", journeyStorm},
		{"propose/fulu ssz", journeyPropose(chain.Fulu, true)},
		{"propose/fulu json", journeyPropose(chain.Fulu, false)},
		{"propose/electra ssz", journeyPropose(chain.Electra, true)},
		{"propose/electra json", journeyPropose(chain.Electra, false)},
		{"propose/deneb ssz", journeyPropose(chain.Deneb, true)},
		{"propose/deneb json", journeyPropose(chain.Deneb, false)},
	}
}
