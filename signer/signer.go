// Package signer owns the only road to a signature. Nothing is signed that is
// not first on disk, and nothing is on disk that contradicts what is there.
package signer

import (
	"context"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/fault"
	"sidecar/internal/ledger"
)

// Faults of this package.
var (
	ErrNotAllowed = fault.Define("signer_forbidden", fault.Forbidden, "The policy does not let this module use this key for this purpose.")
	ErrUnknownKey = fault.Define("unknown_key", fault.NotFound, "The signer holds no such key.")
)

// Keystore holds private keys, here or elsewhere. Fault: ErrUnknownKey.
type Keystore interface {
	Sign(ctx context.Context, key phase0.BLSPubKey, root phase0.Root) (phase0.BLSSignature, error)
}

// Policy says which module may use which key for what.
type Policy interface {
	Allows(module string, kind ledger.Kind, key phase0.BLSPubKey) bool
}

// Book is the ledger, as the signer needs it.
type Book interface {
	Append(ctx context.Context, id commitments.PageID, decide func(commitments.View) (ledger.Entry, error)) (ledger.Receipt, error)
	Seal(ctx context.Context, r ledger.Receipt, signature []byte) error
}

// Signer signs what policy, guard and ledger agree to.
type Signer struct {
	Ledger Book
	Keys   Keystore
	Policy Policy
}

// Sign is the only road to a signature: decide names what to sign, policy and
// guard agree, the entry is on disk, the key signs, the signature is on disk.
// Then, and not before, the caller has it. decide runs under the ledger's lock.
// Faults: decide's, ErrNotAllowed, ErrUnknownKey, ledger.ErrSlashable, ledger.ErrPoisoned.
func (s *Signer) Sign(ctx context.Context, id commitments.PageID, decide func(commitments.View) (ledger.Entry, error)) (ledger.Receipt, error) {
	panic("stub")
}
