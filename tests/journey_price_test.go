package tests

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"

	"sidecar/commitments"
	"sidecar/internal/devnet"
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
