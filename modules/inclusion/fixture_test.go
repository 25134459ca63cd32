package inclusion

import (
	"context"
	"crypto/ecdsa"
	"math/big"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/deneb"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/holiman/uint256"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/internal/execution"
	"sidecar/modules"
	"sidecar/modules/moduletest"
)

const (
	chainID  = 560048
	headSlot = 100
	slot     = 102 // two blocks ahead: the base fee may rise from 8 to 11 gwei
)

// account is a private key with its place on the chain.
type account struct {
	key  *ecdsa.PrivateKey
	addr bellatrix.ExecutionAddress
}

func newAccount(t testing.TB, seed ...byte) account {
	t.Helper()
	key, err := crypto.ToECDSA(append(make([]byte, 32-len(seed)), seed...))
	if err != nil {
		t.Fatal(err)
	}
	return account{key, bellatrix.ExecutionAddress(crypto.PubkeyToAddress(key.PublicKey))}
}

// state is an execution node's.
type state struct {
	head     modules.Head
	accounts map[bellatrix.ExecutionAddress]modules.Account
	err      error
	batches  int // calls of Accounts
}

func (s *state) Head(context.Context) (modules.Head, error) { return s.head, s.err }

func (s *state) Account(_ context.Context, a bellatrix.ExecutionAddress) (modules.Account, modules.Head, error) {
	return s.accounts[a], s.head, s.err
}

func (s *state) Accounts(_ context.Context, all []bellatrix.ExecutionAddress) (out []modules.Account, _ modules.Head, _ error) {
	s.batches++
	for _, a := range all {
		out = append(out, s.accounts[a])
	}
	return out, s.head, s.err
}

// world is a module with an account of 1 ether at nonce 5.
type world struct {
	*Module
	state *state
	from  account
}

func newWorld(t testing.TB) *world {
	t.Helper()
	from := newAccount(t, 1)
	s := &state{
		head:     modules.Head{Number: 50, Slot: headSlot, GasLimit: 60_000_000, BaseFee: *uint256.NewInt(8 * params.GWei)},
		accounts: map[bellatrix.ExecutionAddress]modules.Account{from.addr: {Nonce: 5, Balance: *uint256.NewInt(params.Ether)}},
	}
	spec, _ := chain.Named("hoodi")
	flat := func(into any) error { // the floor alone; the rest of the price is price_test.go's
		c := into.(*Config)
		c.CurveStartGwei, c.HorizonTipGwei, c.ReservedGasPercent = ptr(0.0), ptr(0.0), ptr(uint64(0))
		return nil
	}
	m, err := New(modules.Host{ID: "inclusion", SigningID: phase0.Root{1}, Spec: spec, State: s}, flat)
	if err != nil {
		t.Fatal(err)
	}
	return &world{m.(*Module), s, from}
}

// plain is a transfer that is admitted at nonce 5.
func plain() *types.DynamicFeeTx {
	return &types.DynamicFeeTx{
		ChainID: big.NewInt(chainID), Nonce: 5, GasTipCap: big.NewInt(2 * params.GWei), GasFeeCap: big.NewInt(30 * params.GWei),
		Gas: 21_000, To: &common.Address{0xaa}, Value: big.NewInt(1),
	}
}

