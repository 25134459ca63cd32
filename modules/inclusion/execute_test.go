package inclusion

import (
	"context"
	"fmt"
	"math/big"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core"
	gethstate "github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/tracing"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/params"
	"github.com/holiman/uint256"
	"pgregory.net/rapid"

	"sidecar/commitments"
	"sidecar/fault"
	"sidecar/modules"
)

// ledgerOf is a run of requests against one head, and what was promised.
type ledgerOf struct {
	*world
	accounts []account
	balances []*uint256.Int
	pages    []commitments.Page // one a slot, from fuluSlot on
}

// TestAdmitted_Executable: whatever is asked, everything that is promised executes
// on go-ethereum's state transition, in the order it was promised, at the highest
// base fee and blob base fee the slots may have, with the gas it reserved, and
// whichever of our slots are missed. (That it may revert is not promised.)
func TestAdmitted_Executable(t *testing.T) {
	promised, refused := 0, map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		l := &ledgerOf{world: newBlobWorld(nil2(t)), pages: []commitments.Page{pageOf(fuluSlot), pageOf(fuluSlot + 1)}}
		l.policy.delegated = false
		gwei := func(name string, most uint64) *uint256.Int {
			return new(uint256.Int).Mul(uint256.NewInt(rapid.Uint64Range(1, most).Draw(t, name)), uint256.NewInt(params.GWei))
		}
		l.state.head.BaseFee = *gwei("base fee", 12)
		for i := range 3 {
			a := newAccount(nil2(t), byte(i+1))
			l.accounts = append(l.accounts, a)
			l.balances = append(l.balances, new(uint256.Int).Mul(gwei("balance", 40), uint256.NewInt(1_000_000)))
			l.state.accounts[a.addr] = modules.Account{Balance: *l.balances[i]}
		}
		for range rapid.IntRange(4, 16).Draw(t, "requests") {
			p := rapid.IntRange(0, 1).Draw(t, "slot")
			raw := l.request(t, gwei)
			view := commitments.View{Page: l.pages[p], Open: l.pages}
			d, err := l.Commit(context.Background(), view, requestOf(l.pages[p].Slot, raw))
			if err != nil {
				if fault.Of(err) == nil {
					t.Fatal(err)
				}
				refused[fault.Code(err)]++
				continue
			}
			promised++
			l.pages[p].Promises = append(l.pages[p].Promises, commitments.Promise{
				SignedCommitment: commitments.SignedCommitment{Commitment: d.Commitment}, Cost: d.Cost,
			})
		}
		for missed := range 4 {
			l.execute(t, missed)
		}
	})
	t.Logf("%d promised; refused %v", promised, refused)
	if testing.Short() { // a fifth of the runs: too few to count
		return
	}
	for _, code := range []string{"nonce_gap", "nonce_conflict", "insufficient_balance", "sender_in_authorization_list", "authority_has_promises", "blob_chain_mixed", "fee_cap_below_worst_case"} {
		if refused[code] == 0 {
			t.Errorf("nothing was refused as %s: the requests are too tame", code)
		}
	}
	if promised < 100 {
		t.Errorf("only %d promises", promised)
	}
}

// nil2 lends rapid's T where a helper wants one that may only fail.
func nil2(t *rapid.T) testing.TB { return failer{t: t} }

type failer struct {
	testing.TB
	t *rapid.T
}

func (f failer) Helper()           {}
func (f failer) Fatal(args ...any) { f.t.Fatal(args...) }

// promised counts what is promised to a sender.
func (l *ledgerOf) promised(from account) (n uint64) {
	for i := range l.pages {
		if leaf := l.book.pages[l.pages[i].PageID]; leaf != nil {
			n += uint64(len(leaf.senders[from.addr]))
		}
	}
	return n
}

