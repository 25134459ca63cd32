package tests

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"
	"github.com/holiman/uint256"

	"sidecar/commitments"
	"sidecar/internal/devnet"
	"sidecar/internal/simnet"
)

// journeyReasons asks for what no module would promise, one reason after the
// other, on a chain whose sidecar promises little: three promises a slot, and not
// more than 6,000 bytes.
func journeyReasons(t *testing.T) {
	j := journeyStart(t, simnet.Options{SSZ: true, Accounts: 6}, devnet.Options{PBS: journeyBudgetLine, Gateway: "max_commitments = 3\nmax_bytes = 6000"})
	j.ready()
	for _, scene := range j.refusals() {
		j.play(scene.reason, func(slot phase0.Slot) error {
			p, err := scene.ask(slot + 3)
			if err != nil {
				return err
			}
			return j.refusesPromise(p, scene.reason, "")
		})
		if n := j.metric("sidecar_commitment_requests_total", `reason="`+scene.reason+`"`); n == 0 && !t.Failed() {
			t.Errorf("%s is not in the metrics", scene.reason)
		}
	}
	for _, page := range j.car.App.Ledger().Pages(0) {
		if !page.Empty() {
			t.Errorf("%d promises for slot %d", len(page.Promises), page.Slot)
		}
	}
	j.play("a full slot", func(slot phase0.Slot) error { return j.fills(slot + 3) })
	j.play("one nonce, one transaction, one slot", func(slot phase0.Slot) error { return j.conflicts(slot + 3) })
}

// spoiling is a request with the reason it is refused for.
type spoiling struct {
	reason string
	ask    func(slot phase0.Slot) (journeyPromise, error)
}

// refusals spoil a transfer in one way each.
func (j *journey) refusals() []spoiling {
	with := func(change func(*types.DynamicFeeTx)) func(phase0.Slot) (journeyPromise, error) {
		return func(slot phase0.Slot) (journeyPromise, error) { return j.signed(j.net.Accounts[1], slot, change) }
	}
	// The builder pays in every block: its nonces are spent.
	spent := func(slot phase0.Slot) (journeyPromise, error) {
		return j.signed(j.net.Builders[0].Account, slot, func(*types.DynamicFeeTx) {})
	}
	spoiled := func(spoil func(raw []byte) []byte) func(phase0.Slot) (journeyPromise, error) {
		return func(slot phase0.Slot) (journeyPromise, error) {
			p, err := with(func(*types.DynamicFeeTx) {})(slot)
			if err != nil {
				return p, err
			}
			raw, err := p.tx.MarshalBinary()
			p.req.Payload = commitments.EncodeInclusion(slot, spoil(raw))
			return p, err
		}
	}
	return []spoiling{
		{"tip_too_low", with(func(d *types.DynamicFeeTx) { d.GasTipCap = big.NewInt(params.GWei - 1) })},
		{"fee_cap_below_worst_case", with(func(d *types.DynamicFeeTx) { d.GasFeeCap, d.GasTipCap = big.NewInt(1), big.NewInt(1) })},
		{"insufficient_balance", with(func(d *types.DynamicFeeTx) { d.Value = new(big.Int).Mul(big.NewInt(1e9), big.NewInt(params.Ether)) })},
		{"nonce_gap", with(func(d *types.DynamicFeeTx) { d.Nonce++ })},
		{"nonce_too_low", spent},
		{"wrong_chain", func(slot phase0.Slot) (p journeyPromise, err error) {
			to := common.Address{1}
			p.slot = slot
			p.tx, err = types.SignNewTx(j.net.Accounts[1].Key, types.LatestSignerForChainID(big.NewInt(1)), &types.DynamicFeeTx{
				ChainID: big.NewInt(1), GasTipCap: big.NewInt(2 * params.GWei), GasFeeCap: big.NewInt(100 * params.GWei), Gas: 21_000, To: &to,
			})
			if err == nil {
				p.req, err = j.net.Searcher.Request(slot, p.tx)
			}
			return p, err
		}},
		{"gas_above_cap", with(func(d *types.DynamicFeeTx) { d.Gas = 1<<24 + 1 })},
		{"gas_below_intrinsic", with(func(d *types.DynamicFeeTx) { d.Gas = 20_999 })},
		{"slot_full_gas", with(func(d *types.DynamicFeeTx) { // within the cap of a transaction, beyond a quarter of a block
			d.Gas, d.GasTipCap, d.GasFeeCap = 1<<24, big.NewInt(2_000*params.GWei), big.NewInt(4_000*params.GWei)
		})},
		{"slot_full_bytes", with(func(d *types.DynamicFeeTx) { d.Data, d.Gas = make([]byte, 6_000), 200_000 })},
		{"tx_too_big", spoiled(func([]byte) []byte { return bytes.Repeat([]byte{2}, 131_073) })},
		{"tx_encoding", spoiled(func(raw []byte) []byte { return raw[:len(raw)-1] })},
		{"unsupported_tx_type", spoiled(func(raw []byte) []byte { return append([]byte{0x7e}, raw[1:]...) })},
		{"invalid_signature", spoiled(func(raw []byte) []byte { // r, before 0xa0 and s, exceeds the order of the curve
			out := bytes.Clone(raw)
			for i := len(out) - 65; i < len(out)-33; i++ {
				out[i] = 0xff
			}
			return out
		})},
		{"commitment_encoding", func(slot phase0.Slot) (journeyPromise, error) {
			p, err := with(func(*types.DynamicFeeTx) {})(slot)
			p.req.Payload = p.req.Payload[:len(p.req.Payload)-1]
			return p, err
		}},
		{"unknown_commitment_type", func(slot phase0.Slot) (journeyPromise, error) {
			p, err := with(func(*types.DynamicFeeTx) {})(slot)
			p.req.Type = 99
			return p, err
		}},
	}
}

