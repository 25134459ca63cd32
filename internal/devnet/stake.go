package devnet

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rpc"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/contracts/bindings"
	"sidecar/contracts/devcore"
	"sidecar/contracts/eigenlayer"
	"sidecar/internal/app"
	"sidecar/internal/simnet"
	"sidecar/slashing/restake"
)

// StakeAccounts is how many accounts a chain needs for Restake, the searcher's
// included.
const StakeAccounts = 6

// Core is where EigenLayer's core, or a stand-in, is.
type Core struct {
	Allocation common.Address `json:"allocation_manager"`
	Delegation common.Address `json:"delegation_manager"`
	Strategies common.Address `json:"strategy_manager"`
	Strategy   common.Address `json:"strategy"`
	Token      common.Address `json:"token"`
	// Blocks are how long its delays last. The stand-in has none.
	Blocks uint64 `json:"blocks"`
	// Mints says that the token is minted by mint(address,uint256) first.
	Mints bool `json:"mints"`
}

// Stake is restaked stake behind the validators of a chain.
type Stake struct {
	Core
	Manager, Verifier                         common.Address
	Owner, Operator, Staker, Guardian, Prover simnet.Account

	net *simnet.Net
	rpc *rpc.Client
}

// Staked is what is restaked: 1,000 tokens.
var Staked = new(big.Int).Mul(big.NewInt(1000), big.NewInt(params.Ether))

// NewStake takes the accounts of a chain, which must have StakeAccounts.
func NewStake(n *simnet.Net) (*Stake, error) {
	if len(n.Accounts) < StakeAccounts {
		return nil, fmt.Errorf("stake: %d accounts, want %d", len(n.Accounts), StakeAccounts)
	}
	client, err := rpc.Dial(n.Execution.URL)
	a := n.Accounts
	return &Stake{net: n, rpc: client, Owner: a[1], Operator: a[2], Staker: a[3], Guardian: a[4], Prover: a[5]}, err
}

// Close drops the connection to the node.
func (s *Stake) Close() { s.rpc.Close() }

// StandIn deploys the stand-in of EigenLayer's core.
func (s *Stake) StandIn(ctx context.Context) (Core, error) {
	at, err := s.send(ctx, s.Owner, step{input: devcore.Creation()})
	if err != nil {
		return Core{}, fmt.Errorf("deploy the stand-in: %w", err)
	}
	return Core{Allocation: at[0], Delegation: at[0], Strategies: at[0], Strategy: at[0], Token: at[0]}, nil
}

// Restake deploys verifier and manager on a core, and puts the stake of an
// operator behind the promises of every validator. delay is how long a proven
// fault waits for a veto.
func (s *Stake) Restake(ctx context.Context, c Core, delay time.Duration) error {
	s.Core = c
	if err := s.deploy(ctx, delay); err != nil {
		return fmt.Errorf("deploy the contracts: %w", err)
	}
	keys, err := s.registrations()
	if err != nil {
		return err
	}
	var e encoder
	set := eigenlayer.OperatorSet{Avs: s.Manager}
	joins := []step{
		{&c.Delegation, e.core("registerAsOperator", common.Address{}, uint32(0), "")},
		{&c.Allocation, e.core("registerForOperatorSets", s.Operator.Address, eigenlayer.RegisterParams{Avs: s.Manager, OperatorSetIds: []uint32{0}, Data: keys})},
	}
	type approval struct {
		Signature []byte
		Expiry    *big.Int
	}
	var deposits []step
	if c.Mints {
		mint := append(crypto.Keccak256([]byte("mint(address,uint256)"))[:4], common.LeftPadBytes(s.Staker.Address[:], 32)...)
		deposits = append(deposits, step{&c.Token, append(mint, common.BigToHash(Staked).Bytes()...)})
	}
	deposits = append(deposits,
		step{&c.Strategies, e.core("depositIntoStrategy", c.Strategy, c.Token, Staked)},
		step{&c.Delegation, e.core("delegateTo", s.Operator.Address, approval{Expiry: new(big.Int)}, [32]byte{})})
	allocates := step{&c.Allocation, e.core("modifyAllocations", s.Operator.Address, []eigenlayer.AllocateParams{{
		OperatorSet: set, Strategies: []common.Address{c.Strategy}, NewMagnitudes: []uint64{params.Ether},
	}})}
	if e.err != nil {
		return e.err
	}
	if _, err := s.send(ctx, s.Operator, joins...); err != nil {
		return fmt.Errorf("join the operator set: %w", err)
	}
	if _, err := s.send(ctx, s.Staker, deposits...); err != nil {
		return fmt.Errorf("deposit: %w", err)
	}
	if err := s.net.WaitSlot(ctx, s.net.Clock.Slot()+phase0.Slot(c.Blocks)+1); err != nil {
		return err
	}
	if _, err := s.send(ctx, s.Operator, allocates); err != nil {
		return fmt.Errorf("allocate: %w", err)
	}
	return nil
}

