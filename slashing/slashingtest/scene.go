// Package slashingtest sets a scene for tests: a chain of exact blocks on a real
// execution node, the project's contracts on it over any restaking core, and
// promises that are broken there, as evidence files. Consensus is played: state
// and body roots of its blocks are made up, the header tree over them is real.
package slashingtest

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rpc"

	"sidecar/chain"
	"sidecar/contracts/bindings"
	"sidecar/internal/bls"
	"sidecar/internal/simnet"
)

// ChainID of every scene: Hoodi's.
const ChainID = 560048

// slotDuration is mainnet's. Nobody waits for it: blocks are made at will.
const slotDuration = 12 * time.Second

// proposer is the index of the one validator.
const proposer phase0.ValidatorIndex = 77

// SigningID is that of the module that promises.
var SigningID = phase0.Root{0x5c}

// Keys published as test vectors. [Commit-Boost: tests/data/keystores, signer tests]
const (
	validatorSecret = "0x10942624b86262d6c92bf37e21086f469d0c4b635e5f4bd229f49ac10ba6f7d1"
	delegateSecret  = "0x0501e85d5bc2e95f70efda47409710a7cf01dd02ff238e3efec679b27331d917"
)

// Options change a scene. The zero value is Osaka's rules and no core.
type Options struct {
	Amsterdam bool
	// Deep puts accounts beside the searcher's in the state, so that a proof of it
	// has six nodes, nearly full.
	Deep bool
}

// neighbours are numbers of accounts whose places in the state lie close to the
// searcher's: up to 15 beside it on each of five levels. Found by trying.
var neighbours = []int64{
	0, 1, 2, 3, 4, 6, 9, 10, 11, 12, 14, 16, 23, 27, 38, 50, 88, 92, 97, 137, 150, 152, 188, 235, 258, 270, 418, 426, 499, 568, 649, 758, 999,
	1160, 1399, 3437, 3530, 3921, 4077, 5638, 6091, 6695, 7325, 7476, 8239, 9587, 10012, 13786, 14642, 16744, 22742, 28712, 34413, 35080,
	41217, 49862, 55993, 60609, 139766, 166500, 171054, 224119, 234727, 244148, 250118, 488990, 581128, 996927, 1205058, 1209483, 1562359,
	1984687,
}

// Scene is a running chain.
type Scene struct {
	*simnet.Solo
	RPC *rpc.Client

	// Owner deploys, Operator restakes the stake of Staker, Guardian may veto,
	// Prover and Stranger are anybody, Searcher is promised something.
	Owner, Operator, Staker, Guardian, Prover, Stranger, Searcher simnet.Account
	Validator, Delegate                                           *bls.SecretKey

	// Manager and Verifier are set by Deploy. Promises name Manager as slasher, and
	// delegations Committer.
	Manager, Verifier, Committer common.Address

	t         testing.TB
	amsterdam bool
	slot      phase0.Slot // of the head
	parent    phase0.Root // root of its beacon block
	bodies    map[phase0.Slot]phase0.BeaconBlockHeader
	nonces    map[common.Address]uint64
}

// Start starts a chain, and stops it when the test ends.
func Start(t testing.TB, o Options) *Scene {
	t.Helper()
	s := &Scene{t: t, amsterdam: o.Amsterdam, bodies: map[phase0.Slot]phase0.BeaconBlockHeader{}, nonces: map[common.Address]uint64{}}
	alloc := types.GenesisAlloc{}
	rich := new(big.Int).Mul(big.NewInt(1_000), big.NewInt(params.Ether))
	for i, a := range []*simnet.Account{&s.Owner, &s.Operator, &s.Staker, &s.Guardian, &s.Prover, &s.Stranger, &s.Searcher} {
		key, err := crypto.ToECDSA(common.LeftPadBytes([]byte{byte(i + 1)}, 32))
		if err != nil {
			t.Fatal(err)
		}
		*a = simnet.Account{Key: key, Address: crypto.PubkeyToAddress(key.PublicKey)}
		alloc[a.Address] = types.Account{Balance: rich}
	}
	alloc[s.Searcher.Address] = types.Account{Balance: big.NewInt(params.Ether)}
	if o.Deep {
		for _, n := range neighbours {
			alloc[common.BytesToAddress(crypto.Keccak256(big.NewInt(n).Bytes()))] = types.Account{Balance: big.NewInt(1)}
		}
	}
	var err error
	if s.Validator, err = bls.ParseSecretKey(common.FromHex(validatorSecret)); err == nil {
		s.Delegate, err = bls.ParseSecretKey(common.FromHex(delegateSecret))
	}
	if err != nil {
		t.Fatal(err)
	}
	spec := chain.Custom(time.Unix(1_742_213_400, 0), slotDuration, phase0.Version{0x10, 0, 9, 0x10}, 0, ChainID)
	options := simnet.SoloOptions{Spec: spec, Alloc: alloc}
	if o.Amsterdam {
		options.Genesis = amsterdam
	}
	if s.Solo, err = simnet.StartSolo(options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop() })
	if s.RPC, err = rpc.Dial(s.URL); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.RPC.Close)
	return s
}

