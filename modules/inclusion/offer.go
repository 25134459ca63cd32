package inclusion

import (
	"context"

	"github.com/ethereum/go-ethereum/core/types"

	"sidecar/commitments"
	"sidecar/modules"
)

var _ modules.Offerer = (*Module)(nil)

// Offer implements modules.Offerer. Nobody's signature is looked at. Faults: those of
// Slot, ErrTxEncoding.
func (m *Module) Offer(_ context.Context, req commitments.Request) (modules.Offer, error) {
	_, raw, err := payload(req)
	if err != nil {
		return modules.Offer{}, err
	}
	var t types.Transaction
	if err := t.UnmarshalBinary(raw); err != nil {
		return modules.Offer{}, ErrTxEncoding.With("%v", err)
	}
	return modules.Offer{Tip: word(t.GasTipCap()), Cap: word(t.GasFeeCap())}, nil
}
