package eigenlayer

import (
	"github.com/Layr-Labs/eigenlayer-contracts/pkg/bindings/AllocationManager"
	"github.com/Layr-Labs/eigenlayer-contracts/pkg/bindings/DelegationManager"
)

// Tuples of the core that only tests use.
type (
	queued     = DelegationManager.IDelegationManagerTypesQueuedWithdrawalParams
	withdrawal = DelegationManager.IDelegationManagerTypesWithdrawal
	created    = AllocationManager.IAllocationManagerTypesCreateSetParamsV2
	slashing   = AllocationManager.IAllocationManagerTypesSlashingParams
)

// pack encodes a call by the core's own ABI.
func (w *world) pack(method string, arguments ...any) []byte {
	w.t.Helper()
	contract := parsed(w.t, AllocationManager.AllocationManagerMetaData)
	if _, ok := contract.Methods[method]; !ok {
		contract = parsed(w.t, DelegationManager.DelegationManagerMetaData)
	}
	input, err := contract.Pack(method, arguments...)
	if err != nil {
		w.t.Fatal(err)
	}
	return input
}
