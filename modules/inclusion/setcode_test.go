package inclusion

import (
	"errors"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"
	"github.com/holiman/uint256"

	"sidecar/commitments"
	"sidecar/modules"
)

// electraSlot is a slot that takes set-code transactions.
const electraSlot = phase0.Slot(2048*32 + 102)

// authorize signs an authorization of a for some contract. [EIP-7702]
func (a account) authorize(t testing.TB, id, nonce uint64) types.SetCodeAuthorization {
	t.Helper()
	auth, err := types.SignSetCode(a.key, types.SetCodeAuthorization{ChainID: *uint256.NewInt(id), Address: common.Address{0xcc}, Nonce: nonce})
	if err != nil {
		t.Fatal(err)
	}
	return auth
}

// setCode is a set-code transaction that is admitted at nonce 5.
func setCode(list ...types.SetCodeAuthorization) *types.SetCodeTx {
	return &types.SetCodeTx{
		ChainID: uint256.NewInt(chainID), Nonce: 5, GasTipCap: uint256.NewInt(2 * params.GWei), GasFeeCap: uint256.NewInt(30 * params.GWei),
		Gas: 21_000 + 25_000*uint64(len(list)), To: common.Address{0xaa}, Value: uint256.NewInt(1), AuthList: list,
	}
}

// TestCommit_SetCode: who is named in an authorization list has no other promise,
// before or after: its nonce may move and its balance be another's to spend.
func TestCommit_SetCode(t *testing.T) {
	x, y := newAccount(t, 2), newAccount(t, 3)
	at := func(n uint64) types.TxData { d := plain(); d.Nonce = n; return d }
	bad := x.authorize(t, chainID, 0)
	bad.V = 7
	many := make([]types.SetCodeAuthorization, maxAuthorizations+1)
	for i := range many {
		many[i] = x.authorize(t, chainID, uint64(i))
	}
	for name, c := range map[string]struct {
		tx   types.TxData
		from account // zero: the world's
		page [][]byte
		late [][]byte // promised for a later slot
		slot phase0.Slot
		want error
	}{
		"alone":                         {tx: setCode(x.authorize(t, chainID, 0))},
		"for any chain":                 {tx: setCode(x.authorize(t, 0, 0))},
		"before Electra":                {tx: setCode(x.authorize(t, chainID, 0)), slot: slot, want: ErrTxType},
		"no authorization":              {tx: setCode(), want: ErrAuthorizations},
		"too many":                      {tx: setCode(many...), want: ErrAuthorizations},
		"as many as may be":             {tx: setCode(many[1:]...)},
		"gas of one missing":            {tx: func() types.TxData { d := setCode(x.authorize(t, chainID, 0)); d.Gas--; return d }(), want: ErrGasBelow},
		"the authority has a promise":   {tx: setCode(x.authorize(t, chainID, 0)), page: [][]byte{x.sign(t, at(0))}, want: ErrAuthorityOpen},
		"it has one for a later slot":   {tx: setCode(x.authorize(t, chainID, 0)), late: [][]byte{x.sign(t, at(0))}, want: ErrAuthorityOpen},
		"another chain's authorization": {tx: setCode(x.authorize(t, 1, 0)), page: [][]byte{x.sign(t, at(0))}},
		"a void signature":              {tx: setCode(bad), page: [][]byte{x.sign(t, at(0))}},
		"somebody else has a promise":   {tx: setCode(x.authorize(t, chainID, 0)), page: [][]byte{y.sign(t, at(0))}},
		"the sender itself":             {tx: setCode(newAccount(t, 1).authorize(t, chainID, 6))},
		"the sender, with a promise": {tx: func() types.TxData { d := setCode(newAccount(t, 1).authorize(t, chainID, 7)); d.Nonce = 6; return d }(),
			page: [][]byte{newAccount(t, 1).sign(t, at(5))}, want: ErrAuthorityOpen},
		"plain, named on the page":       {tx: at(5), from: x, page: [][]byte{y.sign(t, setCode(x.authorize(t, chainID, 5)))}, want: ErrSenderAuthority},
		"plain, named for a later slot":  {tx: at(5), from: x, late: [][]byte{y.sign(t, setCode(x.authorize(t, 0, 9)))}, want: ErrSenderAuthority},
		"plain, named on another chain":  {tx: at(5), from: x, page: [][]byte{y.sign(t, setCode(x.authorize(t, 1, 5)))}},
		"after its own authorization":    {tx: at(6), from: x, page: [][]byte{x.sign(t, setCode(x.authorize(t, chainID, 6)))}, want: ErrSenderAuthority},
		"two lists that name an account": {tx: setCode(x.authorize(t, chainID, 1)), page: [][]byte{y.sign(t, setCode(x.authorize(t, chainID, 0)))}},
	} {
		w := newWorld(t)
		if c.slot == 0 {
			c.slot = electraSlot
		}
		if c.from.key == nil {
			c.from = w.from
		}
		w.state.head.Slot = c.slot - 2
		w.state.accounts[x.addr], w.state.accounts[y.addr] = w.state.accounts[w.from.addr], w.state.accounts[w.from.addr]
		view := commitments.View{Page: pageOf(c.slot, c.page...), Open: []commitments.Page{pageOf(c.slot+1, c.late...)}}
		d, err := w.ask(t, c.slot, view, c.from.sign(t, c.tx))
		if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
		if name == "alone" && len(d.Touches) != 2 {
			t.Errorf("touches %v: the authority is missing", d.Touches)
		}
	}
}

// TestCommit_Delegated: a sender that delegates to a contract is refused, unless the
// operator says otherwise; a contract always is. [EIP-7702, EIP-3607]
func TestCommit_Delegated(t *testing.T) {
	for name, c := range map[string]struct {
		code, delegated, accept bool
		want                    error
	}{
		"plain":               {false, false, false, nil},
		"delegated":           {true, true, false, ErrSenderHasCode},
		"delegated, accepted": {true, true, true, nil},
		"contract":            {true, false, true, ErrSenderHasCode},
	} {
		w := newWorld(t)
		w.policy.delegated = c.accept
		w.edit(func(a *modules.Account) { a.HasCode, a.Delegated = c.code, c.delegated })
		if _, err := w.commit(t, commitments.View{}, w.from.sign(t, plain())); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}
