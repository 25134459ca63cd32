package slashingtest

import (
	"math/big"
	"testing"

	"github.com/ethereum/go-ethereum/common"

	"sidecar/contracts/devcore"
	"sidecar/contracts/eigenlayer"
)

// Stake is what the staker puts behind the operator: 1,000 tokens of 1e18.
var Stake = new(big.Int).Mul(big.NewInt(1000), big.NewInt(1e18))

// DevCore deploys the stand-in of EigenLayer's core.
func (s *Scene) DevCore() common.Address {
	s.t.Helper()
	return s.Create(s.Owner, devcore.Creation())
}

// Pack encodes a call of EigenLayer's core.
func Pack(t testing.TB, method string, arguments ...any) []byte {
	t.Helper()
	b, err := eigenlayer.ABI().Pack(method, arguments...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Approve encodes a delegation to an operator that approves of everybody.
func Approve(t testing.TB, operator common.Address) []byte {
	t.Helper()
	type approval struct {
		Signature []byte
		Expiry    *big.Int
	}
	return Pack(t, "delegateTo", operator, approval{Expiry: new(big.Int)}, [32]byte{})
}

// Core is where EigenLayer's core, or a stand-in, is.
type Core struct{ Allocation, Delegation, Strategies, Strategy, Token common.Address }

// Restake puts the staker's tokens, which it must have, behind the operator, all
// of them behind the manager's set, and registers the validator's key.
// ready is called before the allocation: the core has delays.
func (s *Scene) Restake(c Core, ready func()) {
	s.t.Helper()
	s.Do(s.Operator, c.Delegation, Pack(s.t, "registerAsOperator", common.Address{}, uint32(0), ""))
	s.Do(s.Staker, c.Strategies, Pack(s.t, "depositIntoStrategy", c.Strategy, c.Token, Stake))
	s.Do(s.Staker, c.Delegation, Approve(s.t, s.Operator.Address))
	s.Do(s.Operator, c.Allocation, Pack(s.t, "registerForOperatorSets", s.Operator.Address, eigenlayer.RegisterParams{
		Avs: s.Manager, OperatorSetIds: []uint32{0}, Data: s.Registration(s.Operator.Address),
	}))
	ready()
	s.Do(s.Operator, c.Allocation, Pack(s.t, "modifyAllocations", s.Operator.Address, []eigenlayer.AllocateParams{{
		OperatorSet: eigenlayer.OperatorSet{Avs: s.Manager}, Strategies: []common.Address{c.Strategy}, NewMagnitudes: []uint64{1e18},
	}}))
}

// Shares is what the operator has in a strategy.
func (s *Scene) Shares(c Core) *big.Int {
	s.t.Helper()
	out, err := s.Call(s.Stranger.Address, c.Delegation, Pack(s.t, "operatorShares", s.Operator.Address, c.Strategy))
	if err != nil {
		s.t.Fatal(err)
	}
	return new(big.Int).SetBytes(out)
}

// Balance is what somebody has of a token.
func (s *Scene) Balance(token, of common.Address) *big.Int {
	s.t.Helper()
	input := append(common.FromHex("0x70a08231"), common.LeftPadBytes(of[:], 32)...) // balanceOf
	out, err := s.Call(s.Stranger.Address, token, input)
	if err != nil {
		s.t.Fatal(err)
	}
	return new(big.Int).SetBytes(out)
}
