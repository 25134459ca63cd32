package tests

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/internal/devnet"
	"sidecar/internal/simnet"
)

const (
	journeyAsk    = "/commitments/v0/gateway/commitmentRequest"
	journeyResult = "/commitments/v0/gateway/commitmentResult/"
	journeyStatus = "/commitments/v0/gateway/status/"
)

// journeyPromise is a transaction with the request for its place.
type journeyPromise struct {
	slot phase0.Slot
	tx   *types.Transaction
	req  commitments.Request
	text []byte // the answer, as it came over REST
}

// want makes the searcher want count transactions in a slot.
func (j *journey) want(slot phase0.Slot, count int) (all []journeyPromise, err error) {
	j.net.Searcher.ResetNonce()
	for range count {
		tx, err := j.net.Searcher.Transaction(common.Address{0x5e, 0xa5}, big.NewInt(1e15))
		if err != nil {
			return nil, err
		}
		req, err := j.net.Searcher.Request(slot, tx)
		if err != nil {
			return nil, err
		}
		all = append(all, journeyPromise{slot: slot, tx: tx, req: req})
	}
	return all, nil
}

// ask asks over REST and keeps the answer's bytes.
func (p *journeyPromise) ask(gateway string) error {
	body, err := json.Marshal(p.req)
	if err != nil {
		return err
	}
	status, text, err := journeyCall(http.MethodPost, gateway+journeyAsk, "application/json", body)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("refused: %d %s", status, text)
	}
	p.text = text
	return err
}

// same asks again, by the request and by its hash: the bytes are those of the
// first time.
func (p *journeyPromise) same(gateway string) error {
	again := *p
	if err := again.ask(gateway); err != nil {
		return err
	}
	status, result, err := journeyCall(http.MethodGet, gateway+journeyResult+p.req.Hash().String(), "", nil)
	switch {
	case err != nil || status != http.StatusOK:
		return fmt.Errorf("result: %d %s %w", status, result, err)
	case !bytes.Equal(again.text, p.text) || !bytes.Equal(result, p.text):
		return fmt.Errorf("answers differ:\n%s\n%s\n%s", p.text, again.text, result)
	}
	return nil
}

// index is where the transaction is in its slot's block, -1 if nowhere.
func (j *journey) index(p journeyPromise) int {
	for i, tx := range j.net.Transactions(p.slot) {
		if tx.Hash() == p.tx.Hash() {
			return i
		}
	}
	return -1
}

// verdict waits for the audit, and wants an outcome.
func (j *journey) verdict(p journeyPromise, want string) {
	j.Helper()
	got, reason, err := j.car.Verdict(j.ctx, p.req.Hash())
	if err != nil || got != want {
		j.Errorf("the promise for slot %d is %s (%s), want %s: %v", p.slot, got, reason, want, err)
	}
	j.told(p, want)
}

// told wants the searcher to hear the same of the gateway, with the block that
// the chain has.
func (j *journey) told(p journeyPromise, want string) {
	j.Helper()
	status, text, err := journeyCall(http.MethodGet, j.car.GatewayURL+journeyStatus+p.req.Hash().String(), "", nil)
	var s commitments.Status
	if err == nil && status == http.StatusOK {
		err = json.Unmarshal(text, &s)
	}
	states := map[string][]commitments.State{
		"kept": {commitments.StateIncluded, commitments.StateFinal}, "broken": {commitments.StateAbsent, commitments.StateFinal},
		"excused": {commitments.StateSlotMissed, commitments.StateAbsent, commitments.StateOrphaned, commitments.StateFinal},
	}
	if err != nil || status != http.StatusOK || s.Outcome != want || !slices.Contains(states[want], s.State) || s.Slot != uint64(p.slot) {
		j.Errorf("the searcher hears %d %s, want %s: %v", status, text, want, err)
	}
}

// journeyBodiesOf are the bodies of a relay's calls that name a slot, each once.
func journeyBodiesOf(r *simnet.Relay, endpoint string, slot phase0.Slot) (distinct []string) {
	name := `"` + strconv.FormatUint(uint64(slot), 10) + `"`
	for _, c := range r.Calls(endpoint) {
		if body := string(c.Body); strings.Contains(body, `"slot":`+name) && !journeyHas(journeyBytes(distinct), c.Body) {
			distinct = append(distinct, body)
		}
	}
	return distinct
}

