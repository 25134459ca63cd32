// Package core deploys EigenLayer's real core, v1.9.0-rc.0, with one strategy
// over a token that anybody may mint. For tests and development chains only:
// the core's licence (BUSL) allows no more, and this module is apart for it.
package core

import (
	"bytes"
	_ "embed"
	"encoding/hex"
	"fmt"
	"math/big"
	"strings"

	"github.com/Layr-Labs/eigenlayer-contracts/pkg/bindings/AllocationManager"
	"github.com/Layr-Labs/eigenlayer-contracts/pkg/bindings/AllocationManagerView"
	"github.com/Layr-Labs/eigenlayer-contracts/pkg/bindings/DelegationManager"
	"github.com/Layr-Labs/eigenlayer-contracts/pkg/bindings/PauserRegistry"
	"github.com/Layr-Labs/eigenlayer-contracts/pkg/bindings/PermissionController"
	"github.com/Layr-Labs/eigenlayer-contracts/pkg/bindings/StrategyBase"
	"github.com/Layr-Labs/eigenlayer-contracts/pkg/bindings/StrategyManager"
	"github.com/ethereum/go-ethereum/accounts/abi/bind"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
)

// Burn is where EigenLayer sends what is slashed.
var Burn = common.HexToAddress("0x00000000000000000000000000000000000E16E4")

// Delays of the core, in blocks. [EigenLayer: DEALLOCATION_DELAY and others]
type Delays struct{ Deallocation, Configuration, Withdrawal uint32 }

// Mainnet are the delays of mainnet: 14, 17.5 and 14 days.
var Mainnet = Delays{100_800, 126_000, 100_800}

// Brief are delays that a development chain can wait for.
var Brief = Delays{Deallocation: 20, Configuration: 2, Withdrawal: 3}

// Wait is how many blocks pass from an operator's registration until it can
// allocate stake, and be slashed without the core's underflow on young chains.
func (d Delays) Wait() uint64 { return uint64(max(d.Configuration, d.Withdrawal)) + 1 }

// Core is where its contracts are.
type Core struct {
	Allocation common.Address `json:"allocation_manager"`
	Delegation common.Address `json:"delegation_manager"`
	Strategies common.Address `json:"strategy_manager"`
	Strategy   common.Address `json:"strategy"`
	Token      common.Address `json:"token"`
}

// Step is one transaction: a creation if To is nil.
type Step struct {
	To    *common.Address
	Input []byte
}

// tokenCode is the runtime code of Token.sol, by contracts/scripts/runtime.mjs.
//
//go:embed token.hex
var tokenCode string

// plan collects steps. Contracts know each other's addresses before they are
// there: a creation's address follows from its sender and nonce.
type plan struct {
	deployer common.Address
	nonce    uint64
	steps    []Step
	err      error
}

// Plan returns the transactions that deploy the core, to be sent in this order
// by deployer, which becomes its owner, from its nonce on; and where it will be.
func Plan(deployer common.Address, nonce uint64, d Delays) (Core, []Step, error) {
	p := &plan{deployer: deployer, nonce: nonce}
	// 1. What the rest names: the addresses of the proxies, which come first.
	const proxies = 4
	at := func(i uint64) common.Address { return crypto.CreateAddress(deployer, nonce+i) }
	c := Core{Allocation: at(0), Delegation: at(1), Strategies: at(2), Strategy: at(3)}
	implementation := func(i uint64) common.Address { return at(proxies + 4 + i) }
	for i := range uint64(proxies) {
		p.create(proxy(implementation(i)))
	}
	// 2. Native ETH and EIGEN, of which nobody here has any: code that answers 0.
	pods := p.create(creation(common.FromHex("5f5f5260205ff3")))
	pauser := p.deploy(PauserRegistry.PauserRegistryMetaData, []common.Address{deployer}, deployer)
	permissions := p.deploy(PermissionController.PermissionControllerMetaData)
	view := p.deploy(AllocationManagerView.AllocationManagerViewMetaData, c.Delegation, pods, d.Deallocation, d.Configuration)
	// 3. The implementations, in the order of their proxies.
	p.deploy(AllocationManager.AllocationManagerMetaData, view, c.Delegation, pods, pauser, permissions, d.Deallocation, d.Configuration)
	p.deploy(DelegationManager.DelegationManagerMetaData, c.Strategies, pods, c.Allocation, pauser, permissions, d.Withdrawal, "1.9.0")
	p.deploy(StrategyManager.StrategyManagerMetaData, c.Allocation, c.Delegation, pauser, "1.9.0")
	p.deploy(StrategyBase.StrategyBaseMetaData, c.Strategies, pauser)
	c.Token = p.create(creation(common.FromHex(strings.TrimSpace(tokenCode))))
	// 4. Their state.
	zero := new(big.Int)
	p.call(c.Allocation, AllocationManager.AllocationManagerMetaData, "initialize", zero)
	p.call(c.Delegation, DelegationManager.DelegationManagerMetaData, "initialize", zero)
	p.call(c.Strategies, StrategyManager.StrategyManagerMetaData, "initialize", deployer, deployer, zero)
	p.call(c.Strategy, StrategyBase.StrategyBaseMetaData, "initialize", c.Token)
	p.call(c.Strategies, StrategyManager.StrategyManagerMetaData, "addStrategiesToDepositWhitelist", []common.Address{c.Strategy})
	return c, p.steps, p.err
}

func (p *plan) create(input []byte) common.Address {
	address := crypto.CreateAddress(p.deployer, p.nonce+uint64(len(p.steps)))
	p.steps = append(p.steps, Step{Input: input})
	return address
}

func (p *plan) deploy(c *bind.MetaData, arguments ...any) common.Address {
	return p.create(append(common.FromHex(c.Bin), p.pack(c, "", arguments)...))
}

func (p *plan) call(to common.Address, c *bind.MetaData, method string, arguments ...any) {
	p.steps = append(p.steps, Step{&to, p.pack(c, method, arguments)})
}

func (p *plan) pack(c *bind.MetaData, method string, arguments []any) []byte {
	parsed, err := c.GetAbi()
	if err == nil {
		var b []byte
		if b, err = parsed.Pack(method, arguments...); err == nil {
			return b
		}
	}
	p.err = fmt.Errorf("encode %q: %w", method, err)
	return nil
}

// proxy creates a minimal proxy of an implementation. [EIP-1167]
func proxy(implementation common.Address) []byte {
	head, _ := hex.DecodeString("363d3d373d3d3d363d73")
	tail, _ := hex.DecodeString("5af43d82803e903d91602b57fd5bf3")
	return creation(bytes.Join([][]byte{head, implementation[:], tail}, nil))
}

// creation returns code that leaves runtime on the chain:
//
//	push2 size dup1 push1 10 push0 codecopy push0 return
func creation(runtime []byte) []byte {
	size := []byte{byte(len(runtime) >> 8), byte(len(runtime))}
	return bytes.Join([][]byte{{0x61}, size, common.FromHex("80600a5f395ff3"), runtime}, nil)
}
