package signer

import (
	"sidecar/commitments"
	"sidecar/internal/ledger"
)

// Grant lets one module use one key for one kind of entry.
type Grant struct {
	Module string
	Kind   ledger.Kind
	Key    commitments.Key
}

// Grants is a Policy that allows what it lists and nothing else.
type Grants []Grant

// Allows says whether the grant is listed. A module without a name has none.
func (g Grants) Allows(module string, kind ledger.Kind, key commitments.Key) bool {
	want := Grant{module, kind, key}
	for _, has := range g {
		if has == want && module != "" {
			return true
		}
	}
	return false
}
