package eigenlayer

import (
	"encoding/hex"
	"errors"
	"math/big"
	"testing"

	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/accounts/abi/bind"
	"github.com/ethereum/go-ethereum/common"
	gethcore "github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/params"
	"github.com/holiman/uint256"

	"sidecar/e2e/eigenlayer/core"
)

const testChainID = 560048

// machine is geth's EVM under Osaka's rules with EigenLayer's core on it.
type machine struct {
	t      *testing.T
	state  *state.StateDB
	config *params.ChainConfig
	number uint64
	time   uint64
	next   byte

	core.Core
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
	m.deployCore()
	return m
}

// deployCore puts EigenLayer there as its deployer's transactions would.
func (m *machine) deployCore() {
	m.t.Helper()
	c, steps, err := core.Plan(owner, 0, core.Mainnet)
	if err != nil {
		m.t.Fatal(err)
	}
	for i, s := range steps {
		if s.To == nil {
			if _, _, _, err := m.evm().Create(owner, s.Input, vm.NewGasBudget(60_000_000, 0), new(uint256.Int)); err != nil {
				m.t.Fatalf("step %d: %v", i, err)
			}
			continue
		}
		if _, _, err := m.call(owner, *s.To, s.Input); err != nil {
			m.t.Fatalf("step %d: %v", i, err)
		}
	}
	m.Core = c
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
