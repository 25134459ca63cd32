package inclusion

import (
	"github.com/ethereum/go-ethereum/core/types"

	"sidecar/commitments"
	"sidecar/fault"
)

// Reasons to refuse a request of type "incl".
var (
	ErrProposerIndex = fault.Define("proposer_index_mismatch", fault.Rejected, "The payload names another validator index than the slot's proposer has, or the beacon node has not told it.")
	ErrUnprovable    = fault.Define("tx_unprovable", fault.Rejected, "Promises that contracts can judge are made for calls by transactions of type 2 without access list, of 21,000 gas and 64 for each byte of input at least and 5,000,000 at most.")
)

// Limits of a transaction that the contract judges. [contracts: PromiseReader]
const (
	provableGasBase    = 21_000
	provableGasPerByte = 64
	provableGasCap     = 5_000_000
)

// provable refuses what the contract would not judge: another proposer than the
// page's, and forms of transactions that it does not read. Everything else it
// refuses, decode has refused. Faults: ErrProposerIndex, ErrUnprovable.
func (m *Module) provable(id commitments.PageID, payload, raw []byte) error {
	_, index, _, err := commitments.DecodeProvableInclusion(payload)
	if err != nil {
		return err
	}
	if m.duties == nil {
		return ErrProposerIndex.With("no schedule")
	}
	found := false
	for _, d := range m.duties.Duties() {
		found = found || d.Slot == id.Slot && d.Proposer == id.Proposer && d.Index == index
	}
	if !found {
		return ErrProposerIndex.With("index %d, slot %d", uint64(index), uint64(id.Slot))
	}
	var t types.Transaction
	if err := t.UnmarshalBinary(raw); err != nil {
		return ErrTxEncoding.With("%v", err)
	}
	switch least := provableGasBase + provableGasPerByte*uint64(len(t.Data())); {
	case t.Type() != types.DynamicFeeTxType:
		return ErrUnprovable.With("type %d", t.Type())
	case t.To() == nil:
		return ErrUnprovable.With("contract creation")
	case len(t.AccessList()) > 0:
		return ErrUnprovable.With("access list")
	case t.Gas() > provableGasCap:
		return ErrUnprovable.With("%d gas, at most %d", t.Gas(), provableGasCap)
	case t.Gas() < least:
		return ErrUnprovable.With("%d gas, at least %d", t.Gas(), least)
	}
	return nil
}