func (a account) sign(t testing.TB, data types.TxData) []byte {
	t.Helper()
	tx, err := types.SignNewTx(a.key, types.NewPragueSigner(big.NewInt(chainID)), data)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := tx.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func requestOf(slot phase0.Slot, raw []byte) commitments.Request {
	return commitments.Request{Type: commitments.TypeInclusion, Payload: commitments.EncodeInclusion(slot, raw), Slasher: bellatrix.ExecutionAddress{7}}
}

func promiseOf(slot phase0.Slot, raw []byte) commitments.Promise {
	r := requestOf(slot, raw)
	return commitments.Promise{SignedCommitment: commitments.SignedCommitment{Commitment: commitments.Commitment{
		Type: r.Type, Payload: r.Payload, RequestHash: r.Hash(), Slasher: r.Slasher,
	}}}
}

func pageOf(slot phase0.Slot, raws ...[]byte) commitments.Page {
	p := commitments.Page{PageID: commitments.PageID{Slot: slot}}
	for _, raw := range raws {
		p.Promises = append(p.Promises, promiseOf(slot, raw))
	}
	return p
}

func ptr[T any](v T) *T { return &v }

// build makes the block of txs and the bid a builder would make of it, which
// proves the transactions at the given indices.
func build(t testing.TB, txs [][]byte, indices ...uint64) (commitments.Candidate, commitments.Block) {
	t.Helper()
	h := &types.Header{
		ParentHash: common.Hash{1}, UncleHash: types.EmptyUncleHash, Coinbase: common.Address{2}, Root: common.Hash{3}, TxHash: execution.TransactionsRoot(txs),
		ReceiptHash: common.Hash{5}, Bloom: types.Bloom{6}, Difficulty: new(big.Int), Number: big.NewInt(52), GasLimit: 60_000_000, GasUsed: 42_000, Time: 1742213400 + slot*12,
		Extra: []byte("builder"), MixDigest: common.Hash{11}, BaseFee: big.NewInt(9e9), WithdrawalsHash: ptr(types.EmptyWithdrawalsHash), BlobGasUsed: ptr(uint64(131072)),
		ExcessBlobGas: ptr(uint64(15)), ParentBeaconRoot: ptr(common.Hash{16}), RequestsHash: ptr(types.EmptyRequestsHash),
	}
	text, err := rlp.EncodeToBytes(h)
	if err != nil {
		t.Fatal(err)
	}
	hash := phase0.Hash32(h.Hash())
	cand := commitments.Candidate{
		Slot: slot, ParentHash: phase0.Hash32(h.ParentHash), BlockHash: hash, Source: "relay",
		Header: &deneb.ExecutionPayloadHeader{
			ParentHash: phase0.Hash32(h.ParentHash), FeeRecipient: bellatrix.ExecutionAddress(h.Coinbase), StateRoot: phase0.Root(h.Root), ReceiptsRoot: phase0.Root(h.ReceiptHash),
			LogsBloom: h.Bloom, PrevRandao: h.MixDigest, BlockNumber: 52, GasLimit: h.GasLimit, GasUsed: h.GasUsed, Timestamp: h.Time, ExtraData: h.Extra,
			BaseFeePerGas: uint256.NewInt(9e9), BlockHash: hash, TransactionsRoot: commitments.TransactionsRoot(txs), BlobGasUsed: 131072, ExcessBlobGas: 15,
		},
	}
	for _, i := range indices {
		cand.Proofs = append(cand.Proofs, proofAt(t, text, txs, i))
	}
	return cand, commitments.Block{Slot: slot, Number: 52, Hash: hash, HeaderRLP: text, Txs: txs}
}

func proofAt(t testing.TB, header []byte, txs [][]byte, index uint64) commitments.Constraint {
	t.Helper()
	nodes, _, err := execution.ProveTransaction(txs, index)
	if err != nil {
		t.Fatal(err)
	}
	p := commitments.InclusionProof{HeaderRLP: header, Index: index, Nodes: nodes, Branch: commitments.ProveTransaction(txs, index)}
	payload, err := p.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return commitments.Constraint{Type: commitments.TypeInclusion, Payload: payload}
}

// blockOf is n signed transfers of another account.
func blockOf(t testing.TB, n int) [][]byte {
	other, txs := newAccount(t, 9), make([][]byte, n)
	for i := range txs {
		tx := plain()
		tx.Nonce = uint64(i)
		tx.Data, tx.Gas = make([]byte, i%40), 100_000
		txs[i] = other.sign(t, tx)
	}
	return txs
}

// TestSuite runs what every module must pass.
func TestSuite(t *testing.T) {
	w := newWorld(t)
	first, second := plain(), plain()
	second.Nonce = 6
	onPage := w.from.sign(t, first)
	moduletest.Both(t, moduletest.Fixture{
		Module: w.Module, Slot: slot,
		View:    commitments.View{Page: pageOf(slot, onPage), Seq: 3},
		Request: requestOf(slot, w.from.sign(t, second)),
		Keep: func(page commitments.Page) (commitments.Candidate, commitments.Block, error) {
			txs := blockOf(t, 150)
			var at []uint64
			for i := range page.Promises {
				_, raw, err := commitments.DecodeInclusion(page.Promises[i].Commitment.Payload)
				if err != nil {
					return commitments.Candidate{}, commitments.Block{}, err
				}
				at = append(at, uint64(20*i))
				txs[20*i] = raw
			}
			cand, block := build(t, txs, at...)
			return cand, block, nil
		},
		Break: func(commitments.Page) (commitments.Candidate, commitments.Block, error) {
			cand, block := build(t, blockOf(t, 3))
			return cand, block, nil
		},
	})
}