// request is a signed transaction of any type.
func (l *ledgerOf) request(t *rapid.T, gwei func(string, uint64) *uint256.Int) []byte {
	from := rapid.SampledFrom(l.accounts).Draw(t, "from")
	nonce, tip, cap := l.promised(from), gwei("tip", 3), gwei("cap", 60)
	if rapid.IntRange(0, 3).Draw(t, "any nonce") == 0 {
		nonce = rapid.Uint64Range(0, 3).Draw(t, "nonce")
	}
	if rapid.IntRange(0, 3).Draw(t, "rich") > 0 {
		tip, cap = new(uint256.Int).AddUint64(tip, params.GWei), new(uint256.Int).AddUint64(cap, 30*params.GWei)
	}
	value := new(uint256.Int).Mul(gwei("value", 20), uint256.NewInt(rapid.SampledFrom([]uint64{1, 100_000}).Draw(t, "unit")))
	if tip.Cmp(cap) > 0 {
		tip = cap
	}
	to := common.Address(rapid.SampledFrom(l.accounts).Draw(t, "to").addr)
	data := rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "data")
	gas := uint64(21_000 + 40*len(data))
	id := uint256.NewInt(chainID)
	switch kind := rapid.IntRange(0, 9).Draw(t, "kind"); kind {
	case 0:
		return from.sign(nil2(t), &types.LegacyTx{Nonce: nonce, GasPrice: cap.ToBig(), Gas: gas, To: &to, Value: value.ToBig(), Data: data})
	case 1:
		list := types.AccessList{{Address: to, StorageKeys: []common.Hash{{1}}}}
		return from.sign(nil2(t), &types.AccessListTx{ChainID: id.ToBig(), Nonce: nonce, GasPrice: cap.ToBig(), Gas: gas + 4300, To: &to, Value: value.ToBig(), Data: data, AccessList: list})
	case 2: // creation, of code that reverts, selfdestructs or runs out of gas
		code := append([]byte{0x33, 0xff}, data...)
		return from.sign(nil2(t), &types.DynamicFeeTx{ChainID: id.ToBig(), Nonce: nonce, GasTipCap: tip.ToBig(), GasFeeCap: cap.ToBig(), Gas: 60_000 + 40*uint64(len(data)), Value: value.ToBig(), Data: code})
	case 3:
		tx := blobTx(1, types.BlobSidecarVersion1)
		tx.Nonce, tx.GasTipCap, tx.GasFeeCap, tx.To, tx.Value, tx.BlobFeeCap = nonce, tip, cap, to, value, gwei("blob cap", 2)
		raw := from.sign(nil2(t), tx)
		l.proofs.remember(nameOf(raw)) // the proofs are checked elsewhere, and slow
		return raw
	case 4, 5:
		who := rapid.SampledFrom(l.accounts).Draw(t, "authority")
		auth := who.authorize(nil2(t), chainID, rapid.Uint64Range(0, 3).Draw(t, "authorized nonce"))
		return from.sign(nil2(t), &types.SetCodeTx{ChainID: id, Nonce: nonce, GasTipCap: tip, GasFeeCap: cap, Gas: gas + 25_000, To: to, Value: value, Data: data, AuthList: []types.SetCodeAuthorization{auth}})
	}
	return from.sign(nil2(t), &types.DynamicFeeTx{ChainID: id.ToBig(), Nonce: nonce, GasTipCap: tip.ToBig(), GasFeeCap: cap.ToBig(), Gas: gas, To: &to, Value: value.ToBig(), Data: data})
}

// execute runs the pages of the slots that are not missed, one after the other.
func (l *ledgerOf) execute(t *rapid.T, missed int) {
	db, err := gethstate.New(types.EmptyRootHash, gethstate.NewDatabaseForTesting())
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range l.accounts {
		db.SetBalance(common.Address(a.addr), l.balances[i], tracing.BalanceChangeUnspecified)
	}
	// What an authorization of the tests delegates to sends all it has to address 1.
	db.SetCode(common.Address{0xcc}, common.FromHex("5f5f5f5f47600161fffff1"), tracing.CodeChangeUnspecified)
	config := *params.MergedTestChainConfig
	config.ChainID = big.NewInt(chainID)
	for i, page := range l.pages {
		if missed>>i&1 == 1 {
			continue
		}
		base := worstBaseFee(l.state.head.BaseFee.ToBig(), l.state.head.GasLimit, uint64(page.Slot-l.state.head.Slot), beyond)
		blobFee, err := l.worstBlobFee(l.state.head, page.Slot, beyond)
		if err != nil {
			t.Fatal(err)
		}
		evm := vm.NewEVM(vm.BlockContext{
			CanTransfer: core.CanTransfer, Transfer: core.Transfer, GetHash: func(uint64) common.Hash { return common.Hash{} },
			Coinbase: common.Address{0xbb}, GasLimit: l.state.head.GasLimit, BlockNumber: big.NewInt(2), Time: 2, Difficulty: new(big.Int),
			BaseFee: base, BlobBaseFee: blobFee, Random: new(common.Hash),
		}, db, &config, vm.Config{})
		var gas uint64
		for _, p := range page.Promises {
			gas += p.Cost.Gas
		}
		pool := core.NewGasPool(gas)
		for n := range page.Promises {
			if err := l.apply(db, evm, pool, page.Promises[n].Commitment.Payload, base); err != nil {
				t.Fatalf("slots missed %02b: promise %d of slot %d: %v", missed, n, page.Slot, err)
			}
		}
	}
}

func (l *ledgerOf) apply(db *gethstate.StateDB, evm *vm.EVM, pool *core.GasPool, payload []byte, base *big.Int) error {
	_, raw, err := commitments.DecodeInclusion(payload)
	if err != nil {
		return err
	}
	var tx types.Transaction
	if err := tx.UnmarshalBinary(raw); err != nil {
		return err
	}
	msg, err := core.TransactionToMessage(&tx, types.NewPragueSigner(big.NewInt(chainID)), base)
	if err != nil {
		return err
	}
	db.SetTxContext(tx.Hash(), 0, 0)
	if _, err = core.ApplyMessage(evm, msg, pool); err != nil {
		return fmt.Errorf("type %d, nonce %d: %w", tx.Type(), tx.Nonce(), err)
	}
	db.Finalise(params.MergedTestChainConfig.Rules(big.NewInt(2), true, 2))
	return nil
}
