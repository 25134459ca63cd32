package eigenlayer

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math/big"
	"os"
	"strings"
	"testing"

	"github.com/Layr-Labs/eigenlayer-contracts/pkg/bindings/AllocationManager"
	"github.com/Layr-Labs/eigenlayer-contracts/pkg/bindings/AllocationManagerView"
	"github.com/Layr-Labs/eigenlayer-contracts/pkg/bindings/DelegationManager"
	"github.com/Layr-Labs/eigenlayer-contracts/pkg/bindings/PauserRegistry"
	"github.com/Layr-Labs/eigenlayer-contracts/pkg/bindings/PermissionController"
	"github.com/Layr-Labs/eigenlayer-contracts/pkg/bindings/StrategyBase"
	"github.com/Layr-Labs/eigenlayer-contracts/pkg/bindings/StrategyManager"
	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/accounts/abi/bind"
	"github.com/ethereum/go-ethereum/common"
	gethcore "github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/tracing"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/params"
	"github.com/holiman/uint256"
)

const testChainID = 560048

// Delays of the core, as on mainnet. [EigenLayer: DEALLOCATION_DELAY and others]
const (
	deallocationDelay = 100_800
	configDelay       = 126_000
	withdrawalDelay   = 100_800
)

// machine is geth's EVM under Osaka's rules with EigenLayer's core on it.
type machine struct {
	t      *testing.T
	state  *state.StateDB
	config *params.ChainConfig
	number uint64
	time   uint64
	next   byte

	allocation, delegation, strategies, strategy, token common.Address
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	db, err := state.New(types.EmptyRootHash, state.NewDatabaseForTesting())
	if err != nil {
		t.Fatal(err)
	}
	config := *params.MergedTestChainConfig
	config.ChainID = big.NewInt(testChainID)
	// The core subtracts its delays from the block number: a young chain underflows.
	m := &machine{t: t, state: db, config: &config, number: 1_000_000, time: genesisTime + storySlot*slotSeconds}
	m.core()
	return m
}

// core deploys EigenLayer as it is deployed: implementations behind proxies,
// which know each other.
func (m *machine) core() {
	m.allocation, m.delegation, m.strategies, m.strategy, m.token = at("a1"), at("d1"), at("51"), at("57"), at("70")
	pods, eigen := at("e1"), at("e2")                                                      // native ETH and EIGEN: nobody here has either
	m.state.SetCode(pods, common.FromHex("5f5f5260205ff3"), tracing.CodeChangeUnspecified) // answers 0 to everything
	pauser := m.deploy(PauserRegistry.PauserRegistryMetaData, []common.Address{owner}, owner)
	permissions := m.deploy(PermissionController.PermissionControllerMetaData)
	view := m.deploy(AllocationManagerView.AllocationManagerViewMetaData, m.delegation, eigen, uint32(deallocationDelay), uint32(configDelay))
	m.proxy(m.allocation, m.deploy(AllocationManager.AllocationManagerMetaData, view, m.delegation, eigen, pauser, permissions, uint32(deallocationDelay), uint32(configDelay)))
	m.proxy(m.delegation, m.deploy(DelegationManager.DelegationManagerMetaData, m.strategies, pods, m.allocation, pauser, permissions, uint32(withdrawalDelay), "1.9.0"))
	m.proxy(m.strategies, m.deploy(StrategyManager.StrategyManagerMetaData, m.allocation, m.delegation, pauser, "1.9.0"))
	m.proxy(m.strategy, m.deploy(StrategyBase.StrategyBaseMetaData, m.strategies, pauser))
	// Token.sol by contracts/scripts/runtime.mjs.
	code, err := os.ReadFile("testdata/token.hex")
	if err != nil {
		m.t.Fatal(err)
	}
	m.state.SetCode(m.token, common.FromHex(strings.TrimSpace(string(code))), tracing.CodeChangeUnspecified)

	zero := new(big.Int)
	m.must(owner, m.allocation, AllocationManager.AllocationManagerMetaData, "initialize", zero)
	m.must(owner, m.delegation, DelegationManager.DelegationManagerMetaData, "initialize", zero)
	m.must(owner, m.strategies, StrategyManager.StrategyManagerMetaData, "initialize", owner, owner, zero)
	m.must(owner, m.strategy, StrategyBase.StrategyBaseMetaData, "initialize", m.token)
	m.must(owner, m.strategies, StrategyManager.StrategyManagerMetaData, "addStrategiesToDepositWhitelist", []common.Address{m.strategy})
}

