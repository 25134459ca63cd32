package tests

import (
	"errors"
	"fmt"
	"math/big"
	"sync"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"

	"sidecar/internal/devnet"
	"sidecar/internal/simnet"
)

// journeyCrash kills the sidecar at one moment of a promise's road, starts it
// again over the same files, and sees the promise kept: what was answered is on
// disk, and nothing is signed anew.
func journeyCrash(name string, until func(j *journey, p journeyPromise) error) journeyOf {
	return journeyOf{"promise/killed " + name, func(t *testing.T) {
		j := journeyChain(t, simnet.Options{SlotDuration: 2 * time.Second, SSZ: true, BuildLead: 300 * time.Millisecond})
		j.write(devnet.Options{PBS: journeyBudgetLine, Lead: 1200 * time.Millisecond})
		car := j.spawn()
		j.ready()
		j.play("kept", func(slot phase0.Slot) error {
			p, err := j.want(slot+1, 1)
			if err == nil {
				err = p[0].ask(car.GatewayURL)
			}
			if err == nil {
				err = until(j, p[0])
			}
			if err != nil {
				return err
			}
			car.Kill()
			if car, err = j.launch(); err != nil {
				return err
			}
			if err := p[0].same(car.GatewayURL); err != nil {
				return fmt.Errorf("after the kill: %w", err)
			}
			if _, err := j.outcome(slot+1, simnet.FromBuilder, ""); err != nil {
				return err
			}
			if n := len(journeyBodiesOf(j.net.Relays[0], "constraints", slot+1)); n != 1 {
				return fmt.Errorf("%d constraints messages for one slot", n)
			}
			if n := len(journeyBodiesOf(j.net.Relays[0], "delegate", slot+1)); n != 1 {
				return fmt.Errorf("%d delegations for one slot", n)
			}
			if j.index(p[0]) < 0 {
				return errors.New("the transaction is not in the block")
			}
			j.eventually("the promise counts as kept", func() bool { return j.counted(car, "kept") >= 1 })
			return nil
		})
		if err := car.Stop(); err != nil {
			t.Errorf("the sidecar ended with %v", err)
		}
	}}
}

// counted is how many promises a process has judged so.
func (j *journey) counted(car *devnet.Process, outcome string) float64 {
	return journeyMetric(j.T, car.AdminURL, "sidecar_promises_total", `outcome="`+outcome+`"`)
}

// journeyStorm kills the sidecar again and again while searchers ask for one
// promise after another, all for one slot. Every answer that left is in the
// ledger, byte for byte, and every promise is kept by that slot's block.
func journeyStorm(t *testing.T) {
	const rounds, enough = 3, 10 // answers in each
	slots := phase0.Slot(5)      // for all of them
	if raceFlag != "" {
		slots = 12
	}
	j := journeyChain(t, simnet.Options{SlotDuration: 2 * time.Second, SSZ: true, BuildLead: 300 * time.Millisecond})
	j.write(devnet.Options{PBS: journeyBudgetLine, Lead: 800 * time.Millisecond})
	car := j.spawn()
	j.ready()
	s := storm{journey: j, slot: j.net.Clock.Slot() + slots, answered: make([][]journeyPromise, len(j.net.Accounts))}
	for round := range rounds {
		s.rain(car.GatewayURL, enough, func() { car.Kill() })
		next, err := j.launch()
		if err != nil {
			t.Fatal(err)
		}
		car = next
		for _, of := range s.answered {
			for _, p := range of {
				if err := p.same(car.GatewayURL); err != nil {
					t.Fatalf("kill %d: %v", round, err)
				}
			}
		}
	}
	if _, err := j.outcome(s.slot, simnet.FromBuilder, ""); err != nil {
		t.Fatalf("%d promises: %v", s.count(), err)
	}
	for _, of := range s.answered {
		for _, p := range of {
			if j.index(p) < 0 {
				t.Errorf("a promised transaction is not in the block of slot %d", p.slot)
			}
		}
	}
	if n := len(journeyBodiesOf(j.net.Relays[0], "constraints", s.slot)); n != 1 {
		t.Errorf("%d constraints messages for one slot", n)
	}
	j.eventually("every promise counts as kept", func() bool { return j.counted(car, "kept") >= float64(s.count()) })
	if err := car.Stop(); err != nil {
		t.Errorf("the sidecar ended with %v", err)
	}
}

// storm is many searchers who want the same slot.
type storm struct {
	*journey
	slot phase0.Slot

	mu       sync.Mutex
	answered [][]journeyPromise // by account and nonce
}

func (s *storm) count() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, of := range s.answered {
		n += len(of)
	}
	return n
}

// rain has each account ask for its next transactions, ends the sidecar after
// some more answers, and waits for the searchers to see it.
func (s *storm) rain(gateway string, more int, end func()) {
	s.Helper()
	until := s.count() + more
	var searchers sync.WaitGroup
	for i, a := range s.net.Accounts {
		searchers.Go(func() {
			for n := uint64(len(s.answered[i])); ; n++ {
				p, err := s.from(a, n, s.slot)
				if err == nil {
					err = p.ask(gateway)
				}
				if err != nil {
					return // the sidecar is gone
				}
				s.mu.Lock()
				s.answered[i] = append(s.answered[i], p)
				s.mu.Unlock()
			}
		})
	}
	s.eventually("promises are made", func() bool { return s.count() >= until })
	end()
	searchers.Wait()
}

// from is a request for an account's n-th transaction.
func (j *journey) from(a simnet.Account, n uint64, slot phase0.Slot) (p journeyPromise, err error) {
	id, to := new(big.Int).SetUint64(j.net.Spec.ChainID), common.Address{0x5e, 0xa6}
	p.slot = slot
	p.tx, err = types.SignNewTx(a.Key, types.LatestSignerForChainID(id), &types.DynamicFeeTx{
		ChainID: id, Nonce: n, GasTipCap: big.NewInt(2 * params.GWei), GasFeeCap: big.NewInt(100 * params.GWei), Gas: 21_000, To: &to, Value: big.NewInt(1),
	})
	if err == nil {
		p.req, err = j.net.Searcher.Request(slot, p.tx)
	}
	return p, err
}