func journeyBytes(texts []string) (out [][]byte) {
	for _, t := range texts {
		out = append(out, []byte(t))
	}
	return out
}

// journeyKept is journey d from the request to the verdict: two promises for one
// slot, asked for in both forms of the API.
func journeyKept(fork chain.Fork, ssz bool) func(*testing.T) {
	return func(t *testing.T) {
		j := journeyStart(t, simnet.Options{Fork: fork, SSZ: ssz, Relays: []simnet.RelayOptions{
			{Name: "keeper", Constraints: true, Knobs: simnet.RelayKnobs{Delegated: true}}, {Name: "plain"},
		}}, devnet.Options{PBS: journeyBudgetLine})
		j.ready()
		var kept []journeyPromise
		j.play("two promises", func(slot phase0.Slot) (err error) {
			if kept, err = j.want(slot+1, 2); err != nil {
				return err
			}
			return j.keep(kept)
		})
		if t.Failed() {
			return
		}
		for _, p := range kept {
			j.verdict(p, "kept")
			if err := p.same(j.car.GatewayURL); err != nil {
				t.Errorf("after the verdict: %v", err)
			}
		}
		j.eventually("both promises count as kept", func() bool { return j.metric("sidecar_promises_total", `outcome="kept"`) >= 2 })
		if n := j.metric("sidecar_bids_total", `relay="keeper"`, `verdict="accepted"`); n == 0 {
			t.Error("no bid of keeper accepted in the metrics")
		}
		j.play("a slot without promises is open to all relays", func(slot phase0.Slot) error {
			if _, err := j.outcome(slot, simnet.FromBuilder, "keeper"); err != nil {
				return err
			}
			if a, b := len(journeyHeaderCalls(j.net.Relays[0], slot)), len(journeyHeaderCalls(j.net.Relays[1], slot)); a != 1 || b != 1 {
				return fmt.Errorf("asked %d and %d times", a, b)
			}
			return nil
		})
	}
}

// keep asks for two promises of one slot and sees them kept.
func (j *journey) keep(two []journeyPromise) error {
	slot, gateway := two[0].slot, j.car.GatewayURL
	if err := two[0].ask(gateway); err != nil {
		return err
	}
	signed, err := j.net.Searcher.AskRPC(j.ctx, two[1].req)
	if err == nil {
		err = j.net.Searcher.Verify(two[1].req, signed, j.car.Signers)
	}
	if err == nil {
		err = two[1].ask(gateway) // known by now: REST gives the same
	}
	if err != nil {
		return err
	}
	for i := range two {
		var sc commitments.SignedCommitment
		if err := json.Unmarshal(two[i].text, &sc); err != nil {
			return err
		}
		if err := errors.Join(j.net.Searcher.Verify(two[i].req, sc, j.car.Signers), two[i].same(gateway)); err != nil {
			return err
		}
		if i == 1 && !bytes.Equal(sc.Signature, signed.Signature) {
			return errors.New("REST and JSON-RPC answer differently")
		}
	}
	if _, err := j.outcome(slot, simnet.FromBuilder, "keeper"); err != nil {
		return err
	}
	for i, p := range two {
		if got := j.index(p); got != i {
			return fmt.Errorf("transaction %d is at index %d of slot %d", i, got, slot)
		}
	}
	keeper, plain := j.net.Relays[0], j.net.Relays[1]
	if n := len(journeyBodiesOf(keeper, "constraints", slot)); n != 1 || keeper.HasConstraints(slot) != 2 {
		return fmt.Errorf("%d constraints messages with %d constraints, want one with two", n, keeper.HasConstraints(slot))
	}
	if n := len(journeyBodiesOf(keeper, "delegate", slot)); n != 1 {
		return fmt.Errorf("%d delegations for slot %d", n, slot)
	}
	if n := len(journeyHeaderCalls(plain, slot)) + len(journeyHeaderCalls(keeper, slot)); n != 0 {
		return fmt.Errorf("%d requests for a header without proofs", n)
	}
	return nil
}

