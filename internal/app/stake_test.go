package app

import (
	"testing"

	"sidecar/commitments"
)

// TestStake_Unknown: without a reading nothing is claimed.
func TestStake_Unknown(t *testing.T) {
	for name, s := range map[string]*stake{"not configured": nil, "not read yet": {state: commitments.CollateralChain}} {
		if got := s.known(); got.State != commitments.CollateralUnknown || got.Stakes != nil || got.Block != 0 {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
