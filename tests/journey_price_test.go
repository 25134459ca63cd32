package tests

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/internal/devnet"
	"sidecar/internal/ecdsa"
	"sidecar/internal/simnet"
)

// journeyPrice asks what a promise costs, offers too little, then exactly as much,
// and sees in the report what the prices make of it, while the sidecar runs and
// after it has stopped.
func journeyPrice(t *testing.T) {
	j := journeyStart(t, simnet.Options{SSZ: true}, devnet.Options{PBS: journeyBudgetLine})
	j.ready()
	var kept journeyPromise
	j.play("a promise at its price", func(slot phase0.Slot) error {
		cheap, err := j.tips(slot+2, big.NewInt(1))
		if err != nil {
			return err
		}
		fee, err := j.fee(cheap.req)
		if err != nil {
			return err
		}
		if err := j.refusesPromise(cheap, "tip_too_low", "a priority fee of "+fee.Tip); err != nil {
			return err
		}
		tip, ok := new(big.Int).SetString(fee.Tip, 10)
		if !ok || tip.Cmp(big.NewInt(params.GWei)) < 0 || fee.Slot != uint64(slot+2) || fee.Mode != "tip" {
			return fmt.Errorf("the fee is %+v", fee)
		}
		if kept, err = j.tips(slot+2, tip); err != nil {
			return err
		}
		if err := kept.ask(j.car.GatewayURL); err != nil {
			return err
		}
		if _, err := j.outcome(slot+2, simnet.FromBuilder, ""); err != nil {
			return err
		}
		if j.index(kept) < 0 {
			return errors.New("the transaction is not in the block")
		}
		return nil
	})
	if t.Failed() {
		return
	}
	j.verdict(kept, "kept")
	admin := strings.TrimPrefix(j.car.AdminURL, "http://")
	j.report(kept.slot, "sidecar", "--admin", admin)
	j.stop()
	j.report(kept.slot, "ledger")
}

// journeyFee is the payload of a fee.
type journeyFee struct {
	Tip  string `json:"tip_wei_per_gas"`
	Slot uint64 `json:"slot"`
	Mode string `json:"mode"`
}

func (j *journey) fee(req commitments.Request) (fee journeyFee, err error) {
	body, err := json.Marshal(req)
	if err != nil {
		return fee, err
	}
	status, text, err := journeyCall(http.MethodPost, j.car.GatewayURL+"/commitments/v0/gateway/fee", "application/json", body)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("fee: %d %s", status, text)
	}
	var info commitments.FeeInfo
	if err == nil {
		err = json.Unmarshal(text, &info)
	}
	if err == nil {
		err = json.Unmarshal(info.Payload, &fee)
	}
	return fee, err
}

// tips makes a transaction for a slot that tips so much.
func (j *journey) tips(slot phase0.Slot, tip *big.Int) (p journeyPromise, err error) {
	j.net.Searcher.ResetNonce()
	to := common.Address{0x5e, 0xa5}
	like, err := j.net.Searcher.Transaction(to, big.NewInt(1))
	if err == nil {
		p.tx, err = j.net.Searcher.Sign(&types.DynamicFeeTx{
			Nonce: like.Nonce(), GasTipCap: tip, GasFeeCap: big.NewInt(100 * params.GWei), Gas: 21_000, To: &to, Value: big.NewInt(1),
		})
	}
	if err == nil {
		p.slot = slot
		p.req, err = j.net.Searcher.Request(slot, p.tx)
	}
	return p, err
}

// refusesPromise wants a promise refused for a reason, with words in the detail.
func (j *journey) refusesPromise(p journeyPromise, reason, words string) error {
	_, err := j.net.Searcher.AskRPC(j.ctx, p.req)
	var no *simnet.Refusal
	if !errors.As(err, &no) || !strings.Contains(no.Body, `"reason":"`+reason+`"`) || !strings.Contains(no.Body, words) {
		return fmt.Errorf("slot %d: got %v, want %s and %q", p.slot, err, reason, words)
	}
	return nil
}

// report runs `sidecar report price` and wants the promise of a slot in it.
func (j *journey) report(slot phase0.Slot, pages string, args ...string) {
	j.Helper()
	all := append([]string{"report", "price", "--config", j.path}, args...)
	r := invoke(j.T, nil, append(all, "--json")...)
	var got struct {
		Pages string `json:"pages"`
		Slots []struct {
			Slot     phase0.Slot `json:"slot"`
			Promised struct {
				Asked    int    `json:"asked"`
				Accepted int    `json:"accepted"`
				Tips     string `json:"tips_wei"`
			} `json:"promised"`
			Market struct {
				Accepted int `json:"accepted"`
			} `json:"market"`
		} `json:"slots"`
	}
	if err := json.Unmarshal([]byte(r.out), &got); err != nil || r.code != 0 || got.Pages != pages {
		j.Errorf("report: exit %d, pages of %q, want %q: %v\n%s\n%s", r.code, got.Pages, pages, err, r.out, r.stderr)
		return
	}
	found := false
	for _, s := range got.Slots {
		if s.Slot == slot {
			found = s.Promised.Asked == 1 && s.Promised.Accepted == 1 && len(s.Promised.Tips) > 10 && s.Market.Accepted >= 1
		}
	}
	if !found {
		j.Errorf("the promise for slot %d is not in the report: %s", slot, r.out)
	}
	table := invoke(j.T, nil, all...)
	if table.code != 0 || !strings.Contains(table.out, fmt.Sprintf("\n%d ", slot)) && !strings.Contains(table.out, fmt.Sprintf(" %d  ", slot)) {
		j.Errorf("the table: exit %d\n%s%s", table.code, table.out, table.stderr)
	}
}

