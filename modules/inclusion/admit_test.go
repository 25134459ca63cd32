package inclusion

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"
	"github.com/holiman/uint256"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/fault"
	"sidecar/modules"
)

func (w *world) commit(t testing.TB, view commitments.View, raw []byte) (commitments.Draft, error) {
	t.Helper()
	view.Slot = slot
	return w.Commit(t.Context(), view, requestOf(slot, raw))
}

func TestCommit(t *testing.T) {
	w := newWorld(t)
	legacy := &types.LegacyTx{Nonce: 5, GasPrice: big.NewInt(12 * params.GWei), Gas: 30_000, To: &common.Address{1}}
	list := &types.AccessListTx{ChainID: big.NewInt(chainID), Nonce: 5, GasPrice: big.NewInt(12 * params.GWei), Gas: 30_000, To: &common.Address{1},
		AccessList: types.AccessList{{Address: common.Address{1}, StorageKeys: []common.Hash{{1}, {2}}}}}
	for name, data := range map[string]types.TxData{"legacy": legacy, "access list": list, "dynamic fee": plain()} {
		raw := w.from.sign(t, data)
		d, err := w.commit(t, commitments.View{}, raw)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		req := requestOf(slot, raw)
		if d.Commitment.RequestHash != req.Hash() || !bytes.Equal(d.Commitment.Payload, req.Payload) || d.Commitment.Slasher != req.Slasher {
			t.Errorf("%s: commitment %+v", name, d.Commitment)
		}
		if len(d.Constraints) != 1 || d.Constraints[0].Type != 1 || !bytes.Equal(d.Constraints[0].Payload, req.Payload) {
			t.Errorf("%s: constraints %+v", name, d.Constraints)
		}
		if want := []string{fmt.Sprintf("account/%#x", w.from.addr[:])}; !slices.Equal(d.Touches, want) {
			t.Errorf("%s: touches %v, want %v", name, d.Touches, want)
		}
		if want := []string{fmt.Sprintf("account/%#x/%d", w.from.addr[:], types.NewTx(data).Nonce())}; !slices.Equal(d.Claims, want) {
			t.Errorf("%s: claims %v, want %v", name, d.Claims, want)
		}
		if gas := types.NewTx(data).Gas(); d.Cost != (commitments.Cost{Gas: gas, Bytes: uint64(len(raw))}) {
			t.Errorf("%s: cost %+v", name, d.Cost)
		}
	}
}

