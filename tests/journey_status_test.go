package tests

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rpc"

	"sidecar/commitments"
	"sidecar/internal/devnet"
	"sidecar/internal/simnet"
)

// status asks for what became of a promise.
func (j *journey) status(p journeyPromise) (s commitments.Status, err error) {
	hash := p.req.Hash()
	code, text, err := journeyCall(http.MethodGet, j.car.GatewayURL+"/commitments/v0/gateway/status/"+hash.String(), "", nil)
	if err == nil && code != http.StatusOK {
		err = fmt.Errorf("status: %d %s", code, text)
	}
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	return s, err
}

// story waits until a promise's status is final, and wants these states among its
// steps, in this order, and this outcome.
func (j *journey) story(p journeyPromise, outcome, reason string, states ...commitments.State) {
	j.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		s, err := j.status(p)
		if err != nil {
			j.Errorf("slot %d: %v", p.slot, err)
			return
		}
		if s.Final {
			var got []commitments.State
			for _, step := range s.Steps {
				got = append(got, step.State)
			}
			at := 0
			for _, want := range states {
				i := slices.Index(got[at:], want)
				if i < 0 {
					j.Errorf("slot %d: no %s in %v", p.slot, want, got)
					return
				}
				at += i
			}
			if s.State != commitments.StateFinal || s.Outcome != outcome || s.Reason != reason || s.Slot != uint64(p.slot) {
				j.Errorf("slot %d ends as %s, %s (%s); want %s (%s): %v", p.slot, s.State, s.Outcome, s.Reason, outcome, reason, got)
			}
			return
		}
		select {
		case <-tick.C:
		case <-j.ctx.Done():
			j.Errorf("slot %d is not final: %+v", p.slot, s)
			return
		}
	}
}

// journeyStatuses tells the stories that do not end well: a builder that lies, a
// slot that is missed, a sender that spends its nonce elsewhere, and a block that
// a reorganisation takes back.
func journeyStatuses(t *testing.T) {
	j := journeyStart(t, simnet.Options{SSZ: true, SlotsPerEpoch: 4, Accounts: 6}, devnet.Options{PBS: journeyBudgetLine, Gateway: "max_unproven = 0"})
	j.mayLose = true
	j.ready()
	builder, relay := j.net.Builders[0], j.net.Relays[0]
	var broken, missed, spent, orphaned journeyPromise
	j.play("a lie", func(slot phase0.Slot) (err error) {
		builder.Set(func(k *simnet.BuilderKnobs) { k.Lie = simnet.NoProofs })
		defer builder.Set(func(k *simnet.BuilderKnobs) { k.Lie = simnet.Honest })
		if broken, err = j.promisedTo(1, slot+1); err == nil {
			_, err = j.outcome(slot+1, simnet.FromLocal, "")
		}
		return err
	})
	j.play("a missed slot", func(slot phase0.Slot) (err error) {
		relay.Set(func(k *simnet.RelayKnobs) { k.Withhold = true })
		defer relay.Set(func(k *simnet.RelayKnobs) { k.Withhold = false })
		if missed, err = j.promisedTo(2, slot+1); err != nil {
			return err
		}
		if o, err := j.net.OutcomeOf(j.ctx, slot+1); err != nil || o.Source != simnet.Missed || o.HeaderStatus != http.StatusOK {
			return fmt.Errorf("slot %d: %v, %+v", slot+1, err, o)
		}
		return nil
	})
	j.play("a nonce that is spent elsewhere", func(slot phase0.Slot) (err error) {
		if spent, err = j.promisedTo(3, slot+4); err == nil { // time for a head that shows it
			err = j.spends(3)
		}
		if err != nil {
			return err
		}
		_, err = j.net.OutcomeOf(j.ctx, slot+4)
		return err
	})
	j.play("a block that is taken back, across an epoch", func(slot phase0.Slot) (err error) {
		first := (slot + 2) / 4 * 4 // of the next epoch, two slots ahead or more
		for ; first < slot+1; first = (slot + 2) / 4 * 4 {
			if err := j.net.WaitSlot(j.ctx, slot); err != nil {
				return err
			}
			slot++
		}
		if orphaned, err = j.promisedTo(4, first); err == nil {
			_, err = j.outcome(first, simnet.FromBuilder, "")
		}
		if err == nil && j.index(orphaned) < 0 {
			err = errors.New("the transaction is not in the block")
		}
		if err != nil {
			return err
		}
		if !j.eventually("the promise counts as kept", func() bool {
			s, err := j.status(orphaned)
			return err == nil && s.Outcome == "kept" && !s.Final
		}) {
			return errors.New("not judged")
		}
		return j.net.Reorg(j.ctx, first-1, nil) // the last slot of the epoch before, and all that follows
	})
	if t.Failed() {
		return
	}
	j.story(broken, "broken", "absent", commitments.StateSigned, commitments.StateSealed, commitments.StatePosted, commitments.StateNoSafeBlock, commitments.StateAbsent, commitments.StateFinal)
	j.story(missed, "excused", "slot_missed", commitments.StateSigned, commitments.StateBidVerified, commitments.StateSlotMissed, commitments.StateFinal)
	j.story(spent, "excused", "NonceUsed", commitments.StateSigned, commitments.StateSealed, commitments.StateAtRisk, commitments.StateAbsent, commitments.StateFinal)
	j.story(orphaned, "excused", "slot_orphaned", commitments.StateProposed, commitments.StateOrphaned, commitments.StateFinal)
}

// promisedTo has an account promised its next transaction.
func (j *journey) promisedTo(account int, slot phase0.Slot) (journeyPromise, error) {
	p, err := j.signed(j.net.Accounts[account], slot, func(*types.DynamicFeeTx) {})
	if err == nil {
		err = p.ask(j.car.GatewayURL)
	}
	return p, err
}

// spends sends another transaction of an account's next nonce to the public pool.
func (j *journey) spends(account int) error {
	p, err := j.signed(j.net.Accounts[account], 1, func(d *types.DynamicFeeTx) { d.Value, d.GasTipCap = big.NewInt(7), big.NewInt(9*params.GWei) })
	if err != nil {
		return err
	}
	raw, err := p.tx.MarshalBinary()
	if err != nil {
		return err
	}
	c, err := rpc.DialContext(j.ctx, j.net.Execution.URL)
	if err != nil {
		return err
	}
	defer c.Close()
	var hash common.Hash
	return c.CallContext(j.ctx, &hash, "eth_sendRawTransaction", hexutil.Bytes(raw))
}
