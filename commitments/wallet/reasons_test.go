package wallet

import (
	"slices"
	"testing"

	"sidecar/commitments/gateway"
	"sidecar/fault"
	"sidecar/internal/ledger"
	"sidecar/modules"
	"sidecar/modules/inclusion"
)

// TestReasons: the reasons that are written out here are those of the packages
// they come from.
func TestReasons(t *testing.T) {
	var codes []string
	for _, f := range []*fault.Fault{
		gateway.ErrNotOurs, gateway.ErrTooLate, gateway.ErrNoPath, gateway.ErrExclusive, gateway.ErrForeign,
		gateway.ErrFullGas, modules.ErrFullBlobs, gateway.ErrFullBytes, gateway.ErrFullCount, ledger.ErrSlashable,
		inclusion.ErrTxTooBig, inclusion.ErrTxType, inclusion.ErrWrongChain, inclusion.ErrSignature, inclusion.ErrGasAboveCap, inclusion.ErrGasBelow,
		inclusion.ErrFees, inclusion.ErrSlotPassed, inclusion.ErrWorstBaseFee, inclusion.ErrTipTooLow, inclusion.ErrSenderHasCode, inclusion.ErrNonceTooLow,
		inclusion.ErrNonceGap, inclusion.ErrNonceConflict, inclusion.ErrPromised, inclusion.ErrBalance, inclusion.ErrAuthorityOpen,
	} {
		codes = append(codes, f.Code)
	}
	used := append(slices.Clone(tryNext), ours...)
	for code := range spoken {
		used = append(used, code)
	}
	for code := range unready {
		used = append(used, code)
	}
	for _, code := range used {
		if !slices.Contains(codes, code) {
			t.Errorf("nobody refuses with %s", code)
		}
	}
}