// amsterdam switches that fork's rules on, as far as the node has them.
func amsterdam(g *core.Genesis) {
	config := *g.Config
	config.AmsterdamTime = new(uint64)
	g.Config, g.SlotNumber = &config, new(uint64)
}

// Slot is the head's.
func (s *Scene) Slot() phase0.Slot { return s.slot }

// Mine makes the block of the next slot, of exactly these transactions.
func (s *Scene) Mine(txs ...*types.Transaction) *types.Block {
	s.t.Helper()
	return s.MineAt(s.slot+1, txs...)
}

// MineAt makes the block of a slot to come; those between are missed.
func (s *Scene) MineAt(slot phase0.Slot, txs ...*types.Transaction) *types.Block {
	s.t.Helper()
	return s.mine(slot, append(types.Transactions{}, txs...))
}

// MinePool makes the block of the next slot of the transactions that wait.
func (s *Scene) MinePool() *types.Block {
	s.t.Helper()
	return s.mine(s.slot+1, nil)
}

func (s *Scene) mine(slot phase0.Slot, txs types.Transactions) *types.Block {
	s.t.Helper()
	b, err := s.Solo.Mine(s.t.Context(), slot, common.Hash(s.parent), txs)
	if err != nil {
		s.t.Fatal(err)
	}
	header := phase0.BeaconBlockHeader{
		Slot: slot, ProposerIndex: proposer, ParentRoot: s.parent, StateRoot: phase0.Root{1, byte(slot)}, BodyRoot: phase0.Root{2, byte(slot)},
	}
	root, err := header.HashTreeRoot()
	if err != nil {
		s.t.Fatal(err)
	}
	s.bodies[slot], s.slot, s.parent = header, slot, root
	return b
}

// Reorg takes back the last n blocks. Their transactions are not in the pool
// any more.
func (s *Scene) Reorg(n uint64) {
	s.t.Helper()
	head := s.Head()
	if err := s.Rewind(head.Number.Uint64() - n); err != nil {
		s.t.Fatal(err)
	}
	slot := phase0.Slot((s.Head().Time - uint64(s.Spec.GenesisTime.Unix())) / uint64(slotDuration/time.Second))
	root := s.bodies[slot]
	s.parent = phase0.Root{}
	if slot > 0 {
		var err error
		if s.parent, err = root.HashTreeRoot(); err != nil {
			s.t.Fatal(err)
		}
	}
	// The slots that were taken back are not proposed again: time does not go back.
	clear(s.nonces)
}

// Pass mines empty blocks until so much time has passed, at most one a slot and
// at least n of them.
func (s *Scene) Pass(n int, d time.Duration) {
	s.t.Helper()
	end := s.slot + phase0.Slot((d+slotDuration-1)/slotDuration)
	for range n {
		s.Mine()
	}
	if s.slot < end {
		s.MineAt(end)
	}
}

// Sign signs the next transaction of an account; to nil is a creation.
func (s *Scene) Sign(from simnet.Account, to *common.Address, input []byte) *types.Transaction {
	s.t.Helper()
	return s.sign(from, to, new(big.Int), input)
}