// journeyBroken plays every lie. The lying bid pays more and is refused; the
// node builds its own block in the same slot, without the transaction, and the
// audit says so.
func journeyBroken(t *testing.T) {
	j := journeyStart(t, simnet.Options{SSZ: true}, devnet.Options{PBS: journeyBudgetLine, Gateway: "max_unproven = 0"})
	j.ready()
	var broken []journeyPromise
	for _, scene := range []struct {
		name  string
		lie   simnet.Lie
		knobs simnet.RelayKnobs
	}{
		{"no proofs", simnet.NoProofs, simnet.RelayKnobs{}},
		{"a proof of another transaction", simnet.OtherTransaction, simnet.RelayKnobs{}},
		{"a proof under another header", simnet.OtherHeader, simnet.RelayKnobs{}},
		{"a relay that garbles the proofs", simnet.Honest, simnet.RelayKnobs{FalseProofs: true}},
		{"a relay that drops the proofs", simnet.Honest, simnet.RelayKnobs{NoProofs: true}},
	} {
		j.play(scene.name, func(slot phase0.Slot) error {
			j.net.Builders[0].Set(func(k *simnet.BuilderKnobs) { k.Lie = scene.lie })
			j.net.Relays[0].Set(func(k *simnet.RelayKnobs) { *k = scene.knobs })
			p, err := j.want(slot+1, 1)
			if err == nil {
				err = p[0].ask(j.car.GatewayURL)
			}
			if err != nil {
				return err
			}
			before := j.metric("sidecar_bids_total", `verdict="bid_promises"`)
			if _, err := j.outcome(slot+1, simnet.FromLocal, ""); err != nil {
				return err
			}
			switch {
			case j.net.Relays[0].BestValue(slot+1) == nil || j.net.Relays[0].HasConstraints(slot+1) != 1:
				return errors.New("the builder made no bid under constraints")
			case j.index(p[0]) >= 0:
				return errors.New("the transaction is in the block")
			case j.metric("sidecar_bids_total", `verdict="bid_promises"`) <= before:
				return errors.New("no bid was refused for its promises")
			}
			broken = append(broken, p[0])
			return nil
		})
	}
	for _, p := range broken {
		j.verdict(p, "broken")
	}
	if n := j.metric("sidecar_promises_total", `outcome="broken"`); n < float64(len(broken)) {
		t.Errorf("%v promises broken in the metrics, want %d", n, len(broken))
	}
}

// journeyRivals has a liar that pays more and a relay that hangs, beside an
// honest builder: the promise is kept all the same, in time.
func journeyRivals(t *testing.T) {
	j := journeyStart(t, simnet.Options{
		SSZ: true, Relays: []simnet.RelayOptions{{Constraints: true}, {Constraints: true}, {Constraints: true}},
		Builders: []simnet.BuilderOptions{{Relays: []int{0}}, {Relays: []int{1}, Knobs: simnet.BuilderKnobs{Lie: simnet.OtherHeader}}},
	}, devnet.Options{PBS: journeyBudgetLine})
	j.ready()
	j.net.Relays[2].Break("header_with_proofs", simnet.Fault{Silent: true})
	var kept journeyPromise
	j.play("the honest bid wins", func(slot phase0.Slot) error {
		p, err := j.want(slot+1, 1)
		if err == nil {
			err = p[0].ask(j.car.GatewayURL)
		}
		if err != nil {
			return err
		}
		o, err := j.outcome(slot+1, simnet.FromBuilder, "relay-0")
		switch kept = p[0]; {
		case err != nil:
			return err
		case o.HeaderTook > journeyBudget+journeySlack:
			return fmt.Errorf("the header took %v", o.HeaderTook)
		case j.net.Relays[1].BestValue(slot+1) == nil:
			return errors.New("the liar made no bid")
		case j.index(kept) < 0:
			return errors.New("the transaction is not in the block")
		}
		return nil
	})
	j.verdict(kept, "kept")
	if j.metric("sidecar_bids_total", `relay="relay-1"`, `verdict="bid_promises"`) == 0 {
		t.Error("the liar's bid was not refused")
	}
}