// deploy puts verifier and manager on the chain.
func (s *Stake) deploy(ctx context.Context, delay time.Duration) error {
	verifier, err := bindings.Load(bindings.FaultVerifier)
	if err != nil {
		return err
	}
	manager, err := bindings.Load(bindings.PreconfServiceManager)
	if err != nil {
		return err
	}
	spec := s.net.Spec
	input, err := verifier.Deploy(bindings.VerifierConfig{
		GenesisTime: uint64(spec.GenesisTime.Unix()), SlotMillis: uint64(spec.SlotDuration.Milliseconds()), // #nosec G115 -- after 1970
		EndSlot: 1 << 39, SigningDomain: spec.Domain(chain.DomainCommitBoost), SigningId: [32]byte(app.GatewaySigningID),
	})
	if err != nil {
		return err
	}
	at, err := s.send(ctx, s.Owner, step{input: input})
	if err != nil {
		return err
	}
	s.Verifier = at[0]
	input, err = manager.Deploy(bindings.ManagerConfig{
		AllocationManager: s.Allocation, Verifier: s.Verifier, Guardian: s.Guardian.Address, MetadataURI: "https://devnet.example",
		Strategies: []common.Address{s.Strategy}, AbsentWad: big.NewInt(1e17), DoubleWad: big.NewInt(5e17), DailyWad: big.NewInt(5e17),
		Delay: uint64(delay / time.Second), // #nosec G115 -- positive
	})
	if err != nil {
		return err
	}
	if at, err = s.send(ctx, s.Owner, step{input: input}); err != nil {
		return err
	}
	s.Manager = at[0]
	return nil
}

// registrations are the validators' proofs that they join the operator.
func (s *Stake) registrations() ([]byte, error) {
	spec := s.net.Spec
	object := phase0.Root(restake.Possession(s.Manager, s.Operator.Address))
	root := commitments.SigningRoot(spec.Domain(chain.DomainCommitBoost), spec.ChainID, object, app.GatewaySigningID, 1)
	var list []bindings.Registration
	for _, v := range s.net.Validators {
		pubkey, err := bindings.NewG1(v.Pubkey)
		if err != nil {
			return nil, err
		}
		signature, err := bindings.NewG2(v.Key.Sign(root))
		if err != nil {
			return nil, err
		}
		list = append(list, bindings.Registration{Pubkey: pubkey, Nonce: 1, Signature: signature})
	}
	manager, err := bindings.Load(bindings.PreconfServiceManager)
	if err != nil {
		return nil, err
	}
	return abi.Arguments{manager.ABI.Methods["registerKeys"].Inputs[0]}.Pack(list)
}

// encoder encodes calls of the core, and keeps the first error.
type encoder struct{ err error }

func (e *encoder) core(method string, arguments ...any) []byte {
	b, err := eigenlayer.ABI().Pack(method, arguments...)
	e.err = errors.Join(e.err, err)
	return b
}

// step is one transaction: a creation if to is nil.
type step struct {
	to    *common.Address
	input []byte
}

// send sends an account's transactions, waits until they are in blocks, and
// returns what was created.
func (s *Stake) send(ctx context.Context, from simnet.Account, steps ...step) (created []common.Address, err error) {
	nonce, _, err := s.net.Execution.Account(from.Address, s.net.Execution.Head())
	if err != nil {
		return nil, err
	}
	id := new(big.Int).SetUint64(s.net.Spec.ChainID)
	var sent []common.Hash
	for i, st := range steps {
		const gas = 8_000_000
		tx, err := types.SignNewTx(from.Key, types.LatestSignerForChainID(id), &types.DynamicFeeTx{
			ChainID: id, Nonce: nonce + uint64(i), GasTipCap: big.NewInt(params.GWei), GasFeeCap: big.NewInt(200 * params.GWei), // #nosec G115 -- an index
			Gas: gas, To: st.to, Data: st.input,
		})
		if err != nil {
			return nil, err
		}
		if err := s.net.Execution.Send(ctx, tx); err != nil {
			return nil, err
		}
		sent = append(sent, tx.Hash())
	}
	for i, hash := range sent {
		r, err := s.receipt(ctx, hash)
		if err != nil {
			return nil, err
		}
		if r.Status != types.ReceiptStatusSuccessful {
			return nil, fmt.Errorf("transaction %d of %d reverted", i+1, len(sent))
		}
		created = append(created, r.ContractAddress)
	}
	return created, nil
}

// receipt waits for a transaction's.
func (s *Stake) receipt(ctx context.Context, hash common.Hash) (*types.Receipt, error) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		var r *types.Receipt
		if err := s.rpc.CallContext(ctx, &r, "eth_getTransactionReceipt", hash); err == nil && r != nil {
			return r, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Read asks the core for one number at the head: shares, or a balance.
func (s *Stake) Read(ctx context.Context, at common.Address, input []byte) (*big.Int, error) {
	var out string
	err := s.rpc.CallContext(ctx, &out, "eth_call", map[string]any{"to": at, "input": "0x" + common.Bytes2Hex(input)}, "latest")
	return new(big.Int).SetBytes(common.FromHex(out)), err
}

// Shares is what the operator has.
func (s *Stake) Shares(ctx context.Context) (*big.Int, error) {
	var e encoder
	input := e.core("operatorShares", s.Operator.Address, s.Strategy)
	if e.err != nil {
		return nil, e.err
	}
	return s.Read(ctx, s.Delegation, input)
}

// Burnt is what the burn address has of the token.
func (s *Stake) Burnt(ctx context.Context) (*big.Int, error) {
	burn := common.HexToAddress("0x00000000000000000000000000000000000E16E4")
	return s.Read(ctx, s.Token, append(common.FromHex("0x70a08231"), common.LeftPadBytes(burn[:], 32)...)) // balanceOf
}
