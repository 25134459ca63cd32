package tests

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"math/big"
	"sync/atomic"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/crypto/kzg4844"
	"github.com/ethereum/go-ethereum/params"
	"github.com/holiman/uint256"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/internal/execution"
	"sidecar/internal/simnet"
	"sidecar/modules"
	"sidecar/modules/inclusion"
)

// nodes are two execution nodes of one chain, the client of both, and the module
// that rests upon it.
type nodes struct {
	t      *testing.T
	spec   chain.Spec
	at     atomic.Int64 // the clock, in nanoseconds
	a, b   *simnet.Solo
	client *execution.Client
	module modules.Module
	keys   []*ecdsa.PrivateKey
}

// bpoSlot is where the nodes' blob parameters change: from 6 and 9 to 10 and 15.
const bpoSlot = 20

func startNodes(t *testing.T) *nodes {
	t.Helper()
	spec := chain.Spec{
		Name: "solo", ChainID: 4242, GenesisTime: time.Now().Add(-time.Hour).Truncate(time.Second), SlotDuration: 12 * time.Second, SlotsPerEpoch: 10,
		Forks: []chain.ForkAt{{Fork: chain.Fulu}}, Blobs: []chain.BlobsAt{{Epoch: 0, Max: 9}, {Epoch: bpoSlot / 10, Max: 15}},
	}
	n := &nodes{t: t, spec: spec}
	alloc := types.GenesisAlloc{}
	for i := range 8 {
		key, err := crypto.ToECDSA(append(make([]byte, 31), byte(i+1)))
		if err != nil {
			t.Fatal(err)
		}
		n.keys = append(n.keys, key)
		alloc[crypto.PubkeyToAddress(key.PublicKey)] = types.Account{Balance: new(big.Int).Mul(big.NewInt(100), big.NewInt(params.Ether))}
	}
	bpo := uint64(spec.GenesisTime.Unix()) + bpoSlot*12
	start := func() *simnet.Solo {
		s, err := simnet.StartSolo(simnet.SoloOptions{Spec: spec, Alloc: alloc, Genesis: func(g *core.Genesis) {
			g.Config.BPO1Time, g.Config.BlobScheduleConfig.BPO1 = &bpo, params.DefaultBPO1BlobConfig
		}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Stop() })
		return s
	}
	n.a, n.b = start(), start()
	clock := chain.NewClock(spec, func() time.Time { return time.Unix(0, n.at.Load()) })
	n.at.Store(spec.GenesisTime.Add(18 * 12 * time.Second).UnixNano())
	var err error
	if n.client, err = execution.New(execution.Config{URL: n.a.URL, SecondURL: n.b.URL, Spec: spec, Clock: clock, Timeout: 20 * time.Second}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.client.Close)
	if n.module, err = inclusion.New(modules.Host{ID: "inclusion", Spec: spec, State: n.client}, func(into any) error {
		c, free := into.(*inclusion.Config), 0.0
		c.MinTipGwei, c.CurveStartGwei, c.HorizonTipGwei, c.BlobPriceGwei, c.ReservedGasPercent = &free, &free, &free, &free, new(uint64)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

func (n *nodes) sign(i int, data types.TxData) *types.Transaction {
	n.t.Helper()
	tx, err := types.SignNewTx(n.keys[i], types.NewPragueSigner(new(big.Int).SetUint64(n.spec.ChainID)), data)
	if err != nil {
		n.t.Fatal(err)
	}
	return tx
}

// everyType is a transaction of every type, and a creation, each of another sender.
func (n *nodes) everyType() types.Transactions {
	id, to, gwei := new(big.Int).SetUint64(n.spec.ChainID), common.Address{0xaa}, big.NewInt(params.GWei)
	price := new(big.Int).Mul(gwei, big.NewInt(50))
	word := func(b *big.Int) *uint256.Int { return uint256.MustFromBig(b) }
	blob := new(kzg4844.Blob)
	blob[9] = 7
	commitment, err := kzg4844.BlobToCommitment(blob)
	if err != nil {
		n.t.Fatal(err)
	}
	cells, err := kzg4844.ComputeCellProofs(blob)
	if err != nil {
		n.t.Fatal(err)
	}
	sidecar := types.NewBlobTxSidecar(types.BlobSidecarVersion1, []kzg4844.Blob{*blob}, []kzg4844.Commitment{commitment}, cells)
	auth, err := types.SignSetCode(n.keys[6], types.SetCodeAuthorization{ChainID: *word(id), Address: common.Address{0xcc}})
	if err != nil {
		n.t.Fatal(err)
	}
	return types.Transactions{
		n.sign(0, &types.LegacyTx{GasPrice: price, Gas: 21_000, To: &to, Value: gwei}),
		n.sign(1, &types.AccessListTx{ChainID: id, GasPrice: price, Gas: 30_000, To: &to, AccessList: types.AccessList{{Address: to, StorageKeys: []common.Hash{{1}}}}}),
		n.sign(2, &types.DynamicFeeTx{ChainID: id, GasTipCap: gwei, GasFeeCap: price, Gas: 60_000, Data: []byte{0xfe}}), // a creation that fails
		n.sign(3, &types.BlobTx{ChainID: word(id), GasTipCap: word(gwei), GasFeeCap: word(price), Gas: 21_000, To: to, Value: new(uint256.Int),
			BlobFeeCap: word(gwei), BlobHashes: sidecar.BlobHashes(), Sidecar: sidecar}),
		n.sign(4, &types.SetCodeTx{ChainID: word(id), GasTipCap: word(gwei), GasFeeCap: word(price), Gas: 46_000, To: to, Value: new(uint256.Int), AuthList: []types.SetCodeAuthorization{auth}}),
	}
}

func (n *nodes) mine(on *simnet.Solo, slot phase0.Slot, txs types.Transactions) *types.Block {
	n.t.Helper()
	b, err := on.Mine(context.Background(), slot, common.Hash{byte(slot)}, txs)
	if err != nil {
		n.t.Fatal(err)
	}
	return b
}

// account asks for an account after what was known has grown old.
func (n *nodes) account(i int) (modules.Account, modules.Head, error) {
	n.at.Add(int64(time.Second))
	return n.client.Account(n.t.Context(), bellatrix.ExecutionAddress(crypto.PubkeyToAddress(n.keys[i].PublicKey)))
}

func (n *nodes) request(slot phase0.Slot, tx *types.Transaction) commitments.Request {
	n.t.Helper()
	raw, err := tx.MarshalBinary()
	if err != nil {
		n.t.Fatal(err)
	}
	return commitments.Request{Type: commitments.TypeInclusion, Payload: commitments.EncodeInclusion(slot, raw)}
}

// TestAdmission_EveryType: a transaction of every type, blobs with real proofs
// included, is promised upon the word of two real nodes; what builders are told of
// it is taken by a real pool, a real block of what was promised is valid, and by
// that block the promises are kept.
func TestAdmission_EveryType(t *testing.T) {
	n := startNodes(t)
	for _, s := range []*simnet.Solo{n.a, n.b} {
		n.mine(s, 17, types.Transactions{})
	}
	const slot = 19
	page := commitments.Page{PageID: commitments.PageID{Slot: slot}}
	txs := n.everyType()
	for _, tx := range txs {
		view := commitments.View{Page: page, Seq: 1}
		d, err := n.module.Commit(t.Context(), view, n.request(slot, tx))
		if err != nil {
			t.Fatalf("type %d: %v", tx.Type(), err)
		}
		page.Promises = append(page.Promises, commitments.Promise{SignedCommitment: commitments.SignedCommitment{Commitment: d.Commitment}, Cost: d.Cost})
		_, told, err := commitments.DecodeInclusion(d.Constraints[0].Payload)
		if err != nil {
			t.Fatal(err)
		}
		if hash, err := n.client.SendRawTransaction(t.Context(), told); err != nil || common.Hash(hash) != tx.Hash() {
			t.Errorf("type %d: the pool says %v", tx.Type(), err)
		}
		if tx.Type() == types.BlobTxType && d.Cost.Blobs != 1 {
			t.Errorf("blobs cost %+v", d.Cost)
		}
	}
	block := n.mine(n.a, slot, txs)
	found, err := n.client.BlockByHash(t.Context(), phase0.Hash32(block.Hash()))
	if err != nil {
		t.Fatal(err)
	}
	verdicts, err := n.module.Audit(t.Context(), page, found)
	if err != nil || len(verdicts) != len(txs) {
		t.Fatalf("%d verdicts, %v", len(verdicts), err)
	}
	for i, v := range verdicts {
		if v.Outcome != commitments.Kept {
			t.Errorf("type %d: %+v", txs[i].Type(), v)
		}
	}
}

// TestAdmission_TwoNodes: while two real nodes have different heads nothing is
// promised, and it goes on by itself.
func TestAdmission_TwoNodes(t *testing.T) {
	n := startNodes(t)
	tx := n.everyType()[0]
	commit := func() error {
		n.at.Add(int64(time.Second))
		_, err := n.module.Commit(t.Context(), commitments.View{Page: commitments.Page{PageID: commitments.PageID{Slot: 19}}}, n.request(19, tx))
		return err
	}
	step := func(name string, want error) {
		t.Helper()
		if err := commit(); !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("%s: got %v, want %v", name, err, want)
		}
	}
	step("at genesis", nil)
	n.mine(n.a, 16, types.Transactions{})
	step("one is ahead", execution.ErrLagging)
	n.mine(n.b, 17, types.Transactions{}) // of the same height
	step("on different forks", execution.ErrDisagree)
	if err := n.b.Rewind(0); err != nil {
		t.Fatal(err)
	}
	n.mine(n.b, 16, types.Transactions{})
	step("on one chain again", nil)
}

// TestAdmission_Delegated: what a real node says of an account that delegates, of a
// contract, and of its blob parameters before and after they change.
func TestAdmission_Delegated(t *testing.T) {
	n := startNodes(t)
	mine := func(slot phase0.Slot, txs types.Transactions) {
		n.mine(n.a, slot, txs)
		n.mine(n.b, slot, txs)
	}
	_, head, err := n.account(6)
	now, then := chain.BlobParams{Target: 6, Max: 9, Fraction: 5_007_716}, chain.BlobParams{Target: 10, Max: 15, Fraction: 8_346_193}
	if err != nil || head.Blobs != now || head.NextBlobs != then || head.NextBlobsSlot != bpoSlot || n.spec.BlobParams(0) != now || n.spec.BlobParams(bpoSlot) != then {
		t.Errorf("blob parameters: got %+v, %v", head, err)
	}
	mine(17, n.everyType()[4:])
	a, head, err := n.account(6)
	if err != nil || !a.HasCode || !a.Delegated || a.Nonce != 1 || head.Number != 1 {
		t.Errorf("delegated: got %+v at %+v, %v", a, head, err)
	}
	contract, _, err := n.client.Account(t.Context(), bellatrix.ExecutionAddress(params.BeaconRootsAddress))
	if err != nil || !contract.HasCode || contract.Delegated {
		t.Errorf("a contract: got %+v, %v", contract, err)
	}
	mine(bpoSlot, types.Transactions{})
	if _, head, err = n.account(6); err != nil || head.Blobs != then || head.NextBlobs.Known() {
		t.Errorf("blob parameters after the change: got %+v, %v", head, err)
	}
}