// TestCommit_Transaction spoils the transaction.
func TestCommit_Transaction(t *testing.T) {
	w := newWorld(t)
	with := func(change func(*types.DynamicFeeTx)) []byte {
		data := plain()
		change(data)
		return w.from.sign(t, data)
	}
	unprotected, err := types.SignNewTx(w.from.key, types.HomesteadSigner{}, &types.LegacyTx{Nonce: 5, GasPrice: big.NewInt(30 * params.GWei), Gas: 21000, To: &common.Address{1}})
	if err != nil {
		t.Fatal(err)
	}
	anyChain, _ := unprotected.MarshalBinary()
	otherChain, err := types.SignNewTx(w.from.key, types.NewPragueSigner(big.NewInt(1)), &types.DynamicFeeTx{ChainID: big.NewInt(1), Gas: 21000, To: &common.Address{1}})
	if err != nil {
		t.Fatal(err)
	}
	mainnet, _ := otherChain.MarshalBinary()
	good := with(func(*types.DynamicFeeTx) {})
	for name, c := range map[string]struct {
		raw  []byte
		want *fault.Fault
	}{
		"empty":            {nil, ErrPayload},
		"junk":             {[]byte{2, 1, 2, 3}, ErrTxEncoding},
		"a byte more":      {append(bytes.Clone(good), 0), ErrTxEncoding},
		"half":             {good[:len(good)/2], ErrTxEncoding},
		"too big":          {make([]byte, maxTxSize+1), ErrTxTooBig},
		"type 5":           {append([]byte{5}, good[1:]...), ErrTxType},
		"creation":         {with(func(d *types.DynamicFeeTx) { d.To = nil }), ErrGasBelow},
		"much init code":   {with(func(d *types.DynamicFeeTx) { d.To, d.Data, d.Gas = nil, make([]byte, maxInitCodeSize+1), 5_000_000 }), ErrInitCode},
		"any chain":        {anyChain, ErrWrongChain},
		"mainnet":          {mainnet, ErrWrongChain},
		"gas above cap":    {with(func(d *types.DynamicFeeTx) { d.Gas = maxTxGas + 1 }), ErrGasAboveCap},
		"gas below":        {with(func(d *types.DynamicFeeTx) { d.Gas = 20_999 }), ErrGasBelow},
		"calldata floor":   {with(func(d *types.DynamicFeeTx) { d.Data, d.Gas = bytes.Repeat([]byte{1}, 100), 21_000+100*40-1 }), ErrGasBelow},
		"access list gas":  {with(func(d *types.DynamicFeeTx) { d.AccessList, d.Gas = types.AccessList{{}}, 21_000+2_400-1 }), ErrGasBelow},
		"tip above cap":    {with(func(d *types.DynamicFeeTx) { d.GasTipCap = new(big.Int).Add(d.GasFeeCap, big.NewInt(1)) }), ErrFees},
		"value of 257":     {with(func(d *types.DynamicFeeTx) { d.Value = new(big.Int).Lsh(big.NewInt(1), 256) }), ErrFees},
		"last nonce":       {with(func(d *types.DynamicFeeTx) { d.Nonce = math.MaxUint64 }), ErrNonceGap},
		"low fee cap":      {with(func(d *types.DynamicFeeTx) { d.GasFeeCap = big.NewInt(10_125_000_075) }), ErrWorstBaseFee},
		"low tip":          {with(func(d *types.DynamicFeeTx) { d.GasTipCap = big.NewInt(params.GWei - 1) }), ErrTipTooLow},
		"tip eaten by fee": {with(func(d *types.DynamicFeeTx) { d.GasFeeCap = big.NewInt(11 * params.GWei) }), ErrTipTooLow},
		"high s":           {highS(t, good), ErrSignature},
	} {
		if _, err := w.commit(t, commitments.View{}, c.raw); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	exact := with(func(d *types.DynamicFeeTx) {
		d.Data, d.Gas = bytes.Repeat([]byte{1}, 100), 21_000+100*40
		d.GasFeeCap, d.GasTipCap = big.NewInt(10_125_000_076+params.GWei), big.NewInt(params.GWei)
	})
	if _, err := w.commit(t, commitments.View{}, exact); err != nil {
		t.Errorf("at every limit: %v", err)
	}
}

// highS negates the s of a signature, which recovers the same sender before EIP-2.
func highS(t *testing.T, raw []byte) []byte {
	var tx types.Transaction
	if err := tx.UnmarshalBinary(raw); err != nil {
		t.Fatal(err)
	}
	order, _ := new(big.Int).SetString("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141", 16)
	v, r, s := tx.RawSignatureValues()
	data := plain()
	data.V, data.R, data.S = new(big.Int).Xor(v, big.NewInt(1)), r, new(big.Int).Sub(order, s)
	out, err := types.NewTx(data).MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestCommit_Account spoils what the account and the pages say.
func TestCommit_Account(t *testing.T) {
	other := newAccount(t, 2)
	nonce := func(n uint64, value int64) *types.DynamicFeeTx {
		d := plain()
		d.Nonce, d.Value = n, big.NewInt(value)
		return d
	}
	cost := func(n int64) *uint256.Int { return uint256.NewInt(uint64(n*21_000*30*params.GWei + n)) }
	for name, c := range map[string]struct {
		nonce uint64
		setup func(t *testing.T, w *world, v *commitments.View)
		want  error
	}{
		"nothing wrong": {5, func(*testing.T, *world, *commitments.View) {}, nil},
		"nonce spent":   {4, func(*testing.T, *world, *commitments.View) {}, ErrNonceTooLow},
		"nonce gap":     {6, func(*testing.T, *world, *commitments.View) {}, ErrNonceGap},
		"code": {5, func(_ *testing.T, w *world, _ *commitments.View) {
			w.edit(func(a *modules.Account) { a.HasCode = true })
		}, ErrSenderHasCode},
		"unknown account": {5, func(_ *testing.T, w *world, _ *commitments.View) { clear(w.state.accounts) }, ErrNonceGap},
		"balance": {5, func(_ *testing.T, w *world, _ *commitments.View) {
			w.edit(func(a *modules.Account) { a.Balance.SubUint64(cost(1), 1) })
		}, ErrBalance},
		"balance, exactly": {5, func(_ *testing.T, w *world, _ *commitments.View) {
			w.edit(func(a *modules.Account) { a.Balance = *cost(1) })
		}, nil},
		"slot passed": {5, func(_ *testing.T, w *world, _ *commitments.View) { w.state.head.Slot = slot }, ErrSlotPassed},
		"small block": {5, func(_ *testing.T, w *world, _ *commitments.View) { w.state.head.GasLimit = 20_000 }, ErrGasAboveCap},
		"node down": {5, func(_ *testing.T, w *world, _ *commitments.View) {
			w.state.err = fault.Define("test_down", fault.Unavailable, "")
		}, fault.Define("test_down", fault.Unavailable, "")},
		"second of two": {6, func(t *testing.T, w *world, v *commitments.View) { v.Page = pageOf(slot, w.from.sign(t, nonce(5, 1))) }, nil},
		"balance for one": {6, func(t *testing.T, w *world, v *commitments.View) {
			v.Page = pageOf(slot, w.from.sign(t, nonce(5, 1)))
			w.edit(func(a *modules.Account) { a.Balance.SubUint64(cost(2), 1) })
		}, ErrBalance},
		"balance for one, later slot": {5, func(t *testing.T, w *world, v *commitments.View) {
			v.Open = []commitments.Page{pageOf(slot+5, w.from.sign(t, nonce(7, 1)))}
			w.edit(func(a *modules.Account) { a.Balance.SubUint64(cost(2), 1) })
		}, ErrBalance},
		"third of three": {7, func(t *testing.T, w *world, v *commitments.View) {
			v.Page = pageOf(slot, w.from.sign(t, nonce(6, 1)), w.from.sign(t, nonce(5, 1)))
		}, nil},
		"another's promise": {6, func(t *testing.T, w *world, v *commitments.View) { v.Page = pageOf(slot, other.sign(t, nonce(5, 1))) }, ErrNonceGap},
		"conflict here":     {5, func(t *testing.T, w *world, v *commitments.View) { v.Page = pageOf(slot, w.from.sign(t, nonce(5, 2))) }, ErrNonceConflict},
		"conflict later": {5, func(t *testing.T, w *world, v *commitments.View) {
			v.Open = []commitments.Page{pageOf(slot+9, w.from.sign(t, nonce(5, 2)))}
		}, ErrNonceConflict},
		"same, here": {5, func(t *testing.T, w *world, v *commitments.View) { v.Page = pageOf(slot, w.from.sign(t, nonce(5, 1))) }, ErrPromised},
		"same, earlier": {5, func(t *testing.T, w *world, v *commitments.View) {
			v.Open = []commitments.Page{pageOf(slot-1, w.from.sign(t, nonce(5, 1)))}
		}, ErrPromised},
		"same, decided": {5, func(t *testing.T, w *world, v *commitments.View) {
			v.Open = []commitments.Page{pageOf(headSlot, w.from.sign(t, nonce(5, 1)))}
		}, nil},
		"hangs on a slot": {6, func(t *testing.T, w *world, v *commitments.View) {
			v.Open = []commitments.Page{pageOf(slot-1, w.from.sign(t, nonce(5, 1)))}
		}, ErrNonceGap},
		"page is in open": {6, func(t *testing.T, w *world, v *commitments.View) {
			v.Page = pageOf(slot, w.from.sign(t, nonce(5, 1)))
			v.Open = []commitments.Page{v.Page}
			w.edit(func(a *modules.Account) { a.Balance = *cost(2) })
		}, nil},
		"promise of another type": {5, func(t *testing.T, w *world, v *commitments.View) {
			v.Page = pageOf(slot, w.from.sign(t, nonce(5, 1)))
			v.Promises[0].Commitment.Type = 9
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w, view := newWorld(t), commitments.View{}
			view.Slot = slot
			c.setup(t, w, &view)
			if _, err := w.commit(t, view, w.from.sign(t, nonce(c.nonce, 1))); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func (w *world) edit(change func(*modules.Account)) {
	a := w.state.accounts[w.from.addr]
	change(&a)
	w.state.accounts[w.from.addr] = a
}

// TestCommit_BrokenPage: a page the module cannot read costs promises, and is no
// fault of the caller's.
func TestCommit_BrokenPage(t *testing.T) {
	w := newWorld(t)
	view := commitments.View{Page: pageOf(slot, []byte{1})}
	if _, err := w.commit(t, view, w.from.sign(t, plain())); err == nil || fault.Of(err) != nil {
		t.Errorf("got %v", err)
	}
}

func TestCommit_Slot(t *testing.T) {
	w := newWorld(t)
	req := requestOf(slot+1, w.from.sign(t, plain()))
	view := commitments.View{}
	view.Slot = slot
	if _, err := w.Commit(t.Context(), view, req); !errors.Is(err, ErrPayload) {
		t.Errorf("another slot than the page's: got %v", err)
	}
	if got, err := w.Slot(t.Context(), req); err != nil || got != slot+1 {
		t.Errorf("slot: got %d, %v", got, err)
	}
	for name, c := range map[string]struct {
		req  commitments.Request
		want error
	}{
		"slot 0":       {requestOf(0, []byte{1}), ErrPayload},
		"another type": {commitments.Request{Type: 2, Payload: req.Payload}, ErrPayload},
		"JSON":         {commitments.Request{Type: 1, Payload: []byte(`{}`)}, commitments.ErrJSONPayload},
		"no payload":   {commitments.Request{Type: 1}, commitments.ErrEncoding},
	} {
		if _, err := w.Slot(t.Context(), c.req); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestNew(t *testing.T) {
	spec, _ := chain.Named("hoodi")
	host := modules.Host{ID: "i", Spec: spec, State: &state{}}
	set := func(tip float64, gas uint64) func(any) error {
		return func(into any) error {
			c := into.(*Config)
			c.MinTipGwei, c.MaxGasPerTx = &tip, &gas
			return nil
		}
	}
	m, err := New(host, set(0.5, 30_000))
	if err != nil || m.(*Module).price.floor.Int64() != params.GWei/2 || m.(*Module).maxGas != 30_000 {
		t.Errorf("got %+v, %v", m, err)
	}
	for name, c := range map[string]func() (modules.Module, error){
		"no state":     func() (modules.Module, error) { return New(modules.Host{Spec: spec}, nil) },
		"bad table":    func() (modules.Module, error) { return New(host, func(any) error { return errors.New("typo") }) },
		"negative tip": func() (modules.Module, error) { return New(host, set(-1, 30_000)) },
		"no number":    func() (modules.Module, error) { return New(host, set(math.NaN(), 30_000)) },
		"much gas":     func() (modules.Module, error) { return New(host, set(1, maxTxGas+1)) },
		"little gas":   func() (modules.Module, error) { return New(host, set(1, 20_999)) },
	} {
		if _, err := c(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	w := newWorld(t)
	w.maxGas = 21_000
	d := plain()
	d.Gas = 21_001
	if _, err := w.commit(t, commitments.View{}, w.from.sign(t, d)); !errors.Is(err, ErrGasAboveCap) {
		t.Errorf("gas above the operator's cap: got %v", err)
	}
}

// FuzzCommit: no payload panics, and every refusal has a name.
func FuzzCommit(f *testing.F) {
	w := newWorld(f)
	f.Add(requestOf(slot, w.from.sign(f, plain())).Payload)
	// A published legacy transaction, of another chain.
	legacy, err := hex.DecodeString("f86c098504a817c800825208943535353535353535353535353535353535353535880de0b6b3a76400008025a028ef61340bd939bc2195fe537567866003e1a15d3c71ff63e1590620aa636276a067cbe9d8997f761aecb703304b3800ccf555c9f3dc64214b297fb1966a3b6d83")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(requestOf(slot, legacy).Payload)
	f.Add([]byte(`{"slot":102}`))
	view := commitments.View{Page: commitments.Page{PageID: commitments.PageID{Slot: phase0.Slot(slot)}}}
	f.Fuzz(func(t *testing.T, payload []byte) {
		d, err := w.Commit(context.Background(), view, commitments.Request{Type: 1, Payload: payload})
		if err != nil && fault.Of(err) == nil {
			t.Fatalf("%v has no name", err)
		}
		if err == nil && !bytes.Equal(d.Commitment.Payload, payload) {
			t.Fatalf("promised something else than %x", payload)
		}
	})
}
