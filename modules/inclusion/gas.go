package inclusion

import (
	"bytes"

	"github.com/ethereum/go-ethereum/core/types"
)

// Gas of a transaction before it runs, and its bounds. [Yellow Paper, appendix G;
// EIP-2028, EIP-2930, EIP-3529, EIP-3860, EIP-7623, EIP-7702, EIP-7825]
const (
	txGas           = 21_000
	gasCreate       = 32_000
	gasInitWord     = 2
	gasZeroByte     = 4
	gasNonZeroByte  = 16
	gasAddress      = 2_400
	gasStorageKey   = 1_900
	gasAuthority    = 25_000
	floorPerToken   = 10
	refundQuotient  = 5
	maxTxGas        = 1 << 24
	maxInitCodeSize = 49_152
)

// intrinsicGas is the least gas a transaction must have: what it costs before it
// runs, and no less than the floor of its calldata. Sizes are bounded by maxTxSize.
func intrinsicGas(t *types.Transaction) uint64 {
	return max(executionGas(t), floorGas(t))
}

// leastGas is what a transaction uses for sure, after any refund.
func leastGas(t *types.Transaction) uint64 {
	gas := executionGas(t)
	return max(gas-gas/refundQuotient, floorGas(t))
}

func executionGas(t *types.Transaction) uint64 {
	data := t.Data()
	zero := uint64(bytes.Count(data, []byte{0})) // #nosec G115 -- a count
	other := uint64(len(data)) - zero
	gas := txGas + zero*gasZeroByte + other*gasNonZeroByte
	if t.To() == nil {
		gas += gasCreate + gasInitWord*((uint64(len(data))+31)/32)
	}
	access := t.AccessList()
	gas += uint64(len(access))*gasAddress + uint64(access.StorageKeys())*gasStorageKey // #nosec G115 -- a count
	return gas + gasAuthority*uint64(len(t.SetCodeAuthorizations()))
}

func floorGas(t *types.Transaction) uint64 {
	data := t.Data()
	tokens := uint64(4*len(data) - 3*bytes.Count(data, []byte{0})) // #nosec G115 -- a count
	return txGas + floorPerToken*tokens
}
