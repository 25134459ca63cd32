package tests

import (
	"errors"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/internal/devnet"
	"sidecar/internal/simnet"
)

// journeyFormats has promises proven in every format there is, on a chain of a fork:
// the bid wins, and the promise is kept.
func journeyFormats(fork chain.Fork, ssz bool) func(*testing.T) {
	return func(t *testing.T) {
		j := journeyStart(t, simnet.Options{Fork: fork, SSZ: ssz, Accounts: 32}, devnet.Options{PBS: journeyBudgetLine, Gateway: "max_unproven = 0"})
		j.ready()
		account := 0
		for name, format := range map[string]commitments.ProofFormat{
			"EL-MPT v2": commitments.ProofRoots, "single branches": commitments.ProofBranch, "Bolt's multiproof": commitments.ProofBolt,
		} {
			j.play(name, func(slot phase0.Slot) error {
				j.net.Builders[0].Set(func(k *simnet.BuilderKnobs) { k.Format = format })
				var two []journeyPromise
				for range 2 { // of two searchers whose promises are not still open
					account++
					p, err := j.wantOf(account, slot+1)
					if err == nil {
						err = p.ask(j.car.GatewayURL)
					}
					if err != nil {
						return err
					}
					two = append(two, p)
				}
				if _, err := j.outcome(slot+1, simnet.FromBuilder, "relay-0"); err != nil {
					return err
				}
				if j.index(two[0]) < 0 || j.index(two[1]) < 0 {
					return errors.New("a transaction is not in the block")
				}
				return nil
			})
		}
	}
}
