package inclusion

import (
	"bytes"
	"errors"
	"math/big"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"
	"github.com/holiman/uint256"
	"pgregory.net/rapid"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/modules"
)

// TestCommit_Creation: a creation is promised like a call; whether it comes to be
// is not what is promised. [EIP-3860]
func TestCommit_Creation(t *testing.T) {
	w := newWorld(t)
	creation := func(size int, gas uint64) []byte {
		return w.from.sign(t, &types.DynamicFeeTx{ChainID: big.NewInt(chainID), Nonce: 5, GasTipCap: big.NewInt(2 * params.GWei), GasFeeCap: big.NewInt(30 * params.GWei),
			Gas: gas, Data: bytes.Repeat([]byte{0xfe}, size)})
	}
	least := uint64(53_000 + maxInitCodeSize*16 + maxInitCodeSize/32*2)
	floor := uint64(21_000 + maxInitCodeSize*40)
	for name, c := range map[string]struct {
		raw  []byte
		want error
	}{
		"one byte":      {creation(1, 53_000+16+2), nil},
		"a gas less":    {creation(1, 53_000+16+1), ErrGasBelow},
		"the most":      {creation(maxInitCodeSize, max(least, floor)), nil},
		"a byte beyond": {creation(maxInitCodeSize+1, 10_000_000), ErrInitCode},
	} {
		if _, err := w.commit(t, commitments.View{}, c.raw); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}

// TestIntrinsicGas compares with go-ethereum's.
func TestIntrinsicGas(t *testing.T) {
	rules := params.MergedTestChainConfig.Rules(new(big.Int), true, 0)
	rapid.Check(t, func(t *rapid.T) {
		data := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 0, 1, 0xff}), 0, 3000).Draw(t, "data")
		to := &common.Address{1}
		var list types.AccessList
		for range rapid.IntRange(0, 3).Draw(t, "addresses") {
			list = append(list, types.AccessTuple{StorageKeys: make([]common.Hash, rapid.IntRange(0, 4).Draw(t, "keys"))})
		}
		var tx *types.Transaction
		switch rapid.IntRange(0, 3).Draw(t, "kind") {
		case 0:
			to = nil
			fallthrough
		case 1:
			tx = types.NewTx(&types.DynamicFeeTx{To: to, Data: data, AccessList: list})
		case 2:
			tx = types.NewTx(&types.BlobTx{To: *to, Data: data, AccessList: list})
		default:
			tx = types.NewTx(&types.SetCodeTx{To: *to, Data: data, AccessList: list, AuthList: make([]types.SetCodeAuthorization, rapid.IntRange(1, 5).Draw(t, "authorizations"))})
		}
		want, err := core.IntrinsicGas(data, tx.AccessList(), tx.SetCodeAuthorizations(), common.Address{}, to, new(uint256.Int), rules)
		if err != nil {
			t.Fatal(err)
		}
		floor, err := core.FloorDataGas(rules, common.Address{}, to, new(uint256.Int), data, list)
		if err != nil {
			t.Fatal(err)
		}
		if got := intrinsicGas(tx); got != max(want, floor) {
			t.Fatalf("got %d, want %d", got, max(want, floor))
		}
		if got := leastGas(tx); got != max(want-want/params.RefundQuotientEIP3529, floor) {
			t.Fatalf("least: got %d", got)
		}
	})
}

