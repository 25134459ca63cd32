package commitments

import "sidecar/fault"

// Faults of this package.
var (
	ErrEncoding    = fault.Define("commitment_encoding", fault.Invalid, "A message of the Commitments or Constraints API is not encoded as the API says.")
	ErrJSONPayload = fault.Define("payload_is_json", fault.Invalid, "The payload of an inclusion request is JSON text; it must be abi(struct{uint64 slot; bytes signed_tx}).")
	ErrPubkey      = fault.Define("pubkey_encoding", fault.Invalid, "A BLS public key is not a compressed point on the curve, or is the point at infinity.")
	ErrSlotRange   = fault.Define("slot_out_of_range", fault.Invalid, "The slot is over, or too far ahead: a block is taken, and a promise signed, only for slots near the present one.")
	ErrProof       = fault.Define("proof_encoding", fault.Invalid, "A proof payload is in none of the formats that are read, or not canonical (docs/constraints.md).")
)