// signed makes a transfer of an account for a slot, at its next nonce, and
// changes it.
func (j *journey) signed(a simnet.Account, slot phase0.Slot, change func(*types.DynamicFeeTx)) (p journeyPromise, err error) {
	nonce, _, err := j.net.Execution.Account(a.Address, j.net.Execution.Head())
	if err != nil {
		return p, err
	}
	if a.Address == j.net.Builders[0].Account.Address {
		nonce = 0
	}
	to := common.Address{0x5e, 0xa7}
	d := &types.DynamicFeeTx{
		ChainID: new(big.Int).SetUint64(j.net.Spec.ChainID), Nonce: nonce, GasTipCap: big.NewInt(3 * params.GWei), GasFeeCap: big.NewInt(100 * params.GWei),
		Gas: 21_000, To: &to, Value: big.NewInt(1),
	}
	change(d)
	p.slot = slot
	if p.tx, err = types.SignNewTx(a.Key, types.LatestSignerForChainID(d.ChainID), d); err != nil {
		return p, err
	}
	p.req, err = j.net.Searcher.Request(slot, p.tx)
	return p, err
}

// fills has three accounts fill a slot, a fourth refused, and every promise kept.
func (j *journey) fills(slot phase0.Slot) error {
	var all []journeyPromise
	for i := 1; i <= 4; i++ {
		p, err := j.signed(j.net.Accounts[i], slot, func(*types.DynamicFeeTx) {})
		if err != nil {
			return err
		}
		if i == 4 {
			if err := j.refusesPromise(p, "slot_full_count", ""); err != nil {
				return err
			}
			break
		}
		if err := p.ask(j.car.GatewayURL); err != nil {
			return err
		}
		all = append(all, p)
	}
	if _, err := j.outcome(slot, simnet.FromBuilder, ""); err != nil {
		return err
	}
	for _, p := range all {
		if j.index(p) < 0 {
			return errors.New("a promised transaction is not in the block")
		}
	}
	return nil
}

// conflicts asks for what stands in the way of a promise.
func (j *journey) conflicts(slot phase0.Slot) error {
	who := j.net.Accounts[5]
	p, err := j.signed(who, slot, func(*types.DynamicFeeTx) {})
	if err == nil {
		err = p.ask(j.car.GatewayURL)
	}
	if err != nil {
		return err
	}
	for _, c := range []struct {
		reason string
		slot   phase0.Slot
		change func(*types.DynamicFeeTx)
	}{
		{"nonce_conflict", slot, func(d *types.DynamicFeeTx) { d.Value = big.NewInt(2) }},
		{"nonce_conflict", slot + 1, func(d *types.DynamicFeeTx) { d.Value = big.NewInt(2) }},
		{"tx_already_promised", slot + 1, func(*types.DynamicFeeTx) {}},
		{"nonce_gap", slot + 1, func(d *types.DynamicFeeTx) { d.Nonce++ }}, // the earlier slot may be missed
		{"nonce_gap", slot, func(d *types.DynamicFeeTx) { d.Nonce += 2 }},
	} {
		other, err := j.signed(who, c.slot, c.change)
		if err == nil {
			err = j.refusesPromise(other, c.reason, "")
		}
		if err != nil {
			return err
		}
	}
	if err := j.authorizes(who, j.net.Accounts[4], slot+1); err != nil {
		return err
	}
	next, err := j.signed(who, slot, func(d *types.DynamicFeeTx) { d.Nonce++ })
	if err == nil {
		err = next.ask(j.car.GatewayURL)
	}
	if err != nil {
		return err
	}
	if _, err := j.outcome(slot, simnet.FromBuilder, ""); err != nil {
		return err
	}
	if a, b := j.index(p), j.index(next); a < 0 || b != a+1 {
		return fmt.Errorf("the two nonces are at %d and %d", a, b)
	}
	return nil
}