// journeyQuote has a price quoted, fills the slot until it costs more, and gets in
// at the quote; another quote is left to expire.
func journeyQuote(t *testing.T) {
	j := journeyStart(t, simnet.Options{SSZ: true}, devnet.Options{PBS: journeyBudgetLine})
	j.ready()
	var kept journeyPromise
	j.play("a promise as quoted", func(slot phase0.Slot) error {
		cheap, err := j.signed(j.net.Accounts[1], slot+2, func(*types.DynamicFeeTx) {})
		if err != nil {
			return err
		}
		fee, err := j.fee(cheap.req)
		if err != nil {
			return err
		}
		exact, _ := new(big.Int).SetString(fee.Tip, 10)
		if kept, err = j.signed(j.net.Accounts[1], slot+2, func(d *types.DynamicFeeTx) { d.GasTipCap = exact }); err != nil {
			return err
		}
		quote, err := j.quote(kept.req)
		if err != nil {
			return err
		}
		rich, err := j.signed(j.net.Accounts[2], slot+2, func(d *types.DynamicFeeTx) {
			d.Gas, d.GasTipCap, d.GasFeeCap = 4_000_000, big.NewInt(100*params.GWei), big.NewInt(300*params.GWei)
		})
		if err == nil {
			err = rich.ask(j.car.GatewayURL)
		}
		if err == nil {
			err = j.refusesPromise(kept, "tip_too_low", "are enough")
		}
		if err == nil {
			err = j.asQuoted(kept, quote, "")
		}
		if err != nil {
			return err
		}
		if _, err := j.outcome(slot+2, simnet.FromBuilder, ""); err != nil {
			return err
		}
		if j.index(kept) < 0 || j.index(rich) < 0 {
			return errors.New("a promised transaction is not in the block")
		}
		return nil
	})
	j.play("a quote that expires", func(slot phase0.Slot) error {
		p, err := j.signed(j.net.Accounts[3], slot+6, func(*types.DynamicFeeTx) {})
		if err != nil {
			return err
		}
		quote, err := j.quote(p.req)
		if err != nil {
			return err
		}
		if err := j.asQuoted(p, quote+"00", "params_invalid"); err != nil {
			return err
		}
		if err := j.net.WaitSlot(j.ctx, slot+4); err != nil { // more than three seconds
			return err
		}
		return j.asQuoted(p, quote, "quote_expired")
	})
}

// quote asks for a quote, checks its signature, and returns its id.
func (j *journey) quote(req commitments.Request) (id string, err error) {
	body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": "preconf_quote", "params": []any{req}})
	if err != nil {
		return "", err
	}
	_, text, err := journeyCall(http.MethodPost, j.car.GatewayURL, "application/json", body)
	if err != nil {
		return "", err
	}
	var answer struct {
		Result json.RawMessage `json:"result"`
	}
	var q commitments.SignedQuote
	if err = json.Unmarshal(text, &answer); err == nil {
		err = json.Unmarshal(answer.Result, &q)
	}
	if err != nil {
		return "", fmt.Errorf("quote: %s: %w", text, err)
	}
	root := q.Quote.Message(j.net.Spec.Domain(chain.DomainCommitBoost), j.net.Spec.ChainID).Root()
	by, err := ecdsa.Recover(root, [65]byte(q.Signature))
	if err != nil || by != q.Committer || by == (bellatrix.ExecutionAddress{}) || q.Quote.RequestHash != req.Hash() {
		return "", fmt.Errorf("the quote is signed by %#x, not %#x: %w", by, q.Committer, err)
	}
	hash := q.Quote.Root()
	return hash.String(), nil
}

// asQuoted asks for a promise by a quote, and wants it made, or refused for a reason.
func (j *journey) asQuoted(p journeyPromise, quote, reason string) error {
	body, err := json.Marshal(p.req)
	if err != nil {
		return err
	}
	status, text, err := journeyCall(http.MethodPost, j.car.GatewayURL+journeyAsk+"?quote_id="+quote, "application/json", body)
	if err != nil || (status == http.StatusOK) != (reason == "") || !strings.Contains(string(text), reason) {
		return fmt.Errorf("got %d %s, want %q: %w", status, text, reason, err)
	}
	return nil
}
