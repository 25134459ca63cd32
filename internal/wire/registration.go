package wire

import (
	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/fault"
)

// Faults of this package.
var (
	ErrDecode = fault.Define("decode", fault.Invalid, "A message is not what its media type and fork say.")
	ErrFork   = fault.Define("fork_mismatch", fault.Invalid, "A message is of another fork than its slot.")
)

// Registration is one SignedValidatorRegistration of a body. Raw is its bytes
// as received (a JSON object, or 180 bytes of SSZ) and aliases the body.
type Registration struct {
	FeeRecipient bellatrix.ExecutionAddress
	GasLimit     uint64
	Timestamp    uint64 // unix seconds
	Pubkey       phase0.BLSPubKey
	Signature    phase0.BLSSignature
	Raw          []byte
}

// DecodeRegistrations appends the registrations of a body to dst: a JSON array,
// or SSZ elements of 180 bytes each with nothing between. Unknown JSON fields
// are let pass, for the bytes go on as they are. Fault: ErrDecode.
func DecodeRegistrations(enc Encoding, body []byte, dst []Registration) ([]Registration, error) {
	panic("stub")
}

// JoinRegistrations writes a body of rs in enc out of their Raw bytes, which
// must have been received in enc.
func JoinRegistrations(enc Encoding, rs []Registration) []byte { panic("stub") }

// ConvertRegistrations writes a body of rs in enc out of their fields.
func ConvertRegistrations(enc Encoding, rs []Registration) []byte { panic("stub") }

// Root returns the hash tree root of the message.
func (r *Registration) Root() phase0.Root { panic("stub") }
