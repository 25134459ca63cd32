package bindings

import (
	"errors"
	"math/big"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/tracing"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/params"
	"github.com/holiman/uint256"
)

const testChainID = 560048

var stranger = common.HexToAddress("0x57a9")

// machine is geth's EVM over a state in memory, with the history contract of
// EIP-2935 in place. Its block is the head under which a call runs.
type machine struct {
	t      testing.TB
	state  *state.StateDB
	config *params.ChainConfig
	number uint64
	time   uint64
	hashes map[uint64]common.Hash // of recent blocks, for BLOCKHASH
	next   byte                   // numbers deployed contracts
}

// newMachine runs Osaka's rules, or Amsterdam's.
func newMachine(t testing.TB, amsterdam bool) *machine {
	t.Helper()
	db, err := state.New(types.EmptyRootHash, state.NewDatabaseForTesting())
	if err != nil {
		t.Fatal(err)
	}
	config := *params.MergedTestChainConfig
	config.ChainID = big.NewInt(testChainID)
	if amsterdam {
		config.AmsterdamTime = new(uint64)
	}
	db.SetCode(params.HistoryStorageAddress, params.HistoryStorageCode, tracing.CodeChangeUnspecified)
	db.SetNonce(params.HistoryStorageAddress, 1, tracing.NonceChangeUnspecified)
	return &machine{t: t, state: db, config: &config, number: 20_000, hashes: map[uint64]common.Hash{}}
}

// forks runs a test under the rules of Osaka and of Amsterdam.
func forks(t *testing.T, test func(t *testing.T, amsterdam bool)) {
	t.Helper()
	t.Run("osaka", func(t *testing.T) { test(t, false) })
	t.Run("amsterdam", func(t *testing.T) { test(t, true) })
}

// remember puts the hash of a block where the chain keeps it: in the history
// contract's ring, unless a later block has taken its place, and in BLOCKHASH.
func (m *machine) remember(number uint64, hash common.Hash) {
	if m.number > number && m.number-number <= params.HistoryServeWindow {
		slot := common.BigToHash(new(big.Int).SetUint64(number % params.HistoryServeWindow))
		m.state.SetState(params.HistoryStorageAddress, slot, hash)
	}
	m.hashes[number] = hash
}

func (m *machine) evm() *vm.EVM {
	random := common.Hash{1}
	return vm.NewEVM(vm.BlockContext{
		CanTransfer: core.CanTransfer, Transfer: core.Transfer,
		GetHash:     func(n uint64) common.Hash { return m.hashes[n] },
		BlockNumber: new(big.Int).SetUint64(m.number), Time: m.time, GasLimit: 60_000_000,
		Difficulty: new(big.Int), BaseFee: new(big.Int), BlobBaseFee: new(big.Int), Random: &random,
	}, m.state, m.config, vm.Config{})
}

// revert is a call that ended in an error of the contract.
type revert struct{ data []byte }

func (r revert) Error() string { return "reverted" }

// deploy puts a contract on the chain.
func (m *machine) deploy(input []byte) common.Address {
	m.t.Helper()
	m.next++
	from := common.Address{0xde, m.next}
	out, address, _, err := m.evm().Create(from, input, vm.NewGasBudget(100_000_000, 100_000_000), new(uint256.Int))
	if err != nil {
		m.t.Fatalf("deploy: %v, %x", err, out)
	}
	return address
}

// call runs a transaction's worth: it returns what the contract returned, or a
// revert, and the gas a transaction with this input would pay for.
func (m *machine) call(from, to common.Address, input []byte) ([]byte, uint64, error) {
	m.t.Helper()
	const limit = 30_000_000
	evm := m.evm()
	rules := m.config.Rules(new(big.Int).SetUint64(m.number), true, m.time)
	m.state.Prepare(rules, from, common.Address{}, &to, vm.ActivePrecompiles(rules), nil)
	snapshot := m.state.Snapshot()
	out, left, err := evm.Call(from, to, input, vm.NewGasBudget(limit, limit), new(uint256.Int))
	if errors.Is(err, vm.ErrExecutionReverted) {
		m.state.RevertToSnapshot(snapshot)
		return nil, 0, revert{out}
	}
	if err != nil {
		m.state.RevertToSnapshot(snapshot)
		return nil, 0, err
	}
	intrinsic, err := core.IntrinsicGas(input, nil, nil, from, &to, new(uint256.Int), rules)
	if err != nil {
		m.t.Fatal(err)
	}
	floor, err := core.FloorDataGas(rules, from, &to, new(uint256.Int), input, nil)
	if err != nil {
		m.t.Fatal(err)
	}
	return out, max(floor, intrinsic+limit-left.ExecutionGas), nil
}

// excuse is the name of the error of any of our contracts in err; "" for none.
func excuse(t testing.TB, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	var r revert
	if !errors.As(err, &r) {
		return err.Error()
	}
	for _, name := range []string{FaultVerifier, PreconfServiceManager, UrcInclusionSlasher} {
		if e := load(t, name).Excuse(r.data); e != "" {
			return e
		}
	}
	return "unnamed revert"
}

func load(t testing.TB, name string) Contract {
	t.Helper()
	c, err := Load(name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func pack(t testing.TB, c Contract, method string, arguments ...any) []byte {
	t.Helper()
	input, err := c.ABI.Pack(method, arguments...)
	if err != nil {
		t.Fatal(err)
	}
	return input
}
