// Package devcore holds a stand-in for EigenLayer's core, for development chains
// and tests: the calls this project makes, by the same names and with the same
// effects on what they return, in one contract. It is not EigenLayer, and has
// none of its code, delays or permissions; e2e/eigenlayer has the real one. And
// one for the Universal Registry Contract, which checks next to nothing.
package devcore

import (
	_ "embed"
	"strings"

	"github.com/ethereum/go-ethereum/common"
)

// devcore.hex is the runtime code of DevCore.sol, by contracts/scripts/runtime.mjs.
//
//go:embed devcore.hex
var code string

// devregistry.hex is likewise of DevRegistry.sol.
//
//go:embed devregistry.hex
var registry string

// Runtime returns the core's code on the chain.
func Runtime() []byte { return common.FromHex(strings.TrimSpace(code)) }

// Creation returns the input of a transaction that creates the core.
func Creation() []byte { return creation(Runtime()) }

// Registry returns the input of a transaction that creates the registry.
func Registry() []byte { return creation(common.FromHex(strings.TrimSpace(registry))) }

// creation leaves runtime on the chain:
//
//	push2 size dup1 push1 10 push0 codecopy push0 return
func creation(runtime []byte) []byte {
	head := append([]byte{0x61, byte(len(runtime) >> 8), byte(len(runtime))}, common.FromHex("80600a5f395ff3")...) // #nosec G115 -- below 24 KiB
	return append(head, runtime...)
}