// TestPolicy: whom the operator serves, and for how much at a time.
func TestPolicy(t *testing.T) {
	spec, _ := chain.Named("hoodi")
	made := func(change func(*Config)) (modules.Module, error) {
		return New(modules.Host{ID: "i", Spec: spec, State: newWorld(t).state}, func(into any) error { change(into.(*Config)); return nil })
	}
	me, other := common.Address(newAccount(t, 1).addr).Hex(), "0x00000000000000000000000000000000000000aa"
	for name, c := range map[string]struct {
		change func(*Config)
		open   int
		want   error
	}{
		"anyone":              {func(*Config) {}, 0, nil},
		"allowed":             {func(c *Config) { c.AllowSenders = []string{other, me} }, 0, nil},
		"not allowed":         {func(c *Config) { c.AllowSenders = []string{other} }, 0, ErrSenderDenied},
		"denied":              {func(c *Config) { c.DenySenders = []string{other, me} }, 0, ErrSenderDenied},
		"allowed, and denied": {func(c *Config) { c.AllowSenders, c.DenySenders = []string{me}, []string{me} }, 0, ErrSenderDenied},
		"one of two":          {func(c *Config) { c.MaxOpenPerSender = ptr(uint64(2)) }, 1, nil},
		"two of two":          {func(c *Config) { c.MaxOpenPerSender = ptr(uint64(2)) }, 2, ErrSenderCap},
		"the default":         {func(*Config) {}, defaultMaxOpen - 1, nil},
		"one beyond it":       {func(*Config) {}, defaultMaxOpen, ErrSenderCap},
	} {
		m, err := made(c.change)
		if err != nil {
			t.Fatal(err)
		}
		w := newWorld(t)
		page := pageOf(slot)
		d := plain()
		d.GasTipCap = big.NewInt(20 * params.GWei)
		for range c.open {
			page.Promises = append(page.Promises, promiseOf(slot, w.from.sign(t, d)))
			d.Nonce++
		}
		w.edit(func(a *modules.Account) { a.Balance = *uint256.NewInt(10 * params.Ether) })
		m.(*Module).state = w.state
		if _, err := m.Commit(t.Context(), commitments.View{Page: page}, requestOf(slot, w.from.sign(t, d))); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	for name, change := range map[string]func(*Config){
		"short address": func(c *Config) { c.AllowSenders = []string{"0x12"} },
		"no 0x":         func(c *Config) { c.DenySenders = []string{me[2:]} },
		"none open":     func(c *Config) { c.MaxOpenPerSender = new(uint64) },
	} {
		if _, err := made(change); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestCommit_Fork: a slot of rules unknown here gets no promise, though the head is
// of a fork that is known.
func TestCommit_Fork(t *testing.T) {
	w := newWorld(t)
	gloas := phase0.Slot(60_000 * 32)
	w.spec.Forks = append(append([]chain.ForkAt{}, w.spec.Forks...), chain.ForkAt{Fork: chain.Gloas, Epoch: 60_000})
	w.state.head.Slot = gloas - 3
	if _, err := w.ask(t, gloas-1, commitments.View{}, w.from.sign(t, plain())); err != nil {
		t.Errorf("before: %v", err)
	}
	if _, err := w.ask(t, gloas, commitments.View{}, w.from.sign(t, plain())); !errors.Is(err, ErrFork) {
		t.Errorf("after: got %v", err)
	}
}

// TestCommit_GasLimitFalls: the block of the slot may have less gas than the head's.
func TestCommit_GasLimitFalls(t *testing.T) {
	w := newWorld(t)
	d := plain()
	d.Gas = 3_000_000
	raw := w.from.sign(t, d)
	least := func(limit uint64) uint64 { return limit - limit/1024 }
	for limit := uint64(3_000_000); ; limit++ {
		if least(least(limit)) == d.Gas {
			w.state.head.GasLimit = limit
			break
		}
	}
	if _, err := w.commit(t, commitments.View{}, raw); err != nil {
		t.Errorf("just enough: %v", err)
	}
	w.state.head.GasLimit--
	if _, err := w.commit(t, commitments.View{}, raw); !errors.Is(err, ErrGasAboveCap) {
		t.Errorf("a gas too few: got %v", err)
	}
}

// TestBook: a view from before the latest promise does not show it, pages that are
// not what was read are read again, and what is decided is forgotten.
func TestBook(t *testing.T) {
	w := newWorld(t)
	first, second, next := plain(), plain(), plain()
	second.Nonce, next.Nonce = 6, 7
	a, b := w.from.sign(t, first), w.from.sign(t, second)
	full, half := pageOf(slot, a, b), pageOf(slot, a)
	ask := func(p commitments.Page, data types.TxData) error {
		_, err := w.commit(t, commitments.View{Page: p}, w.from.sign(t, data))
		return err
	}
	if err := ask(full, next); err != nil {
		t.Errorf("after two: %v", err)
	}
	if err := ask(half, second); err != nil {
		t.Errorf("a view from before the second: %v", err)
	}
	if err := ask(half, next); !errors.Is(err, ErrNonceGap) {
		t.Errorf("the third, in that view: %v", err)
	}
	if err := ask(full, next); err != nil {
		t.Errorf("after two, once more: %v", err)
	}
	other := newAccount(t, 2)
	if err := ask(pageOf(slot, a, other.sign(t, second)), second); err != nil {
		t.Errorf("a page that is another: %v", err)
	}
	for i := range phase0.Slot(3 * maxLeaves) {
		w.state.head.Slot = slot + i - 1
		view := commitments.View{Page: pageOf(slot+i, w.from.sign(t, first))}
		if _, err := w.ask(t, slot+i, view, w.from.sign(t, second)); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(w.book.pages); n > maxLeaves {
		t.Errorf("%d pages are remembered", n)
	}
}

// TestCache: requests do not fill the memory.
func TestCache(t *testing.T) {
	var c cache
	for i := range maxCached + 100 {
		c.put(&tx{hash: phase0.Hash32{byte(i), byte(i >> 8)}})
	}
	if len(c.txs) != maxCached {
		t.Errorf("%d are kept", len(c.txs))
	}
	p := newProofs(nil)
	for i := range maxProven + 100 {
		p.remember(phase0.Hash32{byte(i), byte(i >> 8)})
	}
	if len(p.proven) != maxProven {
		t.Errorf("%d proofs are kept", len(p.proven))
	}
}

// TestEdgeCases is the reference's table of edge cases, as far as admission decides
// them: what is promised (for a slot), what is asked, and the answer.
func TestEdgeCases(t *testing.T) {
	me := newAccount(t, 1)
	tx := func(nonce uint64, value int64) []byte {
		d := plain()
		d.Nonce, d.Value = nonce, big.NewInt(value)
		return me.sign(t, d)
	}
	bumped := plain()
	bumped.GasFeeCap, bumped.GasTipCap = big.NewInt(60*params.GWei), big.NewInt(20*params.GWei)
	type on map[phase0.Slot][][]byte
	for name, c := range map[string]struct {
		promised on
		head     phase0.Slot
		nonce    uint64 // of the account
		ask      []byte
		want     error
	}{
		"same transaction, other slot, first is open":      {on{slot + 1: {tx(5, 1)}}, headSlot, 5, tx(5, 1), ErrPromised},
		"same transaction, other slot, first is missed":    {on{slot - 1: {tx(5, 1)}}, slot - 1, 5, tx(5, 1), nil},
		"same transaction, other slot, first was orphaned": {on{headSlot: {tx(5, 1)}}, headSlot, 5, tx(5, 1), nil},
		"replacement":                          {on{slot: {tx(5, 1)}}, headSlot, 5, me.sign(t, bumped), ErrNonceConflict},
		"replacement for an earlier slot":      {on{slot + 3: {tx(5, 1)}}, headSlot, 5, me.sign(t, bumped), ErrNonceConflict},
		"chain in one slot":                    {on{slot: {tx(5, 1), tx(6, 1)}}, headSlot, 5, tx(7, 1), nil},
		"chain with a gap":                     {on{slot: {tx(5, 1)}}, headSlot, 5, tx(7, 1), ErrNonceGap},
		"chain over an earlier open slot":      {on{slot - 1: {tx(5, 1)}}, headSlot, 5, tx(6, 1), ErrNonceGap},
		"chain over a later slot":              {on{slot + 1: {tx(5, 1)}}, headSlot, 5, tx(6, 1), ErrNonceGap},
		"chain over a slot that is decided":    {on{slot - 1: {tx(5, 1)}}, slot - 1, 6, tx(6, 1), nil},
		"chain over a slot that was missed":    {on{slot - 1: {tx(5, 1)}}, slot - 1, 5, tx(6, 1), ErrNonceGap},
		"an earlier nonce only in the pool":    {on{}, headSlot, 5, tx(6, 1), ErrNonceGap},
		"its nonce was spent in public":        {on{slot: {tx(5, 1)}}, headSlot, 6, tx(6, 2), nil},
		"the spent one again":                  {on{slot: {tx(5, 1)}}, headSlot, 6, tx(5, 2), ErrNonceTooLow},
		"consecutive own slots, other senders": {on{slot - 1: {newAccount(t, 2).sign(t, plain())}}, headSlot, 5, tx(5, 1), nil},
		"the slot is at the head":              {on{}, slot, 5, tx(5, 1), ErrSlotPassed},
	} {
		w := newWorld(t)
		w.state.head.Slot = c.head
		w.edit(func(a *modules.Account) { a.Nonce = c.nonce })
		view := commitments.View{}
		for at, raws := range c.promised {
			if at == slot {
				view.Page = pageOf(at, raws...)
			} else {
				view.Open = append(view.Open, pageOf(at, raws...))
			}
		}
		if _, err := w.commit(t, view, c.ask); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}

// TestReasons: the words of the searcher's vocabulary that are this package's.
func TestReasons(t *testing.T) {
	for _, want := range []string{"wrong_chain", "nonce_gap", "nonce_too_low", "nonce_conflict", "insufficient_balance", "fee_cap_below_worst_case",
		"tip_too_low", "blob_fee_too_low", "tx_too_big", "gas_above_cap", "invalid_signature", "blob_proof_invalid", "unsupported_tx_type"} {
		found := false
		for _, f := range []error{ErrWrongChain, ErrNonceGap, ErrNonceTooLow, ErrNonceConflict, ErrBalance, ErrWorstBaseFee, ErrTipTooLow, ErrBlobFee, ErrTxTooBig, ErrGasAboveCap, ErrSignature, ErrBlobProof, ErrTxType} {
			found = found || f.Error() == want
		}
		if !found {
			t.Errorf("nothing is refused as %s", want)
		}
	}
	if modules.ErrFullBlobs.Code != "slot_full_blobs" {
		t.Error(modules.ErrFullBlobs.Code)
	}
}
