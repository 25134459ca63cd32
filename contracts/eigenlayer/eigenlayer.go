// Package eigenlayer declares what this project calls of EigenLayer's core: the
// names, arguments and results of its published interface (v1.9), written down
// here, and none of its code. One ABI serves allocation manager, delegation
// manager, strategy manager and strategies; no two of their methods here share a
// name.
package eigenlayer

import (
	"bytes"
	_ "embed"
	"math/big"
	"sync"

	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common"
)

//go:embed core.json
var core []byte

// ABI returns the declared part of the core's interface. It is shared: read only.
var ABI = sync.OnceValue(func() *abi.ABI {
	parsed, err := abi.JSON(bytes.NewReader(core))
	if err != nil {
		panic("contracts/eigenlayer: " + err.Error()) // a test reads it
	}
	return &parsed
})

// OperatorSet is the tuple of that name.
type OperatorSet struct {
	Avs common.Address // named as in the ABI
	Id  uint32         // named as in the ABI
}

// RegisterParams is the tuple of that name.
type RegisterParams struct {
	Avs            common.Address
	OperatorSetIds []uint32
	Data           []byte
}

// DeregisterParams is the tuple of that name.
type DeregisterParams struct {
	Operator, Avs  common.Address
	OperatorSetIds []uint32
}

// AllocateParams is the tuple of that name.
type AllocateParams struct {
	OperatorSet   OperatorSet
	Strategies    []common.Address
	NewMagnitudes []uint64 // of 1e18
}

// Allocation is the tuple of that name.
type Allocation struct {
	CurrentMagnitude uint64
	PendingDiff      *big.Int
	EffectBlock      uint32
}