// proxy puts a minimal proxy of an implementation at an address. [EIP-1167]
func (m *machine) proxy(address, implementation common.Address) {
	head, _ := hex.DecodeString("363d3d373d3d3d363d73")
	tail, _ := hex.DecodeString("5af43d82803e903d91602b57fd5bf3")
	m.state.SetCode(address, bytes.Join([][]byte{head, implementation[:], tail}, nil), tracing.CodeChangeUnspecified)
}

func at(s string) common.Address { return common.BytesToAddress(common.FromHex(s)) }

func (m *machine) evm() *vm.EVM {
	random := common.Hash{1}
	return vm.NewEVM(vm.BlockContext{
		CanTransfer: gethcore.CanTransfer, Transfer: gethcore.Transfer, GetHash: func(uint64) common.Hash { return common.Hash{} },
		BlockNumber: new(big.Int).SetUint64(m.number), Time: m.time, GasLimit: 60_000_000,
		Difficulty: new(big.Int), BaseFee: new(big.Int), BlobBaseFee: new(big.Int), Random: &random,
	}, m.state, m.config, vm.Config{})
}

func (m *machine) deploy(c *bind.MetaData, arguments ...any) common.Address {
	m.t.Helper()
	packed, err := parsed(m.t, c).Pack("", arguments...)
	if err != nil {
		m.t.Fatal(err)
	}
	return m.create(append(common.FromHex(c.Bin), packed...))
}

func (m *machine) create(input []byte) common.Address {
	m.t.Helper()
	m.next++
	out, address, _, err := m.evm().Create(common.Address{0xde, m.next}, input, vm.NewGasBudget(60_000_000, 0), new(uint256.Int))
	if err != nil {
		m.t.Fatalf("deploy: %v %x", err, out)
	}
	return address
}

// call runs input; a revert is an error with its data.
func (m *machine) call(from, to common.Address, input []byte) (out []byte, gas uint64, err error) {
	m.t.Helper()
	const limit = 30_000_000
	rules := m.config.Rules(new(big.Int).SetUint64(m.number), true, m.time)
	m.state.Prepare(rules, from, common.Address{}, &to, vm.ActivePrecompiles(rules), nil)
	out, left, err := m.evm().Call(from, to, input, vm.NewGasBudget(limit, 0), new(uint256.Int))
	if err != nil {
		return nil, 0, errors.Join(err, errors.New(hex.EncodeToString(out)))
	}
	intrinsic, err := gethcore.IntrinsicGas(input, nil, nil, from, &to, new(uint256.Int), rules)
	if err != nil {
		m.t.Fatal(err)
	}
	return out, intrinsic + limit - left.ExecutionGas, nil
}

// must calls a method that has to succeed, and returns what it returned.
func (m *machine) must(from, to common.Address, c *bind.MetaData, method string, arguments ...any) []any {
	m.t.Helper()
	contract := parsed(m.t, c)
	input, err := contract.Pack(method, arguments...)
	if err != nil {
		m.t.Fatalf("%s: %v", method, err)
	}
	out, _, err := m.call(from, to, input)
	if err != nil {
		m.t.Fatalf("%s: %v", method, err)
	}
	values, err := contract.Unpack(method, out)
	if err != nil {
		m.t.Fatalf("%s: %v", method, err)
	}
	return values
}

func parsed(t *testing.T, c *bind.MetaData) *abi.ABI {
	t.Helper()
	a, err := c.GetAbi()
	if err != nil {
		t.Fatal(err)
	}
	return a
}
