package inclusion

import (
	"errors"
	"log/slog"
	"math/big"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"
	"github.com/holiman/uint256"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/modules"
)

// reviewed is what Review says of each promise of pages, in their order; "" is none.
func (w *world) reviewed(t *testing.T, pages ...commitments.Page) (out []string) {
	t.Helper()
	risks, err := w.Review(t.Context(), pages)
	if err != nil {
		t.Fatal(err)
	}
	found := map[phase0.Hash32]string{}
	for _, r := range risks {
		found[r.RequestHash] = r.Reason
	}
	for _, p := range pages {
		for i := range p.Promises {
			hash := p.Promises[i].Commitment.RequestHash
			out = append(out, found[hash])
			delete(found, hash)
		}
	}
	if len(found) > 0 {
		t.Errorf("risks of no promise: %v", found)
	}
	return out
}

// atNonce is a transfer of value with a nonce.
func atNonce(nonce uint64, value int64) *types.DynamicFeeTx {
	tx := plain()
	tx.Nonce, tx.Value = nonce, big.NewInt(value)
	return tx
}

// TestReview: three promises of one slot and one of a later slot, by one sender; each
// case is a head that changes something, and the head after it changes it back.
func TestReview(t *testing.T) {
	const all = params.Ether
	for _, tt := range []struct {
		name   string
		change func(*modules.Head, *modules.Account)
		want   [3]string
	}{
		{"nothing", func(*modules.Head, *modules.Account) {}, [3]string{}},
		{"first nonce spent", func(_ *modules.Head, a *modules.Account) { a.Nonce = 6 }, [3]string{"nonce_too_low"}},
		{"all nonces spent", func(_ *modules.Head, a *modules.Account) { a.Nonce = 9 }, [3]string{"nonce_too_low", "nonce_too_low", "nonce_too_low"}},
		{"a transaction before was taken back", func(_ *modules.Head, a *modules.Account) { a.Nonce = 4 }, [3]string{"nonce_gap", "nonce_gap", "nonce_gap"}},
		{"enough for one", func(_ *modules.Head, a *modules.Account) { a.Balance = *uint256.NewInt(params.Ether * 2 / 5) }, [3]string{"", "insufficient_balance", "insufficient_balance"}},
		{"enough for none", func(_ *modules.Head, a *modules.Account) { a.Balance = uint256.Int{} }, [3]string{"insufficient_balance", "insufficient_balance", "insufficient_balance"}},
		{"code appeared", func(_ *modules.Head, a *modules.Account) { a.HasCode, a.Delegated = true, true }, [3]string{"sender_has_code", "sender_has_code", "sender_has_code"}},
		{"base fee", func(h *modules.Head, _ *modules.Account) { h.BaseFee = *uint256.NewInt(28 * params.GWei) }, [3]string{"fee_cap_below_worst_case", "fee_cap_below_worst_case", "fee_cap_below_worst_case"}},
		{"gas limit", func(h *modules.Head, _ *modules.Account) { h.GasLimit = 21_010 }, [3]string{"gas_above_cap", "gas_above_cap", "gas_above_cap"}},
		{"the slot has come", func(h *modules.Head, a *modules.Account) { h.Slot, a.Nonce = slot, 8 }, [3]string{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			page := pageOf(slot, w.from.sign(t, atNonce(5, all/4)), w.from.sign(t, atNonce(6, all/4)), w.from.sign(t, atNonce(7, all/4)))
			head, account := w.state.head, w.state.accounts[w.from.addr]
			changed := account
			tt.change(&w.state.head, &changed)
			w.state.accounts[w.from.addr] = changed
			if got := [3]string(w.reviewed(t, page)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			w.state.head, w.state.accounts[w.from.addr] = head, account
			if got := [3]string(w.reviewed(t, page)); got != [3]string{} {
				t.Errorf("cured: got %q", got)
			}
		})
	}
}

// TestReview_Pages: money is spent in the order of slots, whatever the order of the
// pages, and many senders cost one call.
func TestReview_Pages(t *testing.T) {
	w := newWorld(t)
	first := pageOf(slot, w.from.sign(t, atNonce(5, params.Ether/2)))
	later := pageOf(slot+1, w.from.sign(t, atNonce(6, params.Ether/4)))
	for i := range 20 {
		other := newAccount(t, 2, byte(i))
		w.state.accounts[other.addr] = modules.Account{Nonce: 5, Balance: *uint256.NewInt(params.Ether)}
		first.Promises = append(first.Promises, promiseOf(slot, other.sign(t, plain())))
	}
	w.state.accounts[w.from.addr] = modules.Account{Nonce: 5, Balance: *uint256.NewInt(params.Ether * 6 / 10)}
	got := w.reviewed(t, later, first)
	// Nonce 6 hangs on a slot that may be missed: it was never admitted so, and shows.
	if got[0] != "insufficient_balance" && got[0] != "nonce_gap" {
		t.Errorf("the later slot: %q", got[0])
	}
	for i, reason := range got[1:] {
		if reason != "" {
			t.Errorf("promise %d of the earlier slot: %q", i, reason)
		}
	}
	if w.state.batches != 1 {
		t.Errorf("%d calls for 21 senders, want 1", w.state.batches)
	}
}

// TestReview_Delegated: where delegated senders are accepted their code is no risk,
// and other code is.
func TestReview_Delegated(t *testing.T) {
	w := newWorld(t)
	w.policy.delegated = true
	page := pageOf(slot, w.from.sign(t, plain()))
	for _, tt := range []struct {
		delegated bool
		want      string
	}{{true, ""}, {false, "sender_has_code"}} {
		w.state.accounts[w.from.addr] = modules.Account{Nonce: 5, Balance: *uint256.NewInt(params.Ether), HasCode: true, Delegated: tt.delegated}
		if got := w.reviewed(t, page)[0]; got != tt.want {
			t.Errorf("delegated %v: got %q, want %q", tt.delegated, got, tt.want)
		}
	}
}

// TestReview_Blobs: the blob base fee and the most blobs of a block may change under
// a promise; parameters that nobody tells are no risk.
func TestReview_Blobs(t *testing.T) {
	w := newWorld(t)
	raw := w.from.sign(t, &types.BlobTx{
		ChainID: uint256.NewInt(chainID), Nonce: 5, GasTipCap: uint256.NewInt(2 * params.GWei), GasFeeCap: uint256.NewInt(30 * params.GWei), Gas: 21_000,
		BlobFeeCap: uint256.NewInt(1000), BlobHashes: []common.Hash{{1}, {1}}, Value: new(uint256.Int),
	})
	page := pageOf(slot, raw)
	for _, tt := range []struct {
		name   string
		excess uint64
		blobs  chain.BlobParams
		want   string
	}{
		{"calm", 0, chain.BlobParams{Target: 6, Max: 9, Fraction: 5_007_716}, ""},
		{"dear", 60_000_000, chain.BlobParams{Target: 6, Max: 9, Fraction: 5_007_716}, "blob_fee_too_low"},
		{"fewer in a block", 0, chain.BlobParams{Target: 1, Max: 1, Fraction: 5_007_716}, "blob_count_invalid"},
	} {
		w.state.head.ExcessBlobGas, w.state.head.Blobs = tt.excess, tt.blobs
		if got := w.reviewed(t, page)[0]; got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
	w.spec.Name, w.state.head.Blobs = customChain, chain.BlobParams{}
	if got := w.reviewed(t, page)[0]; got != "" {
		t.Errorf("no parameters: got %q", got)
	}
}

// TestReview_Node: a node that does not answer says nothing of any promise.
func TestReview_Node(t *testing.T) {
	w := newWorld(t)
	w.state.err = errors.New("down")
	if risks, err := w.Review(t.Context(), []commitments.Page{pageOf(slot, w.from.sign(t, plain()))}); !errors.Is(err, w.state.err) || risks != nil {
		t.Errorf("got %v, %v", risks, err)
	}
}

// TestReview_Foreign: a page with promises of another module is read where ours stand.
func TestReview_Foreign(t *testing.T) {
	w := newWorld(t)
	page := pageOf(slot, []byte{1}, w.from.sign(t, plain()))
	page.Promises[0].Commitment.Type = 99
	w.state.accounts[w.from.addr] = modules.Account{Nonce: 6}
	risks, err := modules.Set{w.Module}.Review(t.Context(), []commitments.Page{page, pageOf(slot + 1)})
	if err != nil || len(risks) != 1 || risks[0] != (modules.Risk{RequestHash: page.Promises[1].Commitment.RequestHash, Reason: "nonce_too_low"}) {
		t.Errorf("got %v, %v", risks, err)
	}
}

// TestOffer: what a transaction offers is read off it, whoever signed it.
func TestOffer(t *testing.T) {
	w := newWorld(t)
	for name, tt := range map[string]struct {
		raw      []byte
		tip, cap uint64
		err      error
	}{
		"type 2":  {w.from.sign(t, plain()), 2 * params.GWei, 30 * params.GWei, nil},
		"type 0":  {w.from.sign(t, &types.LegacyTx{GasPrice: big.NewInt(9), Gas: 21_000}), 9, 9, nil},
		"nothing": {[]byte{2}, 0, 0, ErrTxEncoding},
	} {
		got, err := modules.WithRecovery(w.Module, slog.New(slog.DiscardHandler)).(modules.Offerer).Offer(t.Context(), requestOf(slot, tt.raw))
		if !errors.Is(err, tt.err) || got.Tip.Uint64() != tt.tip || got.Cap.Uint64() != tt.cap {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}