func (s *Scene) sign(from simnet.Account, to *common.Address, wei *big.Int, input []byte) *types.Transaction {
	s.t.Helper()
	nonce, ok := s.nonces[from.Address]
	if !ok {
		var err error
		if nonce, _, err = s.Account(from.Address, s.Head()); err != nil {
			s.t.Fatal(err)
		}
	}
	gas := uint64(16_700_000) // below the cap of a transaction [EIP-7825]
	if s.amsterdam {
		gas = 55_000_000 // state is dear, and above the cap [EIP-8037]
	}
	id := big.NewInt(ChainID)
	tx, err := types.SignNewTx(from.Key, types.LatestSignerForChainID(id), &types.DynamicFeeTx{
		ChainID: id, Nonce: nonce, GasTipCap: big.NewInt(1), GasFeeCap: big.NewInt(100 * params.GWei), Gas: gas, To: to, Value: wei, Data: input,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.nonces[from.Address] = nonce + 1
	return tx
}

// Try sends one transaction in a block of its own.
func (s *Scene) Try(from simnet.Account, to *common.Address, input []byte) *types.Receipt {
	s.t.Helper()
	return s.mined(s.Sign(from, to, input))
}

// Pay sends wei with one call in a block of its own, which has to succeed.
func (s *Scene) Pay(from simnet.Account, to common.Address, wei *big.Int, input []byte) {
	s.t.Helper()
	if r := s.mined(s.sign(from, &to, wei, input)); r.Status != types.ReceiptStatusSuccessful {
		s.t.Fatalf("call %x… of %s with %s wei reverted", input[:4], to, wei)
	}
}

// mined makes a block of one transaction.
func (s *Scene) mined(tx *types.Transaction) *types.Receipt {
	s.t.Helper()
	s.Mine(tx)
	var r *types.Receipt
	if err := s.RPC.CallContext(s.t.Context(), &r, "eth_getTransactionReceipt", tx.Hash()); err != nil || r == nil {
		s.t.Fatalf("no receipt: %v", err)
	}
	return r
}

// Do is Try for what has to succeed.
func (s *Scene) Do(from simnet.Account, to common.Address, input []byte) *types.Receipt {
	s.t.Helper()
	r := s.Try(from, &to, input)
	if r.Status != types.ReceiptStatusSuccessful {
		_, err := s.Call(from.Address, to, input)
		s.t.Fatalf("call %x… of %s reverted: %v", input[:4], to, err)
	}
	return r
}

// Create deploys a contract.
func (s *Scene) Create(from simnet.Account, input []byte) common.Address {
	s.t.Helper()
	r := s.Try(from, nil, input)
	if r.Status != types.ReceiptStatusSuccessful {
		s.t.Fatalf("deployment of %d bytes reverted, %d gas", len(input), r.GasUsed)
	}
	return r.ContractAddress
}

// Call is eth_call on the head; the error is the node's.
func (s *Scene) Call(from, to common.Address, input []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var out string
	err := s.RPC.CallContext(ctx, &out, "eth_call", map[string]any{"from": from, "to": to, "input": "0x" + common.Bytes2Hex(input)}, "latest")
	var with rpc.DataError
	if errors.As(err, &with) {
		err = fmt.Errorf("%w: %v", err, with.ErrorData())
	}
	return common.FromHex(out), err
}

// Terms are what a manager is deployed with.
type Terms struct {
	Allocation common.Address
	Strategies []common.Address
	Delay      time.Duration
	// Shares of the allocation; default 10 % for F1, 50 % for F2 and a day.
	AbsentWad, DoubleWad, DailyWad *big.Int
	EndSlot                        uint64         // default far away
	Recipient                      common.Address // of slashed stake; none: it is burnt
}

// Deploy puts verifier and manager on the chain.
func (s *Scene) Deploy(terms Terms) {
	s.t.Helper()
	verifier, manager := Load(s.t, bindings.FaultVerifier), Load(s.t, bindings.PreconfServiceManager)
	r := s.rules()
	if terms.EndSlot != 0 {
		r.EndSlot = terms.EndSlot
	}
	input, err := verifier.Deploy(bindings.VerifierConfig{
		GenesisTime: r.GenesisTime, SlotMillis: r.SlotMillis, FirstSlot: r.FirstSlot, EndSlot: r.EndSlot, SigningDomain: r.SigningDomain, SigningId: r.SigningID,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.Verifier = s.Create(s.Owner, input)
	wad := func(w *big.Int, otherwise int64) *big.Int {
		if w == nil {
			return big.NewInt(otherwise)
		}
		return w
	}
	input, err = manager.Deploy(bindings.ManagerConfig{
		AllocationManager: terms.Allocation, Verifier: s.Verifier, Guardian: s.Guardian.Address, MetadataURI: "https://service.example",
		Strategies: terms.Strategies, AbsentWad: wad(terms.AbsentWad, 1e17), DoubleWad: wad(terms.DoubleWad, 5e17), DailyWad: wad(terms.DailyWad, 5e17),
		Delay: uint64(terms.Delay / time.Second), RedistributionRecipient: terms.Recipient,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.Manager = s.Create(s.Owner, input)
}

// Load returns one of the project's contracts.
func Load(t testing.TB, name string) bindings.Contract {
	t.Helper()
	c, err := bindings.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