// authorizes has an account ask for a transaction that would move the nonce of
// another, which has promises. [EIP-7702]
func (j *journey) authorizes(authority, sender simnet.Account, slot phase0.Slot) error {
	id := j.net.Spec.ChainID
	auth, err := types.SignSetCode(authority.Key, types.SetCodeAuthorization{ChainID: *uint256.NewInt(id), Address: common.Address{9}})
	if err != nil {
		return err
	}
	nonce, _, err := j.net.Execution.Account(sender.Address, j.net.Execution.Head())
	if err != nil {
		return err
	}
	p := journeyPromise{slot: slot}
	p.tx, err = types.SignNewTx(sender.Key, types.LatestSignerForChainID(new(big.Int).SetUint64(id)), &types.SetCodeTx{
		ChainID: uint256.NewInt(id), Nonce: nonce, GasTipCap: uint256.NewInt(3 * params.GWei), GasFeeCap: uint256.NewInt(100 * params.GWei), Gas: 100_000,
		Value: new(uint256.Int), AuthList: []types.SetCodeAuthorization{auth},
	})
	if err != nil {
		return err
	}
	if p.req, err = j.net.Searcher.Request(slot, p.tx); err != nil {
		return err
	}
	return j.refusesPromise(p, "authority_has_promises", "")
}

// journeyLimits is what an impatient searcher meets: a rate, and a sidecar that
// stops while it waits for the block of a header it served.
func journeyLimits(t *testing.T) {
	j := journeyStart(t, simnet.Options{SSZ: true}, devnet.Options{PBS: journeyBudgetLine, Gateway: "[gateway.access]\nrate_per_second = 1.0\nburst = 3.0\ntrusted_proxies = [\"127.0.0.1/32\"]\nforwarded_header = \"X-Forwarded-For\""})
	j.ready()
	j.play("too many", func(phase0.Slot) error { // of this machine nobody counts
		for range 20 {
			if status, err := j.forwarded("203.0.113.9"); err != nil || status == http.StatusTooManyRequests {
				return err
			}
		}
		return errors.New("20 requests, and none of them is limited")
	})
	tap, ended, asked := j.tap(), make(chan error, 1), make(chan error, 1)
	tap.set(func(p *journeyTap) {
		p.before = func(r *http.Request) {
			if r.Method != http.MethodPost || r.URL.Path != journeyV2 {
				return
			}
			p.set(func(p *journeyTap) { p.before = nil })
			go func() { ended <- j.car.Stop() }()
			asked <- j.drains()
		}
	})
	if err := <-asked; err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("the sidecar ended with %v", err)
	}
	j.car = nil
}

// drains asks until the gateway says that it stops.
func (j *journey) drains() error {
	p, err := j.signed(j.net.Accounts[1], j.net.Clock.Slot()+3, func(d *types.DynamicFeeTx) { d.Nonce++ })
	if err != nil {
		return err
	}
	end := time.Now().Add(journeySlot / 2)
	for {
		_, err := j.net.Searcher.AskREST(j.ctx, p.req)
		var no *simnet.Refusal
		if errors.As(err, &no) && strings.Contains(no.Body, `"reason":"draining"`) {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("the gateway did not say that it drains: %v", err)
		}
	}
}

// forwarded asks for the slots as a proxy does for somebody else.
func (j *journey) forwarded(who string) (int, error) {
	req, err := http.NewRequestWithContext(j.ctx, http.MethodGet, j.car.GatewayURL+"/commitments/v0/gateway/slots", nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("X-Forwarded-For", who)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode == http.StatusTooManyRequests && (res.Header.Get("Retry-After") == "" || !bytes.Contains(text, []byte(`"reason":"rate_limited"`))) {
		err = fmt.Errorf("got %v %s", res.Header, text)
	}
	return res.StatusCode, err
}
